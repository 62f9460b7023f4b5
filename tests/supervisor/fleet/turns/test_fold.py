import pytest

from blazeio_supervisor.fleet.actions import Report
from blazeio_supervisor.fleet.facts import (
    Beat,
    Fact,
    ForkserverExited,
    ForkserverReady,
    HealthChecked,
    RecycleAsked,
    Tick,
    WorkerExited,
    WorkerForked,
    WorkerReady,
)
from tests.supervisor.fleet.driver import Driver, only

UNKNOWN: list[Fact] = [
    ForkserverReady(9),
    ForkserverExited(9, 0),
    WorkerForked(99, 1),
    WorkerReady(99),
    WorkerExited(99, 0),
    Beat(99, 1.0),
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


def test_ready_that_overtakes_the_fork_is_believed() -> None:
    driver = Driver(slots=2).start()
    driver.exit(2, 1)
    driver.get_ready(3)
    assert driver.owners == [1, 3]
    driver.fork(3)
    owner = driver.slot(1).owner
    assert owner is not None
    assert (owner.pid, owner.state) == (1003, "serving")


def test_exit_is_decoded() -> None:
    driver = Driver(slots=2).start()
    reports = only(Report, driver.tell(WorkerExited(2, -9, "out of memory")))
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
