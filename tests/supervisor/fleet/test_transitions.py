from random import Random

import pytest

from blazeio_supervisor.fleet.actions import (
    Action,
    AdmitWorker,
    AskStack,
    ReportBoot,
    Spawn,
    StartForkserver,
    StopForkserver,
    StopMode,
    StopWorker,
)
from blazeio_supervisor.fleet.context import (
    PlanContext,
    admit,
    apply_facts,
    escalate,
    give_up_on,
    spawn,
    start_forkserver,
    step_forkserver,
    step_worker,
    stop_late_fork,
    wake_for_deadlines,
)
from blazeio_supervisor.fleet.facts import Beat, MemoryRead
from blazeio_supervisor.fleet.policy import Policy
from blazeio_supervisor.fleet.roster import Event, Roster, State


def context() -> PlanContext:
    return PlanContext(10.0, 10.0, False, Policy(), Roster.with_slots(1), Random(1))


def test_spawn_has_the_boot_deadline_and_keeps_it_when_forked() -> None:
    it = context()
    handle = spawn(it, it.roster.slots[0], 1)
    assert it.actions == [Spawn(1, 0, 1)]
    step_worker(it, handle, Event.FORKED)
    assert handle.deadline_at == 70.0


def test_serving_has_no_deadline_and_notes_its_begin() -> None:
    it = context()
    handle = spawn(it, it.roster.slots[0], 1)
    step_worker(it, handle, Event.FORKED)
    step_worker(it, handle, Event.READY)
    assert (handle.deadline_at, handle.ready_at) == (None, 10.0)


def test_drain_has_the_grace_period_and_term_its_own() -> None:
    it = context()
    handle = spawn(it, it.roster.slots[0], 1)
    step_worker(it, handle, Event.FORKED)
    step_worker(it, handle, Event.READY)
    step_worker(it, handle, Event.DRAIN)
    assert handle.deadline_at == 40.0
    step_worker(it, handle, Event.OVERDUE)
    assert handle.deadline_at == 15.0  # five seconds later, in a turn at 10 s
    assert handle.kill_at == 40.5
    told = [each for each in it.actions if isinstance(each, StopWorker)]
    assert told == [StopWorker(1, StopMode.DRAIN), StopWorker(1, StopMode.TERM)]
    assert it.failures == []


def test_unasked_exit_is_a_failure_and_an_asked_one_is_not() -> None:
    it = context()
    unasked, asked = (spawn(it, it.roster.slots[0], 1) for _ in range(2))
    for handle in (unasked, asked):
        step_worker(it, handle, Event.FORKED)
    step_worker(it, asked, Event.DRAIN)
    step_worker(it, asked, Event.EXITED, "exit code 0", 0)
    step_worker(it, unasked, Event.EXITED, "exit code 1", 1)
    assert [(f.who, f.status) for f in it.failures] == [(unasked, 1)]
    assert it.failures[0].reason == "exit code 1"
    assert it.roster.workers == {}


def test_canary_is_admitted_once_it_stands_by() -> None:
    it = context()
    handle = spawn(it, it.roster.slots[0], 1, is_canary=True)
    assert handle.is_canary
    assert it.actions == [Spawn(1, 0, 1, is_canary=True)]
    step_worker(it, handle, Event.FORKED)
    step_worker(it, handle, Event.STOOD_BY)
    assert handle.ready_at is None
    admit(it, handle)
    assert it.actions[-1] == AdmitWorker(1)
    assert handle.is_serving


def test_forkserver_that_exits_takes_its_unanswered_forks_along() -> None:
    it = context()
    forkserver = start_forkserver(it, 1)
    assert it.actions == [StartForkserver(1)]
    step_forkserver(it, forkserver, Event.READY)
    forked, unanswered = (spawn(it, it.roster.slots[0], 1) for _ in range(2))
    other = spawn(it, it.roster.slots[0], 2)
    step_worker(it, forked, Event.FORKED)
    step_forkserver(it, forkserver, Event.EXITED, "gone", 1)
    assert list(it.roster.workers.values()) == [forked, other]
    assert [(f.who, f.reason, f.status) for f in it.failures] == [
        (forkserver, "gone", 1),
        (unanswered, "the process that forks it is gone", None),
    ]


