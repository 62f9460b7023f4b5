"""The PROXY protocol, versions 1 and 2, as values.

A load balancer that forwards octets sends one such header before the first octet of the
client, to say who the client is. Nothing in it is signed, so the recipient must know by
other means that the sender is to be trusted.

The specification is HAProxy's ``proxy-protocol.txt`` (2020/03/05); its sections are
cited below. Where it leaves a choice, the header is refused here, with two exceptions,
documented where they are made: the datagram transports of version 2 and IPv4 addresses
written as IPv6.
"""

import re
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final, NamedTuple

from blazeio.errors import RemoteProtocolError
from blazeio.wire import FrozenRecord
from blazeio.wire.grammar import quote

V1_BYTES: Final = 107
"""The longest header of version 1, with its CRLF (section 2.1)."""
V2_BYTES: Final = 4096
"""The longest header of version 2 that is accepted by default. Senders keep to 536
octets (section 2.2); certificates in TLVs need more."""

_V1_START: Final = b"PROXY "
_V2_START: Final = b"\r\n\r\n\x00\r\nQUIT\n"
_V2_FIXED_BYTES: Final = 16

_V1_KIND: Final = re.compile(rb"PROXY (UNKNOWN|TCP4|TCP6)(?: (.*))?", re.DOTALL)
# Section 2.1: exactly one space, decimal ports without leading zeros
_PORT: Final = rb"(0|[1-9][0-9]{0,4}+)"
_V1_ADDRESSES: Final = re.compile(
    rb"([0-9A-Fa-f.:]++) ([0-9A-Fa-f.:]++) %b %b" % ((_PORT,) * 2)
)

_V2_LOCAL, _V2_PROXY = 0x20, 0x21
_UNIX_BYTES: Final = 108
_NO_ADDRESS: Final = 0
_INET, _INET6, _UNIX = 1, 2, 3
_ADDRESS_BYTES: Final = {_INET: 4, _INET6: 16, _UNIX: _UNIX_BYTES}


class Endpoint(NamedTuple):
    """One end of the connection that the header describes.

    Attributes:
        host: An address, or the path of a unix socket: ``""`` for an unnamed one, with
            a first NUL for an abstract one.
        port: 0 to 65535; 0 for a unix socket.
    """

    host: str
    port: int


class ProxyHeader(FrozenRecord, frozen=True):
    """What the header says.

    Attributes:
        source: The client. None: the sender speaks for itself (a health check) or does
            not know; the peer of the connection is the client.
        destination: The address that the client connected to; None together with
            ``source``.
        is_unix: Both are unix sockets.
        end: Offset just after the header.
    """

    source: Endpoint | None
    destination: Endpoint | None
    is_unix: bool
    end: int


def parse_proxy_header(
    octets: bytes, limit_bytes: int = V2_BYTES
) -> ProxyHeader | None:
    """Read the header that ``octets`` start with.

    Args:
        octets: All that has arrived on the connection.
        limit_bytes: The longest header of version 2; one of version 1 never has more
            than ``V1_BYTES``.

    Returns:
        None: all of ``octets`` belongs to a header that is not whole yet.

    Raises:
        RemoteProtocolError: The sender's fault: there is no header (seen at the first
            wrong octet), or it is malformed or too long. 400; nothing that follows can
            be trusted.
    """
    if octets.startswith(_V1_START):
        return _parse_v1(octets)
    if octets.startswith(_V2_START):
        return _parse_v2(octets, limit_bytes)
    # Section 2: the receiver must not guess. A first octet that no header has is
    # refused before more is awaited: it is a client that reached the port directly.
    if _V1_START.startswith(octets) or _V2_START.startswith(octets):
        return None
    raise RemoteProtocolError(f"no PROXY protocol header: {quote(octets)}")


def _parse_v1(octets: bytes) -> ProxyHeader | None:
    # Section 2.1: the receiver may wait for the CRLF in a buffer of 107 octets; without
    # one in so many there is no header.
    # The end of the search is the limit: a CRLF behind it is one of the client.
    end = octets.find(b"\r\n", 0, V1_BYTES)
    if end < 0:
        if len(octets) >= V1_BYTES:
            message = f"PROXY header without CRLF in {V1_BYTES} octets: {quote(octets)}"
            raise RemoteProtocolError(message)
        return None
    line = octets[:end]
    kind = _V1_KIND.fullmatch(line)
    if kind is None:
        raise _malformed(line)
    if kind[1] == b"UNKNOWN":
        # Section 2.1: "the receiver must ignore anything presented before the
        # CRLF is found".
        return ProxyHeader(None, None, is_unix=False, end=end + 2)
    # A lenient split would take a second space for an empty address, and a port with a
    # sign or a blank for a number.
    found = _V1_ADDRESSES.fullmatch(kind[2] or b"")
    if found is None:
        raise _malformed(line)
    # ``ipaddress`` refuses what inet_aton(3) would accept, such as "127.1".
    family = IPv4Address if kind[1] == b"TCP4" else IPv6Address
    try:
        source, destination = (
            _endpoint(family(each.decode("ascii")), int(port))
            for each, port in ((found[1], found[3]), (found[2], found[4]))
        )
    except AddressValueError:
        raise _malformed(line) from None
    return ProxyHeader(source, destination, is_unix=False, end=end + 2)


