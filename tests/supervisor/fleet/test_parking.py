import pytest

from blazeio_supervisor.fleet.actions import (
    AdoptQueue,
    CloseListeners,
    ReloadEnded,
    ReportStatus,
    Spawn,
    StartForkserver,
    Steer,
    StopMode,
    StopWorker,
)
from blazeio_supervisor.fleet.facts import (
    ForkserverReady,
    ParkAsked,
    RecycleAsked,
    ReloadAsked,
    ResumeAsked,
    ScaleAsked,
    StartAsked,
    StopAsked,
)
from tests.supervisor.fleet.driver import Driver, deeds, events, one, only


def park(slots: int = 2, **policy: float) -> Driver:
    driver = Driver(slots, **policy).start()
    driver.roll(driver.tell(ParkAsked()))
    return driver


def test_parked_workers_drain_and_none_takes_their_place() -> None:
    driver = Driver(slots=2).start()
    actions = driver.tell(ParkAsked())
    assert only(StopWorker, actions) == [
        StopWorker(1, StopMode.DRAIN),
        StopWorker(2, StopMode.DRAIN),
    ]
    assert events(actions) == ["parked"]
    assert driver.planner.snapshot().is_parked
    driver.exit(1)
    driver.exit(2)
    assert only(Spawn, driver.wait(60)) == []


def test_parked_the_kernel_is_left_to_fill_all_queues() -> None:
    driver = Driver(slots=2).start()
    assert one(Steer, driver.tell(ParkAsked())) == Steer((0, 0))


def test_a_parked_service_is_not_ready() -> None:
    assert not park().planner.snapshot().is_ready


def test_resumed_each_slot_gets_a_worker_of_the_same_code() -> None:
    driver = park()
    actions = driver.tell(ResumeAsked())
    assert [(s.slot, s.generation) for s in only(Spawn, actions)] == [(0, 1), (1, 1)]
    assert events(actions) == ["resumed"]
    driver.roll(actions)
    assert driver.planner.snapshot().is_ready


def test_a_second_word_changes_nothing() -> None:
    driver = park()
    assert deeds(driver.tell(ParkAsked())) == []
    driver.roll(driver.tell(ResumeAsked()))
    assert deeds(driver.tell(ResumeAsked())) == []


def test_who_resumes_while_some_drain_does_not_wait_for_them() -> None:
    driver = Driver(slots=2).start()
    driver.tell(ParkAsked())
    assert len(only(Spawn, driver.tell(ResumeAsked()))) == 2


def test_a_worker_that_just_boots_is_ended_too() -> None:
    driver = Driver(slots=1).start()
    spawn = one(Spawn, driver.tell(ScaleAsked(2)))
    driver.fork(spawn.worker)
    actions = driver.tell(ParkAsked())
    assert StopWorker(spawn.worker, StopMode.TERM) in only(StopWorker, actions)


def test_a_reload_wakes_it() -> None:
    driver = park()
    actions = driver.reload()
    assert len(only(Spawn, actions)) == 2
    assert one(StartForkserver, actions).generation == 2


def test_parking_waits_for_the_reload_that_is_under_way() -> None:
    driver = Driver(slots=1, hold_s=0.5).start()
    rolling = driver.reload_until_rolling()
    actions = driver.tell(ParkAsked())
    assert events(actions) == ["parking"]
    assert not driver.planner.snapshot().is_parked
    driver.roll(rolling)
    driver.wait(1.0)
    assert one(ReloadEnded, driver.log).is_ok
    assert driver.planner.snapshot().is_parked


def test_a_reload_asked_for_meanwhile_calls_it_off() -> None:
    driver = Driver(slots=1, hold_s=0.5).start()
    rolling = driver.reload_until_rolling()
    driver.tell(ParkAsked())
    driver.tell(ReloadAsked(2))
    driver.roll(rolling)
    driver.wait(1.0)
    assert not driver.planner.snapshot().is_parked
    assert driver.phase == "importing"


def test_parking_waits_for_the_first_worker_that_serves() -> None:
    driver = Driver(slots=1)
    driver.tell(StartAsked())
    spawn = one(Spawn, driver.tell(ForkserverReady(1)))
    driver.tell(ParkAsked())
    assert not driver.planner.snapshot().is_parked
    driver.serve(spawn.worker)
    driver.wait(0.1)
    assert driver.planner.snapshot().is_parked


@pytest.mark.parametrize("order", [ScaleAsked(3), RecycleAsked(0)])
def test_other_orders_wake_nobody(order: ScaleAsked | RecycleAsked) -> None:
    driver = park()
    assert only(Spawn, driver.tell(order)) == []


def test_the_count_that_was_asked_for_meanwhile_is_had_on_resume() -> None:
    driver = park()
    driver.tell(ScaleAsked(3))
    assert len(only(Spawn, driver.tell(ResumeAsked()))) == 3


def test_a_stop_does_not_wait_for_balancers_that_get_nothing_anyway() -> None:
    driver = park(drain_delay_s=10.0)
    assert CloseListeners() in driver.tell(StopAsked())


def test_nobody_adopts_a_queue_of_a_parked_service() -> None:
    driver = Driver(slots=2).start()
    assert only(AdoptQueue, driver.tell(ParkAsked()) + driver.wait(5)) == []


def test_a_forkserver_that_was_lost_meanwhile_is_replaced_on_resume() -> None:
    driver = park(slots=1)
    driver.exit_forkserver(1, -9)
    assert only(StartForkserver, driver.wait(5)) == []
    assert one(StartForkserver, driver.tell(ResumeAsked())).generation == 2


def test_a_service_that_leaves_is_not_parked() -> None:
    driver = Driver(slots=1, drain_delay_s=10.0).start()
    driver.tell(StopAsked())
    assert deeds(driver.tell(ParkAsked())) == []


def test_who_has_asked_and_what_follows_is_told() -> None:
    driver = Driver(slots=1, hold_s=0.5).start()
    rolling = driver.reload_until_rolling()
    (waiting,) = only(ReportStatus, driver.tell(ParkAsked(by="a test")))
    assert (waiting.event, waiting.level) == ("parking", "INFO")
    assert waiting.text == (
        "asked for by a test: it begins when the start or the reload under way is over"
    )
    driver.roll(rolling)
    reports = only(ReportStatus, driver.wait(1.0))
    (parked,) = (each for each in reports if each.event == "parked")
    assert parked.text == (
        "asked for by a test: the workers drain, connections wait until `resume` or HUP"
    )
    reports = only(ReportStatus, driver.tell(ResumeAsked(by="another")))
    (resumed,) = (each for each in reports if each.event == "resumed")
    assert resumed.text == "asked for by another: a worker starts in each slot"
