import pytest

from blazeio_supervisor.fleet.actions import (
    AskStack,
    ReportBoot,
    Spawn,
    StopForkserver,
    StopMode,
    StopWorker,
)
from blazeio_supervisor.fleet.facts import (
    ForkserverReady,
    ScaleAsked,
    StartAsked,
    WorkerForked,
)
from tests.supervisor.fleet.driver import Driver, events, one, only


def test_drain_becomes_term_then_kill() -> None:
    driver = Driver(slots=2).start()
    assert StopWorker(2, StopMode.DRAIN) in driver.tell(ScaleAsked(1))
    assert only(StopWorker, driver.wait(29.9)) == []
    assert only(StopWorker, driver.wait(0.2)) == [StopWorker(2, StopMode.TERM)]
    assert only(StopWorker, driver.wait(0.3)) == []
    assert only(StopWorker, driver.wait(0.2)) == [StopWorker(2, StopMode.KILL)]
    assert only(StopWorker, driver.wait(600)) == []


def test_where_one_stands_is_asked_before_it_is_told_that_its_time_is_over() -> None:
    driver = Driver(slots=2).start()
    driver.tell(ScaleAsked(1))
    actions = driver.wait(30.1)
    asked, told = (
        actions.index(each) for each in (AskStack(2), StopWorker(2, StopMode.TERM))
    )
    assert asked < told


@pytest.mark.parametrize("grace_s", [0.1, 1.0, 3.0, 30.0])
def test_one_that_boots_is_killed_within_the_grace_period_too(grace_s: float) -> None:
    driver = Driver(slots=2, grace_s=grace_s).start()
    driver.fork(one(Spawn, driver.exit(2, 1)).worker)
    assert only(StopWorker, driver.tell(ScaleAsked(1))) == [
        StopWorker(3, StopMode.TERM)
    ]
    span_s = min(5.0, grace_s + 0.5)
    assert only(StopWorker, driver.wait(span_s - 0.1)) == []
    assert only(StopWorker, driver.wait(0.2)) == [StopWorker(3, StopMode.KILL)]


def test_a_drain_that_ends_in_time_needs_no_more() -> None:
    driver = Driver(slots=2).start()
    driver.tell(ScaleAsked(1))
    driver.exit(2)
    assert only(StopWorker, driver.wait(60)) == []


def test_a_respawn_that_never_gets_ready_is_ended_and_tried_again() -> None:
    driver = Driver(slots=2).start()
    spawn = one(Spawn, driver.exit(2, 1))
    driver.fork(spawn.worker)
    actions = driver.wait(60.5)
    assert StopWorker(spawn.worker, StopMode.TERM) in actions
    assert only(Spawn, driver.wait(0.5))[0].slot == 1


def test_after_a_suspend_nobody_is_ended_in_the_first_turn() -> None:
    driver = Driver(slots=2).start()
    spawn = one(Spawn, driver.exit(2, 1))
    driver.fork(spawn.worker)
    driver.wait(59.5)
    assert only(StopWorker, driver.sleep_through(600)) == []
    assert only(StopWorker, driver.get_ready(spawn.worker)) == []
    assert only(StopWorker, driver.wait(60)) == []


def test_a_suspend_only_puts_the_deadline_off() -> None:
    driver = Driver(slots=2).start()
    driver.fork(one(Spawn, driver.exit(2, 1)).worker)
    driver.wait(59.5)
    driver.sleep_through(600)
    assert only(StopWorker, driver.wait(2)) == [StopWorker(3, StopMode.TERM)]


def test_forkserver_that_no_longer_forks_is_killed_and_replaced() -> None:
    driver = Driver(slots=2).start()
    driver.exit(2, 1)
    actions = driver.wait(60)
    assert StopForkserver(1, StopMode.KILL) in actions
    assert "reloading" in events(driver.exit_forkserver(1, -9))


def test_fork_answered_after_it_was_given_up_on_is_killed() -> None:
    driver = Driver(slots=2).start()
    spawn = one(Spawn, driver.exit(2, 1))
    driver.wait(60)
    late = WorkerForked(spawn.worker, 77)
    assert only(StopWorker, driver.tell(late)) == [
        StopWorker(spawn.worker, StopMode.KILL)
    ]


def test_fork_of_a_worker_never_asked_for_is_ignored() -> None:
    assert only(StopWorker, Driver().start().tell(WorkerForked(99, 77))) == []


def test_cancelled_fork_that_is_never_answered_ends_the_forkserver_too() -> None:
    driver = Driver(slots=2).start()
    driver.exit(2, 1)
    driver.tell(ScaleAsked(1))
    assert StopForkserver(1, StopMode.KILL) in driver.wait(60)


def test_cancelled_fork_is_ended_as_soon_as_it_has_a_pid() -> None:
    driver = Driver(slots=2)
    driver.tell(StartAsked())
    driver.tell(ForkserverReady(1))
    driver.serve(1)
    assert only(StopWorker, driver.tell(ScaleAsked(1))) == []
    assert only(StopWorker, driver.fork(2)) == [StopWorker(2, StopMode.TERM)]


def test_next_deadline_is_never_more_than_a_tick_away() -> None:
    driver = Driver().start()
    due = driver.planner.next_deadline_at()
    assert due is not None
    assert due - driver.now <= driver.policy.tick_every_s


def test_import_of_a_reload_that_never_ends_is_stopped() -> None:
    driver = Driver(slots=1).start()
    driver.reload()
    assert StopForkserver(2, StopMode.TERM) in driver.wait(60.5)
    assert StopForkserver(2, StopMode.KILL) in driver.wait(6)


def test_who_boots_for_long_is_reported_twice_and_then_ended() -> None:
    driver = Driver(slots=2).start()
    spawn = one(Spawn, driver.exit(2, 1))
    driver.fork(spawn.worker)
    assert only(ReportBoot, driver.wait(19)) == []
    first = one(ReportBoot, driver.wait(2))
    assert (first.worker, first.timeout_s) == (spawn.worker, 60.0)
    assert first.boot_s == pytest.approx(20, abs=0.1)
    assert only(ReportBoot, driver.wait(38)) == []
    actions = driver.wait(1.2)
    assert one(ReportBoot, actions).boot_s == pytest.approx(60, abs=0.1)
    assert only(StopWorker, actions) == []  # first it says where it stands
    assert only(StopWorker, driver.wait(0.5)) == [
        StopWorker(spawn.worker, StopMode.TERM)
    ]


def test_a_forkserver_that_imports_for_long_is_reported_likewise() -> None:
    driver = Driver(slots=2)
    driver.tell(StartAsked())
    first = one(ReportBoot, driver.wait(21))
    assert (first.generation, first.worker) == (1, None)
    driver.tell(ForkserverReady(1))
    assert only(ReportBoot, driver.wait(0.2)) == []