def _parse_v2(octets: bytes, limit_bytes: int) -> ProxyHeader | None:
    """Parse version 2: section 2.2.

    12 octets of signature, command, family, length, then the block. The fixed part is
    checked as soon as it is there, the block when it is whole.
    """
    if len(octets) < _V2_FIXED_BYTES:
        return None
    # Wrong octets are refused before their block has come: it may be 64 KiB.
    family = _find_family(octets[12], octets[13])
    if family is None:
        raise _malformed(octets[:_V2_FIXED_BYTES])
    end = _V2_FIXED_BYTES + int.from_bytes(octets[14:16], "big")
    if end > limit_bytes:
        message = f"PROXY header of {end} octets, at most {limit_bytes} are accepted"
        raise RemoteProtocolError(message)
    # Section 2.2: addresses come first, then ports (of IP), then TLVs up to the length.
    size = _ADDRESS_BYTES.get(family, 0)
    tlvs = _V2_FIXED_BYTES + (2 * size + (4 if family in (_INET, _INET6) else 0))
    # The length is that of the whole block: one that is shorter than its addresses
    # would have them read out of the client's first octets.
    if tlvs > end:
        raise _malformed(octets[:_V2_FIXED_BYTES])
    # The length is checked before the block has arrived: a sender cannot make us wait
    # for, or hold, more than the limit.
    if len(octets) < end:
        return None
    if family == _NO_ADDRESS:
        return ProxyHeader(None, None, is_unix=False, end=end)
    # Their values are of no use here, but a TLV that reaches beyond the block is a
    # sender that counts otherwise than we do, so that the end of it is in doubt.
    _check_tlvs(octets[tlvs:end])
    source, destination = _read_addresses(octets[_V2_FIXED_BYTES:tlvs], family, size)
    return ProxyHeader(source, destination, is_unix=family == _UNIX, end=end)


def _find_family(command: int, kind: int) -> int | None:
    """Return the address family; None where section 2.2 forbids the octets.

    The upper half of ``command`` is the version. LOCAL: the receiver "must discard the
    protocol block including the family which is ignored".

    The upper half of ``kind`` is the family, the lower half the transport. A datagram
    is what the client spoke to the sender (HTTP/3); what is forwarded to us is a stream
    all the same, so both are accepted. Family and transport are known together or not
    at all.
    """
    # LOCAL is how the sender checks our health: the peer's own address counts.
    if command == _V2_LOCAL:
        return _NO_ADDRESS
    if command != _V2_PROXY:
        return None
    family, transport = divmod(kind, 16)
    if family == transport == 0:
        return _NO_ADDRESS
    return family if family in _ADDRESS_BYTES and transport in (1, 2) else None


def _read_addresses(block: bytes, family: int, size: int) -> tuple[Endpoint, Endpoint]:
    first, second = block[:size], block[size : 2 * size]
    if family == _UNIX:
        return _unix_endpoint(first), _unix_endpoint(second)
    read = IPv4Address if family == _INET else IPv6Address
    ports = block[2 * size :]
    return (
        _endpoint(read(first), int.from_bytes(ports[:2], "big")),
        _endpoint(read(second), int.from_bytes(ports[2:], "big")),
    )


def _endpoint(address: IPv4Address | IPv6Address, port: int) -> Endpoint:
    """Return an address in its one form.

    A listener for both families shows IPv4 clients as ``::ffff:192.0.2.1``, which
    Python writes in two ways; it means ``192.0.2.1``.
    """
    # Five digits of version 1 reach to 99,999.
    if port > 65_535:
        raise AddressValueError
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return Endpoint(str(address), port)


def _unix_endpoint(field: bytes) -> Endpoint:
    """Read a field of ``sockaddr_un``: a path, or a NUL and an abstract name."""
    name = field[:1] + field[1:].partition(b"\x00")[0]
    return Endpoint("" if name == b"\x00" else name.decode("utf-8", "replace"), 0)


def _check_tlvs(block: bytes) -> None:
    """Check the framing of TLVs (type, length in two octets, value): section 2.2.1."""
    at = 0
    while at < len(block):
        # Of a type and length that are cut, it is behind the end as well.
        at += 3 + int.from_bytes(block[at + 1 : at + 3], "big")
    if at != len(block):
        raise _malformed(block)


def _malformed(octets: bytes) -> RemoteProtocolError:
    return RemoteProtocolError(f"malformed PROXY protocol header: {quote(octets)}")
