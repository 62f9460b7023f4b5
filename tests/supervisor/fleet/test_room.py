"""A worker starts beside another one only where there is memory for both."""

from random import Random

import pytest

from blazeio_supervisor.fleet.actions import (
    AdoptQueue,
    Exit,
    ReloadEnded,
    ReportStatus,
    Spawn,
    Steer,
    StopMode,
    StopWorker,
)
from blazeio_supervisor.fleet.context import PlanContext
from blazeio_supervisor.fleet.facts import (
    Beat,
    ForkserverReady,
    MemoryRead,
    RecycleAsked,
    ScaleAsked,
    WorkerExited,
)
from blazeio_supervisor.fleet.policy import Policy
from blazeio_supervisor.fleet.replace import awaits_reading, count_room
from blazeio_supervisor.fleet.roster import Roster, WorkerHandle
from tests.supervisor.fleet.driver import Driver, deeds, events, one, only

MIB = 1024 * 1024
RESERVE = 64 * MIB


def fleet(free_bytes: int | None, slots: int = 2) -> Driver:
    """Workers of 50 MiB each."""
    driver = Driver(slots).start()
    for worker in driver.owners:
        assert worker is not None
        driver.ready[worker] = Beat(worker, 0.0, memory_bytes=50 * MIB)
    driver.wait(0.1)
    driver.tell(MemoryRead(free_bytes))
    return driver


NOW = 100.0
OF_OLD = 10.0
Worker = tuple[float | None, int | None]
"""When a worker was ready, and what it has of its own."""


def reading(free_bytes: int | None, read_at: float, *workers: Worker) -> PlanContext:
    """What a reading of the memory and the beats of these workers have said."""
    roster = Roster.with_slots(len(workers))
    roster.free_bytes, roster.read_at = free_bytes, read_at
    for number, (ready_at, size) in enumerate(workers, 1):
        handle = WorkerHandle(number, number - 1, 1, 0.0, None, ready_at=ready_at)
        handle.health.beat = Beat(number, NOW, memory_bytes=size)
        roster.workers[number] = handle
    policy = Policy(memory_reserve_bytes=1000)
    return PlanContext(NOW, NOW, False, policy, roster, Random(1))


@pytest.mark.parametrize(
    ("free_bytes", "read_at", "workers", "room"),
    [
        (1300, NOW, [(OF_OLD, 100), (OF_OLD, 50)], 3),
        (1299, NOW, [(OF_OLD, 100), (OF_OLD, 50)], 2),
        (1099, NOW, [(OF_OLD, 100)], 0),
        (900, NOW, [(OF_OLD, 1)], 0),  # the reserve is not whole
        (None, NOW, [(OF_OLD, 100)], None),
        (1300, NOW, [(OF_OLD, None)], None),
        (1300, NOW - 4.9, [(OF_OLD, 100)], 3),
        (1300, NOW - 5, [(OF_OLD, 100)], None),
        # One that has just begun counts if it is larger, or if no other is known.
        (1300, NOW, [(OF_OLD, 100), (NOW - 1, 150)], 2),
        (1300, NOW, [(OF_OLD, 100), (NOW - 1, 50)], 3),
        (1300, NOW, [(NOW - 1, 50), (None, None)], 6),
    ],
)
def test_there_is_room_for_as_many_as_the_largest_goes_into_what_is_free(
    free_bytes: int | None, read_at: float, workers: list[Worker], room: int | None
) -> None:
    context = reading(free_bytes, read_at, *workers)
    assert count_room(context) == room
    assert count_room(context) == room  # what is remembered of it changes nothing


def test_the_largest_is_remembered_until_another_one_is_measured() -> None:
    context = reading(1300, NOW, (OF_OLD, 100))
    handle = context.roster.workers[1]
    count_room(context)
    handle.ready_at, handle.health.beat = NOW, Beat(1, NOW, memory_bytes=10)
    assert count_room(context) == 3
    handle.ready_at = OF_OLD
    assert count_room(context) == 30


@pytest.mark.parametrize(
    ("free_bytes", "ready_at", "awaits"),
    [
        (None, NOW - 1, False),
        (1100, NOW - 1, True),
        (1100, NOW - 2, True),  # in the turn of the reading, perhaps after it
        (1100, NOW - 3, False),
        (1100, None, False),
        (1199, NOW - 1, True),
        (1200, NOW - 1, False),  # for the one that has begun, and one more
    ],
)
def test_who_has_begun_since_the_last_reading_is_waited_for(
    free_bytes: int | None, ready_at: float | None, awaits: bool
) -> None:
    context = reading(free_bytes, NOW - 2, (OF_OLD, 100), (ready_at, None))
    assert awaits_reading(context) == awaits
    assert context.due_at == (NOW + 3 if awaits else float("inf"))


