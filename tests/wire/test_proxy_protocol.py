import struct
from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blazeio.errors import RemoteProtocolError
from blazeio.wire.proxy_protocol import (
    V1_BYTES,
    Endpoint,
    ProxyHeader,
    parse_proxy_header,
)

SIGNATURE = b"\r\n\r\n\x00\r\nQUIT\n"
LOCAL, PROXY = 0x20, 0x21
TCP4, UDP4, TCP6, UDP6 = 0x11, 0x12, 0x21, 0x22
UNIX_STREAM, UNIX_DATAGRAM = 0x31, 0x32
IPV4_BLOCK = bytes([192, 0, 2, 1, 198, 51, 100, 2]) + struct.pack("!HH", 56324, 443)
CLIENT, SERVER = Endpoint("192.0.2.1", 56324), Endpoint("198.51.100.2", 443)
REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"

PORTS = st.integers(0, 65_535)


def v2(block: bytes, kind: int = TCP4, command: int = PROXY) -> bytes:
    return SIGNATURE + bytes([command, kind]) + struct.pack("!H", len(block)) + block


def tlv(kind: int, value: bytes) -> bytes:
    return bytes([kind]) + struct.pack("!H", len(value)) + value


def read_every_way(octets: bytes) -> ProxyHeader:
    """Whole, octet by octet, and with a request behind: the same each time."""
    header = parse_proxy_header(octets)
    assert header is not None
    assert header.end == len(octets)
    for size in range(len(octets)):
        assert parse_proxy_header(octets[:size]) is None
    assert parse_proxy_header(octets + REQUEST) == header
    return header


def refuse(octets: bytes) -> str:
    with pytest.raises(RemoteProtocolError) as caught:
        parse_proxy_header(octets)
    assert caught.value.status_hint == 400
    return str(caught.value)


# Version 1


@pytest.mark.parametrize(
    ("line", "source", "destination"),
    [
        (
            b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n",
            CLIENT,
            SERVER,
        ),
        (
            b"PROXY TCP6 2001:DB8::1 2001:db8::2 1 65535\r\n",
            Endpoint("2001:db8::1", 1),
            Endpoint("2001:db8::2", 65535),
        ),
        (
            b"PROXY TCP6 ::ffff:192.0.2.1 ::ffff:198.51.100.2 56324 443\r\n",
            CLIENT,
            SERVER,
        ),
        (
            b"PROXY TCP4 255.255.255.255 255.255.255.255 0 65535\r\n",
            Endpoint("255.255.255.255", 0),
            Endpoint("255.255.255.255", 65535),
        ),
    ],
)
def test_a_line_names_both_ends(
    line: bytes, source: Endpoint, destination: Endpoint
) -> None:
    header = read_every_way(line)
    assert (header.source, header.destination) == (source, destination)
    assert not header.is_unix


@pytest.mark.parametrize(
    "line",
    [
        b"PROXY UNKNOWN\r\n",
        b"PROXY UNKNOWN \r\n",
        b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n",
        b"PROXY UNKNOWN \x00\xff\n anything\r\n",
    ],
)
def test_an_unknown_client_is_the_peer(line: bytes) -> None:
    assert read_every_way(line) == ProxyHeader(None, None, False, len(line))


@given(st.ip_addresses(v=4), st.ip_addresses(v=4), PORTS, PORTS)
def test_each_line_of_ipv4_is_read(
    source: IPv4Address, destination: IPv4Address, first: int, second: int
) -> None:
    line = f"PROXY TCP4 {source} {destination} {first} {second}\r\n".encode()
    header = read_every_way(line)
    assert header.source == (str(source), first)
    assert header.destination == (str(destination), second)


@given(st.ip_addresses(v=6), PORTS)
def test_each_line_of_ipv6_is_read(address: IPv6Address, port: int) -> None:
    digits = f"{int(address):032x}"  # 3.13 writes some as ::ffff:1.2.3.4
    exploded = ":".join(digits[at : at + 4] for at in range(0, 32, 4))
    for text in (str(address), exploded, exploded.upper()):
        line = f"PROXY TCP6 {text} {text} {port} {port}\r\n".encode()
        assert len(line) <= V1_BYTES
        header = read_every_way(line)
        expected = str(address.ipv4_mapped or address)
        assert header.source == header.destination == (expected, port)


