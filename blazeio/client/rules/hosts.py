"""Hosts as a user agent reads them, in the one form in which they are compared.

Names are IDNA 2008 with the mapping of UTS 46 (not transitional, as browsers):
``Straße.de`` and ``stra%C3%9Fe.de`` are ``xn--strae-oqa.de``. Labels of ASCII
stay as they are, but for their case: ``my_service`` and ``r3---sn.example`` are
in use, though IDNA would not have them. Addresses are written in one way each,
those of IPv4 as the WHATWG's URL standard reads them: ``127.1`` is
``127.0.0.1``, and a name that ends in a number is none.

The same reader serves request URLs, Location, proxies, NO_PROXY, WebSockets and
cookies, so that no two of them can take one host for two.
"""

import re
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final
from urllib.parse import unquote

from blazeio.wire.target import is_host

LONGEST_LABEL_OCTETS: Final = 63
LONGEST_NAME_OCTETS: Final = 253
"""RFC 1035 section 2.3.4, as text and without the final dot."""
LONGEST_TEXT_CHARS: Final = 1024
"""Before percent-decoding and the mapping: more than any name of 253 octets."""

# authority = [ userinfo "@" ] host [ ":" port ], RFC 3986 section 3.2
_PLACE: Final = re.compile(r"(?:\[([^\]]*+)\]|([^:\[\]]*+))(?::([0-9]*+))?")
_ZONE: Final = re.compile(r"[A-Za-z0-9._~\-]{1,64}")
_NUMBER: Final = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")
_MOST_PORT: Final = 65_535


def read_place(text: str) -> tuple[str, int | None]:
    """Read ``host [ ":" port ]``; what is before an "@" is not part of it.

    Returns:
        The host as ``read_host`` gives it, without brackets; the port, None
        where there is none.

    Raises:
        ValueError: It is no such place; the message says why, and quotes no
            more than the host.
    """
    match = _PLACE.fullmatch(text)
    if match is None:
        _, colon, port = text.rpartition(":")
        if colon and "[" not in port and "]" not in port and not port.isdigit():
            raise ValueError("its port is no number from 0 to 65535")
        raise ValueError(f"{text[:64]!r} is no host")
    address, name, port = match.groups()
    if not (address or name):
        raise ValueError("it has no host")
    if port and (len(port) > 5 or int(port) > _MOST_PORT):
        raise ValueError("Port out of range 0-65535")
    host = read_host(name) if address is None else _read_ipv6(address)
    return host, int(port) if port else None


# A program asks the same hosts again and again: 0.1 us instead of 3.
@lru_cache(maxsize=1024)
def read_host(text: str) -> str:
    """Read a host: a name, or an address with or without brackets.

    Returns:
        A name in lower-case A-labels, with its final dot if it has one; an
        address without brackets; one of IPv6 with its zone (``fe80::1%eth0``).

    Raises:
        ValueError: It is none; the message says why, and quotes the host.
    """
    if ":" in text or text.startswith("["):
        is_bracketed = text.startswith("[") and text.endswith("]")
        return _read_ipv6(text[1:-1] if is_bracketed else text)
    name = text if len(text) <= LONGEST_TEXT_CHARS else ""
    if "%" in name:
        name = unquote(name, errors="replace")
    name = name.lower() if name.isascii() else _to_ascii(name)
    if not is_host(name) or ":" in name or "%" in name:
        raise ValueError(f"{text[:64]!r} is no host")
    _check_labels(name)
    return _read_ipv4(name) or name


def strip_final_dot(host: str) -> str:
    """Return the same host without the dot that ends an absolute name.

    For what compares names (cookies, NO_PROXY) and for certificates, which know
    names without it only (RFC 6066 section 3).
    """
    return host.removesuffix(".")


def strip_zone(host: str) -> str:
    """Return an address without its zone, which means nothing to a peer.

    RFC 6874 section 4: it is not sent.
    """
    return host.partition("%")[0]


def bracketed(host: str) -> str:
    """Return the host as it stands in a URL; a zone as RFC 6874 writes it."""
    if ":" not in host:
        return host
    address, percent, zone = host.partition("%")
    return f"[{address}%25{zone}]" if percent else f"[{address}]"


def _to_ascii(name: str) -> str:
    # Only where a host is not ASCII: its tables take 10 ms to import.
    import idna

    try:
        mapped = idna.uts46_remap(name, std3_rules=False)
        return ".".join(
            each.lower() if each.isascii() else str(idna.alabel(each), "ascii")
            for each in mapped.split(".")
        )
    except UnicodeError as error:  # idna.IDNAError is one
        raise ValueError(f"{name[:64]!r} is no host: {error}") from None


def _check_labels(name: str) -> None:
    bare = strip_final_dot(name)
    if len(bare) > LONGEST_NAME_OCTETS:
        message = f"a host of {len(bare)} octets: at most {LONGEST_NAME_OCTETS}"
        raise ValueError(message)
    for label in bare.split("."):
        if not label:
            raise ValueError(f"{name[:64]!r} is no host: a label of it is empty")
        if len(label) > LONGEST_LABEL_OCTETS:
            message = f"a label of more than {LONGEST_LABEL_OCTETS} octets"
            raise ValueError(f"{name[:64]!r} is no host: {message}")


def _read_ipv4(name: str) -> str | None:
    """Read an address as the WHATWG's "IPv4 parser" does; None: it is a name."""
    parts = strip_final_dot(name).split(".")
    if not _NUMBER.fullmatch(parts[-1]):
        return None
    *leading, last = [_read_number(each) for each in parts] if len(parts) < 5 else [-1]
    if all(0 <= each < 256 for each in leading) and (
        0 <= last < 256 ** (4 - len(leading))
    ):
        value = sum(each << 8 * (3 - place) for place, each in enumerate(leading))
        return str(IPv4Address(value + last))
    raise ValueError(f"{name[:64]!r} ends in a number, and is no address of IPv4")


def _read_number(part: str) -> int:
    """Read one part of an address; -1 where it is no number."""
    if not _NUMBER.fullmatch(part):
        return -1
    if part[:2] in ("0x", "0X"):
        return int(part[2:] or "0", 16)
    try:
        return int(part, 8 if len(part) > 1 and part[0] == "0" else 10)
    except ValueError:
        return -1  # an 8 or 9 in octal


def _read_ipv6(text: str) -> str:
    """Read an address, with a zone as ``%eth0`` or, by RFC 6874, ``%25eth0``."""
    bare, percent, zone = text.partition("%")
    zone = zone.removeprefix("25")
    if percent and not _ZONE.fullmatch(zone):
        raise ValueError(f"{text[:64]!r} has no zone that can be")
    try:
        address = IPv6Address(bare)
    except AddressValueError:
        message = f"{text[:64]!r} does not appear to be an IPv4 or IPv6 address"
        raise ValueError(message) from None
    return f"{address}%{zone}" if percent else str(address)
