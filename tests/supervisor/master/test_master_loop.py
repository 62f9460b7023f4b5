import asyncio
import errno
import os

import pytest

from blazeio_supervisor.fleet.actions import (
    Action,
    CloseListeners,
    Exit,
    Spawn,
    StartForkserver,
)
from blazeio_supervisor.fleet.facts import (
    ForkserverExited,
    ForkserverReady,
    ScaleAsked,
    StartAsked,
    StopAsked,
    WorkerExited,
)
from blazeio_supervisor.fleet.planner import Planner
from blazeio_supervisor.fleet.policy import Policy
from blazeio_supervisor.master.children import OrphanReaper
from blazeio_supervisor.master.loop import ControlLoop, FactQueue
from tests.supervisor.master.workers_harness import WorkersHarness
from tests.support.clock import wait_until

ASKED = ScaleAsked(change=1)


async def test_facts_wait_until_somebody_takes_them() -> None:
    inbox = FactQueue(asyncio.get_running_loop())
    inbox.put_fact(ASKED)
    assert not inbox.is_settled
    taken: list[object] = []
    inbox.open(lambda: taken.append(inbox.take()))
    await wait_until(lambda: taken)
    assert taken == [[ASKED]]
    assert inbox.is_settled


async def test_facts_of_one_moment_are_taken_together() -> None:
    inbox = FactQueue(asyncio.get_running_loop())
    taken: list[object] = []
    inbox.open(lambda: taken.append(inbox.take()))
    inbox.put_fact(ASKED)
    inbox.put_fact(ASKED)
    await wait_until(lambda: taken)
    await asyncio.sleep(0)
    assert taken == [[ASKED, ASKED]]


class ControlLoopHarness:
    """Turns of a planner, whose actions are written down, or fail."""

    def __init__(
        self, fault: Exception | None = None, fails_at: type[Action] = Spawn
    ) -> None:
        harness = WorkersHarness()
        self.harness = harness
        self.fault = fault
        self.fails_at = fails_at
        self.actions: list[Action] = []
        self.inbox = FactQueue(asyncio.get_running_loop())
        self.planner = Planner(Policy(), 1)
        self.strangers = OrphanReaper(
            harness.child_context.reaper,
            lambda: harness.workers.is_forking,
            harness.child_context.oom_kills,
        )
        self.turns = ControlLoop(
            self.inbox,
            self.planner,
            self._perform,
            harness.readings,
            [self.strangers],
        )

    def _perform(self, action: Action) -> None:
        self.actions.append(action)
        if self.fault is not None and isinstance(action, self.fails_at):
            raise self.fault

    async def wait_for(self, kind: type[Action]) -> None:
        await wait_until(lambda: any(isinstance(a, kind) for a in self.actions))

    async def close(self) -> None:
        self.turns.end()
        await self.harness.close()


async def test_what_the_planner_wants_is_performed() -> None:
    loop_harness = ControlLoopHarness()
    loop_harness.turns.begin()
    loop_harness.inbox.put_fact(StartAsked(1))
    await loop_harness.wait_for(StartForkserver)
    loop_harness.inbox.put_fact(ForkserverReady(1))
    await loop_harness.wait_for(Spawn)
    await loop_harness.close()


async def test_a_spawn_that_fails_is_the_end_of_its_worker(
    caplog: pytest.LogCaptureFixture,
) -> None:
    loop_harness = ControlLoopHarness(OSError("no room"))
    loop_harness.turns.begin()
    loop_harness.inbox.put_fact(StartAsked(1))
    await loop_harness.wait_for(StartForkserver)
    loop_harness.inbox.put_fact(ForkserverReady(1))
    await loop_harness.wait_for(Spawn)
    assert loop_harness.inbox.take() == [WorkerExited(1, 1, "OSError: no room")]
    assert "event=action_failed a fault of the supervisor, at Spawn" in caplog.text
    await loop_harness.close()


async def test_a_master_without_descriptors_says_what_sets_their_number() -> None:
    full = OSError(errno.EMFILE, os.strerror(errno.EMFILE))
    loop_harness = ControlLoopHarness(full, StartForkserver)
    loop_harness.turns.begin()
    loop_harness.inbox.put_fact(StartAsked(1))
    await loop_harness.wait_for(StartForkserver)
    reason = "Too many open files in the master: see `ulimit -n`, LimitNOFILE="
    assert loop_harness.inbox.take() == [ForkserverExited(1, 1, reason)]
    await loop_harness.close()


