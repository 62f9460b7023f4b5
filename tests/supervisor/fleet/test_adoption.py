from random import Random

import pytest
from msgspec.structs import replace

from blazeio_supervisor.fleet.actions import (
    Action,
    AdoptQueue,
    ReleaseQueue,
    Spawn,
    Steer,
)
from blazeio_supervisor.fleet.context import PlanContext
from blazeio_supervisor.fleet.facts import (
    Beat,
    ForkserverReady,
    ScaleAsked,
    StartAsked,
    StopAsked,
    Tick,
)
from blazeio_supervisor.fleet.health import adopt_queues
from blazeio_supervisor.fleet.policy import Policy
from blazeio_supervisor.fleet.roster import Roster, State, WorkerHandle
from tests.supervisor.fleet.driver import Driver, one, only


def moves(actions: list[Action]) -> list[Action]:
    return [
        action for action in actions if isinstance(action, AdoptQueue | ReleaseQueue)
    ]


def load(driver: Driver, worker: int, in_flight: int, lag_s: float = 0.0) -> None:
    beat = driver.ready[worker]
    driver.ready[worker] = replace(beat, in_flight=in_flight, lag_s=lag_s)


def fill(driver: Driver, worker: int, *, is_full: bool = True) -> None:
    driver.ready[worker] = replace(driver.ready[worker], is_full=is_full)


def test_first_that_serves_adopts_the_slots_that_still_boot() -> None:
    driver = Driver(slots=3)
    driver.tell(StartAsked())
    driver.tell(ForkserverReady(1))
    assert moves(driver.serve(2)) == []  # it has not beaten yet
    assert moves(driver.wait(0.05)) == [AdoptQueue(0, 2), AdoptQueue(2, 2)]
    assert moves(driver.serve(1)) == [ReleaseQueue(0, 2)]


def test_a_worker_that_got_ready_long_ago_and_blocks_adopts_nothing() -> None:
    """Its fork was answered late: what it said before is no news."""
    driver = Driver(slots=2)
    driver.tell(StartAsked())
    driver.tell(ForkserverReady(1))
    driver.serve(2)
    driver.ready[2] = Beat(2, driver.now - 5.0)
    driver.silent.add(2)
    assert moves(driver.wait(0.05)) == []


@pytest.mark.parametrize(
    ("silent_s", "rests", "adopts"),
    [
        (0.1875, False, True),
        (0.25, False, False),
        (1.1875, True, True),
        (1.25, True, False),
    ],
)
def test_only_who_has_beaten_just_now_adopts(
    silent_s: float, rests: bool, adopts: bool
) -> None:
    """It is not late either: that is looked at only when it was read."""
    roster, now = Roster.with_slots(2), 100.0
    handle = WorkerHandle(1, 0, 1, 0.0, None, state=State.SERVING, ready_at=now)
    handle.health.beat, handle.health.beat_at = (
        Beat(1, 0.0, rests=rests),
        now - silent_s,
    )
    roster.workers[1] = roster.slots[0].owner = handle
    policy = Policy(adopt_after_s=0.25, rest_every_s=1.0)
    context = PlanContext(now, now, False, policy, roster, Random(1))
    adopt_queues(context)
    assert context.actions == ([AdoptQueue(1, 1)] if adopts else [])


def test_dead_slot_is_adopted_at_once_and_released_when_served_again() -> None:
    driver = Driver(slots=2).start()
    actions = driver.exit(2, 1)
    assert moves(actions) == [AdoptQueue(1, 1)]
    assert moves(driver.serve(one(Spawn, actions).worker)) == [ReleaseQueue(1, 1)]


def test_least_loaded_sibling_adopts() -> None:
    driver = Driver(slots=4).start()
    for worker, in_flight in ((1, 5), (2, 3), (3, 4)):
        load(driver, worker, in_flight)
    assert moves(driver.exit(4, 1)) == [AdoptQueue(3, 2)]


def test_lag_decides_between_equals() -> None:
    driver = Driver(slots=3).start()
    load(driver, 1, 0, lag_s=0.02)
    assert moves(driver.exit(3, 1)) == [AdoptQueue(2, 2)]


