"""A worker starts beside another one only where there is memory for both."""

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
from blazeio_supervisor.fleet.facts import (
    Beat,
    ForkserverReady,
    MemoryRead,
    RecycleAsked,
    ScaleAsked,
    WorkerExited,
)
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
