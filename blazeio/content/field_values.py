"""Values of fields: cookies, dates, ranges and media types.

**Cookies**, RFC 6265 with its successor's prefixes. A browser silently drops a cookie
that is too large, a ``__Host-`` cookie with a domain, or ``SameSite=None`` without
``Secure``. Here they are errors, which the developer sees.

**Dates**: seconds since the epoch to IMF-fixdate and back; and Retry-After. Only the
preferred form is written; all three forms are read, as the RFC demands of a recipient.

**Content-Range**, as a client reads it.

**Media types**: guessed by a file's name, and chosen by Accept. The table is our own,
since the standard library's depends on Python's version (``.js`` is
application/javascript in 3.11, text/javascript in 3.12, ``.webp`` is unknown) and on
files of the machine such as /etc/mime.types.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, Literal

from msgspec import Struct

from blazeio.errors import LocalProtocolError

# Cookies: RFC 6265


SameSite = Literal["Strict", "Lax", "None"]

# token, RFC 9110 section 5.6.2
_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# cookie-value = *cookie-octet / ( DQUOTE *cookie-octet DQUOTE ), RFC 6265 section 4.1.1
_OCTETS = r"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*"
_VALUE = re.compile(rf'{_OCTETS}|"{_OCTETS}"')
# path-value = <any CHAR except CTLs or ";">; another beginning is ignored
_PATH = re.compile(r"/[\x20-\x3a\x3c-\x7e]*")
_DOMAIN = re.compile(
    r"\.?(?:[0-9A-Za-z](?:[0-9A-Za-z-]*[0-9A-Za-z])?\.)*"
    r"[0-9A-Za-z](?:[0-9A-Za-z-]*[0-9A-Za-z])?"
)
# Browsers drop a larger pair (RFC 6265bis section 5.7 step 7).
LONGEST_PAIR_BYTES = 4096


def find_cookie(field: str, name: str) -> str | None:
    """Find a cookie in the value of a Cookie field.

    Pairs without a "=" are no cookies. Quotes are a part of the value, as in
    ``serialize_set_cookie``.

    Returns:
        The first value; None when there is none of that name.
    """
    for pair in field.split(";"):
        known, equals, value = pair.partition("=")
        # RFC 6265 section 5.4: more particular paths come first, so the first of a name
        # is the one that is meant.
        if equals and known.strip(" \t") == name:
            return value.strip(" \t")
    return None


def serialize_cookie(cookies: Mapping[str, str]) -> str:
    """Serialize the value of a Cookie field, RFC 6265 section 4.2.1.

    Raises:
        LocalProtocolError: A name or a value has characters that a cookie cannot have.
    """
    for name, value in cookies.items():
        _check_pair(name, value)
    return "; ".join(f"{name}={value}" for name, value in cookies.items())


def serialize_set_cookie(
    name: str,
    value: str,
    *,
    path: str | None = "/",
    max_age: int | None = None,
    expires: datetime | float | None = None,
    domain: str | None = None,
    secure: bool = False,
    http_only: bool = True,
    same_site: SameSite | None = "Lax",
    partitioned: bool = False,
) -> str:
    """Serialize the value of one Set-Cookie field.

    Args:
        name: A token. The prefixes ``__Secure-`` and ``__Host-`` restrict the rest.
        value: Printable ASCII without space, comma, semicolon, backslash and inner
            quotes; percent-encode anything else first.
        path: Starts with "/"; None: the browser's default.
        max_age: Seconds to live; 0 deletes the cookie.
        expires: Unix time in seconds, or a datetime with a time zone.
        domain: Also sent to the hosts below this one. None: this host only.
        secure: Over TLS only.
        http_only: Hidden from scripts.
        same_site: "None" needs ``secure``; None: the browser's default.
        partitioned: Separate for each top-level site; needs ``secure``.

    Raises:
        LocalProtocolError: The caller's fault: the cookie cannot be written, or every
            browser would drop it. Nothing was sent.
    """
    _check_pair(name, value)
    _check_scope(path, domain)
    _check_attributes(name, path, domain, secure, same_site, partitioned)
    parts = [f"{name}={value}"]
    if max_age is not None:
        parts.append(f"Max-Age={_checked_max_age(name, max_age)}")
    if expires is not None:
        parts.append(f"Expires={_serialize_expires(name, expires)}")
    if domain is not None:
        parts.append(f"Domain={domain}")
    if path is not None:
        parts.append(f"Path={path}")
    if secure:
        parts.append("Secure")
    if http_only:
        parts.append("HttpOnly")
    if same_site is not None:
        parts.append(f"SameSite={same_site}")
    if partitioned:
        parts.append("Partitioned")
    return "; ".join(parts)


def _check_pair(name: str, value: str) -> None:
    if not _NAME.fullmatch(name):
        message = f"cookie name {name!r} is not a token"
        raise LocalProtocolError(message)
    if not _VALUE.fullmatch(value):
        message = (
            f"cookie {name!r}: the value {value[:64]!r} holds what a cookie cannot; "
            "percent-encode it with urllib.parse.quote"
        )
        raise LocalProtocolError(message)
    if len(name) + len(value) > LONGEST_PAIR_BYTES:
        message = (
            f"cookie {name!r}: browsers drop more than {LONGEST_PAIR_BYTES} octets"
        )
        raise LocalProtocolError(message)


def _check_scope(path: str | None, domain: str | None) -> None:
    if path is not None and not _PATH.fullmatch(path):
        message = f"cookie path {path!r}: expected '/' and printable ASCII without ';'"
        raise LocalProtocolError(message)
    if domain is not None and not _DOMAIN.fullmatch(domain):
        message = f"cookie domain {domain!r} is not a host name"
        raise LocalProtocolError(message)


def _check_attributes(
    name: str,
    path: str | None,
    domain: str | None,
    secure: bool,
    same_site: str | None,
    partitioned: bool,
) -> None:
    if same_site not in (None, "Strict", "Lax", "None"):
        message = f"cookie {name!r}: same_site={same_site!r} is not Strict, Lax or None"
        raise LocalProtocolError(message)
    # RFC 6265bis section 4.1.3: a prefix is a promise that browsers keep; a cookie that
    # breaks it is never stored, without a word to the server.
    prefix = name.lower()  # browsers compare the prefixes without regard to case
    needs_secure = (
        same_site == "None"
        or partitioned
        or prefix.startswith(("__secure-", "__host-"))
    )
    if needs_secure and not secure:
        message = f"cookie {name!r}: browsers drop it without secure=True"
        raise LocalProtocolError(message)
    if prefix.startswith("__host-") and (path != "/" or domain is not None):
        message = f"cookie {name!r}: __Host- demands path='/' and no domain"
        raise LocalProtocolError(message)


def _checked_max_age(name: str, max_age: int) -> int:
    if not isinstance(max_age, int) or max_age < 0:
        message = f"cookie {name!r}: max_age={max_age!r} is not a count of seconds"
        raise LocalProtocolError(message)
    return max_age


def _serialize_expires(name: str, expires: datetime | float) -> str:
    if isinstance(expires, datetime):
        # A naive time would be taken in the zone of the machine, and expire hours off.
        if expires.tzinfo is None:
            message = f"cookie {name!r}: expires={expires!r} does not know its zone"
            raise LocalProtocolError(message)
        expires = expires.timestamp()
    try:
        return serialize_http_date(expires)
    except ValueError as exception:
        message = f"cookie {name!r}: {exception}"
        raise LocalProtocolError(message) from exception


# Dates: RFC 9110 section 5.6.7


_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = (
    "Jan", "Feb", "Mar", "Apr", "May", "Jun",
    "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
)  # fmt: skip

# strftime and strptime depend on the process's locale; HTTP's names are English.
_CLOCK = r"(?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})"
_FORMS = (
    re.compile(  # IMF-fixdate: Sun, 06 Nov 1994 08:49:37 GMT
        r"[A-Z][a-z]{2}, (?P<day>[0-9]{2}) (?P<month>[A-Z][a-z]{2}) "
        rf"(?P<year>[0-9]{{4}}) {_CLOCK} GMT"
    ),
    re.compile(  # rfc850-date: Sunday, 06-Nov-94 08:49:37 GMT
        r"[A-Z][a-z]{5,8}, (?P<day>[0-9]{2})-(?P<month>[A-Z][a-z]{2})-"
        rf"(?P<year>[0-9]{{2}}) {_CLOCK} GMT"
    ),
    re.compile(  # asctime-date: Sun Nov  6 08:49:37 1994
        rf"[A-Z][a-z]{{2}} (?P<month>[A-Z][a-z]{{2}}) (?P<day>[0-9 ][0-9]) {_CLOCK} "
        r"(?P<year>[0-9]{4})"
    ),
)


def serialize_http_date(seconds: float) -> str:
    """Serialize seconds since the epoch as IMF-fixdate, RFC 9110 section 5.6.7.

    Args:
        seconds: Unix time; fractions are cut off.

    Raises:
        ValueError: The caller's fault: outside the years 1 to 9999.
    """
    try:
        # Cut off and never rounded: Last-Modified must not be later than the change, or
        # the state of the next second would be taken for this one.
        moment = datetime.fromtimestamp(seconds // 1, UTC)
    except (OverflowError, OSError, ValueError) as exception:
        message = f"{seconds!r} is not a time that HTTP can write"
        raise ValueError(message) from exception
    return (
        f"{_DAYS[moment.weekday()]}, {moment.day:02} {_MONTHS[moment.month - 1]} "
        f"{moment.year:04} {moment:%H:%M:%S} GMT"
    )


def parse_http_date(text: str, now: float) -> int | None:
    """Read an HTTP date in any of the three forms of RFC 9110 section 5.6.7.

    Args:
        text: The field value.
        now: Unix time. The two digits of an obsolete year mean a year that is never
            more than 50 years ahead.

    Returns:
        Seconds since the epoch, or None for what is no date: then a recipient ignores
            the field.
    """
    match = next(filter(None, (form.fullmatch(text) for form in _FORMS)), None)
    if match is None or match["month"] not in _MONTHS:
        return None
    year = int(match["year"])
    if len(match["year"]) == 2:
        year = _decide_century(year, datetime.fromtimestamp(now, UTC).year)
    second = min(int(match["second"]), 59)  # the grammar allows a leap second
    try:
        moment = datetime(
            year,
            _MONTHS.index(match["month"]) + 1,
            int(match["day"]),
            int(match["hour"]),
            int(match["minute"]),
            second,
            tzinfo=UTC,
        )
    except ValueError:
        return None
    return int(moment.timestamp())


_SECONDS = re.compile(r"[0-9]{1,9}")


def parse_retry_after(text: str, now: float) -> float | None:
    """Read Retry-After, RFC 9110 section 10.2.3: seconds, or a date.

    Args:
        text: The field value.
        now: Unix time.

    Returns:
        Seconds from now, 0 or more; None for what is neither. The caller needs a bound
        of its own: this may be 31 years.
    """
    if _SECONDS.fullmatch(text):
        return float(text)
    at = parse_http_date(text, now)
    return None if at is None else max(at - now, 0.0)


def _decide_century(year: int, this_year: int) -> int:
    year += this_year // 100 * 100
    return year - 100 if year > this_year + 50 else year


# Content-Range: RFC 9110 section 14.4


_RANGE_PART: Final = re.compile(
    r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)", re.IGNORECASE
)
_UNSATISFIED_RANGE: Final = re.compile(r"bytes \*/([0-9]{1,18})", re.IGNORECASE)


class ContentRange(Struct, frozen=True):
    """Which octets of a representation a 206 has.

    Attributes:
        first: Offset of the first octet.
        last: Offset of the last octet; not less.
        total: Size of the whole representation; None: the server does not know.
    """

    first: int
    last: int
    total: int | None

    @property
    def size_bytes(self) -> int:
        """The size of the part, octets."""
        return self.last - self.first + 1


def read_content_range(field: str) -> ContentRange | None:
    """Read the field of a 206; None where it is malformed or of another unit."""
    found = _RANGE_PART.fullmatch(field)
    if found is None:
        return None
    first, last = int(found[1]), int(found[2])
    total = None if found[3] == "*" else int(found[3])
    if last < first or (total is not None and last >= total):
        return None
    return ContentRange(first, last, total)


def read_unsatisfied_range(field: str) -> int | None:
    """Read the field of a 416: the size of the representation; None: not said."""
    found = _UNSATISFIED_RANGE.fullmatch(field)
    return None if found is None else int(found[1])


# Media types


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
