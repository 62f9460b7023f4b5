"""What makes the content of a request is closed when nobody wants more of it."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

import blazeio as io
from tests.client.scripts import OK
from tests.support.clock import wait_until
from tests.support.raw_server import RawServer, Visitor


class Source:
    """Pieces of content, and how often what made them was closed."""

    def __init__(self) -> None:
        self.begun = self.closed = 0

    async def endless(self) -> AsyncIterator[bytes]:
        self.begun += 1
        try:
            while True:
                yield bytes(10_000)
                await asyncio.sleep(0)
        finally:
            await asyncio.sleep(0)
            self.closed += 1

    async def stuck(self) -> AsyncIterator[bytes]:
        self.begun += 1
        try:
            yield b"x"
            await asyncio.Event().wait()
        finally:
            self.closed += 1

    def plain(self) -> Iterator[bytes]:
        self.begun += 1
        try:
            while True:
                yield bytes(10_000)
        finally:
            self.closed += 1


KINDS = ("endless", "stuck", "plain")


async def answer_early(visitor: Visitor) -> None:
    await visitor.read_head()
    await visitor.send(b"HTTP/1.1 413 Large\r\nContent-Length: 3\r\n\r\ntoo")
    await visitor.read_until_end()


async def answer_ok_early(visitor: Visitor) -> None:
    await visitor.read_head()
    await visitor.send(OK)
    await visitor.read_until_end()


async def hang_up(visitor: Visitor) -> None:
    await visitor.read_head()
    visitor.close()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("serve", [answer_early, answer_ok_early])
async def test_at_once_when_the_server_answers_early(kind: str, serve: Any) -> None:
    source = Source()
    async with (
        RawServer(serve) as server,
        io.Session() as session,
        session.post(server.url, body=getattr(source, kind)()) as resp,
    ):
        await resp.aread()
        await wait_until(lambda: source.closed == source.begun)
        assert resp.status_code in (200, 413)


@pytest.mark.parametrize("kind", KINDS)
async def test_at_once_when_the_server_goes(kind: str) -> None:
    source = Source()
    async with RawServer(hang_up) as server, io.Session() as session:
        with pytest.raises(io.RequestError):
            async with session.post(server.url, body=getattr(source, kind)()):
                pytest.fail("it was answered")
        assert source.closed == source.begun


@pytest.mark.parametrize("kind", KINDS)
async def test_at_once_when_who_asks_is_cancelled(kind: str) -> None:
    source = Source()

    async def serve(visitor: Visitor) -> None:
        await visitor.read_until_end()

    async with RawServer(serve) as server, io.Session() as session:

        async def ask() -> None:
            async with session.post(server.url, body=getattr(source, kind)()):
                pytest.fail("it was answered")

        task = asyncio.create_task(ask())
        await wait_until(lambda: source.begun == 1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert source.closed == 1


@pytest.mark.parametrize("kind", KINDS)
async def test_what_is_written_in_the_block_is_closed_too(kind: str) -> None:
    source = Source()
    headers = {"Transfer-Encoding": "chunked"}
    async with (
        RawServer(answer_early) as server,
        io.Session() as session,
        session.post(server.url, headers=headers) as resp,
    ):
        writing = asyncio.create_task(resp.write(getattr(source, kind)()))
        await resp.prepare()
        if kind == "stuck":
            writing.cancel()
        await asyncio.gather(writing, return_exceptions=True)
        assert source.closed == source.begun == 1


async def test_a_file_of_a_form_that_is_an_async_generator_is_closed() -> None:
    source = Source()
    async with (
        RawServer(answer_early) as server,
        io.Session() as session,
        session.post(server.url, files={"a": source.endless()}) as resp,
    ):
        assert resp.status_code == 413
        await wait_until(lambda: source.closed == source.begun)


async def test_an_iterator_is_sent_piece_by_piece() -> None:
    pieces: Iterator[bytes | str] = iter([b"ab", "ü"])
    async with (
        RawServer(OK) as server,
        io.Session() as session,
        session.put(server.url, body=pieces) as resp,
    ):
        assert resp.status_code == 200
    sent = b"2\r\nab\r\n2\r\n\xc3\xbc\r\n0\r\n\r\n"
    assert server.requests[0].endswith(sent)
