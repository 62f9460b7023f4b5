"""Whatever a handler raises is a 500 and one ERROR; the server serves on."""

import argparse
import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any

import pytest

from blazeio.app.app import App
from blazeio.app.deliver import Deliver
from blazeio.errors import (
    Abort,
    ClientDisconnected,
    ConfigurationError,
    ConnectError,
    RemoteProtocolError,
)
from blazeio.protocol.request import BlazeioServerProtocol
from tests.support.clock import wait_until
from tests.support.live import LiveServers
from tests.support.response import bug_text
from tests.support.served import serialize_request, served

R = BlazeioServerProtocol


class Strange(BaseException):
    """Of nobody's family."""


class UntellableError(Exception):
    """Its text cannot be had."""

    def __str__(self) -> str:
        raise ValueError


RAISED = (
    SystemExit(0),
    SystemExit("told"),
    KeyboardInterrupt(),
    GeneratorExit(),
    asyncio.CancelledError(),
    Strange(),
    UntellableError(),
    StopAsyncIteration(),
    BaseExceptionGroup("of a TaskGroup", [SystemExit(3), ValueError()]),
    ExceptionGroup("nested", [ExceptionGroup("", [ValueError(), ConnectError()])]),
)
IDS = [f"{n}-{type(each).__name__}" for n, each in enumerate(RAISED)]


