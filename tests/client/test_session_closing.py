"""After a session is closed nothing is sent or opened; who waits is told."""

import asyncio
import os
import threading
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

import blazeio as io
from blazeio.client import download
from blazeio.errors import LocalProtocolError, SessionClosed
from tests.client.scripts import CHUNKED, OK, answer
from tests.support.clock import wait_until, within
from tests.support.raw_server import RawServer, Visitor

Pool = io.Session[io.Session[object]]
ONE = io.PoolLimits(connections=1)


async def assert_is_told(waiting: asyncio.Task[object]) -> None:
    with pytest.raises(SessionClosed, match="the session was closed"):
        await within(waiting, 5)


async def ask(session: Pool, url: str) -> bytes:
    async with session.get(url) as resp:
        return await resp.aread()


@pytest.mark.parametrize("is_cancelled", [False, True])
async def test_who_is_served_in_the_turn_in_which_it_is_closed_sends_nothing(
    is_cancelled: bool,
) -> None:
    go_on = asyncio.Event()

    async def script(visitor: Visitor) -> None:
        while await visitor.read_request() is not None:
            await go_on.wait()
            await visitor.send(OK)

    async def end() -> None:
        async with session.get(server.url):
            # This is told of its response first, then the other of its connection.
            if is_cancelled:
                waiting.cancel()
            await session.close()

    async with RawServer(script) as server, io.Session(pool=ONE) as session:
        ending = asyncio.create_task(end())
        await wait_until(lambda: server.requests)
        waiting = asyncio.create_task(ask(session, server.url))
        await wait_until(lambda: "1 waiting" in repr(session))
        go_on.set()
        await within(ending)
        if is_cancelled:
            with pytest.raises(asyncio.CancelledError):
                await waiting
        else:
            await assert_is_told(waiting)
        assert (server.connections, len(server.requests)) == (1, 1)
        assert repr(session) == "<Session <Pool empty>>"


async def test_who_waits_for_a_connection_is_told() -> None:
    async def silent(visitor: Visitor) -> None:
        await visitor.read_until_end()

    async with RawServer(silent) as server, io.Session(pool=ONE) as session:
        tasks = [asyncio.create_task(ask(session, server.url)) for _ in range(3)]
        await wait_until(lambda: "2 waiting" in repr(session))
        await within(session.close())
        for task in tasks:
            await assert_is_told(task)
    assert server.connections == 1


async def test_who_resolves_a_name_is_told_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    never = asyncio.Event()

    async def resolve(*_args: object, **_options: object) -> list[object]:
        await never.wait()
        return []

    loop = asyncio.get_running_loop()
    proxy = _LoopWith(loop, resolve)
    async with io.Session() as session:
        assert session._context is not None
        monkeypatch.setattr(session._context, "loop", proxy)
        task = asyncio.create_task(ask(session, "http://name.example/"))
        await wait_until(lambda: "opening" in repr(session))
        await within(session.close(), 5)
        await assert_is_told(task)