@pytest.mark.parametrize("free_bytes", [None, RESERVE + 50 * MIB])
def test_where_it_fits_or_nobody_knows_the_next_one_starts_first(
    free_bytes: int | None,
) -> None:
    driver = fleet(free_bytes)
    actions = driver.tell(RecycleAsked(0))
    assert one(Spawn, actions).slot == 0
    assert only(StopWorker, actions) == []


def test_where_it_does_not_the_old_one_ends_first_and_its_queue_is_adopted() -> None:
    driver = fleet(RESERVE + 49 * MIB)
    actions = driver.tell(RecycleAsked(0))
    assert only(Spawn, actions) == []
    assert one(StopWorker, actions) == StopWorker(1, StopMode.DRAIN)
    assert one(AdoptQueue, actions) == AdoptQueue(0, 2)
    (report,) = [r for r in only(ReportStatus, actions) if r.event == "making_room"]
    assert (report.level, report.worker, report.slot) == ("WARNING", 1, 0)
    assert report.text == (
        "113 MiB are free, and a worker has up to 50 MiB of its own: this one ends "
        "before its successor starts"
    )
    assert driver.slot(0).awaits == 1
    assert only(Spawn, driver.wait(1.0)) == []
    spawn = one(Spawn, driver.exit(1))
    assert spawn.slot == 0
    driver.serve(spawn.worker)
    driver.wait(0.1)
    assert driver.slot(0).awaits is None


def test_one_that_hangs_makes_room_without_a_drain() -> None:
    driver = fleet(RESERVE + 49 * MIB)
    driver.silent |= {1, 2}
    assert only(StopWorker, driver.wait(31.0)) == []
    driver.tell(MemoryRead(RESERVE + 49 * MIB))
    assert one(StopWorker, driver.tell(RecycleAsked(0))) == StopWorker(1, StopMode.TERM)


def test_one_slot_after_the_other_makes_room() -> None:
    driver = fleet(0, slots=3)
    for slot in range(3):
        driver.tell(RecycleAsked(slot))
    assert [end.worker for end in only(StopWorker, driver.wait(1.0))] == []
    spawn = one(Spawn, driver.exit(1))
    assert only(StopWorker, driver.fork(spawn.worker)) == []
    driver.get_ready(spawn.worker)
    assert only(StopWorker, driver.wait(0.3)) == []  # how much is free by now?
    actions = driver.tell(MemoryRead(0))
    assert [end.worker for end in only(StopWorker, actions)] == [2]


def test_where_there_is_room_for_more_than_have_begun_nobody_waits() -> None:
    driver = fleet(RESERVE + 150 * MIB, slots=3)
    for slot in range(3):
        driver.tell(RecycleAsked(slot))
    (first,) = only(Spawn, driver.log[-3:])
    second = one(Spawn, driver.serve(first.worker))
    assert second.slot == 1
    third = one(Spawn, driver.serve(second.worker))
    assert third.slot == 2


@pytest.mark.parametrize("wait_s", [0.0, 4.9])
def test_with_nothing_free_there_is_room_for_nobody(wait_s: float) -> None:
    driver = fleet(0)
    driver.wait(wait_s)
    actions = driver.tell(RecycleAsked(0))
    assert only(Spawn, actions) == []
    assert (
        "0 MiB are free"
        in one(
            ReportStatus, [a for a in actions if events([a]) == ["making_room"]]
        ).text
    )


def test_a_reading_that_is_old_says_nothing() -> None:
    driver = fleet(0)
    driver.wait(5.1)
    assert one(Spawn, driver.tell(RecycleAsked(0))).slot == 0


def test_who_has_just_begun_does_not_say_how_large_workers_are() -> None:
    driver = fleet(RESERVE + 49 * MIB, slots=3)
    driver.wait(5.0)
    driver.tell(MemoryRead(0), RecycleAsked(0))
    spawn = one(Spawn, driver.exit(1))
    driver.serve(spawn.worker)
    driver.ready[spawn.worker] = Beat(spawn.worker, 0.0, memory_bytes=10 * MIB)
    for worker in (2, 3):
        driver.ready[worker] = Beat(worker, 0.0)  # of these nothing is known
    driver.wait(0.2)
    actions = driver.tell(MemoryRead(RESERVE + 49 * MIB), RecycleAsked(1))
    assert only(StopWorker, actions) == [StopWorker(2, StopMode.DRAIN)]


