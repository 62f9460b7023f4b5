"""Names that clients give their files: as they sent them, and made safe.

May import: nothing of blazeio. Pure.
"""

import re
import unicodedata
from urllib.parse import unquote_to_bytes

LONGEST_BYTES = 255
"""NAME_MAX of Linux's file systems."""
NAMELESS = "upload"

# RFC 8187 section 3.2.1: ext-value = charset "'" [ language ] "'" value-chars
_EXTENDED = re.compile(
    r"(utf-8|iso-8859-1)'[^']*'([!#$&+\-.^_`|~0-9A-Za-z%]*)", re.IGNORECASE
)
# Controls, and what separates or means something to some file system.
_UNSAFE = re.compile(r'[\x00-\x1f\x7f-\x9f<>:"/\\|?*\u2028\u2029]')
_RESERVED = re.compile(r"(?:con|prn|aux|nul|com[0-9]|lpt[0-9])(?:\.|$)", re.IGNORECASE)


def decode_extended(text: str) -> str | None:
    """Decode a ``filename*``; None when it is malformed.

    RFC 7578 section 4.2 forbids it in forms, but some clients send it where a
    name is not ASCII.
    """
    found = _EXTENDED.fullmatch(text)
    if found is None:
        return None
    return unquote_to_bytes(found[2]).decode(found[1], errors="replace")


def make_safe(filename: str) -> str:
    """Make a name that is one path component, and harmless as one.

    No separators, drives, controls or leading dots; not a reserved name of
    Windows; NFC; at most ``LONGEST_BYTES`` octets as UTF-8, the ending kept. It
    may still be the name of a file that is there already.

    Returns:
        ``NAMELESS`` where nothing else is left.
    """
    name = unicodedata.normalize("NFC", filename).replace("\\", "/")
    name = _UNSAFE.sub("_", name.rpartition("/")[2])
    name = "".join(c for c in name if unicodedata.category(c) not in ("Cf", "Cs"))
    name = name.lstrip(". ").rstrip(". ")
    if _RESERVED.match(name):
        name = f"_{name}"
    return _shortened(name) or NAMELESS


def _shortened(name: str) -> str:
    if len(name.encode()) <= LONGEST_BYTES:
        return name
    stem, dot, ending = name.rpartition(".")
    suffix = f"{dot}{ending}".encode()
    if not stem or len(suffix) > LONGEST_BYTES // 2:
        stem, suffix = name, b""
    kept = stem.encode()[: LONGEST_BYTES - len(suffix)]
    return kept.decode(errors="ignore").rstrip(". ") + suffix.decode()
