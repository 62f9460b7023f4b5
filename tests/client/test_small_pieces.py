"""A server that sends content in pieces of an octet or two."""

import asyncio
import tracemalloc

import pytest

import blazeio as io
from blazeio.protocol.flow import CALL_BYTES, CHUNKS_PER_TURN, TURN_BYTES
from tests.client.scripts import answer
from tests.support.raw_server import RawServer

COUNT = 100_000
HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
CHUNKED = HEAD + b"2\r\nab\r\n" * COUNT + b"0\r\n\r\n"
PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


class Turns:
    """Counts the turns of the loop, for as long as the block lasts."""

    def __init__(self) -> None:
        self.count = 0

    async def _count(self) -> None:
        while True:
            await asyncio.sleep(0)
            self.count += 1

    async def __aenter__(self) -> "Turns":
        self._task = asyncio.ensure_future(self._count())
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *error: object) -> None:
        self._task.cancel()


async def test_chunks_of_two_octets_are_collected_turn_by_turn() -> None:
    async with RawServer(answer(CHUNKED)) as server, io.Session() as session:
        async with Turns() as turns, session.get(server.url) as resp:
            tracemalloc.start()
            try:
                content = await resp.aread()
                peak_bytes = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
        assert content == b"ab" * COUNT
        assert turns.count >= COUNT // CHUNKS_PER_TURN
        # in objects of their own the chunks alone would take 4 MB
        assert peak_bytes < 12 * len(content)


@pytest.mark.parametrize("leaves", [False, True])
async def test_the_connection_serves_on_after_them(leaves: bool) -> None:
    script = answer(CHUNKED, PLAIN, PLAIN)
    async with RawServer(script) as server, io.Session() as session:
        async with session.get(server.url) as resp:
            if not leaves:
                size = 0
                async for piece in resp.pull():
                    size += len(piece)
                    await asyncio.sleep(0)
                assert size == 2 * COUNT
        async with session.get(server.url) as resp:
            assert resp.status_code == 200


async def test_who_collects_again_and_again_keeps_no_loop_to_itself() -> None:
    async with (
        RawServer(answer(PLAIN)) as server,
        io.Session() as session,
        session.get(server.url) as resp,
    ):
        await resp.read()
        async with Turns() as turns:
            before = turns.count
            for _ in range(400):
                await resp.read()
            assert turns.count - before >= 400 // (TURN_BYTES // CALL_BYTES) - 1