def test_a_forkserver_is_started_for_who_has_asked() -> None:
    it = context()
    start_forkserver(it, 2, 7)
    assert it.actions == [StartForkserver(2, 7)]


def test_a_forkserver_waits_for_the_workers_that_it_has_forked() -> None:
    policy = Policy(grace_s=30.0, kill_after_s=5.0, forkserver_stop_s=2.0)
    for generation, deadline_at in ((1, 47.0), (2, 12.0)):
        it = PlanContext(10.0, 10.0, False, policy, Roster.with_slots(1), Random(1))
        forkserver = start_forkserver(it, 1)
        step_forkserver(it, forkserver, Event.READY)
        spawn(it, it.roster.slots[0], generation)
        step_forkserver(it, forkserver, Event.DRAIN)
        assert forkserver.deadline_at == deadline_at


def test_forkserver_drains_for_its_own_time() -> None:
    it = context()
    forkserver = start_forkserver(it, 1)
    step_forkserver(it, forkserver, Event.READY)
    step_forkserver(it, forkserver, Event.DRAIN)
    assert forkserver.deadline_at == 12.0
    assert it.actions[-1] == StopForkserver(1, StopMode.DRAIN)


def test_given_up_forkserver_is_killed_and_fails_once() -> None:
    it = context()
    forkserver = start_forkserver(it, 1)
    step_forkserver(it, forkserver, Event.READY)
    give_up_on(it, forkserver, "it no longer forks")
    give_up_on(it, forkserver, "it no longer forks")
    assert it.actions[1:] == [StopForkserver(1, StopMode.KILL)]
    assert len(it.failures) == 1


def test_stray_is_killed_and_counted_until_it_is_gone() -> None:
    it = context()
    stop_late_fork(it, 5, 77)
    assert it.actions == [StopWorker(5, StopMode.KILL)]
    assert it.roster.workers[5].state is State.KILLING
    assert it.roster.workers[5].pid == 77
    # Nothing else is known of it.
    assert (it.roster.workers[5].slot, it.roster.workers[5].generation) == (0, 0)


# To the moment


def test_who_boots_for_long_is_reported_reported_again_and_ended() -> None:
    it = context()
    handle = spawn(it, it.roster.slots[0], 1)
    step_worker(it, handle, Event.FORKED)
    done: dict[float, list[Action]] = {}
    for now in (29.5, 30.0, 30.5, 69.5, 70.0, 70.25, 70.5):
        it.now, it.actions = now, []
        escalate(it)
        done[now] = it.actions
    assert done == {
        29.5: [],
        30.0: [ReportBoot(1, 1, 20.0, 60.0)],
        30.5: [],
        69.5: [],
        70.0: [ReportBoot(1, 1, 60.0, 60.0)],
        70.25: [],
        70.5: [AskStack(1), StopWorker(1, StopMode.TERM)],
    }
    assert handle.boot_reports == 2


def test_a_forkserver_that_does_not_fork_fails_with_the_worker() -> None:
    it = context()
    forkserver = start_forkserver(it, 1)
    step_forkserver(it, forkserver, Event.READY)
    worker = spawn(it, it.roster.slots[0], 1)
    it.now = 70.0
    escalate(it)
    assert [(each.who, each.reason) for each in it.failures] == [
        (
            worker,
            "not ready within 60 s (--boot-timeout); event=boot_slow says where",
        ),
        (forkserver, "it does not fork any more"),
    ]
    assert forkserver.state is State.KILLING