def test_in_a_reload_the_old_worker_makes_room_for_the_canary() -> None:
    driver = fleet(0)
    driver.reload(ticket=5)
    actions = driver.tell(ForkserverReady(2))
    assert only(StopWorker, actions) == [StopWorker(1, StopMode.DRAIN)]
    canary = one(Spawn, driver.exit(1))
    assert (canary.slot, canary.generation) == (0, 2)
    driver.serve(canary.worker)
    driver.wait(2.1)  # its hold
    assert driver.owners[0] == canary.worker
    actions = driver.tell(MemoryRead(0))
    assert only(StopWorker, actions) == [StopWorker(2, StopMode.DRAIN)]
    second = one(Spawn, driver.exit(2))
    driver.serve(second.worker)
    driver.wait(0.1)
    assert driver.generations == [2, 2]
    assert one(ReloadEnded, driver.log).is_ok


def test_a_canary_waits_until_nobody_makes_room_and_the_room_is_known() -> None:
    driver = fleet(0)
    driver.tell(RecycleAsked(1))
    driver.reload()
    assert deeds(driver.tell(ForkserverReady(2))) == []
    second = one(Spawn, driver.exit(2))
    driver.serve(second.worker)  # after the last reading
    assert only(StopWorker, driver.wait(0.1)) == []
    actions = driver.tell(MemoryRead(0))
    assert only(StopWorker, actions) == [StopWorker(1, StopMode.DRAIN)]


def test_a_canary_that_is_alone_in_its_slot_is_sent_connections() -> None:
    driver = fleet(0)
    driver.reload()
    driver.tell(ForkserverReady(2))
    canary = one(Spawn, driver.exit(1))
    assert only(Steer, driver.log)[-1] == Steer((0, 100))
    driver.serve(canary.worker)
    assert driver.owners[0] is None  # it is on trial
    assert only(Steer, driver.log)[-1] == Steer((100, 100))


def test_a_canary_that_fails_in_a_slot_made_free_leaves_it_to_the_old_code() -> None:
    driver = fleet(0)
    driver.reload()
    driver.tell(ForkserverReady(2))
    canary = one(Spawn, driver.exit(1))
    assert only(Spawn, driver.wait(0.5)) == []
    driver.fork(canary.worker)
    actions = driver.exit(canary.worker, 3)
    assert not one(ReloadEnded, actions).is_ok
    assert (one(Spawn, actions).slot, one(Spawn, actions).generation) == (0, 1)


def test_who_made_room_and_cannot_be_replaced_leaves_it_to_the_canary() -> None:
    driver = fleet(0)
    driver.tell(RecycleAsked(1))
    driver.exit_forkserver(1, 1)
    driver.exit(2)
    actions = driver.tell(ForkserverReady(2))
    assert (one(Spawn, actions).slot, one(Spawn, actions).generation) == (0, 2)
    assert only(StopWorker, actions) == []


def test_while_a_canary_is_tried_in_a_slot_made_free_the_others_are_respawned() -> None:
    driver = fleet(0, slots=3)
    driver.reload()
    driver.tell(ForkserverReady(2))
    driver.exit(1)
    actions = driver.exit(2, -9)
    assert (one(Spawn, actions).slot, one(Spawn, actions).generation) == (1, 1)


def test_where_nobody_serves_in_the_slot_there_is_nobody_to_make_room() -> None:
    driver = fleet(0)
    driver.reload()
    driver.exit(1, -11)  # its next worker is forked by now
    actions = driver.tell(ForkserverReady(2))
    assert (one(Spawn, actions).slot, one(Spawn, actions).generation) == (0, 2)
    assert only(StopWorker, actions) == []


def test_a_slot_that_is_scaled_away_meanwhile_holds_nothing_up() -> None:
    driver = fleet(0, slots=3)
    driver.tell(RecycleAsked(2))
    driver.tell(ScaleAsked(count=2))
    driver.exit(3)
    driver.tell(RecycleAsked(0))
    assert driver.slot(0).awaits == 1


@pytest.mark.parametrize("is_fatal", [False, True])
def test_a_kill_for_lack_of_memory_ends_the_service_where_that_is_asked_for(
    is_fatal: bool,
) -> None:
    driver = Driver(2, is_oom_fatal=is_fatal).start()
    actions = driver.tell(WorkerExited(1, -9, "out of memory", is_oom=True))
    if not is_fatal:
        assert one(Spawn, deeds(actions)).slot == 0
        return
    assert events(actions) == ["stopping"]
    assert only(Spawn, actions) == []
    driver.exit(2)
    (end,) = only(Exit, driver.exit_forkserver(1))
    assert end.code == 1
