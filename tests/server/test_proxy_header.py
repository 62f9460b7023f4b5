"""The header of the PROXY protocol stands before everything on its connection."""

import asyncio
import logging
import struct
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from blazeio.limits import Limits
from blazeio.protocol.carrier import make_trust
from blazeio.server.acceptor import bind
from blazeio.server.server import Server
from blazeio.server.tls import TlsSettings, make_tls_config
from tests.protocol.serving import GET, R, Served, request
from tests.protocol.tls_serving import TlsServed
from tests.support.clock import scaled, wait_until, within
from tests.support.peer import RawPeer
from tests.support.tls_peer import NAME, Certificates

V1 = b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n"
V2 = (
    b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x13"
    + bytes([192, 0, 2, 1, 198, 51, 100, 2])
    + struct.pack("!HH", 56324, 443)
    + b"\x04\x00\x04\x00\x00\x00\x00"
)
LOCAL = b"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"


async def tell(r: R) -> None:
    r.reply(f"{r.ip_host} {r.ip_port} {r.scheme}".encode())


Serve = Callable[..., Served]


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """``serve(allow_ips, **limits)``: a server behind a balancer, on both loops."""
    all_served: list[Served] = []

    def start(
        proxy_protocol_allow_ips: str = "127.0.0.1", path: str = "", **limits: Any
    ) -> Served:
        trust = make_trust(proxy_protocol_allow_ips=proxy_protocol_allow_ips)
        served = Served.start(tell, Limits(**limits), path, trust=trust)
        all_served.append(served)
        return served

    yield start
    for served in all_served:
        await served.end()
    await asyncio.sleep(0)


async def closed(peer: RawPeer) -> bytes:
    """What came before the server closed, by FIN or RST."""
    try:
        return await peer.read_until_end()
    except ConnectionResetError:
        return b""


@pytest.mark.parametrize("header", [V1, V2], ids=["v1", "v2"])
async def test_the_header_names_the_client(serve: Serve, header: bytes) -> None:
    served = serve()
    response = await served.exchange(header + GET)
    assert response.body == b"192.0.2.1 56324 http"


@pytest.mark.parametrize("header", [V1, V2], ids=["v1", "v2"])
async def test_it_is_for_all_requests_of_its_connection(
    serve: Serve, header: bytes
) -> None:
    peer = await serve().connect()
    await peer.send(header)
    for _ in range(3):
        assert (await peer.exchange(GET)).endswith(b"192.0.2.1 56324 http")


@pytest.mark.parametrize("header", [V1, V2], ids=["v1", "v2"])
async def test_it_may_come_octet_by_octet(serve: Serve, header: bytes) -> None:
    peer = await serve().connect()
    for octet in header + GET[:5]:
        await peer.send(bytes([octet]))
        await asyncio.sleep(0)
    await peer.send(GET[5:])
    assert (await peer.read_response()).body == b"192.0.2.1 56324 http"


@pytest.mark.parametrize("header", [LOCAL, b"PROXY UNKNOWN\r\n"])
async def test_a_health_check_speaks_for_itself(serve: Serve, header: bytes) -> None:
    peer = await serve().connect()
    answer = await peer.exchange(header + GET)
    assert answer.endswith(b"127.0.0.1 %d http" % peer.local_port)


@pytest.mark.parametrize("allow_ips", ["*", "127.0.0.0/8,::1"])
async def test_peers_are_named_by_network(serve: Serve, allow_ips: str) -> None:
    response = await serve(allow_ips).exchange(V1 + GET)
    assert response.body == b"192.0.2.1 56324 http"


@pytest.mark.parametrize("allow_ips", ["unix", "*"])
async def test_a_balancer_may_be_on_a_unix_socket(
    serve: Serve, tmp_path: Path, allow_ips: str
) -> None:
    served = serve(allow_ips, str(tmp_path / "s"))
    assert (await served.exchange(V1 + GET)).body == b"192.0.2.1 56324 http"


@pytest.mark.parametrize("allow_ips", ["192.0.2.1", "unix", ""])
async def test_from_other_peers_no_header_is_read(serve: Serve, allow_ips: str) -> None:
    served = serve(allow_ips)
    peer = await served.connect()
    assert (await peer.exchange(GET)).endswith(b"127.0.0.1 %d http" % peer.local_port)
    response = await served.exchange(V1 + GET)
    assert response.status == 400