@pytest.mark.parametrize(
    "line",
    [
        b"PROXY \r\n",
        b"PROXY TCP4\r\n",
        b"PROXY TCP4 \r\n",
        b"PROXY tcp4 192.0.2.1 198.51.100.2 1 2\r\n",
        b"PROXY UDP4 192.0.2.1 198.51.100.2 1 2\r\n",
        b"PROXY TCP5 192.0.2.1 198.51.100.2 1 2\r\n",
        b"PROXY UNKNOWNS\r\n",
        b"PROXY  TCP4 192.0.2.1 198.51.100.2 1 2\r\n",
        b"PROXY TCP4  192.0.2.1 198.51.100.2 1 2\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 1 2 \r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 1 2 3\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 1\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 1 \r\n",
        b"PROXY TCP4\t192.0.2.1 198.51.100.2 1 2\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 01 2\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 65536 2\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 1 99999\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 -1 2\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 +1 2\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 1_0 2\r\n",
        b"PROXY TCP4 192.0.2.01 198.51.100.2 1 2\r\n",
        b"PROXY TCP4 192.0.2 198.51.100.2 1 2\r\n",
        b"PROXY TCP4 256.0.2.1 198.51.100.2 1 2\r\n",
        b"PROXY TCP4 192.0.2.1/8 198.51.100.2 1 2\r\n",
        b"PROXY TCP4 2001:db8::1 2001:db8::2 1 2\r\n",
        b"PROXY TCP6 192.0.2.1 198.51.100.2 1 2\r\n",
        b"PROXY TCP6 [::1] [::1] 1 2\r\n",
        b"PROXY TCP6 fe80::1%eth0 ::1 1 2\r\n",
        b"PROXY TCP6 ::1::1 ::1 1 2\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 1 2\nGET / HTTP/1.1\r\n",
        b"PROXY TCP4 192.0.2.1 198.51.100.2 1 2\r \r\n",
        b"PROXY TCP4 192.0.2.1\x00 198.51.100.2 1 2\r\n",
        b"PROXY TCP4 \xd9\xa1.0.2.1 198.51.100.2 1 2\r\n",
    ],
)
def test_a_malformed_line_is_refused(line: bytes) -> None:
    assert refuse(line).startswith("malformed PROXY protocol header: b'PROXY ")


def test_a_line_has_at_most_107_octets() -> None:
    longest = b"PROXY UNKNOWN " + b"x" * (V1_BYTES - 16) + b"\r\n"
    assert len(longest) == V1_BYTES
    read_every_way(longest)
    too_long = b"PROXY UNKNOWN " + b"x" * V1_BYTES
    assert parse_proxy_header(too_long[: V1_BYTES - 1]) is None
    assert refuse(too_long[:V1_BYTES]).startswith(
        "PROXY header without CRLF in 107 octets: b'PROXY UNKNOWN xxx"
    )
    assert refuse(too_long + b"\r\n") == refuse(too_long)


# Version 2


def test_a_block_names_both_ends() -> None:
    header = read_every_way(v2(IPV4_BLOCK))
    assert (header.source, header.destination) == (CLIENT, SERVER)
    assert not header.is_unix


def test_a_client_that_spoke_datagrams_is_named_too() -> None:
    assert read_every_way(v2(IPV4_BLOCK, UDP4)).source == CLIENT


@pytest.mark.parametrize("kind", [TCP6, UDP6])
@given(st.ip_addresses(v=6), st.ip_addresses(v=6), PORTS, PORTS)
def test_each_block_of_ipv6_is_read(
    kind: int, source: IPv6Address, destination: IPv6Address, first: int, second: int
) -> None:
    ports = struct.pack("!HH", first, second)
    header = parse_proxy_header(v2(source.packed + destination.packed + ports, kind))
    assert header is not None
    assert header.source == (str(source.ipv4_mapped or source), first)
    assert header.destination == (str(destination.ipv4_mapped or destination), second)


@pytest.mark.parametrize(
    ("path", "host"),
    [
        (b"/run/web.sock", "/run/web.sock"),
        (b"", ""),
        (b"\x00web", "\x00web"),
        (b"/" + b"x" * 107, "/" + "x" * 107),
        (b"/\xff", "/\ufffd"),
        (b"/a\x00left over", "/a"),
    ],
)
@pytest.mark.parametrize("kind", [UNIX_STREAM, UNIX_DATAGRAM])
def test_unix_sockets_have_a_path_and_no_port(
    kind: int, path: bytes, host: str
) -> None:
    block = path.ljust(108, b"\x00") + b"/srv".ljust(108, b"\x00")
    header = read_every_way(v2(block, kind))
    assert header.is_unix
    assert (header.source, header.destination) == ((host, 0), ("/srv", 0))


@pytest.mark.parametrize("kind", [0x00, TCP4, UNIX_STREAM, 0x77, 0xFF])
@pytest.mark.parametrize("block", [b"", IPV4_BLOCK, b"\xff" * 20])
def test_a_local_connection_is_that_of_the_peer_whatever_the_block(
    kind: int, block: bytes
) -> None:
    octets = v2(block, kind, LOCAL)
    assert read_every_way(octets) == ProxyHeader(None, None, False, len(octets))


