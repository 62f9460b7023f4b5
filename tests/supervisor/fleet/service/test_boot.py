import pytest

from blazeio_supervisor.fleet.actions import (
    End,
    Ending,
    Exit,
    LastCall,
    ReloadEnded,
    Report,
    Spawn,
    StartForkserver,
    StopForkserver,
)
from blazeio_supervisor.fleet.facts import (
    ForkserverExited,
    ForkserverReady,
    ReloadAsked,
    StartAsked,
    WorkerExited,
)
from tests.supervisor.fleet.driver import Driver, deeds, events, one, only


def test_start_begins_the_first_generation() -> None:
    assert Driver().tell(StartAsked()) == [StartForkserver(1)]


def test_nothing_begins_unasked() -> None:
    assert Driver().tell() == []


def test_start_asked_twice_begins_once() -> None:
    driver = Driver()
    driver.tell(StartAsked())
    assert driver.tell(StartAsked()) == []


def test_a_ready_forkserver_forks_for_every_slot() -> None:
    driver = Driver(slots=3)
    driver.tell(StartAsked())
    spawns = [Spawn(1, 0, 1), Spawn(2, 1, 1), Spawn(3, 2, 1)]
    assert driver.tell(ForkserverReady(1)) == spawns


def test_ready_is_reported_once_when_the_first_slot_serves() -> None:
    driver = Driver().start()
    ready = [r for r in only(Report, driver.log) if r.event == "ready"]
    assert [(r.slot, r.text) for r in ready] == [
        (0, "the service is up: this worker is the first that serves")
    ]


def booting(slots: int = 1) -> Driver:
    driver = Driver(slots)
    driver.tell(StartAsked())
    driver.tell(ForkserverReady(1))
    for worker in range(1, slots + 1):
        driver.fork(worker)
    return driver


@pytest.mark.parametrize(
    ("status", "code"), [(4, 4), (2, 2), (5, 5), (3, 3), (1, 3), (0, 3), (-9, 3)]
)
def test_forkserver_that_exits_in_the_first_boot_gives_the_exit_code(
    status: int, code: int
) -> None:
    driver = Driver()
    driver.tell(StartAsked())
    exit_ = one(Exit, driver.tell(ForkserverExited(1, status, "No module named x")))
    assert exit_.code == code
    assert exit_.reason.endswith(": No module named x")


def test_worker_that_exits_in_the_first_boot_ends_the_master() -> None:
    driver = booting()
    actions = driver.tell(WorkerExited(1, 1, "ValueError: no database"))
    assert deeds(actions) == [LastCall(), StopForkserver(1, Ending.DRAIN)]
    assert events(actions) == ["boot_failed"]
    reason = "worker=1 slot=0 gen=1 pid=1001: exit code 1: ValueError: no database"
    assert driver.exit_forkserver(1) == [Exit(3, reason)]


def test_failed_first_boot_ends_the_other_booting_workers_too() -> None:
    driver = booting(slots=2)
    assert End(2, Ending.TERM) in driver.exit(1, 3)


def test_first_boot_that_takes_too_long_exits_with_3() -> None:
    driver = booting()
    actions = driver.wait(60.0)
    assert End(1, Ending.TERM) in actions
    driver.exit(1, -15)
    exit_ = one(Exit, driver.exit_forkserver(1))
    assert exit_.code == 3
    assert "not ready within 60 s" in exit_.reason


def test_import_that_takes_too_long_exits_with_3() -> None:
    driver = Driver()
    driver.tell(StartAsked())
    assert StopForkserver(1, Ending.TERM) in driver.wait(60.0)
    assert one(Exit, driver.exit_forkserver(1, -15)).code == 3


def test_boot_that_hangs_is_killed_in_the_end() -> None:
    driver = booting()
    driver.wait(60.0)
    assert End(1, Ending.KILL) in driver.wait(5.1)


def test_failure_beside_one_that_serves_does_not_end_the_master() -> None:
    driver = booting(slots=2)
    driver.get_ready(1)
    assert only(Exit, driver.exit(2, 1)) == []


def test_reload_asked_during_the_first_boot_waits_for_it() -> None:
    driver = booting()
    assert driver.reload() == []
    assert StartForkserver(2) in driver.get_ready(1)


def test_reload_asked_during_a_first_boot_that_fails_is_answered() -> None:
    driver = booting()
    driver.tell(ReloadAsked(5))
    ended = one(ReloadEnded, driver.exit(1, 1))
    assert (ended.ticket, ended.is_ok) == (5, False)