@pytest.mark.parametrize(
    "octets",
    [
        GET,
        b"PROXY TCP4 192.0.2.1\r\n" + GET,
        b"\x16\x03\x01\x02\x00",
        V2[:12] + b"\x31" + V2[13:] + GET,
        b"PROXY UNKNOWN " + b"x" * 200,
        V1[:-2] + b"\n" + GET,
    ],
)
async def test_without_a_header_the_connection_is_closed(
    serve: Serve, octets: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    served = serve()
    for _ in range(2):
        peer = await served.connect()
        await peer.send(octets)
        assert await closed(peer) == b""
    assert served.server.request_count == 0
    (message,) = caplog.messages
    assert "which must send a PROXY header first: " in message
    assert message.startswith("closed ('127.0.0.1', ")


@pytest.mark.parametrize("octets", [b"", V1[:10], V2[:20]])
async def test_a_header_that_does_not_come_is_not_waited_for(
    serve: Serve, octets: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    peer = await serve(head_timeout_s=scaled(0.1)).connect()
    await peer.send(octets)
    assert await closed(peer) == b""
    assert "none came in time" in caplog.text


@pytest.mark.parametrize("octets", [b"", V1[:10], V2[:20]])
async def test_a_peer_that_closes_before_it_is_forgotten(
    serve: Serve, octets: bytes
) -> None:
    served = serve()
    peer = await served.connect()
    await peer.send(octets)
    peer.half_close()
    assert await closed(peer) == b""
    assert served.server.connection_count == 0


async def test_a_peer_that_resets_is_forgotten_silently(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    served = serve()
    peer = await served.connect()
    await wait_until(lambda: served.server.connection_count)
    peer.reset()
    await wait_until(lambda: not served.server.connection_count)
    assert not [each for each in caplog.records if each.levelno >= logging.INFO]


async def test_a_slow_header_costs_no_time(serve: Serve) -> None:
    """Its octets are taken as they come: left there, they would wake the loop."""
    served = serve()
    peer = await served.connect()
    await peer.send(V1[:10])
    await asyncio.sleep(0.02)
    before_s = time.process_time()
    await asyncio.sleep(0.2)
    assert time.process_time() - before_s < 0.05
    await peer.send(V1[10:] + GET)
    assert (await peer.read_response()).body == b"192.0.2.1 56324 http"


async def test_a_drain_does_not_wait_for_headers_for_long(serve: Serve) -> None:
    served = serve()
    peer = await served.connect()
    await wait_until(lambda: served.server.connection_count)
    served.server.stop_accepting()
    served.server.start_draining(scaled(0.1))
    await within(served.server.drained(), 1)
    assert await closed(peer) == b""


async def test_one_that_comes_while_draining_is_served(serve: Serve) -> None:
    served = serve()
    peer = await served.connect()
    await wait_until(lambda: served.server.connection_count)
    served.server.start_draining(scaled(1))
    await peer.send(V1 + GET)
    response = await peer.read_response()
    assert (response.body, response.field("connection")) == (
        b"192.0.2.1 56324 http",
        "close",
    )


async def test_a_close_does_not_wait_at_all(serve: Serve) -> None:
    served = serve()
    peer = await served.connect()
    await wait_until(lambda: served.server.connection_count)
    served.server.close()
    assert await closed(peer) == b""
    assert served.server.connection_count == 0


async def test_those_who_wait_count_as_connections(serve: Serve) -> None:
    served = serve(connections=2)
    peers = [await served.connect() for _ in range(2)]
    await wait_until(lambda: served.server.is_full)
    late = await served.connect()
    await late.send(V1 + GET)
    peers[0].reset()
    assert (await late.read_response()).body == b"192.0.2.1 56324 http"


@pytest.mark.usefixtures("serve")  # on both loops
async def test_the_header_stands_before_tls(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    settings = TlsSettings(certfile=certificates.issue(NAME))
    trust = make_trust(
        proxy_protocol_allow_ips="127.0.0.1", forwarded_allow_ips="192.0.2.0/24"
    )
    loop = asyncio.get_running_loop()
    sock = bind("127.0.0.1", 0)
    server = Server(tell, Limits(), loop, trust=trust)
    server.accept_from(sock, tls=make_tls_config(settings))
    served = TlsServed(server, sock)
    served.certificates = certificates
    try:
        for header in (V1, V2):
            peer = await served.connect_only()
            await RawPeer.send(peer, header)
            await peer.shake_hands(certificates.client_context())
            answer = await peer.exchange(GET)
            assert answer.endswith(b"192.0.2.1 56324 https")
            field = "X-Forwarded-For: 203.0.113.9"
            answer = await peer.exchange(request("GET", "/", field))
            assert answer.endswith(b"203.0.113.9 0 https")
        bare = await served.connect_only()
        with pytest.raises((ConnectionError, AssertionError)):
            await bare.shake_hands(certificates.client_context())
    finally:
        await served.end()
