"""When a certificate ends: read from its file (RFC 5280 section 4.1).

``ssl`` tells that only of a peer's certificate that it has verified.
"""

import base64
import re
from datetime import UTC, datetime

# Base64 holds no "-"; ".*?" would look from each beginning to the end of the file.
_PEM = re.compile(rb"-----BEGIN CERTIFICATE-----([^-]*+)-----END CERTIFICATE-----")
_SEQUENCE, _UTC_TIME, _GENERALIZED_TIME = 0x30, 0x17, 0x18
_VERSION = 0xA0


def read_expiry(octets: bytes) -> datetime:
    """Give the end of the first certificate of a PEM file: the server's own.

    Raises:
        ValueError: There is none.
    """
    match = _PEM.search(octets)
    if match is None:
        raise ValueError("no certificate in it")
    try:
        return _find_end(base64.b64decode(match[1]))
    except (IndexError, ValueError) as error:
        raise ValueError("its certificate cannot be read") from error


def _find_end(der: bytes) -> datetime:
    certificate = _open(der, 0)
    fields = _open(der, certificate)
    if der[fields] == _VERSION:
        fields = _skip(der, fields)
    for _ in range(3):  # serial number, signature, issuer
        fields = _skip(der, fields)
    not_before = _open(der, fields)
    return _read_time(der, _skip(der, not_before))


def _read_length(der: bytes, at: int) -> tuple[int, int]:
    """Give the begin of the content and its length."""
    length = der[at + 1]
    if length < 0x80:
        return at + 2, length
    count = length & 0x7F
    begin = at + 2 + count
    return begin, int.from_bytes(der[at + 2 : begin])


def _open(der: bytes, at: int) -> int:
    if der[at] != _SEQUENCE:
        raise ValueError("no sequence")
    return _read_length(der, at)[0]


def _skip(der: bytes, at: int) -> int:
    begin, length = _read_length(der, at)
    return begin + length


def _read_time(der: bytes, at: int) -> datetime:
    begin, length = _read_length(der, at)
    text = der[begin : begin + length].decode("ascii")
    if der[at] == _GENERALIZED_TIME:
        return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
    if der[at] != _UTC_TIME:
        raise ValueError("no time")
    # Two digits of a year: 50 and above are of the last century.
    century = "19" if text[:2] >= "50" else "20"
    found = datetime.strptime(century + text, "%Y%m%d%H%M%SZ")
    return found.replace(tzinfo=UTC)