def test_adopted_queue_weighs_like_a_request() -> None:
    driver = Driver(slots=4).start()
    assert moves(driver.exit(3, 1)) == [AdoptQueue(2, 1)]
    assert moves(driver.exit(4, 1)) == [AdoptQueue(3, 2)]


def test_late_sibling_never_adopts() -> None:
    driver = Driver(slots=3).start()
    driver.wait(0.5)
    driver.silent.add(1)
    driver.wait(0.12)
    assert moves(driver.exit(3, 1)) == [AdoptQueue(2, 2)]


def test_adopter_that_gets_late_hands_over() -> None:
    driver = Driver(slots=3).start()
    driver.exit(3, 1)
    driver.wait(0.5)
    driver.silent.add(1)
    assert moves(driver.wait(0.15)) == [AdoptQueue(2, 2), ReleaseQueue(2, 1)]


def test_adopter_that_dies_is_replaced_without_a_word_to_it() -> None:
    driver = Driver(slots=3).start()
    driver.exit(3, 1)
    assert moves(driver.exit(1, 1)) == [AdoptQueue(0, 2), AdoptQueue(2, 2)]


def test_adopter_that_drains_hands_over() -> None:
    driver = Driver(slots=3).start()
    load(driver, 1, 9)
    assert moves(driver.tell(ScaleAsked(2))) == [AdoptQueue(2, 2)]
    actions = driver.tell(ScaleAsked(1))
    assert moves(actions) == [AdoptQueue(1, 1), AdoptQueue(2, 1), ReleaseQueue(2, 2)]


def test_adopter_is_released_though_nobody_else_can_take_over() -> None:
    driver = Driver(slots=2).start()
    driver.exit(2, 1)
    driver.tell(Tick())
    driver.exit(1, 1)
    assert driver.slot(1).adopted_by is None


def test_late_adopter_is_kept_when_nobody_is_fit() -> None:
    driver = Driver(slots=2).start()
    driver.exit(2, 1)
    driver.silent.add(1)
    assert moves(driver.wait(5)) == []
    assert driver.slot(1).adopted_by == 1


def test_parked_slot_is_adopted_for_good() -> None:
    driver = Driver(slots=2).start()
    assert moves(driver.tell(ScaleAsked(1))) == [AdoptQueue(1, 1)]
    driver.exit(2)
    assert moves(driver.wait(600)) == []


def test_parked_slots_adoption_outlives_its_adopter() -> None:
    driver = Driver(slots=3).start()
    driver.tell(ScaleAsked(2))
    assert driver.slot(2).adopted_by == 1
    assert AdoptQueue(2, 2) in driver.exit(1, 1)


def test_draining_slot_with_a_successor_is_not_adopted() -> None:
    driver = Driver(slots=2).start()
    before = list(driver.log)
    driver.reload_until_holding()
    assert moves(driver.log[len(before) :]) == []
    assert [driver.slot(i).adopted_by for i in range(2)] == [None, None]


def test_full_worker_is_covered_for_and_avoided() -> None:
    driver = Driver(slots=2).start()
    fill(driver, 2)
    actions = driver.tell(Tick())
    assert moves(actions) == [AdoptQueue(1, 1)]
    assert only(Steer, actions) == [Steer((100, 0))]


def test_full_worker_returns_after_three_good_beats() -> None:
    driver = Driver(slots=2).start()
    fill(driver, 2)
    driver.tell(Tick())
    fill(driver, 2, is_full=False)
    assert moves(driver.tell(Tick()) + driver.tell(Tick())) == []
    assert moves(driver.tell(Tick())) == [ReleaseQueue(1, 1)]


def test_full_sibling_never_adopts() -> None:
    driver = Driver(slots=3).start()
    fill(driver, 1)
    driver.tell(Tick())
    assert AdoptQueue(2, 2) in driver.exit(3, 1)


def test_shared_listener_knows_no_adoption() -> None:
    driver = Driver(slots=2, is_shared_listener=True).start()
    driver.exit(2, 1)
    driver.wait(5)
    assert moves(driver.log) == []


def test_adoptions_stay_when_the_service_stops() -> None:
    driver = Driver(slots=2).start()
    driver.tell(ScaleAsked(1))
    assert moves(driver.tell(StopAsked())) == []