class _LoopWith:
    """A loop that resolves names in its own way; uvloop's cannot be patched."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, resolve: Callable[..., Awaitable[object]]
    ) -> None:
        self._loop = loop
        self.getaddrinfo = resolve

    def __getattr__(self, name: str) -> object:
        return getattr(self._loop, name)


async def test_who_reads_content_and_who_sends_it_are_told() -> None:
    async def script(visitor: Visitor) -> None:
        await visitor.read_head()
        await visitor.send(CHUNKED + b"\r\n5\r\nhello\r\n")
        await visitor.read_until_end()

    async def endless() -> AsyncIterator[bytes]:
        while True:
            yield b"x" * 1000
            await asyncio.sleep(0)

    async with RawServer(script) as server, io.Session() as session:
        reading = asyncio.create_task(ask(session, server.url))
        async with session.post(server.url, body=endless()) as resp:
            other = asyncio.create_task(resp.aread())
            await asyncio.sleep(0)
            await within(session.close())
            await assert_is_told(reading)
            await assert_is_told(other)


async def test_a_redirect_is_not_followed_any_more() -> None:
    async def script(visitor: Visitor) -> None:
        await visitor.read_request()
        await session.close()
        await visitor.send(
            b"HTTP/1.1 302 F\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n"
        )

    async with (
        RawServer(script) as server,
        io.Session(follow_redirects=True) as session,
    ):
        task = asyncio.create_task(ask(session, server.url))
        await assert_is_told(task)
    assert len(server.requests) == 1


async def test_no_retry_is_sent_any_more() -> None:
    async def script(visitor: Visitor) -> None:
        await visitor.read_request()
        await visitor.send(OK)
        await visitor.read_request()
        closing.append(asyncio.create_task(session.close()))

    closing: list[asyncio.Task[None]] = []
    async with RawServer(script) as server, io.Session() as session:
        await ask(session, server.url)
        task = asyncio.create_task(ask(session, server.url))
        await assert_is_told(task)
        await closing[0]
    assert server.connections == 1


async def test_who_pauses_before_the_next_attempt_is_told_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "PAUSE_S", 1000.0)
    octets = b'HTTP/1.1 200 OK\r\nETag: "x"\r\nContent-Length: 10\r\n\r\nsome'
    async with RawServer(answer(octets)) as server, io.Session() as session:

        async def save() -> None:
            async with session.get(server.url) as resp:
                await resp.save(tmp_path / "file")

        task = asyncio.create_task(save())
        await wait_until(
            lambda: repr(session) == "<Session <Pool empty>>" and server.requests
        )
        await session.close()
        await assert_is_told(task)
    assert len(server.requests) == 1


async def test_who_is_about_to_pause_is_told_at_once() -> None:
    octets = b"HTTP/1.1 204 No Content\r\n\r\n"
    async with RawServer(answer(octets)) as server, io.Session() as session:
        async with session.get(server.url) as resp:
            pass
        await session.close()
        with pytest.raises(SessionClosed):
            await within(resp.context.pause(1000), 5)


async def test_who_waits_to_come_back_to_events_is_told_at_once() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    seen: list[str] = []
    async with (
        RawServer(answer(head + b"retry: 1000000\ndata: one\n\n")) as server,
        io.Session() as session,
    ):

        async def listen() -> None:
            async with session.get(server.url) as resp:
                events = resp.events(reconnect=True)
                seen.append((await anext(events)).data)
                await anext(events)

        task = asyncio.create_task(listen())
        await wait_until(lambda: seen and repr(session) == "<Session <Pool empty>>")
        await session.close()
        await assert_is_told(task)
    assert len(server.requests) == 1


async def test_it_may_be_closed_by_several_at_once() -> None:
    async with RawServer(OK) as server, io.Session() as session:
        await ask(session, server.url)
        await asyncio.gather(*(session.close() for _ in range(3)))
        assert repr(session) == "<Session <Pool empty>>"


def test_it_is_of_the_loop_that_it_was_entered_on() -> None:
    """Another loop, in the same thread and in another one, gets an error."""
    errors: list[BaseException] = []

    async def ask_here(session: Pool, url: str) -> None:
        try:
            await ask(session, url)
        except LocalProtocolError as error:
            errors.append(error)

    async def main() -> None:
        async with RawServer(OK) as server, io.Session() as session:
            await ask(session, server.url)
            work = ask_here(session, server.url)
            thread = threading.Thread(target=lambda: asyncio.run(work))
            thread.start()
            await asyncio.to_thread(thread.join)
            assert len(server.requests) == 1
            left.append((session, server.url))

    left: list[tuple[Pool, str]] = []
    asyncio.run(main())

    async def elsewhere() -> None:
        session: Pool = io.Session()
        await session.__aenter__()
        left.append((session, "http://127.0.0.1:1/"))

    loop = asyncio.new_event_loop()
    loop.run_until_complete(elsewhere())
    session, url = left[-1]
    asyncio.run(ask_here(session, url))
    loop.run_until_complete(session.close())
    loop.close()
    assert [str(each) for each in errors] == [
        "the session belongs to another event loop"
    ] * 2


async def test_a_forked_child_does_not_use_the_sockets_of_its_parent() -> None:
    async with RawServer(OK) as server, io.Session() as session:
        await ask(session, server.url)
        reading, writing = os.pipe()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # other threads
            pid = os.fork()
        if pid == 0:  # no loop of ours runs here
            try:
                coroutine = ask(session, server.url)
                coroutine.send(None)
            except SessionClosed as error:
                os.write(writing, str(error).encode())
            finally:
                os._exit(0)
        os.close(writing)
        await asyncio.to_thread(os.waitpid, pid, 0)
        with os.fdopen(reading, "rb") as pipe:
            assert (
                pipe.read() == b"the session was entered before the fork: open one here"
            )
        assert await ask(session, server.url) == b"ok"
    assert server.connections == 1