def errors_of(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [each for each in caplog.records if each.levelno >= logging.WARNING]


async def ok(r: R) -> None:
    await Deliver.text(r, "ok")


@pytest.mark.parametrize("error", RAISED, ids=IDS)
async def test_it_is_a_500_and_one_error(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    web = App()
    web.add_route(ok, "/ok")

    @web.add_route
    async def _x(r: R) -> None:
        raise error

    async with served(web) as site, await site.connect() as peer:
        request = serialize_request("GET", "/x")
        await peer.send(request + serialize_request("GET", "/ok"))
        assert (await peer.read_response()).status == 500
        assert (await peer.read_response()).text == "ok"
    (record,) = errors_of(caplog)
    assert record.levelname == "ERROR"
    name = type(error).__name__
    assert record.getMessage().startswith(f"GET /x: {name} in {__name__}.test_it_is_a")
    assert "\n" not in record.getMessage()


Place = Callable[[App, BaseException], None]


def in_before(web: App, error: BaseException) -> None:
    async def before_middleware(r: R) -> None:
        raise error

    web.add_route(before_middleware)


def in_fallback(web: App, error: BaseException) -> None:
    async def handle_all_middleware(r: R) -> None:
        raise error

    web.add_route(handle_all_middleware)


def in_sub_app(web: App, error: BaseException) -> None:
    async def fail(r: R) -> None:
        raise error

    async def after_middleware(r: R) -> None:
        assert r.status == 500

    inner = App()
    inner.add_route(fail, "/x")
    inner.add_route(after_middleware)
    web.mount("/in", inner)


def in_generator(web: App, error: BaseException) -> None:
    def pieces() -> Iterator[bytes]:
        yield b""
        raise error

    async def send(r: R) -> None:
        await Deliver.stream(r, pieces())

    web.add_route(send, "/x")


def in_async_generator(web: App, error: BaseException) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b""
        raise error

    async def send(r: R) -> None:
        await Deliver.stream(r, pieces())

    web.add_route(send, "/x")


PLACES: dict[Place, str] = {
    in_before: "/x",
    in_fallback: "/nowhere",
    in_sub_app: "/in/x",
    in_generator: "/x",
    in_async_generator: "/x",
}


@pytest.mark.parametrize("error", [SystemExit(2), KeyboardInterrupt(), Strange()])
@pytest.mark.parametrize("place", PLACES)
async def test_wherever_it_is_raised(
    place: Place, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    web = App()
    place(web, error)
    async with served(web) as site, await site.connect() as peer:
        for _ in range(2):
            await peer.send(serialize_request("GET", PLACES[place]))
            assert (await peer.read_response()).status == 500
    assert [record.levelname for record in errors_of(caplog)] == ["ERROR"] * 2


@pytest.mark.parametrize("error", [SystemExit(2), KeyboardInterrupt(), Strange()])
async def test_what_runs_after_the_answer_leaves_it_whole(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    web = App()
    web.add_route(ok, "/ok")

    @web.add_route
    async def after_middleware(r: R) -> None:
        raise error

    async with served(web) as site, await site.connect() as peer:
        for _ in range(2):
            await peer.send(serialize_request("GET", "/ok"))
            assert (await peer.read_response()).text == "ok"
    assert len(errors_of(caplog)) == 2


async def test_argparse_in_a_handler_ends_one_request_alone() -> None:
    web = App()
    parser = argparse.ArgumentParser()

    @web.add_route
    async def _x(r: R) -> None:
        parser.parse_args(["--unknown"])

    async with served(web) as site:
        assert (await site.get("/x")).status == 500
        assert (await site.get("/x")).status == 500


async def test_a_handler_that_cancels_its_own_task_is_a_500(
    caplog: pytest.LogCaptureFixture,
) -> None:
    web = App()

    @web.add_route
    async def _x(r: R) -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await asyncio.sleep(0)

    async with served(web) as site:
        assert (await site.get("/x")).status == 500
    (record,) = errors_of(caplog)
    assert "it cancelled itself" in record.getMessage()


@pytest.mark.parametrize(
    ("errors", "status", "logged"),
    [
        ([Abort("gone", 410)], 410, 0),
        ([ClientDisconnected(), Abort("gone", 410)], 410, 0),
        ([ExceptionGroup("", [Abort("gone", 410)])], 410, 0),
        ([Abort("gone", 410), ValueError("a bug")], 410, 1),
        ([RemoteProtocolError("too large", 413), ClientDisconnected()], 413, 0),
        ([ConnectError("refused"), ClientDisconnected()], 502, 1),
        ([ClientDisconnected(), ValueError("a bug")], 500, 1),
        ([ClientDisconnected(), ClientDisconnected()], None, 0),
    ],
)
async def test_a_group_is_what_is_in_it(
    errors: list[Exception],
    status: int | None,
    logged: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    web = App()

    @web.add_route
    async def _x(r: R) -> None:
        raise ExceptionGroup("several", errors)

    async with served(web) as site, await site.connect() as peer:
        await peer.send(serialize_request("GET", "/x"))
        if status is None:
            with pytest.raises((ConnectionError, AssertionError)):
                await peer.read_response()
        else:
            assert (await peer.read_response()).status == status
    assert len(errors_of(caplog)) == logged


async def test_a_task_group_that_a_client_leaves_is_no_bug(
    caplog: pytest.LogCaptureFixture,
) -> None:
    web = App()
    ended = asyncio.Event()

    @web.route.post("/x", on_disconnect="finish")
    async def read(r: R) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(r.read())
        finally:
            ended.set()

    async with served(web) as site:
        async with await site.connect() as peer:
            headers = {"Content-Length": "10"}
            await peer.send(serialize_request("POST", "/x", None, headers) + b"12")
            await wait_until(lambda: site.server.in_flight == 1)
        await wait_until(ended.is_set)
    assert not errors_of(caplog)


async def test_a_bug_before_anything_has_left_is_answered(
    caplog: pytest.LogCaptureFixture,
) -> None:
    web = App()

    @web.add_route
    async def _x(r: R) -> None:
        await r.prepare({"Content-Type": "a/b", "X-A": "1"}, compress=True)
        raise ValueError("a bug")

    headers = {"Accept-Encoding": "gzip"}
    async with served(web) as site:
        answer = await site.ask("GET", "/x", headers=headers)
    assert (answer.status, answer.text) == (500, bug_text(answer))
    assert answer.field("content-encoding") is answer.field("x-a") is None


async def test_less_than_declared_is_a_500_where_nothing_has_left(
    caplog: pytest.LogCaptureFixture,
) -> None:
    web = App()

    @web.add_route
    async def _none(r: R) -> None:
        await r.prepare({"Content-Length": 5})

    @web.add_route
    async def _some(r: R) -> None:
        await r.prepare({"Content-Length": 5})
        await r.write(b"abc")

    async with served(web) as site, await site.connect() as peer:
        assert (await site.get("/none")).status == 500
        await peer.send(serialize_request("GET", "/some"))
        with pytest.raises((ConnectionError, AssertionError)):
            await peer.read_response()
    first, second = errors_of(caplog)
    assert "_none (" in first.getMessage()
    assert "ended 5 octets short of its declared" in first.getMessage()
    assert "ended 2 octets short of its declared" in second.getMessage()


Hooking = Callable[[App], Callable[[Any], Any]]


@pytest.mark.parametrize(
    "error", [SystemExit(0), KeyboardInterrupt(), GeneratorExit(), Strange()]
)
async def test_a_start_hook_that_exits_is_a_failed_start_with_its_reason(
    error: BaseException,
) -> None:
    web = App()

    @web.on_start
    async def connect() -> None:
        raise error

    with pytest.raises(ConfigurationError, match=r"on_start hook .*connect \(.*failed"):
        async with served(web):
            pytest.fail("it began")


@pytest.mark.parametrize(
    "error", [SystemExit(0), KeyboardInterrupt(), GeneratorExit(), Strange()]
)
async def test_other_hooks_and_tasks_that_exit_are_logged(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    web = App()
    web.add_route(ok, "/ok")
    seen = []

    async def fail() -> None:
        seen.append(1)
        raise error

    def make(seen: list[int]) -> Callable[[], Coroutine[Any, Any, None]]:
        async def note() -> None:
            seen.append(0)

        return note

    web.add_task(fail)
    web.on_drain(fail)
    web.on_stop(make(seen))
    web.on_stop(fail)
    async with served(web) as site:
        assert (await site.get("/ok")).text == "ok"
    assert seen == [1, 1, 1, 0]
    assert len(errors_of(caplog)) == 3


SCRIPT = """
import asyncio
import os
import sys
import blazeio as io

io.use_loop("{loop}")
web = io.App("127.0.0.1", 0)

@web.add_route
async def _hello(r):
    await io.Deliver.text(r, "hi")

@web.add_route
async def _loop(r):
    await io.Deliver.text(r, type(asyncio.get_running_loop()).__module__)

@web.add_route
async def _exit(r):
    sys.exit(0)

async def leave():
    sys.exit(3)

@web.add_route
async def _group(r):
    async with asyncio.TaskGroup() as group:
        group.create_task(leave())

@web.add_route
async def _gather(r):
    await asyncio.gather(leave(), leave())

@web.add_route
async def _fork(r):
    pid = os.fork()
    if not pid:
        sys.exit(7)
    _, status = await asyncio.to_thread(os.waitpid, pid, 0)
    await io.Deliver.text(r, f"child {os.waitstatus_to_exitcode(status)}")

@web.add_route
async def _callback(r):
    asyncio.get_running_loop().call_soon(sys.exit, 4)
    await asyncio.sleep(0.01)
    await io.Deliver.text(r, "on")

if __name__ == "__main__":
    web.runner()
"""


@pytest.mark.long
@pytest.mark.slow
@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
@pytest.mark.parametrize("program", ["python", "blazeio-supervisor"])
def test_the_process_serves_on(
    live_server: LiveServers, tmp_path: Any, loop: str, program: str
) -> None:
    path = tmp_path / "script.py"
    path.write_text(SCRIPT.replace("{loop}", loop))
    server = live_server.start([program, path])
    for target in ("/exit", "/group", "/gather"):
        with server.connect() as peer:
            peer.send(serialize_request("GET", target) * 2)
            assert peer.read_response().status == 500
            assert peer.read_response().status == 500
    with server.connect() as peer:
        peer.send(serialize_request("GET", "/callback"))
        assert peer.read_response().text == "on"
        peer.send(serialize_request("GET", "/fork"))
        assert peer.read_response().text == "child 7"
        peer.send(serialize_request("GET", "/loop"))
        assert peer.read_response().text.startswith(loop)
        peer.send(serialize_request("GET", "/hello"))
        assert peer.read_response().text == "hi"
    assert server.log.count("SystemExit in ") == 6
    assert "a callback of the loop raised SystemExit(4)" in server.log
    assert "worker" not in server.log or "died" not in server.log
