"""Sections are those of PEP 3333."""

import asyncio
import re
import threading
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

import pytest

import blazeio as io
from blazeio.app.mounting import list_foreign
from blazeio.gateways.interfaces import Interface
from blazeio.gateways.wsgi import WsgiGateway
from tests.gateways.apps import GET, make_foreign, wsgi
from tests.support.clock import wait_until
from tests.support.served import served

TEXT = [("Content-Type", "text/plain")]


def hello(environ: Any, start_response: Any) -> list[bytes]:
    start_response("200 OK", TEXT)
    return [b"hello"]


class Closable:
    """An iterable that counts its ends."""

    def __init__(self, *parts: Any) -> None:
        self.parts = iter(parts)
        self.given = 0
        self.closed = 0

    def __iter__(self) -> "Closable":
        return self

    def __next__(self) -> Any:
        part = next(self.parts)
        self.given += 1
        if isinstance(part, BaseException):
            raise part
        return part

    def close(self) -> None:
        self.closed += 1


# Threads


async def test_requests_run_side_by_side_in_two_threads() -> None:
    barrier = threading.Barrier(2, timeout=5)

    def app(environ: Any, start_response: Any) -> list[bytes]:
        barrier.wait()
        return hello(environ, start_response)

    async with (
        wsgi(app, threads=2) as site,
        await site.connect() as one,
        await site.connect() as two,
    ):
        await one.send(GET)
        await two.send(GET)
        assert (await one.read_response()).status == 200
        assert (await two.read_response()).status == 200


async def test_what_waits_and_whose_client_has_gone_is_never_run() -> None:
    goes_on = threading.Event()
    paths: list[str] = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        paths.append(environ["PATH_INFO"])
        goes_on.wait(5)
        return hello(environ, start_response)

    async with (
        wsgi(app, threads=1) as site,
        await site.connect() as one,
        await site.connect() as gone,
    ):
        await one.send(b"GET /one HTTP/1.1\r\nHost: a\r\n\r\n")
        await wait_until(lambda: paths)
        await gone.send(b"GET /gone HTTP/1.1\r\nHost: a\r\n\r\n")
        await wait_until(lambda: site.server.in_flight == 2)
        gone.reset()
        await wait_until(lambda: site.server.in_flight == 1)  # before a thread is free
        goes_on.set()
        await one.read_response()
        await wait_until(lambda: not site.server.in_flight)
    assert paths == ["/one"]


async def test_a_request_runs_in_one_thread_with_a_context_of_its_own() -> None:
    var = ContextVar("var", default="unset")
    seen: list[tuple[str, str]] = []

    class Parts(Closable):
        def close(self) -> None:
            seen.append((threading.current_thread().name, var.get()))

    def app(environ: Any, start_response: Any) -> Any:
        seen.append((threading.current_thread().name, var.get()))
        var.set("set")
        start_response("200 OK", [])
        return Parts(b"one", b"two")

    async with wsgi(app) as site, await site.connect() as peer:
        await peer.send(GET)
        await peer.read_response()
        await wait_until(lambda: len(seen) == 2)
        await peer.send(GET)
        await peer.read_response()
        await wait_until(lambda: len(seen) == 4)
    for begun, closed in (seen[:2], seen[2:]):
        assert begun[0] == closed[0]
        assert (begun[1], closed[1]) == ("unset", "set")


async def test_many_that_wait_for_one_thread_hold_up_nothing() -> None:
    goes_on = threading.Event()

    def app(environ: Any, start_response: Any) -> list[bytes]:
        goes_on.wait(5)
        return hello(environ, start_response)

    async with wsgi(app, threads=1, in_flight=50) as site:
        peers = [await site.connect() for _ in range(51)]
        try:
            for peer in peers[:50]:
                await peer.send(GET)
            await wait_until(lambda: site.server.in_flight == 50)
            await peers[50].send(GET)
            assert (await peers[50].read_response()).status == 503
            goes_on.set()
            for peer in peers[:50]:
                assert (await peer.read_response()).status == 200
        finally:
            for peer in peers:
                peer.close()


