from random import Random

import pytest
from msgspec.structs import replace

from blazeio_supervisor.fleet.actions import Steer
from blazeio_supervisor.fleet.context import PlanContext
from blazeio_supervisor.fleet.facts import ForkserverReady, ScaleAsked, StartAsked
from blazeio_supervisor.fleet.health import LEAST, MOST, Steering
from blazeio_supervisor.fleet.policy import Policy
from blazeio_supervisor.fleet.roster import Roster, State, WorkerHandle
from tests.supervisor.fleet.driver import Driver, only


def steers(driver: Driver) -> list[tuple[int, ...]]:
    return [steer.weights for steer in only(Steer, driver.log)]


def load(driver: Driver, worker: int, in_flight: int) -> None:
    driver.ready[worker] = replace(driver.ready[worker], in_flight=in_flight)


def test_slots_get_their_weight_as_they_begin_to_serve() -> None:
    driver = Driver(slots=3).start()
    assert steers(driver) == [(100, 0, 0), (100, 100, 0), (100, 100, 100)]


def test_nothing_is_sent_before_anybody_serves() -> None:
    driver = Driver(slots=3)
    driver.tell(StartAsked())
    driver.tell(ForkserverReady(1))
    assert steers(driver) == []


def test_dead_slot_loses_its_weight_at_once() -> None:
    driver = Driver(slots=2).start()
    assert Steer((100, 0)) in driver.exit(2, 1)


def test_all_zero_when_nobody_serves_any_more() -> None:
    driver = Driver(slots=2).start()
    driver.exit(2, 1)
    assert Steer((0, 0)) in driver.exit(1, 1)


def test_parked_slot_has_no_weight() -> None:
    driver = Driver(slots=2).start()
    assert Steer((100, 0)) in driver.tell(ScaleAsked(1))


def test_opened_slot_joins_the_weights_with_none() -> None:
    driver = Driver(slots=2).start()
    assert Steer((100, 100, 0)) in driver.tell(ScaleAsked(3))


def test_when_the_only_one_left_is_late_it_keeps_its_weight() -> None:
    driver = Driver(slots=2).start()
    driver.exit(2, 1)
    driver.wait(0.5)
    driver.silent.add(1)
    assert only(Steer, driver.wait(5)) == []


def test_single_slot_is_never_steered() -> None:
    driver = Driver(slots=1).start()
    driver.exit(1, 1)
    assert steers(driver) == []


def test_weights_follow_load_in_small_steps() -> None:
    driver = Driver(slots=2).start()
    driver.wait(1)
    load(driver, 1, 40)
    before: tuple[int, ...] = (100, 100)
    sent = only(Steer, driver.wait(5))
    for steer in sent:
        pairs = zip(steer.weights, before, strict=True)
        assert all(abs(new - old) <= 10 for new, old in pairs)
        before = steer.weights
    assert before == (60, 150)


@pytest.mark.parametrize(
    ("loads", "weights"),
    [
        ((10.0, 12.0), (110, 100)),  # the even share of the first is 110
        ((10.0, 11.9), (100, 100)),
        ((10.0, 8.0), (90, 110)),
        ((10.0, 8.1), (100, 110)),
    ],
)
def test_a_weight_moves_by_a_step_where_it_is_off_by_one(
    loads: tuple[float, float], weights: tuple[int, int]
) -> None:
    roster, now = Roster.with_slots(2), 100.0
    for slot, each in enumerate(loads):
        handle = WorkerHandle(slot + 1, slot, 1, 0.0, None, state=State.SERVING)
        handle.health.load = each
        roster.workers[slot + 1] = roster.slots[slot].owner = handle
    steering = Steering(moved_at=now - 0.25)
    policy = Policy(steer_every_s=0.25)
    steering.run(PlanContext(now, now, False, policy, roster, Random(1)))
    assert steering.weights == weights


def test_weights_move_at_most_every_quarter_second() -> None:
    driver = Driver(slots=2).start()
    driver.wait(1)
    load(driver, 1, 40)
    assert len(only(Steer, driver.wait(1.0))) <= 4


def test_weights_stay_within_their_bounds() -> None:
    driver = Driver(slots=3).start()
    load(driver, 1, 10_000)
    driver.wait(10)
    found = {weight for weights in steers(driver)[3:] for weight in weights}
    assert min(found) == LEAST
    assert max(found) <= MOST


def test_even_load_brings_even_weights_back() -> None:
    driver = Driver(slots=2).start()
    load(driver, 1, 40)
    driver.wait(5)
    load(driver, 1, 0)
    driver.wait(10)
    assert all(90 <= w <= 110 for w in steers(driver)[-1])


def test_worker_that_is_new_begins_with_the_even_share() -> None:
    driver = Driver(slots=2).start()
    load(driver, 1, 40)
    driver.wait(5)
    driver.exit(1, 1)
    driver.serve(3)
    assert steers(driver)[-1] == (100, 150)


@pytest.mark.parametrize("in_flight", [1, 40])
def test_steered_evenly_all_who_serve_are_equal(in_flight: int) -> None:
    driver = Driver(slots=2, steering="even").start()
    load(driver, 1, in_flight)
    assert only(Steer, driver.wait(10)) == []
    driver.exit(1, 1)
    assert steers(driver)[-1] == (0, 100)


def test_switched_off_nobody_is_steered_away_either() -> None:
    driver = Driver(slots=2, steering="off").start()
    driver.exit(1, 1)
    assert steers(driver) == []
    assert driver.slot(0).adopted_by == 2


def test_shared_listener_is_never_steered() -> None:
    driver = Driver(slots=2, is_shared_listener=True).start()
    driver.exit(1, 1)
    assert steers(driver) == []


def test_snapshot_shows_the_weights() -> None:
    driver = Driver(slots=2).start()
    driver.exit(2, 1)
    assert [driver.slot(i).weight for i in range(2)] == [100, 0]
