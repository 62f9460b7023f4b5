import asyncio
import socket
import threading
from collections.abc import AsyncIterator

import pytest

from tests.support.clock import wait_until
from tests.support.peer import BlockingPeer, RawPeer, UnexpectedEndError

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


@pytest.fixture
async def server_port() -> AsyncIterator[int]:
    """A server that answers each line with ANSWER, and ends at ``bye``."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (line := await reader.readline()) not in (b"", b"bye\n"):
                writer.write(ANSWER if line != b"half\n" else ANSWER[:9])
        except ConnectionResetError:
            pass  # the peer's `reset`
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()


async def test_an_exchange_is_exactly_one_response(server_port: int) -> None:
    async with await RawPeer.connect("127.0.0.1", server_port) as peer:
        await peer.send(b"a\n")
        assert await peer.exchange(b"b\n") == ANSWER
        assert (await peer.read_response()).body == b"ok"


async def test_an_end_is_seen_and_nothing_is_taken(server_port: int) -> None:
    async with await RawPeer.connect("127.0.0.1", server_port) as peer:
        assert not peer.has_ended()
        await peer.send(b"a\nbye\n")
        assert (await peer.read_response()).body == b"ok"
        await wait_until(peer.has_ended)
        assert await peer.read_until_end() == b""


async def test_all_octets_up_to_the_end_are_read(server_port: int) -> None:
    async with await RawPeer.connect("127.0.0.1", server_port) as peer:
        await peer.send(b"a\nb\n")
        peer.half_close()
        assert await peer.read_until_end() == ANSWER * 2
        assert await peer.read_some() == b""


async def test_a_cut_off_response_is_an_error(server_port: int) -> None:
    async with await RawPeer.connect("127.0.0.1", server_port) as peer:
        await peer.send(b"half\nbye\n")
        with pytest.raises(UnexpectedEndError, match=r"HTTP/1\.1"):
            await peer.read_response()


async def test_a_reset_reaches_the_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peer = await RawPeer.connect(*listener.getsockname())
        accepted, _ = listener.accept()
        peer.reset()
        with accepted, pytest.raises(ConnectionResetError):
            accepted.recv(1)


async def test_the_blocking_peer_reads_the_same(server_port: int) -> None:
    answers = []

    def exchange() -> None:
        with BlockingPeer("127.0.0.1", server_port) as peer:
            answers.append(peer.exchange(b"a\n"))
            peer.send(b"b\nbye\n")
            answers.append(peer.read_until_end())

    thread = threading.Thread(target=exchange)
    thread.start()
    await wait_until(lambda: not thread.is_alive())
    assert answers == [ANSWER, ANSWER]
