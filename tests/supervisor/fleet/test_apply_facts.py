import pytest

from blazeio_supervisor.fleet.actions import (
    ReloadEnded,
    ReportStatus,
    Spawn,
    StartForkserver,
    StopForkserver,
    StopMode,
    StopWorker,
)
from blazeio_supervisor.fleet.facts import (
    Beat,
    Fact,
    ForkserverExited,
    ForkserverMisbehaved,
    ForkserverReady,
    HealthChecked,
    RecycleAsked,
    ScaleAsked,
    Tick,
    WorkerExited,
    WorkerForked,
    WorkerMisbehaved,
    WorkerReady,
)
from tests.supervisor.fleet.driver import Driver, deeds, events, one, only

UNKNOWN: list[Fact] = [
    ForkserverReady(9),
    ForkserverExited(9, 0),
    WorkerForked(99, 1),
    WorkerReady(99),
    WorkerExited(99, 0),
    Beat(99, 1.0),
    WorkerMisbehaved(99, "it sent junk"),
    ForkserverMisbehaved(9, "it sent junk"),
    HealthChecked(99, False),
    Tick(),
]


@pytest.mark.parametrize("fact", UNKNOWN, ids=repr)
def test_facts_about_the_unknown_are_ignored(fact: Fact) -> None:
    assert Driver(slots=2).start().tell(fact) == []


DOUBLE: list[Fact] = [ForkserverReady(1), WorkerForked(1, 1001), WorkerReady(1)]


@pytest.mark.parametrize("fact", DOUBLE, ids=repr)
def test_facts_told_twice_change_nothing(fact: Fact) -> None:
    assert Driver(slots=2).start().tell(fact) == []


@pytest.mark.parametrize("is_canary", [False, True])
def test_nobody_serves_whose_pid_is_not_known(is_canary: bool) -> None:
    driver = Driver(slots=2).start()
    if is_canary:
        generation = one(StartForkserver, driver.reload()).generation
        worker = driver.load(generation).worker
    else:
        generation, worker = 1, 3
        driver.exit(2, 1)
    driver.tell(WorkerReady(worker))
    assert find_state(driver, worker) == "spawning"
    driver.exit_forkserver(generation, -9)
    assert find_state(driver, worker) is None


def find_state(driver: Driver, worker: int) -> str | None:
    workers = driver.planner.snapshot().workers
    return next((each.state for each in workers if each.worker == worker), None)


def test_exit_is_decoded() -> None:
    driver = Driver(slots=2).start()
    reports = only(ReportStatus, driver.tell(WorkerExited(2, -9, "out of memory")))
    assert "killed by SIGKILL: out of memory" in reports[0].text


def test_exit_of_a_stray_is_taken_for_its_end() -> None:
    driver = Driver(slots=2).start()
    driver.exit(2, 1)
    driver.wait(60)
    driver.fork(3)
    driver.exit(3, -9)
    assert 3 not in {worker.worker for worker in driver.planner.snapshot().workers}


def test_demands_before_the_start_are_harmless() -> None:
    assert Driver(slots=2).tell(RecycleAsked(0), Tick()) == []


def test_a_worker_that_misbehaves_is_killed_and_replaced_at_once() -> None:
    driver = Driver(slots=2).start()
    actions = driver.tell(WorkerMisbehaved(2, "it sent junk"))
    assert StopWorker(2, StopMode.KILL) in actions
    assert [spawn.slot for spawn in only(Spawn, actions)] == [1]
    (failed,) = [r for r in only(ReportStatus, actions) if r.event == "worker_failed"]
    assert failed.reason == "misbehaved"
    assert failed.text.startswith("it misbehaved: it sent junk; another one starts")
    assert driver.tell(WorkerMisbehaved(2, "it sent junk")) == []


def test_one_that_drains_and_misbehaves_is_killed_and_no_failure() -> None:
    driver = Driver(slots=2).start()
    driver.tell(ScaleAsked(count=1))
    actions = driver.tell(WorkerMisbehaved(2, "it sent junk"))
    assert deeds(actions)[0] == StopWorker(2, StopMode.KILL)
    assert "worker_failed" not in events(actions)


def test_a_forkserver_that_misbehaves_is_killed_and_another_one_loads() -> None:
    driver = Driver(slots=2).start()
    actions = driver.tell(ForkserverMisbehaved(1, "it named a pid"))
    assert StopForkserver(1, StopMode.KILL) in actions
    driver.exit_forkserver(1, -9)
    assert StartForkserver(2) in driver.log


def test_a_reload_whose_forkserver_misbehaves_fails() -> None:
    driver = Driver(slots=2).start()
    driver.reload(5)
    driver.tell(ForkserverMisbehaved(2, "it named a pid"))
    (ended,) = only(ReloadEnded, driver.log)
    assert not ended.is_ok
    assert "it misbehaved: it named a pid" in ended.reason
    assert driver.owners == [1, 2]
