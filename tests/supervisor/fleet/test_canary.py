import pytest

from blazeio_supervisor.fleet.actions import (
    AdmitWorker,
    CheckHealth,
    ReloadEnded,
    Spawn,
    StopForkserver,
    StopMode,
    StopWorker,
)
from blazeio_supervisor.fleet.facts import Beat, HealthChecked
from tests.supervisor.fleet.driver import Driver, deeds, one, only

GATED = {"has_health_check": True}


def fleet(slots: int = 2, **policy: object) -> Driver:
    return Driver(slots, **policy).start()


def test_canary_boots_in_slot_0_beside_its_old_worker() -> None:
    driver = fleet()
    driver.reload()
    assert driver.load(2) == Spawn(3, 0, 2)


def test_no_old_worker_is_touched_before_the_canary_has_held() -> None:
    driver = fleet()
    driver.reload()
    driver.load(2)
    actions = driver.serve(3) + driver.wait(1.9)
    assert only(StopWorker, actions) == []
    assert StopWorker(1, StopMode.DRAIN) in driver.wait(0.2)


def test_canary_of_a_fleet_where_nothing_serves_is_not_held() -> None:
    driver = fleet(slots=1)
    driver.reload()
    canary = driver.load(2)
    driver.fork(canary.worker)
    driver.exit(1, 1)
    driver.get_ready(canary.worker)
    assert driver.phase == "holding"


def test_canary_owns_slot_0_when_its_old_worker_died_meanwhile() -> None:
    driver = fleet()
    driver.reload()
    canary = driver.load(2)
    driver.exit_forkserver(1, -9)
    driver.exit(1, 1)
    driver.serve(canary.worker)
    assert driver.owners == [None, 2]
    driver.wait(2.1)
    assert driver.owners == [canary.worker, 2]


def test_canary_is_admitted_when_healthy() -> None:
    driver = fleet(**GATED)
    driver.reload()
    assert driver.load(2) == Spawn(3, 0, 2, is_canary=True)
    assert driver.serve(3) == [CheckHealth(3)]
    assert driver.tell(HealthChecked(3, True)) == [AdmitWorker(3)]
    assert StopWorker(1, StopMode.DRAIN) in driver.wait(2.1)


def test_unhealthy_canary_is_ended_with_its_reason() -> None:
    driver = fleet(**GATED)
    driver.reload(ticket=3)
    driver.load(2)
    driver.serve(3)
    actions = driver.tell(HealthChecked(3, False, "status 500"))
    assert deeds(actions)[:2] == [StopWorker(3, StopMode.DRAIN), StopForkserver(2)]
    ended = one(ReloadEnded, actions)
    assert not ended.is_ok
    assert ended.reason.endswith("unhealthy: status 500")


def test_health_answer_of_another_worker_is_ignored() -> None:
    driver = fleet(**GATED)
    driver.reload()
    driver.load(2)
    driver.serve(3)
    assert driver.tell(HealthChecked(2, False, "status 500")) == []


def test_health_path_that_never_answers_fails_the_reload() -> None:
    driver = fleet(**GATED)
    driver.reload()
    driver.load(2)
    driver.serve(3)
    ended = one(ReloadEnded, driver.wait(10.1))
    assert ended.reason.endswith(
        ": unhealthy: no answer within 10 s (--health-timeout)"
    )


# A hold is over earlier where the new code has shown enough


def answer(driver: Driver, worker: int, requests: int, errors: int = 0) -> None:
    driver.ready[worker] = Beat(worker, 0.0, requests=requests, errors=errors)


def under_trial(*, old_errors: int = 0) -> Driver:
    """A canary, worker 3, that has just got ready."""
    driver = fleet()
    for worker in (1, 2):
        answer(driver, worker, 1000, old_errors)
    driver.wait(0.1)
    driver.reload()
    driver.load(2)
    driver.serve(3)
    return driver


@pytest.mark.parametrize(
    ("requests", "errors", "old_errors", "is_proven"),
    [
        (200, 0, 0, True),
        (199, 0, 0, False),
        (10_000, 1, 0, False),
        (200, 2, 10, True),
        (200, 3, 10, False),
    ],
)
def test_the_hold_is_short_for_who_answers_enough_and_as_well_as_the_old_code(
    requests: int, errors: int, old_errors: int, is_proven: bool
) -> None:
    driver = under_trial(old_errors=old_errors)
    answer(driver, 3, requests, errors)
    assert only(StopWorker, driver.wait(0.15)) == []
    ended = StopWorker(1, StopMode.DRAIN) in driver.wait(0.2)
    assert ended == is_proven
    if not is_proven:
        assert only(StopWorker, driver.wait(1.5)) == []
        assert StopWorker(1, StopMode.DRAIN) in driver.wait(0.3)


def test_what_is_in_flight_is_no_answer() -> None:
    driver = under_trial()
    driver.ready[3] = Beat(3, 0.0, requests=200, in_flight=1)
    assert only(StopWorker, driver.wait(1.9)) == []


def test_a_canary_that_has_not_proven_itself_costs_no_turns() -> None:
    driver = under_trial()
    answer(driver, 3, 100)
    driver.wait(0.3)
    due_at = driver.planner.next_deadline_at()
    assert due_at is not None
    assert due_at > driver.now


def test_the_way_back_is_given_up_early_once_all_have_proven_themselves() -> None:
    driver = fleet(slots=2)
    driver.reload_until_holding(ticket=4)
    new = [owner for owner in driver.owners if owner is not None]
    answer(driver, new[0], 500)
    assert only(StopForkserver, driver.wait(0.5)) == []
    answer(driver, new[1], 200)
    assert one(StopForkserver, driver.wait(0.1)).generation == 1
