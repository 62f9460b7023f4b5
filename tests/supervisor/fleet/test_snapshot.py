import msgspec
import pytest

from blazeio_supervisor.fleet.actions import Spawn
from blazeio_supervisor.fleet.facts import (
    ListenersDead,
    ParkAsked,
    RecycleAsked,
    ScaleAsked,
    StopAsked,
)
from blazeio_supervisor.fleet.planner import FleetState, Planner, SlotView, WorkerView
from blazeio_supervisor.fleet.policy import Policy
from tests.supervisor.fleet.driver import Driver, only


def test_why_a_service_is_not_ready_is_said_in_few_words() -> None:
    whole = Driver(slots=2).start().planner.snapshot()
    for name, said in (
        ("is_stopping", "it drains"),
        ("is_leaving", "it will drain soon"),
        ("is_parked", "it is parked"),
    ):
        view = msgspec.structs.replace(whole, **{name: True})
        assert (view.is_ready, view.why_not_ready) == (False, said)
    begun = msgspec.structs.replace(whole, has_served=False)
    assert begun.why_not_ready == "it starts"
    dead = msgspec.structs.replace(whole, dead_listeners=("a: no", "b: no"))
    assert dead.why_not_ready == "it does not accept: a: no; b: no"


def test_what_was_ordered_and_what_fails_is_shown() -> None:
    driver = Driver(slots=2).start()
    driver.tell(ScaleAsked(2), ListenersDead(("a: no",)))
    view = driver.planner.snapshot()
    assert view.is_scaled_by_hand
    assert view.dead_listeners == ("a: no",)
    assert not view.will_park
    driver.tell(ParkAsked())
    assert not driver.planner.snapshot().will_park
    assert driver.planner.snapshot().is_parked
    reloading = Driver(slots=2).start()
    reloading.reload()
    reloading.tell(ParkAsked())
    assert reloading.planner.snapshot().will_park
    assert not reloading.planner.snapshot().is_parked


def test_slots_that_were_never_steered_have_no_weight() -> None:
    driver = Driver(slots=2, steering="off").start()
    driver.tell(ScaleAsked(3))
    assert [slot.weight for slot in driver.planner.snapshot().slots][2] == 0


def test_slot_shows_its_worker() -> None:
    driver = Driver(slots=2).start()
    driver.wait(1.0)
    owner = driver.slot(1).owner
    assert owner is not None
    assert (owner.worker, owner.generation, owner.pid) == (2, 1, 1002)
    assert owner.age_s == pytest.approx(1.0, abs=0.05)


def test_parked_slot_shows_its_adopter() -> None:
    driver = Driver(slots=2).start()
    driver.tell(ScaleAsked(1))
    assert driver.slot(1) == SlotView(1, True, None, None, 1, 0, 0, 0.0)


def test_reload_shows_its_phase_target_and_forkservers() -> None:
    driver = Driver(slots=2).start()
    assert driver.planner.snapshot().target is None
    driver.reload()
    view = driver.planner.snapshot()
    assert (view.phase, view.generation, view.target) == ("importing", 1, 2)
    assert view.forkservers == ((1, "serving"), (2, "booting"))


def test_successor_is_shown() -> None:
    driver = Driver(slots=2).start()
    driver.reload_until_rolling()
    successor = driver.slot(1).successor
    assert isinstance(successor, WorkerView)
    assert successor.state == "spawning"


def test_draining_workers_are_shown_until_they_are_gone() -> None:
    driver = Driver(slots=2).start()
    driver.tell(ScaleAsked(1))
    workers = driver.planner.snapshot().workers
    assert [worker.state for worker in workers] == ["serving", "draining"]
    driver.exit(2)
    assert len(driver.planner.snapshot().workers) == 1


def test_blocked_worker_is_shown_as_late() -> None:
    driver = Driver(slots=2).start()
    driver.silent.add(2)
    driver.wait(0.5)
    assert [w.is_late for w in driver.planner.snapshot().workers] == [False, True]


def test_workers_that_are_all_late_are_shown_as_late() -> None:
    driver = Driver(slots=2).start()
    driver.silent.update((1, 2))
    driver.wait(0.5)
    assert driver.planner.state.watchdog.is_machine  # so nobody is avoided
    assert [w.is_late for w in driver.planner.snapshot().workers] == [True, True]


