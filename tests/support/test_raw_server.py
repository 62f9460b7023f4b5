import asyncio
from pathlib import Path

import pytest

from tests.support.clock import wait_until
from tests.support.peer import RawPeer, UnexpectedEndError
from tests.support.raw_server import RawServer, Visitor
from tests.support.tls_peer import Certificates, TlsPeer

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
GET = b"GET / HTTP/1.1\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"
CHUNKED = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n"
EMPTY = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"


async def test_every_request_is_answered_with_the_octets() -> None:
    async with (
        RawServer(ANSWER) as server,
        await RawPeer.connect("127.0.0.1", server.port) as peer,
    ):
        for request in (GET, POST, CHUNKED, EMPTY):
            assert await peer.exchange(request) == ANSWER
    assert server.requests == [GET, POST, CHUNKED, EMPTY]
    assert server.connections == 1


async def test_a_script_is_run_for_each_connection() -> None:
    async def script(visitor: Visitor) -> None:
        await visitor.send(b"%d" % visitor.number)

    async with RawServer(script) as server:
        for number in (b"0", b"1"):
            async with await RawPeer.connect("127.0.0.1", server.port) as peer:
                assert await peer.read_until_end() == number


async def test_a_connection_can_be_reset() -> None:
    async def script(visitor: Visitor) -> None:
        await visitor.read_request()
        visitor.reset()

    async with (
        RawServer(script) as server,
        await RawPeer.connect("127.0.0.1", server.port) as peer,
    ):
        with pytest.raises(ConnectionResetError):
            await peer.exchange(GET)


async def test_a_script_that_waits_ends_with_the_server() -> None:
    async def script(visitor: Visitor) -> None:
        await asyncio.Event().wait()

    async with RawServer(script) as server:
        peer = await RawPeer.connect("127.0.0.1", server.port)
        await wait_until(lambda: server.connections)
    async with peer:
        with pytest.raises(UnexpectedEndError):
            await peer.read_response()


async def test_it_speaks_tls(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    context = certificates.server_context("localhost")
    async with RawServer(ANSWER, context, "localhost") as server:
        async with await TlsPeer.connect("127.0.0.1", server.port) as peer:
            await peer.shake_hands(certificates.client_context())
            assert await peer.exchange(GET) == ANSWER
        assert server.url == f"https://localhost:{server.port}"
