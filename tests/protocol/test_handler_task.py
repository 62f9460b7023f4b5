"""The task of a handler: when it begins, how it is ended, who is told."""

import asyncio
import socket
import time
from typing import Any

import pytest

from blazeio.limits import Limits
from blazeio.protocol.context import ServerContext
from blazeio.protocol.handler_task import DETACHED
from blazeio.protocol.http1 import Http1Connection
from blazeio.protocol.options import RouteOptions
from blazeio.protocol.request import BlazeioServerProtocol
from blazeio.protocol.toolset import ServedApp
from tests.protocol.serving import GET
from tests.support.clock import scaled, wait_until
from tests.support.transport import FakeTransport

FINISH = RouteOptions(on_disconnect="finish")


class HandlerTaskHarness:
    """A connection whose handler tells how it ended."""

    def __init__(self, **limits: Any) -> None:
        loop = asyncio.get_running_loop()
        self.context = ServerContext(self.work, Limits(**limits), loop)
        self._sockets = socket.socketpair()
        self.connection, self.transport = self.connect()
        self.task = self.connection.request.handler_task
        self.is_begun = False
        self.was: list[str] = []

    def connect(self) -> tuple[Http1Connection, FakeTransport]:
        connection = Http1Connection(self.context)
        return connection, FakeTransport(connection, extra={"socket": self._sockets[0]})

    async def work(self, r: BlazeioServerProtocol) -> None:
        self.is_begun = True
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.was.append("cancelled")
            self.was += ["late"] * r.handler_task.is_late
            self.was += ["shutting down"] * r.handler_task.is_shutting_down
            raise

    def ask(self) -> None:
        self.transport.feed(GET)

    def close(self) -> None:
        self.context.close()
        for each in self._sockets:
            each.close()


@pytest.fixture
async def kept() -> HandlerTaskHarness:
    return HandlerTaskHarness()


async def test_what_runs_is_counted_from_its_beginning_to_its_end(
    kept: HandlerTaskHarness,
) -> None:
    kept.ask()
    assert (kept.context.in_flight, kept.context.request_count) == (1, 1)
    assert kept.task.is_running
    kept.task.cancel()
    await wait_until(lambda: not kept.context.in_flight)
    assert (kept.context.in_flight, kept.context.request_count) == (0, 1)
    assert not kept.task.is_running
    kept.close()


async def test_a_cancelled_one_has_begun_so_that_its_end_is_counted(
    kept: HandlerTaskHarness,
) -> None:
    kept.ask()
    kept.task.cancel()
    await wait_until(lambda: kept.was == ["cancelled"])
    assert kept.is_begun
    kept.close()


async def test_one_that_takes_too_long_can_tell() -> None:
    kept = HandlerTaskHarness(handler_timeout_s=scaled(0.05))
    kept.ask()
    await wait_until(lambda: kept.was == ["cancelled", "late"])
    kept.close()


async def test_one_that_takes_too_long_without_its_connection_is_cancelled() -> None:
    kept = HandlerTaskHarness(handler_timeout_s=scaled(0.2))
    kept.context.app = ServedApp(lambda method, path: FINISH)
    kept.ask()
    await wait_until(lambda: kept.is_begun)
    kept.transport.lose(ConnectionResetError())
    await wait_until(lambda: bool(kept.context.detached))
    assert not kept.was
    await wait_until(lambda: kept.was == ["cancelled", "late"])
    await wait_until(lambda: not kept.context.detached)
    kept.close()


async def test_a_deadline_that_is_stopped_is_none() -> None:
    kept = HandlerTaskHarness(handler_timeout_s=scaled(0.05))
    kept.ask()
    kept.task.stop_deadline()
    await asyncio.sleep(scaled(0.15))
    assert not kept.was
    kept.task.start_deadline(scaled(0.05))
    await wait_until(lambda: kept.was == ["cancelled", "late"])
    kept.close()


