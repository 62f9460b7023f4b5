"""What a certificate says of itself: for which names, from when, until when.

The standard library tells this of a peer's verified certificate only. So the
few fields that a server needs of its own are read here: X.509 (RFC 5280
section 4.1) in DER, where every value is a tag, a length and its content. The
file is the operator's, not a stranger's; what is malformed is a ValueError.

May import: nothing of blazeio.
"""

import re
import ssl
from collections.abc import Iterator
from datetime import UTC, datetime

from msgspec import Struct

# Base64 holds no "-": so each beginning is looked behind only up to the next line
# of dashes, however many there are.
_BLOCK = re.compile(
    r"-----BEGIN CERTIFICATE-----\s[^-]*+(?<=\s)-----END CERTIFICATE-----"
)

_SEQUENCE, _OCTET_STRING, _OBJECT_ID = 0x30, 0x04, 0x06
_UTC_TIME, _GENERALIZED_TIME = 0x17, 0x18
_VERSION, _EXTENSIONS, _DNS_NAME = 0xA0, 0xA3, 0x82  # context-specific
_SUBJECT_ALT_NAME = bytes((0x55, 0x1D, 0x11))  # 2.5.29.17


class Certificate(Struct, frozen=True):
    """One certificate.

    Attributes:
        names: The DNS names it is for, lower case; a first label of "*" stands
            for any one label. The common name is none of them (RFC 9525
            section 2).
        begins_at: First moment of its validity.
        ends_at: Last moment of its validity.
    """

    names: tuple[str, ...]
    begins_at: datetime
    ends_at: datetime


def read_certificate(pem: str) -> Certificate | None:
    """Read the first certificate in the text of a PEM file.

    Returns:
        None where there is none.

    Raises:
        ValueError: It is malformed.
    """
    block = _BLOCK.search(pem)
    if block is None:
        return None
    try:
        return _read_der(ssl.PEM_cert_to_DER_cert(block.group()))
    except (IndexError, UnicodeDecodeError) as error:
        raise ValueError("it is cut off or damaged") from error


def _read_der(der: bytes) -> Certificate:
    whole = _content(_values(der)[0], _SEQUENCE)
    fields = _values(_content(_values(whole)[0], _SEQUENCE))
    if fields[0][0] == _VERSION:
        del fields[0]
    # serialNumber, signature, issuer, validity, subject, the key, then optional
    begins, ends = _values(_content(fields[3], _SEQUENCE))
    names: tuple[str, ...] = ()
    for tag, content in fields[6:]:
        if tag == _EXTENSIONS:
            names = tuple(_read_names(content))
    return Certificate(names, _read_time(*begins), _read_time(*ends))


def _read_names(extensions: bytes) -> Iterator[str]:
    """Section 4.2.1.6: the subject's alternative names."""
    for extension in _values(_content(_values(extensions)[0], _SEQUENCE)):
        parts = _values(_content(extension, _SEQUENCE))
        if parts[0] != (_OBJECT_ID, _SUBJECT_ALT_NAME):
            continue
        (names,) = _values(_content(parts[-1], _OCTET_STRING))
        for tag, name in _values(_content(names, _SEQUENCE)):
            if tag == _DNS_NAME:
                yield name.decode("ascii").lower()


def _read_time(tag: int, content: bytes) -> datetime:
    """Section 4.1.2.5: two digits of a year are those from 1950 to 2049."""
    text = content.decode("ascii")
    if tag == _UTC_TIME:
        text = ("19" if text[:2] >= "50" else "20") + text
    elif tag != _GENERALIZED_TIME:
        raise ValueError(f"a time with the tag {tag:#x}")
    return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)


def _content(value: tuple[int, bytes], tag: int) -> bytes:
    if value[0] != tag:
        raise ValueError(f"a value with the tag {value[0]:#x}, expected {tag:#x}")
    return value[1]


def _values(der: bytes) -> list[tuple[int, bytes]]:
    """Tag and content of each value (X.690 section 8.1); tags are one octet."""
    values = []
    start = 0
    while start < len(der):
        tag, length = der[start], der[start + 1]
        start += 2
        if length >= 0x80:
            octets = length & 0x7F
            length = int.from_bytes(der[start : start + octets], "big")
            start += octets
        if start + length > len(der):
            raise ValueError("a value is longer than what holds it")
        values.append((tag, der[start : start + length]))
        start += length
    return values
