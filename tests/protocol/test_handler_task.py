import asyncio
import time
from typing import Any

import pytest

from blazeio.limits import Limits
from blazeio.protocol.context import ServerContext
from blazeio.protocol.handler_task import HandlerTask, turn_away
from blazeio.protocol.request import BlazeioServerProtocol
from tests.support.clock import wait_until


async def hello(r: BlazeioServerProtocol) -> None:
    """Never called here."""


class HandlerTaskHarness:
    """A handling whose work tells how it ended."""

    def __init__(self, **limits: int) -> None:
        loop = asyncio.get_running_loop()
        self.context = ServerContext(hello, Limits(**limits), loop)
        self.handling = HandlerTask(self.context)
        self.is_begun = False
        self.was: list[str] = []

    async def work(self) -> None:
        self.is_begun = True
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.was.append("cancelled")
            self.was += ["late"] * self.handling.is_late
            self.was += ["leaving"] * self.handling.is_shutting_down
        finally:
            self.handling.end()


@pytest.fixture
async def kept() -> HandlerTaskHarness:
    return HandlerTaskHarness()


async def test_what_runs_is_counted_from_its_beginning_to_its_end(
    kept: HandlerTaskHarness,
) -> None:
    kept.handling.begin(kept.work())
    assert (kept.context.in_flight, kept.context.request_count) == (1, 1)
    assert kept.handling.is_running
    kept.handling.cancel()
    await wait_until(lambda: bool(kept.was))
    assert (kept.context.in_flight, kept.context.request_count) == (0, 1)
    assert not kept.handling.is_running


async def test_a_cancelled_one_has_begun_so_that_its_end_is_counted(
    kept: HandlerTaskHarness,
) -> None:
    kept.handling.begin(kept.work())
    kept.handling.cancel()
    await wait_until(lambda: kept.was == ["cancelled"])
    assert kept.is_begun


async def test_one_that_took_too_long_can_tell(kept: HandlerTaskHarness) -> None:
    kept.handling.begin(kept.work())
    await wait_until(lambda: kept.is_begun)
    kept.handling.time_out()
    await wait_until(lambda: kept.was == ["cancelled", "late"])


async def test_one_that_leaves_can_tell_and_stay(kept: HandlerTaskHarness) -> None:
    kept.handling.begin(kept.work())
    await wait_until(lambda: kept.is_begun)
    kept.handling.leave()
    await wait_until(lambda: kept.was == ["cancelled", "leaving"])
    assert not kept.handling.is_shutting_down  # it is over


async def test_the_tasks_of_an_app_may_come_from_its_own_factory(
    kept: HandlerTaskHarness,
) -> None:
    made: list[asyncio.Task[object]] = []

    def make(loop: asyncio.AbstractEventLoop, work: Any, **named: Any) -> Any:
        made.append(asyncio.Task(work, loop=loop, **named))
        return made[-1]

    kept.context.loop.set_task_factory(make)
    kept.handling.begin(kept.work())
    kept.context.loop.set_task_factory(None)
    kept.handling.cancel()
    await wait_until(lambda: bool(kept.was))
    assert len(made) == 1


async def test_it_knows_its_task_and_since_when_it_runs(
    kept: HandlerTaskHarness,
) -> None:
    assert not kept.handling.runs_in(None)
    before = time.monotonic()
    kept.handling.begin(kept.work())
    assert before <= kept.handling.begun_at <= time.monotonic()
    await wait_until(lambda: kept.is_begun)
    (task,) = asyncio.all_tasks() - {asyncio.current_task()}
    assert kept.handling.runs_in(task)
    assert not kept.handling.runs_in(asyncio.current_task())
    kept.handling.cancel()
    await wait_until(lambda: kept.was)


async def test_nothing_is_cancelled_where_nothing_runs(
    kept: HandlerTaskHarness,
) -> None:
    kept.handling.cancel()
    kept.handling.time_out()
    assert not kept.handling.is_running


async def test_who_waits_for_the_end_is_told(kept: HandlerTaskHarness) -> None:
    told: list[int] = []
    kept.context.when_changed = lambda: told.append(kept.context.in_flight)
    kept.handling.begin(kept.work())
    kept.handling.cancel()
    await wait_until(lambda: told == [0])


async def test_at_the_most_in_flight_requests_are_turned_away() -> None:
    kept = HandlerTaskHarness(in_flight=1)
    assert kept.handling.choose() is hello
    kept.handling.begin(kept.work())
    assert kept.handling.choose() is turn_away
    kept.handling.cancel()
    await wait_until(lambda: bool(kept.was))
    assert kept.handling.choose() is hello
