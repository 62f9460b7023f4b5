from random import Random
from typing import Any

from blazeio_supervisor.fleet.actions import (
    CloseListeners,
    Exit,
    KeepServing,
    ReloadEnded,
    Spawn,
    StopForkserver,
    StopMode,
    StopWorker,
)
from blazeio_supervisor.fleet.context import PlanContext
from blazeio_supervisor.fleet.facts import (
    ForkserverReady,
    RecycleAsked,
    ReloadAsked,
    ScaleAsked,
    StartAsked,
    StopAsked,
    WorkerExited,
)
from blazeio_supervisor.fleet.lifecycle import Stopping
from blazeio_supervisor.fleet.policy import Policy
from blazeio_supervisor.fleet.roster import Roster, State, WorkerHandle
from tests.supervisor.fleet.driver import Driver, deeds, events, only

GENTLY = StopAsked()
QUICKLY = StopAsked(is_quick=True)


def test_everybody_drains_and_the_forkserver_stops() -> None:
    driver = Driver(slots=2).start()
    assert deeds(driver.tell(GENTLY)) == [
        CloseListeners(),
        StopForkserver(1),
        StopWorker(1, StopMode.DRAIN),
        StopWorker(2, StopMode.DRAIN),
    ]


def test_exit_comes_only_when_all_are_gone() -> None:
    driver = Driver(slots=2).start()
    driver.tell(GENTLY)
    assert driver.exit(1) + driver.exit_forkserver(1) == []
    assert driver.exit(2) == [Exit(0)]


def test_nothing_follows_the_exit() -> None:
    driver = Driver(slots=1)
    assert deeds(driver.tell(GENTLY)) == [CloseListeners(), Exit(0)]
    assert driver.tell(ReloadAsked(1), StartAsked()) == []
    assert driver.planner.next_deadline_at() is None


def test_those_who_do_not_end_are_terminated_then_killed() -> None:
    driver = Driver(slots=1).start()
    driver.tell(GENTLY)
    actions = driver.wait(36)
    assert only(StopWorker, actions) == [
        StopWorker(1, StopMode.TERM),
        StopWorker(1, StopMode.KILL),
    ]
    endings = [stop.mode for stop in only(StopForkserver, actions)]
    assert endings == [StopMode.TERM, StopMode.KILL]


def test_quick_stop_shortens_the_grace_period() -> None:
    driver = Driver(slots=1).start()
    assert StopWorker(1, StopMode.DRAIN) in driver.tell(QUICKLY)
    actions = driver.wait(2.1)
    assert only(StopWorker, actions) == [
        StopWorker(1, StopMode.TERM),
        StopWorker(1, StopMode.KILL),
    ]


def test_quick_stop_after_a_gentle_one_shortens_what_is_left() -> None:
    driver = Driver(slots=1).start()
    driver.tell(GENTLY)
    driver.wait(10)
    driver.tell(QUICKLY)
    assert StopWorker(1, StopMode.TERM) in driver.wait(1.1)


def test_second_quick_stop_kills_at_once() -> None:
    driver = Driver(slots=2).start()
    driver.tell(QUICKLY)
    actions = driver.tell(QUICKLY)
    assert deeds(actions) == [
        StopForkserver(1, StopMode.KILL),
        StopWorker(1, StopMode.KILL),
        StopWorker(2, StopMode.KILL),
    ]
    assert events(actions) == ["killing"]


def test_a_kill_for_lack_of_memory_ends_what_already_leaves_at_once() -> None:
    driver = leave(slots=2, is_oom_fatal=True)
    actions = driver.tell(WorkerExited(1, -9, "out of memory", is_oom=True))
    assert StopWorker(2, StopMode.DRAIN) in actions
    assert events(actions) == ["stopping"]
    driver.exit(2)
    reason = "the kernel has killed a worker: out of memory"
    assert driver.exit_forkserver(1) == [Exit(1, reason)]


def test_a_kill_for_lack_of_memory_says_no_more_once_it_drains() -> None:
    driver = Driver(slots=2, is_oom_fatal=True).start()
    driver.tell(GENTLY)
    assert events(driver.tell(WorkerExited(1, -9, "", is_oom=True))) == []
    driver.exit(2)
    assert driver.exit_forkserver(1) == [Exit(0)]


def test_second_gentle_stop_changes_nothing() -> None:
    driver = Driver(slots=1).start()
    driver.tell(GENTLY)
    assert driver.tell(GENTLY) == []


def test_stop_in_the_middle_of_a_reload_wins() -> None:
    driver = Driver(slots=2).start()
    driver.reload(ticket=4)
    canary = driver.load(2)
    driver.fork(canary.worker)
    actions = driver.tell(GENTLY)
    assert ReloadEnded((4,), 2, False, "the service is stopping") in actions
    assert StopWorker(canary.worker, StopMode.TERM) in actions
    assert {stop.generation for stop in only(StopForkserver, actions)} == {1, 2}


def test_reload_asked_while_stopping_is_refused() -> None:
    driver = Driver(slots=1).start()
    driver.tell(GENTLY)
    assert driver.reload(9) == [ReloadEnded((9,), 0, False, "the service is stopping")]


def test_nobody_is_respawned_while_stopping() -> None:
    driver = Driver(slots=2).start()
    driver.tell(GENTLY)
    assert only(Spawn, driver.exit(1, 1) + driver.wait(60)) == []