async def test_a_forkserver_that_cannot_be_started_has_ended(
    caplog: pytest.LogCaptureFixture,
) -> None:
    loop_harness = ControlLoopHarness(OSError("no room"), StartForkserver)
    loop_harness.turns.begin()
    loop_harness.inbox.put_fact(StartAsked(1))
    await loop_harness.wait_for(StartForkserver)
    assert loop_harness.inbox.take() == [ForkserverExited(1, 1, "OSError: no room")]
    assert "event=action_failed a fault of the supervisor" in caplog.text
    await loop_harness.close()


async def test_a_planner_that_fails_ends_nothing(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop_harness = ControlLoopHarness()

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(loop_harness.planner, "plan", fail)
        loop_harness.turns.begin()
        loop_harness.inbox.put_fact(ASKED)
        await wait_until(lambda: "event=planner_failed" in caplog.text)
    loop_harness.inbox.put_fact(StartAsked(1))
    await loop_harness.wait_for(StartForkserver)
    await loop_harness.close()


async def test_turns_go_on_whatever_fails_in_one(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop_harness = ControlLoopHarness()
    caplog.set_level("DEBUG", "blazeio")
    fault = "event=turn_failed cannot"

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("not a number")

    monkeypatch.setattr(loop_harness.harness.readings, "read_beats", fail)
    monkeypatch.setattr(loop_harness.strangers, "look", fail)
    loop_harness.turns.begin()
    await wait_until(lambda: caplog.text.count(fault) >= 6)
    loop_harness.inbox.put_fact(StartAsked(1))
    await loop_harness.wait_for(StartForkserver)
    await wait_until(lambda: caplog.text.count(fault) >= 8)
    levels = [r.levelname for r in caplog.records if fault in r.getMessage()]
    assert levels[0] == "ERROR"
    assert levels.count("ERROR") < len(levels) / 2  # the others are only counted
    assert "cannot read the scoreboard: not a number" in caplog.text
    assert "cannot reap orphans: not a number" in caplog.text
    assert "ZeroDivisionError" in caplog.text
    await loop_harness.close()


async def test_an_order_to_stop_outlives_a_decision_that_fails(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loop_harness = ControlLoopHarness()
    calls: list[float] = []

    def fail(*_: object) -> None:
        calls.append(asyncio.get_running_loop().time())
        raise ZeroDivisionError

    with monkeypatch.context() as patch:
        patch.setattr(loop_harness.planner, "plan", fail)
        loop_harness.turns.begin()
        loop_harness.inbox.put_fact(StartAsked(1), StopAsked())
        await wait_until(lambda: len(calls) >= 4)
    span_s = calls[-1] - calls[0]
    assert span_s >= 0.1  # it does not turn on the spot
    await loop_harness.wait_for(Exit)
    await loop_harness.close()


async def test_a_row_that_holds_no_number_disturbs_no_turn() -> None:
    loop_harness = ControlLoopHarness()
    loop_harness.harness.prepare()
    for cell in range(16):
        loop_harness.harness.rows[0].cells[cell] = float("nan")
    loop_harness.turns.begin()
    loop_harness.inbox.put_fact(StartAsked(1))
    await loop_harness.wait_for(StartForkserver)
    loop_harness.inbox.put_fact(StopAsked())
    await loop_harness.wait_for(CloseListeners)
    await loop_harness.close()


async def test_a_rehearsal_performs_nothing() -> None:
    loop_harness = ControlLoopHarness()
    loop_harness.turns.rehearse(100.0)
    assert not loop_harness.actions
    await loop_harness.close()


async def test_after_the_end_no_fact_is_heard() -> None:
    loop_harness = ControlLoopHarness()
    loop_harness.turns.begin()
    loop_harness.turns.end()
    loop_harness.inbox.put_fact(StartAsked(1))
    await wait_until(lambda: loop_harness.inbox.is_settled)
    assert not loop_harness.actions
    await loop_harness.close()
