"""Media types: guessed by a file's name, and chosen by Accept.

A table of its own, since the standard library's depends on Python's version (``.js`` is
application/javascript in 3.11, text/javascript in 3.12, ``.webp`` is unknown) and on
files of the machine such as /etc/mime.types.
"""

import re
from collections.abc import Sequence

OCTETS = "application/octet-stream"

_TEXTS = {
    "css": "text/css",
    "csv": "text/csv",
    "htm": "text/html",
    "html": "text/html",
    "ics": "text/calendar",
    "js": "text/javascript",
    "log": "text/plain",
    "markdown": "text/markdown",
    "md": "text/markdown",
    "mjs": "text/javascript",
    "text": "text/plain",
    "toml": "text/plain",
    "txt": "text/plain",
    "vtt": "text/vtt",
    "xml": "text/xml",
    "yaml": "text/yaml",
    "yml": "text/yaml",
}
_OTHERS = {
    "7z": "application/x-7z-compressed",
    "apng": "image/apng",
    "atom": "application/atom+xml",
    "avif": "image/avif",
    "bmp": "image/bmp",
    "br": OCTETS,  # a .html.br is not a page unless its coding is declared
    "bz2": "application/x-bzip2",
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "epub": "application/epub+zip",
    "flac": "audio/flac",
    "geojson": "application/geo+json",
    "gif": "image/gif",
    "gz": "application/gzip",
    "ico": "image/vnd.microsoft.icon",
    "jpeg": "image/jpeg",
    "jpg": "image/jpeg",
    "json": "application/json",
    "jsonld": "application/ld+json",
    "m4a": "audio/mp4",
    "m4v": "video/mp4",
    "map": "application/json",
    "mov": "video/quicktime",
    "mp3": "audio/mpeg",
    "mp4": "video/mp4",
    "odt": "application/vnd.oasis.opendocument.text",
    "oga": "audio/ogg",
    "ogg": "audio/ogg",
    "ogv": "video/ogg",
    "opus": "audio/ogg",
    "otf": "font/otf",
    "pdf": "application/pdf",
    "png": "image/png",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "rss": "application/rss+xml",
    "svg": "image/svg+xml",
    "tar": "application/x-tar",
    "tif": "image/tiff",
    "tiff": "image/tiff",
    "ttf": "font/ttf",
    "wasm": "application/wasm",
    "wav": "audio/wav",
    "weba": "audio/webm",
    "webm": "video/webm",
    "webmanifest": "application/manifest+json",
    "webp": "image/webp",
    "woff": "font/woff",
    "woff2": "font/woff2",
    "xhtml": "application/xhtml+xml",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "xz": "application/x-xz",
    "zip": "application/zip",
    "zst": "application/zstd",
}


def guess_media_type(name: str) -> str:
    """Guess the Content-Type of a file by the last suffix of its name.

    Text is declared UTF-8. An unknown type is ``application/octet-stream``, which
    browsers save and never run.
    """
    stem, dot, suffix = name.rpartition(".")
    if not dot or not stem:
        return OCTETS
    suffix = suffix.lower()
    if suffix in _TEXTS:
        return f"{_TEXTS[suffix]}; charset=utf-8"
    return _OTHERS.get(suffix, OCTETS)


_COMPRESSIBLE = frozenset(
    (
        "application/atom+xml",
        "application/geo+json",
        "application/json",
        "application/ld+json",
        "application/manifest+json",
        "application/rss+xml",
        "application/wasm",
        "application/xhtml+xml",
        "font/otf",
        "font/ttf",
        "image/bmp",
        "image/svg+xml",
        "image/vnd.microsoft.icon",
    )
)


def is_compressible(media_type: str) -> bool:
    """Tell whether content of this type usually gets smaller by a content coding."""
    return media_type.startswith("text/") or media_type in _COMPRESSIBLE


# Accept


# media-range with its weight, RFC 9110 section 12.5.1; other parameters are skipped:
# none of our types has any.
_MEMBER = re.compile(
    r"\s*(?P<type>[^\s;,/]+)/(?P<subtype>[^\s;,/]+)\s*(?P<parameters>;[^,]*)?"
)
_WEIGHT = re.compile(r";\s*[qQ]=(0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)\s*(?:;|$)")


def choose_media_type(accept: str | None, available: Sequence[str]) -> str:
    """Choose the media type that the client prefers.

    The most specific range that matches a type decides about its weight.

    Args:
        accept: The field's value; None when it was not sent.
        available: The types available here, lower case, best first; their order decides
            between those that the client likes equally.

    Returns:
        One of ``available``; the first, where the client accepts none of them.
    """
    if accept is None or accept == "*/*":
        return available[0]
    weights = dict(_read_member(each) for each in accept.lower().split(","))
    # The first of those that are liked equally; of all where none is accepted.
    return max(available, key=lambda each: _weight_of(each, weights))


def _read_member(text: str) -> tuple[str, float]:
    member = _MEMBER.match(text)
    if member is None:
        return "", 0.0
    weight = _WEIGHT.search(member["parameters"] or "")
    media_range = f"{member['type']}/{member['subtype']}"
    return media_range, 1.0 if weight is None else float(weight[1])


def _weight_of(media_type: str, weights: dict[str, float]) -> float:
    ranges = (media_type, f"{media_type.partition('/')[0]}/*", "*/*")
    return next((weights[each] for each in ranges if each in weights), 0.0)