@pytest.mark.parametrize("block", [b"", b"\xff" * 20])
def test_without_a_family_the_client_is_the_peer(block: bytes) -> None:
    assert read_every_way(v2(block, 0x00)).source is None


@given(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=40)), max_size=5))
def test_what_follows_the_addresses_is_passed_over(
    values: list[tuple[int, bytes]],
) -> None:
    block = IPV4_BLOCK + b"".join(tlv(kind, value) for kind, value in values)
    assert read_every_way(v2(block)).source == CLIENT


@pytest.mark.parametrize("size", [255, 256, 700])
def test_a_value_may_be_long(size: int) -> None:
    block = IPV4_BLOCK + tlv(0x20, bytes(size)) + tlv(4, b"x")
    assert read_every_way(v2(block)).source == CLIENT
    assert "malformed" in refuse(v2(block[:-2]))


@pytest.mark.parametrize(
    "rest",
    [
        b"\x01",
        b"\x01\x00",
        b"\x01\x00\x01",
        tlv(4, b"") + b"\x04",
        tlv(1, b"h2")[:-1],
        b"\x01\xff\xff",
    ],
)
def test_a_value_that_leaves_its_block_is_refused(rest: bytes) -> None:
    assert "malformed" in refuse(v2(IPV4_BLOCK + rest))


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (v2(IPV4_BLOCK, TCP4, 0x22), "a command that is not assigned"),
        (v2(IPV4_BLOCK, TCP4, 0x11), "version 1 in the form of version 2"),
        (v2(IPV4_BLOCK, TCP4, 0x31), "version 3"),
        (v2(IPV4_BLOCK, TCP4, 0x01), "version 0"),
        (v2(IPV4_BLOCK, 0x01), "a transport without a family"),
        (v2(IPV4_BLOCK, 0x10), "a family without a transport"),
        (v2(IPV4_BLOCK, 0x13), "a transport that is not assigned"),
        (v2(IPV4_BLOCK * 99, 0x41), "a family that is not assigned"),
        (v2(IPV4_BLOCK[:-1]), "too short for its addresses"),
        (v2(b""), "no addresses"),
        (v2(IPV4_BLOCK, TCP6), "IPv4 called IPv6"),
        (v2(IPV4_BLOCK, UNIX_STREAM), "IPv4 called unix"),
    ],
)
def test_a_malformed_block_is_refused(octets: bytes, reason: str) -> None:
    assert refuse(octets).startswith("malformed PROXY protocol header: "), reason
    assert refuse(octets[:16]) == refuse(octets), "as soon as its first part is there"


def test_a_block_is_bounded() -> None:
    room = 16 + len(IPV4_BLOCK)
    octets = v2(IPV4_BLOCK + tlv(4, bytes(100)))
    assert parse_proxy_header(octets, room + 103) is not None
    with pytest.raises(RemoteProtocolError, match="of 131 octets, at most 130 are"):
        parse_proxy_header(octets[:16], room + 102)
    assert "of 65551 octets, at most 4096" in refuse(v2(bytes(65_535)))


def test_a_block_of_4096_octets_is_whole_and_one_more_is_refused() -> None:
    fitting = v2(IPV4_BLOCK + tlv(4, bytes(4096 - 16 - len(IPV4_BLOCK) - 3)))
    header = parse_proxy_header(fitting)
    assert header is not None
    assert header.end == len(fitting) == 4096
    longer = v2(IPV4_BLOCK + tlv(4, bytes(4096 - 16 - len(IPV4_BLOCK) - 2)))
    assert "of 4097 octets, at most 4096" in refuse(longer)


# Neither


@pytest.mark.parametrize(
    "octets",
    [
        REQUEST,
        b"proxy TCP4",
        b"PROXY\t",
        b"PROXYTCP4",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\r\n\r\n\x00\r\nQUIT\r",
        b"\r\nGET / HTTP/1.1\r\n",
        b"\x16\x03\x01\x02\x00\x01",
        b" PROXY TCP4 ",
    ],
)
def test_anything_else_is_refused_at_once(octets: bytes) -> None:
    message = refuse(octets)
    assert message.startswith("no PROXY protocol header: b")
    first = next(
        size for size in range(1, len(octets) + 1) if is_refused(octets[:size])
    )
    assert first <= 12


def is_refused(octets: bytes) -> bool:
    try:
        parse_proxy_header(octets)
    except RemoteProtocolError:
        return True
    return False


def test_a_quote_of_the_refused_octets_is_short() -> None:
    assert len(refuse(b"x" * 100_000)) < 120


@given(st.binary(max_size=300))
def test_no_octets_do_anything_but_be_read_or_refused(rest: bytes) -> None:
    for octets in (rest, b"PROXY " + rest, SIGNATURE + rest):
        try:
            header = parse_proxy_header(octets)
        except RemoteProtocolError:
            continue
        assert header is None or 15 <= header.end <= len(octets)
