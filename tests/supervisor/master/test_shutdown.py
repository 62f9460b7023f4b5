import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from blazeio_supervisor.errors import BindError, ExitCode
from blazeio_supervisor.fleet.facts import StopAsked
from blazeio_supervisor.fleet.policy import Policy
from blazeio_supervisor.ipc.messages import (
    Drain,
)
from blazeio_supervisor.master.loop import FactQueue, Shutdown
from blazeio_supervisor.master.systemd import SystemdNotifier
from tests.support.clock import within
from tests.support.service_manager import ListeningManager

POLICY = Policy(grace_s=30.0, quick_grace_s=1.0)


class ShutdownHarness:
    """An ending, and whoever hears of it."""

    def __init__(self, manager: ListeningManager) -> None:
        loop = asyncio.get_running_loop()
        self.manager = manager
        self.inbox = FactQueue(loop)
        self.telling = SystemdNotifier(manager.address, loop)
        self.ending = Shutdown(self.inbox, self.telling)


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[ShutdownHarness]:
    with ListeningManager(str(tmp_path / "notify")) as manager:
        made = ShutdownHarness(manager)
        yield made
        made.telling.notifier.close()


async def test_it_is_the_planners_to_end_a_service_that_has_begun(
    harness: ShutdownHarness,
) -> None:
    harness.ending.has_begun = True
    harness.ending.give_up(BindError("cannot bind :80"))
    assert harness.inbox.take() == [StopAsked(True, "")]
    harness.ending.end(0, "")
    assert await within(harness.ending.wait(), 1) == ExitCode.CANNOT_BIND


async def test_one_that_has_not_begun_is_over_at_once(harness: ShutdownHarness) -> None:
    harness.ending.give_up(BindError("cannot bind :80"))
    assert harness.inbox.is_settled
    assert await within(harness.ending.wait(), 1) == ExitCode.CANNOT_BIND
    assert harness.manager.read() == ["STATUS=failed: cannot bind :80"]


async def test_the_reason_of_a_failure_is_told(harness: ShutdownHarness) -> None:
    harness.ending.end(3, "no database")
    assert await within(harness.ending.wait(), 1) == 3
    assert harness.manager.read() == ["STATUS=failed: no database"]


async def test_an_end_that_comes_twice_is_the_first_one(
    harness: ShutdownHarness,
) -> None:
    harness.ending.end(3, "")
    harness.ending.end(0, "")
    assert await within(harness.ending.wait(), 1) == 3


async def test_workers_are_ended_as_the_service_is(harness: ShutdownHarness) -> None:
    assert harness.ending.make_drain(POLICY) == Drain(30.0, is_final=False)
    harness.ending.ask(False, "")
    harness.ending.is_final = True
    assert harness.ending.make_drain(POLICY) == Drain(30.0, is_final=True)
    harness.ending.ask(True, "")
    harness.ending.ask(False, "")  # quick it stays
    assert harness.ending.make_drain(POLICY) == Drain(1.0, is_final=True)