def test_worker_that_was_late_is_shown_as_late_until_its_good_beats() -> None:
    driver = Driver(slots=2).start()
    driver.silent.add(2)
    driver.wait(0.5)
    driver.silent.clear()
    driver.wait(0.05)
    assert [w.is_late for w in driver.planner.snapshot().workers] == [False, True]
    driver.wait(0.5)
    assert [w.is_late for w in driver.planner.snapshot().workers] == [False, False]


def test_worker_that_waits_to_be_recycled_says_why() -> None:
    driver = Driver(slots=2).start()
    driver.tell(RecycleAsked(1))
    reasons = [w.retire_reason for w in driver.planner.snapshot().workers]
    assert reasons == ["", "asked for", ""]


def test_begin_and_end_are_shown() -> None:
    driver = Driver(slots=1)
    assert not driver.planner.snapshot().has_served
    driver.start()
    driver.tell(StopAsked())
    view = driver.planner.snapshot()
    assert view.has_served
    assert view.is_stopping


def test_it_is_ready_while_somebody_serves() -> None:
    driver = Driver(slots=1)
    assert not driver.planner.snapshot().is_ready
    driver.start()
    assert driver.planner.snapshot().is_ready
    driver.exit(1, 1)
    assert not driver.planner.snapshot().is_ready


@pytest.mark.parametrize(
    ("slots", "serving", "reason"),
    [
        (4, 3, ""),
        (4, 2, ""),
        (4, 1, "1 of 4 workers serve"),
        (5, 3, ""),
        (5, 2, "2 of 5 workers serve"),
    ],
)
def test_it_is_ready_while_half_of_the_workers_serve(
    slots: int, serving: int, reason: str
) -> None:
    driver = Driver(slots=slots).start()
    for worker in range(serving, slots):
        driver.exit(worker + 1, -9)
    view = driver.planner.snapshot()
    assert view.serving_count == serving
    assert (view.is_ready, view.why_not_ready) == (not reason, reason)


def test_parked_slots_do_not_count_for_half() -> None:
    driver = Driver(slots=4).start()
    driver.tell(ScaleAsked(2))
    driver.exit(2, -9)
    assert driver.planner.snapshot().why_not_ready == ""


def test_who_leaves_serves_but_is_not_ready() -> None:
    driver = Driver(slots=1, drain_delay_s=5.0).start()
    driver.tell(StopAsked())
    view = driver.planner.snapshot()
    assert (view.is_leaving, view.is_stopping, view.is_ending) == (True, False, True)
    assert not view.is_ready


def test_snapshot_cannot_be_changed() -> None:
    view = Driver().planner.snapshot()
    with pytest.raises(AttributeError, match="immutable"):
        view.generation = 3  # type: ignore[misc]


@pytest.mark.parametrize(
    ("deaths", "is_failing"), [(0, False), (1, False), (2, True), (3, True)]
)
def test_a_slot_fails_when_another_worker_did_not_mend_it(
    deaths: int, is_failing: bool
) -> None:
    driver = Driver(slots=2).start()
    for _ in range(deaths):
        owner = driver.owners[0]
        if owner is None:
            owner = only(Spawn, driver.wait(40))[0].worker
        driver.serve(owner)
        driver.exit(owner, -9)
    assert driver.slot(0).failures == deaths
    assert driver.slot(0).is_failing == is_failing


def test_the_last_failure_is_shown_until_a_worker_has_proved_itself() -> None:
    driver = Driver(slots=2).start()
    owner = driver.owners[0]
    assert owner is not None
    (spawn,) = only(Spawn, driver.exit(owner, -9))
    driver.serve(spawn.worker)
    driver.wait(2.0)
    slot = driver.slot(0)
    assert slot.owner is not None
    assert slot.owner.state == "serving"
    assert slot.failed_s == pytest.approx(2.0, abs=0.1)
    assert slot.failure == "killed by SIGKILL"
    driver.wait(9.1)
    slot = driver.slot(0)
    assert (slot.failures, slot.failed_s, slot.failure) == (0, None, "")


def test_the_last_failure_goes_over_an_upgrade() -> None:
    driver = Driver(slots=1).start()
    owner = driver.owners[0]
    assert owner is not None
    driver.exit(owner, -9)
    octets = msgspec.msgpack.encode(driver.planner.state)
    state = msgspec.msgpack.decode(octets, type=FleetState)
    assert (
        Planner(Policy(), 1, state=state).snapshot().slots[0].failure
        == "killed by SIGKILL"
    )