async def test_what_is_queued_is_served_at_the_drain() -> None:
    goes_on = threading.Event()

    def app(environ: Any, start_response: Any) -> list[bytes]:
        goes_on.wait(5)
        return hello(environ, start_response)

    async with (
        wsgi(app, threads=1) as site,
        await site.connect() as one,
        await site.connect() as two,
    ):
        await one.send(GET)
        await two.send(GET)
        await wait_until(lambda: site.server.in_flight == 2)
        site.server.stop_accepting()
        site.server.start_draining(0)
        goes_on.set()
        for peer in (one, two):
            answer = await peer.read_response()
            assert (answer.status, answer.field("connection")) == (200, "close")


@pytest.mark.parametrize("has_close", [False, True])
async def test_the_end_goes_with_a_response_after_which_the_app_does_nothing(
    has_close: bool,
) -> None:
    posted: list[object] = []

    def app(environ: Any, start_response: Any) -> Any:
        parts = hello(environ, start_response)
        return Closable(*parts) if has_close else parts

    web = make_foreign(app, Interface.WSGI)
    async with served(web) as site, await site.connect() as peer:
        (part,) = list_foreign(web)
        assert isinstance(part.gateway, WsgiGateway)
        pool = part.gateway._pool
        assert pool is not None
        post = pool.post

        def note(call: Callable[[], None]) -> None:
            posted.append(call)
            post(call)

        pool.post = note  # type: ignore[method-assign]
        await peer.send(GET)
        assert (await peer.read_response()).body == b"hello"
        await wait_until(lambda: not site.server.in_flight)
    assert (len(posted) == 1) is not has_close


async def test_a_thread_that_asks_after_the_end_is_told_so() -> None:
    goes_on = threading.Event()
    raised: list[BaseException] = []

    def app(environ: Any, start_response: Any) -> list[bytes]:
        write = start_response("200 OK", TEXT)
        write(b"one")

        def write_late() -> None:
            goes_on.wait(5)
            try:
                write(b"late")
            except OSError as error:
                raised.append(error)

        threading.Thread(target=write_late, daemon=True).start()
        return [b"two"]

    async with wsgi(app) as site, await site.connect() as peer:
        await peer.send(GET)
        assert (await peer.read_response()).body == b"onetwo"
        await wait_until(lambda: not site.server.in_flight)
        goes_on.set()
        await wait_until(lambda: raised)


async def test_a_request_that_holds_a_thread_beyond_its_time_is_told_with_its_stack(
    caplog: pytest.LogCaptureFixture,
) -> None:
    goes_on = threading.Event()

    def sleeps(environ: Any, start_response: Any) -> list[bytes]:
        goes_on.wait(5)
        return hello(environ, start_response)

    async with wsgi(sleeps, threads=2, handler_timeout_s=0.05) as site:
        assert (await site.get("/slow?key=secret")).status == 503
        goes_on.set()
    (record,) = caplog.records
    first, *stack = record.getMessage().splitlines()
    assert first == (
        "tests:app: beyond its time, and holds a thread: GET /slow (1 of 2 are at work)"
    )
    assert stack[0].endswith("in sleeps")


async def test_a_request_that_was_only_queued_holds_no_thread(
    caplog: pytest.LogCaptureFixture,
) -> None:
    goes_on = threading.Event()
    paths: list[str] = []

    def sleeps(environ: Any, start_response: Any) -> list[bytes]:
        paths.append(environ["PATH_INFO"])
        goes_on.wait(5)
        return hello(environ, start_response)

    async with wsgi(sleeps, threads=1, handler_timeout_s=0.3) as site:
        asked = [asyncio.ensure_future(site.get(path)) for path in ("/1", "/2")]
        for answer in await asyncio.gather(*asked):
            assert answer.status == 503
        assert not site.server.in_flight
        goes_on.set()
    assert len(paths) == len(caplog.records) == 1


