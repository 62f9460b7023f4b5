import pytest

from blazeio_supervisor.fleet.actions import (
    OpenSlot,
    ReportStatus,
    Spawn,
    StopMode,
    StopWorker,
)
from blazeio_supervisor.fleet.facts import (
    ForkserverReady,
    ScaleAsked,
    StartAsked,
    WorkerExited,
)
from tests.supervisor.fleet.driver import Driver, deeds, events, one, only


def test_scaling_up_opens_slots_and_forks() -> None:
    driver = Driver(slots=1).start()
    actions = driver.tell(ScaleAsked(3))
    assert only(OpenSlot, actions) == [OpenSlot(1), OpenSlot(2)]
    assert only(Spawn, actions) == [Spawn(2, 1, 1), Spawn(3, 2, 1)]


def test_scaling_down_drains_the_highest_slots_and_parks_them() -> None:
    driver = Driver(slots=3).start()
    actions = driver.tell(ScaleAsked(1))
    assert only(StopWorker, actions) == [
        StopWorker(3, StopMode.DRAIN),
        StopWorker(2, StopMode.DRAIN),
    ]
    assert [driver.slot(i).is_parked for i in range(3)] == [False, True, True]


def test_scaling_up_wakes_a_parked_slot_before_it_opens_one() -> None:
    driver = Driver(slots=2).start()
    driver.tell(ScaleAsked(1))
    actions = driver.tell(ScaleAsked(3))
    assert only(OpenSlot, actions) == [OpenSlot(2)]
    assert [spawn.slot for spawn in only(Spawn, actions)] == [1, 2]


def test_one_more_and_one_less() -> None:
    driver = Driver(slots=2).start()
    assert [s.slot for s in only(Spawn, driver.tell(ScaleAsked(change=1)))] == [2]
    driver.fork(3)
    assert only(StopWorker, driver.tell(ScaleAsked(change=-1)))[0].worker == 3


def test_one_slot_always_stays() -> None:
    driver = Driver(slots=2).start()
    actions = driver.tell(ScaleAsked(0))
    assert only(StopWorker, actions) == [StopWorker(2, StopMode.DRAIN)]
    assert events(actions) == ["scale_limited", "scaled"]


def test_more_than_the_limit_is_cut() -> None:
    driver = Driver(slots=2, worker_limit=4).start()
    driver.tell(ScaleAsked(100))
    assert len(driver.owners) == 4


def test_more_slots_than_the_limit_at_the_start_are_kept() -> None:
    driver = Driver(slots=4, worker_limit=2).start()
    assert deeds(driver.tell(ScaleAsked(9))) == []


def test_same_count_changes_nothing() -> None:
    assert Driver(slots=2).start().tell(ScaleAsked(2)) == []


def test_booting_worker_of_a_parked_slot_is_ended() -> None:
    driver = Driver(slots=2)
    driver.tell(StartAsked())
    driver.tell(ForkserverReady(1))
    driver.serve(1)
    driver.fork(2)
    assert only(StopWorker, driver.tell(ScaleAsked(1))) == [
        StopWorker(2, StopMode.TERM)
    ]


def test_parked_worker_serves_on_until_the_others_do() -> None:
    driver = Driver(slots=3).start()
    driver.exit(1, 1)
    assert only(StopWorker, driver.tell(ScaleAsked(1))) == [
        StopWorker(3, StopMode.DRAIN)
    ]
    assert driver.owners == [4, 2, None]
    assert only(StopWorker, driver.serve(4)) == [StopWorker(2, StopMode.DRAIN)]


def test_slot_woken_while_its_worker_still_serves_keeps_it() -> None:
    driver = Driver(slots=2).start()
    driver.exit(1, 1)
    driver.tell(ScaleAsked(1))
    assert only(Spawn, driver.tell(ScaleAsked(2))) == []
    assert driver.owners == [3, 2]


def test_parked_worker_of_other_code_gets_no_successor() -> None:
    driver = Driver(slots=2).start()
    driver.reload_until_holding()
    actions = driver.tell(WorkerExited(3, 1), ScaleAsked(1))
    assert "rolling_back" in events(actions)
    assert one(Spawn, actions) == Spawn(5, 0, 1)
    assert StopWorker(4, StopMode.DRAIN) in driver.serve(5)


def test_scaling_before_the_start_opens_slots_only() -> None:
    driver = Driver(slots=1)
    assert deeds(driver.tell(ScaleAsked(2))) == [OpenSlot(1)]
    driver.tell(StartAsked())
    assert len(only(Spawn, driver.tell(ForkserverReady(1)))) == 2


def test_scaled_up_slot_gets_the_old_code_while_the_canary_is_tried() -> None:
    driver = Driver(slots=1).start()
    driver.reload()
    driver.load(2)
    assert only(Spawn, driver.tell(ScaleAsked(2)))[0].generation == 1


def test_scaled_up_slot_gets_the_new_code_while_rolling_and_is_waited_for() -> None:
    driver = Driver(slots=2).start()
    rolling = driver.reload_until_rolling()
    spawn = only(Spawn, driver.tell(ScaleAsked(3)))[0]
    assert spawn.generation == 2
    driver.roll(rolling)
    assert driver.phase == "rolling"
    driver.serve(spawn.worker)
    assert driver.phase == "holding"


def test_parking_the_slot_that_is_being_replaced_ends_both_workers() -> None:
    driver = Driver(slots=2).start()
    successor = only(Spawn, driver.reload_until_rolling())[0]
    driver.fork(successor.worker)
    ends = only(StopWorker, driver.tell(ScaleAsked(1)))
    assert ends == [
        StopWorker(successor.worker, StopMode.TERM),
        StopWorker(2, StopMode.DRAIN),
    ]
    assert driver.phase == "holding"


@pytest.mark.parametrize(
    ("asked", "texts"),
    [
        (
            0,
            [
                "asked for by a test: 0 workers; 1 is the least",
                "asked for by a test: from 2 to 1 worker",
            ],
        ),
        (
            9,
            [
                "asked for by a test: 9 workers; 4 is the most",
                "asked for by a test: from 2 to 4 workers",
            ],
        ),
        (3, ["asked for by a test: from 2 to 3 workers"]),
        (2, []),
    ],
)
def test_who_asks_for_too_many_or_too_few_is_told_the_bound(
    asked: int, texts: list[str]
) -> None:
    driver = Driver(slots=2, worker_limit=4).start()
    reports = only(ReportStatus, driver.tell(ScaleAsked(asked, by="a test")))
    scaled = [each for each in reports if each.event.startswith("scale")]
    assert [each.text for each in scaled] == texts
    levels = ["WARNING", "INFO"] if len(texts) == 2 else ["INFO"] * len(texts)
    assert [each.level for each in scaled] == levels