def test_in_a_void_turn_no_deadline_strikes() -> None:
    it = context()
    handle = spawn(it, it.roster.slots[0], 1)
    step_worker(it, handle, Event.FORKED)
    it.now, it.is_void, it.actions = 80.0, True, []
    escalate(it)
    assert (it.actions, handle.state) == ([], State.BOOTING)


def test_the_next_turn_is_due_when_the_first_deadline_is() -> None:
    it = context()
    handle = spawn(it, it.roster.slots[0], 1)
    wake_for_deadlines(it)
    assert it.due_at == 70.0
    it.due_at = float("inf")
    step_worker(it, handle, Event.FORKED)
    wake_for_deadlines(it)
    assert it.due_at == 30.0  # for the first report
    it.due_at, handle.boot_reports = float("inf"), 1
    wake_for_deadlines(it)
    assert it.due_at == 70.0
    it.due_at = float("inf")
    step_worker(it, handle, Event.READY)
    wake_for_deadlines(it)
    assert it.due_at == float("inf")


@pytest.mark.parametrize(
    ("grace_s", "drained_s", "deadline_at"),
    [
        (30.0, None, 15.0),
        (1.0, None, 11.5),  # no longer than the grace period and what is added
        (30.0, 20.0, 15.0),
        (30.0, 28.0, 12.5),
    ],
)
def test_after_term_no_more_is_waited_than_the_grace_period_had_left(
    grace_s: float, drained_s: float | None, deadline_at: float
) -> None:
    it = context()
    it.policy = Policy(grace_s=grace_s)
    handle = spawn(it, it.roster.slots[0], 1)
    step_worker(it, handle, Event.FORKED)
    step_worker(it, handle, Event.READY)
    if drained_s is not None:
        it.now = 10.0 - drained_s
        step_worker(it, handle, Event.DRAIN)
        it.now = 10.0
    step_worker(it, handle, Event.TERM)
    assert handle.deadline_at == deadline_at
    step_worker(it, handle, Event.KILL)
    assert handle.deadline_at is None


def test_a_fork_that_is_cancelled_keeps_the_deadline_of_its_boot() -> None:
    it = context()
    handle = spawn(it, it.roster.slots[0], 1)
    it.now = 20.0
    step_worker(it, handle, Event.DRAIN)
    assert (handle.state, handle.deadline_at) == (State.CANCELLED, 70.0)
    step_worker(it, handle, Event.FORKED)
    assert (handle.state, handle.deadline_at) == (State.TERMINATING, 25.0)


@pytest.mark.parametrize(
    ("event", "asks"), [(Event.TERM, True), (Event.OVERDUE, True), (Event.DRAIN, False)]
)
def test_where_it_stands_is_asked_of_who_is_late(event: Event, asks: bool) -> None:
    """One that boots is sent TERM in place of an order to drain, too."""
    it = context()
    handle = spawn(it, it.roster.slots[0], 1)
    step_worker(it, handle, Event.FORKED)
    it.actions = []
    step_worker(it, handle, event)
    asked: list[Action] = [AskStack(1)] if asks else []
    assert it.actions == [*asked, StopWorker(1, StopMode.TERM)]


def test_a_reading_of_the_memory_is_known_with_its_time() -> None:
    it = context()
    apply_facts(it, MemoryRead(5))
    assert (it.roster.free_bytes, it.roster.read_at) == (5, 10.0)


@pytest.mark.parametrize(
    ("age_s", "rests", "is_good"),
    [(0.0625, False, 1), (0.125, False, 0), (1.0, True, 1), (1.125, True, 0)],
)
def test_a_beat_of_who_rests_may_be_older(
    age_s: float, rests: bool, is_good: int
) -> None:
    it = context()
    it.policy = Policy(steer_after_s=0.125, rest_every_s=1.0)
    handle = spawn(it, it.roster.slots[0], 1)
    apply_facts(it, Beat(1, 10.0 - age_s, rests=rests))
    assert handle.health.good_beats == is_good