async def test_what_is_left_behind_at_the_end_is_told_at_once_of_all_threads() -> None:
    goes_on = threading.Event()
    told: list[tuple[str, str]] = []

    def sleeps(environ: Any, start_response: Any) -> list[bytes]:
        goes_on.wait(5)
        return hello(environ, start_response)

    loop = asyncio.get_running_loop()
    web = io.App("127.0.0.1", 0)
    web.mount("/w", sleeps)
    (part,) = list_foreign(web)
    gateway = part.gateway
    assert isinstance(gateway, WsgiGateway)
    gateway.on_stuck = lambda *what: told.append(what)
    async with served(web) as site:
        asked = [loop.create_task(site.get(path)) for path in ("/w/1", "/w/2")]
        await wait_until(lambda: gateway.busy == 2)
        site.server.cancel()
        await wait_until(lambda: not site.server.in_flight)
    await asyncio.gather(*asked, return_exceptions=True)
    ((text, stack),) = told
    assert text.startswith("the app at /w: left behind, still at work at the end: GET ")
    assert stack.count("in sleeps") == 2
    goes_on.set()


async def test_threads_that_do_not_come_back_while_requests_wait_are_told_once() -> (
    None
):
    goes_on = threading.Event()
    told: list[tuple[str, str]] = []

    def sleeps(environ: Any, start_response: Any) -> list[bytes]:
        goes_on.wait(5)
        return hello(environ, start_response)

    loop = asyncio.get_running_loop()
    web = io.App("127.0.0.1", 0)
    web.mount("/w", sleeps, threads=2)
    (part,) = list_foreign(web)
    gateway = part.gateway
    assert isinstance(gateway, WsgiGateway)
    gateway.on_stuck = lambda *what: told.append(what)
    async with served(web) as site:
        asked = [loop.create_task(site.get(f"/w/{n}?secret")) for n in (1, 2)]
        await wait_until(lambda: gateway.busy == 2)
        assert not gateway.are_threads_held(0.0)
        assert not gateway.are_threads_held(100.0)  # nothing waits
        async with await site.connect() as impatient:
            await impatient.send(b"GET /w/3 HTTP/1.1\r\nHost: a\r\n\r\n")
            await wait_until(lambda: gateway.waiting == 1)
            assert not gateway.are_threads_held(100.0)
            assert not gateway.are_threads_held(100.9)
            assert gateway.are_threads_held(101.0)
            assert not told
        await wait_until(lambda: gateway.waiting == 0)
        assert gateway.are_threads_held(109.0)  # the next one would wait as well
        asked.append(loop.create_task(site.get("/w/4")))
        await wait_until(lambda: gateway.waiting == 1)
        assert gateway.are_threads_held(110.0)
        assert gateway.are_threads_held(120.0)
        goes_on.set()
        assert {each.status for each in await asyncio.gather(*asked)} == {200}
        assert not gateway.are_threads_held(121.0)
    ((text, stack),) = told
    assert re.fullmatch(
        "the app at /w: for 10 s none of its 2 threads has come back, and 1 wait for "
        "one: GET /w/[12], GET /w/[12]",
        text,
    )
    assert stack.count("in sleeps") == 2


async def test_a_thread_that_comes_back_holds_up_nobody() -> None:
    may_end = threading.Semaphore(0)

    def sleeps(environ: Any, start_response: Any) -> list[bytes]:
        may_end.acquire(timeout=5)
        return hello(environ, start_response)

    loop = asyncio.get_running_loop()
    web = io.App("127.0.0.1", 0)
    web.mount("/w", sleeps, threads=1)
    (part,) = list_foreign(web)
    gateway = part.gateway
    assert isinstance(gateway, WsgiGateway)
    async with served(web) as site:
        asked = [loop.create_task(site.get("/w/")) for _ in range(3)]
        await wait_until(lambda: gateway.waiting == 2)
        assert not gateway.are_threads_held(0.0)
        may_end.release()
        await wait_until(lambda: gateway.waiting == 1 and gateway.busy == 1)
        assert not gateway.are_threads_held(1.5)
        assert gateway.are_threads_held(2.5)
        may_end.release(2)
        await asyncio.gather(*asked)
