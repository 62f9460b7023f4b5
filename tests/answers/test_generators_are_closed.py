"""A generator whose content is sent is closed when nobody wants it any more."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from blazeio.app.app import App
from blazeio.app.deliver import Deliver
from blazeio.protocol.request import BlazeioServerProtocol
from tests.support.clock import wait_until
from tests.support.served import serialize_request, served

R = BlazeioServerProtocol

PIECE = b"x" * 50_000


class Source:
    """Generators, and whether they were closed, in the task of the handler."""

    def __init__(self, piece: Any = PIECE) -> None:
        self.piece = piece
        self.begun = self.closed = 0
        self.tasks: set[Any] = set()

    def plain(self) -> Iterator[Any]:
        self.begun += 1
        try:
            while True:
                yield self.piece
        finally:
            self._close()

    async def slow(self) -> AsyncIterator[Any]:
        self.begun += 1
        try:
            while True:
                yield self.piece
                await asyncio.sleep(0.001)
        finally:
            await asyncio.sleep(0)
            self._close()

    async def eager(self) -> AsyncIterator[Any]:
        self.begun += 1
        try:
            while True:
                yield self.piece
        finally:
            self._close()

    async def stuck(self) -> AsyncIterator[Any]:
        self.begun += 1
        try:
            yield self.piece
            await asyncio.Event().wait()
        finally:
            self._close()

    def _close(self) -> None:
        self.closed += 1
        self.tasks.add(asyncio.current_task())


Send = Callable[[R, Any], Any]


async def write(r: R, pieces: Any) -> None:
    await r.prepare()
    await r.write(pieces)


async def write_encoded(r: R, pieces: Any) -> None:
    await r.prepare(compress=True)
    await r.write(pieces)


SENDERS = (write, write_encoded, Deliver.stream)
KINDS = ("plain", "slow", "eager", "stuck")


def route(web: App, source: Source, kind: str, send: Send) -> list[Any]:
    tasks = []

    @web.add_route
    async def _x(r: R) -> None:
        tasks.append(asyncio.current_task())
        await send(r, getattr(source, kind)())

    return tasks


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("send", SENDERS)
async def test_it_is_closed_at_once_when_the_client_goes(kind: str, send: Send) -> None:
    web, source = App(), Source()
    tasks = route(web, source, kind, send)
    headers = {"Accept-Encoding": "gzip"}
    async with served(web) as site:
        async with await site.connect() as peer:
            await peer.send(serialize_request("GET", "/x", headers=headers))
            await peer.read_some()
        await wait_until(lambda: source.closed == 1)
    assert source.tasks == set(tasks)


@pytest.mark.parametrize("kind", KINDS)
async def test_events_are_closed_at_once_when_the_client_goes(kind: str) -> None:
    web, source = App(), Source("event")
    route(web, source, kind, Deliver.sse)
    async with served(web) as site:
        async with await site.connect() as peer:
            await peer.send(serialize_request("GET", "/x"))
            await peer.read_some()
        await wait_until(lambda: source.closed == 1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("send", [*SENDERS, Deliver.sse])
async def test_head_asks_for_nothing_of_it(kind: str, send: Send) -> None:
    web, source = App(), Source("event")
    route(web, source, kind, send)
    async with served(web) as site:
        assert (await site.ask("HEAD", "/x")).status == 200
    assert source.begun == 0


@pytest.mark.parametrize("kind", KINDS)
async def test_it_is_closed_when_the_handler_is_cancelled_or_the_write_fails(
    kind: str,
) -> None:
    web, source = App(handler_timeout_s=0.2), Source()

    @web.add_route
    async def _late(r: R) -> None:
        await write(r, getattr(source, kind)())

    @web.add_route
    async def _short(r: R) -> None:
        await r.prepare({"Content-Length": 10})
        await r.write(getattr(source, kind)())

    async with served(web) as site, await site.connect() as peer:
        await peer.send(serialize_request("GET", "/late"))
        await wait_until(lambda: source.closed == 1)
        async with await site.connect() as other:
            await other.send(serialize_request("GET", "/short"))
            await wait_until(lambda: source.closed == 2)


async def test_its_cleanup_is_not_broken_into() -> None:
    """An error tells of a loss that cancels the handler a few turns later."""
    web = App()
    steps: list[str] = []

    async def pieces() -> AsyncIterator[bytes]:
        try:
            while True:
                yield PIECE
                await asyncio.sleep(0)
        finally:
            for step in range(20):
                await asyncio.sleep(0.001)
                steps.append(str(step))

    @web.add_route
    async def _x(r: R) -> None:
        try:
            await write(r, pieces())
        finally:
            steps.append("handler")

    async with served(web) as site:
        for _ in range(5):
            steps.clear()
            async with await site.connect() as peer:
                await peer.send(serialize_request("GET", "/x"))
                await peer.read_some()
                peer.reset()
            await wait_until(lambda: "handler" in steps)
            assert steps == [*map(str, range(20)), "handler"]


async def test_the_loss_comes_while_it_is_closed() -> None:
    web = App()
    steps: list[str] = []

    async def pieces() -> AsyncIterator[bytes]:
        try:
            yield b"x"
            yield 5  # type: ignore[misc]
        finally:
            steps.append("closing")
            await wait_until(lambda: steps[-1] == "lost")
            await asyncio.sleep(0.01)
            steps.append("closed")

    @web.add_route
    async def _x(r: R) -> None:
        try:
            await write(r, pieces())
        finally:
            await asyncio.sleep(0)

    async with served(web) as site:
        async with await site.connect() as peer:
            await peer.send(serialize_request("GET", "/x"))
            await wait_until(lambda: steps == ["closing"])
            peer.reset()
        await wait_until(lambda: not site.server.connection_count)
        steps.append("lost")
        await wait_until(lambda: site.server.in_flight == 0)
    assert steps == ["closing", "lost", "closed"]


async def test_one_that_nobody_can_send_is_closed() -> None:
    web, source = App(), Source()
    made: list[Any] = []

    @web.add_route
    async def _twice(r: R) -> None:
        await Deliver.text(r, "first")
        made.append(source.plain())
        await Deliver.stream(r, made[0])

    async with served(web) as site:
        assert (await site.get("/twice")).text == "first"
    assert inspect.getgeneratorstate(made[0]) == inspect.GEN_CLOSED


async def test_lists_and_files_are_sent_and_left_as_they_are(tmp_path: Any) -> None:
    web = App()
    (tmp_path / "lines").write_bytes(b"a\nb\n")
    pieces = ["x", b"y", bytearray(b"z")]

    @web.add_route
    async def _x(r: R) -> None:
        with open(tmp_path / "lines", "rb") as file:  # noqa: ASYNC230 - two lines
            await r.write(pieces)
            await r.write(file)
            assert not file.closed

    async with served(web) as site:
        assert (await site.get("/x")).body == b"xyza\nb\n"


@pytest.mark.http1  # its chunks
async def test_text_given_to_stream_is_one_piece() -> None:
    web = App()

    @web.add_route
    async def _x(r: R) -> None:
        await Deliver.stream(r, "größer")

    async with served(web) as site:
        answer = await site.get("/x")
    assert answer.octets.endswith(b"\r\n8\r\n" + "größer".encode() + b"\r\n0\r\n\r\n")