async def test_one_with_a_shutdown_hook_can_tell(kept: HandlerTaskHarness) -> None:
    async def hook(r: BlazeioServerProtocol) -> None:
        kept.was.append("hook")

    kept.ask()
    await wait_until(lambda: kept.is_begun)
    kept.task.run_shutdown_hook()  # there is none yet
    kept.connection.request.on_shutdown(hook)
    assert kept.task.has_shutdown_hook
    kept.task.run_shutdown_hook()
    kept.task.run_shutdown_hook()
    await wait_until(lambda: kept.was == ["cancelled", "shutting down", "hook"])
    await wait_until(lambda: not kept.task.is_running)
    assert not kept.task.is_shutting_down
    kept.close()


async def test_the_tasks_of_an_app_may_come_from_its_own_factory(
    kept: HandlerTaskHarness,
) -> None:
    made: list[asyncio.Task[object]] = []

    def make(loop: asyncio.AbstractEventLoop, work: Any, **named: Any) -> Any:
        made.append(asyncio.Task(work, loop=loop, **named))
        return made[-1]

    kept.context.loop.set_task_factory(make)
    kept.ask()
    kept.context.loop.set_task_factory(None)
    kept.task.cancel()
    await wait_until(lambda: bool(kept.was))
    assert len(made) == 1
    kept.close()


async def test_it_knows_its_task_and_since_when_it_runs(
    kept: HandlerTaskHarness,
) -> None:
    assert not kept.task.runs_in(None)
    before = time.monotonic()
    kept.ask()
    assert before <= kept.task.begun_at <= time.monotonic()
    await wait_until(lambda: kept.is_begun)
    (task,) = asyncio.all_tasks() - {asyncio.current_task()}
    assert kept.task.runs_in(task)
    assert not kept.task.runs_in(asyncio.current_task())
    kept.task.cancel()
    await wait_until(lambda: bool(kept.was))
    kept.close()


async def test_nothing_is_cancelled_where_nothing_runs(
    kept: HandlerTaskHarness,
) -> None:
    kept.task.cancel()
    kept.task.deadline_passed(0)
    assert not kept.task.is_running
    assert not kept.task.is_late
    kept.close()


async def test_who_waits_for_the_end_is_told(kept: HandlerTaskHarness) -> None:
    told: list[int] = []
    kept.context.when_changed = lambda: told.append(kept.context.in_flight)
    kept.ask()
    kept.task.cancel()
    await wait_until(lambda: told == [0])
    kept.close()


async def test_at_the_most_in_flight_requests_are_turned_away() -> None:
    kept = HandlerTaskHarness(in_flight=1)
    kept.ask()
    _, other = kept.connect()
    other.feed(GET)
    await wait_until(lambda: bytes(other.written).startswith(b"HTTP/1.1 503 "))
    assert b"\r\nRetry-After: 1\r\n" in other.written
    kept.task.cancel()
    await wait_until(lambda: not kept.context.in_flight)
    other.take_written()
    other.feed(GET)
    await asyncio.sleep(0)
    assert kept.was == ["cancelled"]
    assert kept.context.in_flight == 1
    other.lose(ConnectionResetError())
    await wait_until(lambda: not kept.context.in_flight)
    kept.close()


async def test_a_detached_one_is_counted_until_its_end() -> None:
    kept = HandlerTaskHarness()
    may_end = asyncio.Event()
    ended: list[str] = []

    async def handler(r: BlazeioServerProtocol) -> object:
        path = r.path
        r.reply(path.encode())
        if path != "/first":
            return None
        end = r.handler_task.detach()
        assert end is not None
        await may_end.wait()
        ended.append(path)
        end()
        return DETACHED

    kept.context.handler = handler
    kept.transport.feed(GET.replace(b"/ ", b"/first "))
    await asyncio.sleep(0)
    assert kept.connection.is_idle  # another request may come
    assert kept.context.in_flight == 1
    kept.transport.feed(GET.replace(b"/ ", b"/second "))
    await wait_until(lambda: bytes(kept.transport.written).endswith(b"/second"))
    may_end.set()
    await wait_until(lambda: ended == ["/first"])
    assert kept.context.in_flight == 0
    assert kept.connection.is_idle
    kept.close()
