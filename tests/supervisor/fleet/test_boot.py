import pytest

from blazeio_supervisor.fleet.actions import (
    CloseListeners,
    Exit,
    ReloadEnded,
    ReportStatus,
    Spawn,
    StartForkserver,
    StopForkserver,
    StopMode,
    StopWorker,
)
from blazeio_supervisor.fleet.facts import (
    ForkserverExited,
    ForkserverReady,
    ReloadAsked,
    StartAsked,
    StopAsked,
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
    ready = [r for r in only(ReportStatus, driver.log) if r.event == "ready"]
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
    assert deeds(actions) == [CloseListeners(), StopForkserver(1, StopMode.DRAIN)]
    assert events(actions) == ["boot_failed"]
    reason = "worker=1 slot=0 gen=1 pid=1001: exit code 1: ValueError: no database"
    assert driver.exit_forkserver(1) == [Exit(3, reason)]


def test_failed_first_boot_ends_the_other_booting_workers_too() -> None:
    driver = booting(slots=2)
    assert StopWorker(2, StopMode.TERM) in driver.exit(1, 3)


def test_first_boot_that_takes_too_long_exits_with_3() -> None:
    driver = booting()
    actions = driver.wait(60.5)
    assert StopWorker(1, StopMode.TERM) in actions
    driver.exit(1, -15)
    exit_ = one(Exit, driver.exit_forkserver(1))
    assert exit_.code == 3
    assert "not ready within 60 s" in exit_.reason


def test_import_that_takes_too_long_exits_with_3() -> None:
    driver = Driver()
    driver.tell(StartAsked())
    assert StopForkserver(1, StopMode.TERM) in driver.wait(60.5)
    assert one(Exit, driver.exit_forkserver(1, -15)).code == 3


def test_boot_that_hangs_is_killed_in_the_end() -> None:
    driver = booting()
    driver.wait(60.5)
    assert StopWorker(1, StopMode.KILL) in driver.wait(5.1)


def test_failure_beside_one_that_serves_does_not_end_the_master() -> None:
    driver = booting(slots=2)
    driver.get_ready(1)
    assert only(Exit, driver.exit(2, 1)) == []


def test_reload_asked_during_the_first_boot_waits_for_it() -> None:
    driver = booting()
    assert driver.reload() == []
    assert StartForkserver(2, 1) in driver.get_ready(1)


def test_reload_asked_during_a_first_boot_that_fails_is_answered() -> None:
    driver = booting()
    driver.tell(ReloadAsked(5))
    ended = one(ReloadEnded, driver.exit(1, 1))
    assert (ended.tickets, ended.is_ok) == ((5,), False)


def failed(code: int = 3) -> Driver:
    """While an app is developed: its import has failed."""
    driver = Driver(is_development=True)
    driver.tell(StartAsked())
    driver.tell(ForkserverExited(1, code, "SyntaxError: bad"))
    return driver


@pytest.mark.parametrize("code", [3, 4, 1, -9])
def test_with_reload_an_app_that_fails_is_waited_for(code: int) -> None:
    driver = failed(code)
    report = one(ReportStatus, driver.log)
    assert (report.event, report.level) == ("boot_waits", "ERROR")
    assert report.text.endswith(": SyntaxError: bad; waiting for a change of the code")
    assert deeds(driver.wait(100)) == []


@pytest.mark.parametrize("code", [2, 5])
def test_with_reload_too_what_no_change_of_code_mends_ends_the_master(
    code: int,
) -> None:
    assert one(Exit, failed(code).log).code == code


def test_with_reload_a_change_boots_anew_until_it_serves() -> None:
    driver = failed()
    assert driver.tell(ReloadAsked(1)) == [StartForkserver(2, 1)]
    ended = driver.tell(ForkserverExited(2, 3, "SyntaxError: worse"))
    assert one(ReloadEnded, ended) == ReloadEnded(
        (1,), 2, False, "exit code 3: SyntaxError: worse"
    )

    driver.tell(ReloadAsked(2))
    spawns = only(Spawn, driver.tell(ForkserverReady(3)))
    assert [(each.slot, each.generation) for each in spawns] == [(0, 3), (1, 3)]
    up = driver.serve(spawns[0].worker)
    assert one(ReloadEnded, up) == ReloadEnded((2,), 3, True, "")
    assert "ready" in events(up)


def test_with_reload_all_that_a_failed_boot_has_begun_ends_first() -> None:
    driver = Driver(is_development=True)
    driver.tell(StartAsked())
    first, second = only(Spawn, driver.tell(ForkserverReady(1)))
    driver.fork(first.worker)
    driver.fork(second.worker)
    actions = driver.exit(first.worker, 3, "no database")
    assert StopWorker(second.worker, StopMode.TERM) in actions
    assert StopForkserver(1, StopMode.DRAIN) in actions
    assert events(actions) == ["boot_waits"]
    assert driver.tell(ReloadAsked(1)) == []
    driver.exit(second.worker, -15)
    assert driver.exit_forkserver(1) == [StartForkserver(2, 1)]


def test_with_reload_a_change_during_a_boot_begins_it_anew() -> None:
    driver = Driver(is_development=True)
    driver.tell(StartAsked())
    assert driver.tell(ReloadAsked(1)) == [StopForkserver(1, StopMode.TERM)]
    assert driver.exit_forkserver(1, -15) == [StartForkserver(2, 1)]


def test_with_reload_a_stop_ends_the_waiting() -> None:
    driver = failed()
    assert Exit(0, "") in driver.tell(StopAsked())


def test_with_reload_a_stop_answers_whose_code_is_tried() -> None:
    driver = failed()
    driver.tell(ReloadAsked(1))
    ended = one(ReloadEnded, driver.tell(StopAsked()))
    assert ended == ReloadEnded((1,), 2, False, "the service is stopping")


def test_code_that_changes_while_it_boots_is_booted_anew() -> None:
    driver = Driver(1, is_development=True)
    driver.tell(StartAsked())
    driver.exit_forkserver(1, 4)
    assert one(StartForkserver, driver.reload(7)).generation == 2
    actions = driver.reload(8)
    why = "the code has changed meanwhile"
    assert one(ReloadEnded, actions) == ReloadEnded((7,), 2, False, why)
    assert one(StopForkserver, actions).generation == 2
    assert one(StartForkserver, driver.exit_forkserver(2)).generation == 3
