from random import Random

import pytest

from blazeio_supervisor.fleet.actions import (
    AdmitWorker,
    CheckHealth,
    ReloadEnded,
    RenewConnections,
    ReportStatus,
    Spawn,
    StopForkserver,
    StopMode,
    StopWorker,
)
from blazeio_supervisor.fleet.canary import is_time, measure_error_share
from blazeio_supervisor.fleet.context import PlanContext
from blazeio_supervisor.fleet.facts import Beat, HealthChecked
from blazeio_supervisor.fleet.policy import Policy
from blazeio_supervisor.fleet.roster import Roster
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


# Clients of the old code connect anew, so that some come to the canary


def with_clients(connections: int, slots: int = 2, **policy: object) -> Driver:
    """A fleet whose old workers have so many connections each, all in use."""
    driver = fleet(slots, **policy)
    for worker in driver.owners:
        assert worker is not None
        driver.ready[worker] = Beat(worker, 0.0, connections=connections, requests=9)
    driver.wait(0.1)
    driver.reload()
    driver.load(2)
    return driver


@pytest.mark.parametrize(
    ("connections", "renewed"), [(1, 1), (4, 1), (5, 2), (16, 4), (10_000, 4)]
)
def test_a_few_clients_of_each_old_worker_connect_anew_when_the_canary_serves(
    connections: int, renewed: int
) -> None:
    driver = with_clients(connections)
    assert only(RenewConnections, driver.log) == []
    actions = driver.serve(3)
    wanted = [RenewConnections(worker, renewed) for worker in (1, 2)]
    assert only(RenewConnections, actions) == wanted


def test_an_old_worker_without_clients_keeps_the_others_from_nothing() -> None:
    driver = fleet(3)
    idle, resting, busy = (owner for owner in driver.owners if owner is not None)
    driver.ready[idle] = Beat(idle, 0.0, connections=0, requests=9)
    driver.ready[resting] = Beat(resting, 0.0, connections=9, rests=True)
    driver.ready[busy] = Beat(busy, 0.0, connections=1, requests=9)
    driver.wait(0.1)
    driver.reload()
    canary = driver.load(2)
    actions = driver.serve(canary.worker)
    assert only(RenewConnections, actions) == [RenewConnections(busy, 1)]


def test_more_of_them_do_as_long_as_nobody_asks_the_canary() -> None:
    driver = with_clients(16)
    driver.serve(3)
    assert len(only(RenewConnections, driver.wait(0.32))) == 2 * 3


@pytest.mark.parametrize("beat", [Beat(3, 0.0, requests=7), Beat(3, 0.0, in_flight=1)])
def test_nobody_else_does_once_the_canary_is_asked(beat: Beat) -> None:
    driver = with_clients(16)
    driver.serve(3)
    driver.ready[3] = beat
    driver.wait(0.05)
    assert only(RenewConnections, driver.wait(0.1)) == []


def test_a_canary_whose_loop_is_blocked_gets_no_clients() -> None:
    driver = with_clients(16)
    driver.serve(3)
    driver.silent.add(3)
    driver.wait(0.2)
    assert only(RenewConnections, driver.wait(1.0)) == []


def test_where_nobody_asks_anything_no_client_is_disturbed() -> None:
    driver = with_clients(16)
    for worker in (1, 2):
        driver.ready[worker] = Beat(worker, 0.0, connections=16, rests=True)
    driver.wait(0.1)
    driver.serve(3)
    driver.wait(3.0)
    assert only(RenewConnections, driver.log) == []


def test_nobody_connects_anew_before_the_canary_was_found_healthy() -> None:
    driver = with_clients(16, **GATED)
    driver.serve(3)
    assert only(RenewConnections, driver.wait(0.3)) == []
    assert only(RenewConnections, driver.tell(HealthChecked(3, True))) != []


# No hold ends while the loop of a new worker stands still


def test_a_canary_whose_loop_is_blocked_is_not_taken() -> None:
    driver = under_trial()
    driver.wait(0.5)
    driver.silent.add(3)
    assert only(StopWorker, driver.wait(10.0)) == []
    driver.silent.discard(3)
    assert StopWorker(1, StopMode.DRAIN) in driver.wait(0.1)


def test_a_canary_that_stays_blocked_fails_the_reload() -> None:
    driver = under_trial()
    driver.silent.add(3)
    ended = one(ReloadEnded, driver.wait(31.0))
    assert not ended.is_ok
    assert "its loop has stood still for 30.0 s (--timeout)" in ended.reason
    assert driver.owners == [1, 2]


def test_the_way_back_is_kept_while_a_new_worker_is_blocked() -> None:
    driver = fleet()
    driver.reload_until_holding()
    (blocked, _) = [owner for owner in driver.owners if owner is not None]
    driver.silent.add(blocked)
    assert only(StopForkserver, driver.wait(10.0)) == []
    driver.wait(21.0)
    driver.exit(blocked, -15)
    assert driver.phase == "rolling_back"


def test_who_asks_for_the_next_reload_does_not_wait_for_a_blocked_worker() -> None:
    driver = fleet()
    driver.reload_until_holding()
    driver.silent.add(driver.owners[0] or 0)
    driver.wait(3.0)
    assert one(StopForkserver, driver.reload(ticket=2)).generation == 1


def test_new_code_that_hangs_in_every_slot_is_taken_back() -> None:
    driver = fleet(slots=3)
    driver.reload_until_holding()
    driver.silent |= set(driver.ready)
    assert driver.phase == "holding"
    driver.wait(29.0)
    assert driver.phase == "holding"
    driver.wait(1.2)
    assert driver.phase == "rolling_back"
    (report,) = [
        each for each in only(ReportStatus, driver.log) if each.event == "rolling_back"
    ]
    assert "the loops of 3 of 3 workers have stood still for 30 s (--timeout)" in (
        report.text
    )
    hung = driver.owners[0]
    successor = driver.slot(0).successor
    assert (hung, successor) != (None, None)
    assert successor is not None
    assert hung is not None
    # It reads no order to drain, and its clients would wait for its grace period.
    assert StopWorker(hung, StopMode.TERM) in driver.serve(successor.worker)


def test_who_has_answered_nothing_has_no_errors() -> None:
    context = PlanContext(10.0, 10.0, False, Policy(), Roster.with_slots(1), Random(1))
    assert measure_error_share(context) == 0.0
    assert is_time(context, 10.0)
    assert not is_time(context, 10.1)
    assert context.due_at == 10.1


def test_an_old_worker_that_hangs_is_not_asked_to_drain_for_the_canary() -> None:
    """All of the old code hang, so the machine is taken for the cause so far."""
    driver = fleet(slots=3)
    driver.silent |= {1, 2, 3}
    assert only(StopWorker, driver.wait(31.0)) == []
    driver.reload()
    driver.serve(driver.load(2).worker)
    assert one(StopWorker, driver.wait(2.1)) == StopWorker(1, StopMode.TERM)