def test_fork_asked_for_but_unanswered_ends_with_its_forkserver() -> None:
    driver = Driver(slots=1)
    driver.tell(StartAsked())
    driver.tell(ForkserverReady(1))
    driver.tell(GENTLY)
    assert driver.exit_forkserver(1) == [Exit(0)]


def test_fork_answered_while_stopping_is_ended() -> None:
    driver = Driver(slots=1)
    driver.tell(StartAsked())
    driver.tell(ForkserverReady(1))
    driver.tell(GENTLY)
    assert driver.fork(1) == [StopWorker(1, StopMode.TERM)]


def test_stop_during_the_first_boot_exits_with_0() -> None:
    driver = Driver(slots=1)
    driver.tell(StartAsked())
    driver.tell(GENTLY)
    assert driver.exit_forkserver(1) == [Exit(0)]


# Leaving


def leave(slots: int = 2, **policy: Any) -> Driver:
    """A service that has 5 s to leave."""
    driver = Driver(slots, drain_delay_s=5.0, **policy).start()
    actions = driver.tell(GENTLY)
    assert (deeds(actions), events(actions)) == ([KeepServing()], ["leaving"])
    return driver


def test_who_leaves_serves_until_the_delay_is_over() -> None:
    driver = leave()
    assert deeds(driver.wait(4.9)) == []
    actions = driver.wait(0.2)
    assert deeds(actions)[0] == CloseListeners()
    assert only(StopWorker, actions) == [
        StopWorker(1, StopMode.DRAIN),
        StopWorker(2, StopMode.DRAIN),
    ]


def test_the_grace_period_begins_after_the_delay() -> None:
    driver = leave(slots=1)
    assert StopWorker(1, StopMode.TERM) not in driver.wait(34)
    assert StopWorker(1, StopMode.TERM) in driver.wait(2)


def test_a_second_gentle_stop_ends_the_delay() -> None:
    driver = leave()
    assert StopWorker(2, StopMode.DRAIN) in driver.tell(GENTLY)
    assert driver.tell(GENTLY) == []


def test_a_quick_stop_ends_the_delay_and_shortens_the_grace_period() -> None:
    driver = leave(slots=1)
    assert StopWorker(1, StopMode.DRAIN) in driver.tell(QUICKLY)
    assert StopWorker(1, StopMode.TERM) in driver.wait(1.1)


def test_a_quick_stop_has_no_delay() -> None:
    driver = Driver(slots=1, drain_delay_s=5.0).start()
    assert StopWorker(1, StopMode.DRAIN) in driver.tell(QUICKLY)


def test_who_has_never_served_leaves_at_once() -> None:
    driver = Driver(slots=1, drain_delay_s=5.0)
    assert deeds(driver.tell(GENTLY)) == [CloseListeners(), Exit(0)]


def test_who_dies_while_the_service_leaves_is_adopted_and_replaced() -> None:
    driver = leave()
    actions = driver.exit(1, 1)
    assert [spawn.slot for spawn in only(Spawn, actions)] == [0]
    assert driver.slot(0).adopted_by == 2


def test_a_canary_ends_at_once_when_the_service_leaves() -> None:
    driver = Driver(slots=2, drain_delay_s=5.0).start()
    driver.reload(ticket=4)
    canary = driver.load(2).worker
    driver.serve(canary)
    actions = driver.tell(GENTLY)
    assert ReloadEnded((4,), 2, False, "the service is stopping") in actions
    assert only(StopWorker, actions) == [StopWorker(canary, StopMode.DRAIN)]


def test_nothing_new_is_begun_while_the_service_leaves() -> None:
    driver = leave()
    assert driver.reload(9) == [ReloadEnded((9,), 0, False, "the service is stopping")]
    assert deeds(driver.tell(ScaleAsked(4), RecycleAsked(0))) == []


def test_a_service_that_nobody_can_serve_any_more_has_left() -> None:
    driver = leave(slots=1)
    driver.exit_forkserver(1, -9)
    assert CloseListeners() in driver.exit(1, 1)


def test_who_leaves_and_has_no_memory_left_drains_at_once() -> None:
    driver = Driver(slots=2, drain_delay_s=5.0, is_oom_fatal=True).start()
    driver.tell(GENTLY)
    driver.tell(WorkerExited(1, -9, "out of memory", is_oom=True))
    view = driver.planner.snapshot()
    assert (view.is_leaving, view.is_stopping) == (False, True)


def test_the_grace_period_ends_for_all_at_once_whatever_each_was_told() -> None:
    roster, now = Roster.with_slots(1), 10.0
    states = [State.KILLING, State.SERVING, State.DRAINING, State.TERMINATING]
    for number, state in enumerate(states, 1):
        deadline_at = None if state is State.KILLING else 50.0
        handle = WorkerHandle(number, 0, 1, 0.0, deadline_at, state=state)
        handle.kill_at = 60.0 if state is State.DRAINING else None
        roster.workers[number] = handle
    context = PlanContext(now, now, False, Policy(), roster, Random(1))
    Stopping(is_active=True, grace_ends_at=20.0).run(context)
    assert [(w.deadline_at, w.kill_at) for w in roster.workers.values()] == [
        (None, None),
        (20.0, 20.5),
        (20.0, 20.5),
        (20.5, None),
    ]
