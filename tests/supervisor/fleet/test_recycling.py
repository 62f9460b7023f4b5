from typing import Any

import pytest
from msgspec.structs import replace

from blazeio_supervisor.fleet.actions import (
    Action,
    ReportStatus,
    Spawn,
    StopMode,
    StopWorker,
)
from blazeio_supervisor.fleet.facts import (
    ForkserverReady,
    RecycleAsked,
    ScaleAsked,
    Tick,
)
from tests.supervisor.fleet.driver import Driver, deeds, events, one, only

MIB = 1024 * 1024


def beat(driver: Driver, worker: int, **row: Any) -> list[Action]:
    driver.ready[worker] = replace(driver.ready[worker], **row)
    return driver.tell(Tick())


def test_asked_worker_is_replaced_first_and_then_drained() -> None:
    driver = Driver(slots=2).start()
    actions = driver.tell(RecycleAsked(1))
    assert deeds(actions) == [Spawn(3, 1, 1)]
    assert StopWorker(2, StopMode.DRAIN) in driver.serve(3)
    assert driver.owners == [1, 3]


def test_one_slot_is_recycled_at_a_time() -> None:
    driver = Driver(slots=3).start()
    for slot in range(3):
        driver.tell(RecycleAsked(slot))
    assert len(only(Spawn, driver.log)) == 4
    driver.roll([Spawn(4, 0, 1)])
    assert driver.owners == [4, 5, 6]


def test_recycling_waits_for_a_reload() -> None:
    driver = Driver(slots=2).start()
    driver.reload()
    assert only(Spawn, driver.tell(RecycleAsked(1))) == []


def test_canary_waits_for_a_recycling() -> None:
    driver = Driver(slots=2).start()
    spawn = one(Spawn, driver.tell(RecycleAsked(1)))
    driver.reload()
    assert driver.phase == "importing"
    driver.fork(spawn.worker)
    assert only(Spawn, driver.tell(ForkserverReady(2))) == []
    assert one(Spawn, driver.get_ready(spawn.worker)).generation == 2


def test_worker_is_recycled_after_its_requests() -> None:
    driver = Driver(slots=2, max_requests=1000).start()
    assert only(Spawn, beat(driver, 1, requests=999)) == []
    assert one(Spawn, beat(driver, 1, requests=1000)).slot == 0


def test_jitter_spreads_the_limits() -> None:
    driver = Driver(slots=40, max_requests=1000, max_requests_jitter=1000).start()
    for worker in range(1, 41):
        beat(driver, worker, requests=1500)
    marked = [r for r in only(ReportStatus, driver.log) if r.event == "recycling"]
    assert 10 < len(marked) < 30


def test_worker_is_recycled_when_old() -> None:
    driver = Driver(slots=1, max_lifetime_s=100.0).start()
    assert only(Spawn, driver.wait(99)) == []
    actions = driver.wait(1.1)
    assert one(Spawn, actions).slot == 0
    assert "served for 100 s" in one(ReportStatus, actions).text


def test_lifetime_has_its_jitter() -> None:
    driver = Driver(slots=8, max_lifetime_s=50.0, max_lifetime_jitter_s=50.0).start()
    driver.wait(75)
    marked = [r for r in only(ReportStatus, driver.log) if r.event == "recycling"]
    assert 1 < len(marked) < 8


@pytest.mark.parametrize(("used", "is_recycled"), [(100, False), (101, True)])
def test_worker_is_recycled_above_its_memory(used: int, is_recycled: bool) -> None:
    driver = Driver(slots=1, max_memory_bytes=100 * MIB).start()
    actions = beat(driver, 1, memory_bytes=used * MIB)
    assert bool(only(Spawn, actions)) is is_recycled


def test_memory_that_was_not_sampled_is_no_reason() -> None:
    driver = Driver(slots=1, max_memory_bytes=0).start()
    assert only(Spawn, beat(driver, 1, memory_bytes=None)) == []


def test_limits_wait_for_the_first_beat() -> None:
    driver = Driver(slots=1, max_requests=0)
    driver.start()
    driver.ready.clear()
    assert only(Spawn, driver.wait(0.1)) == []


@pytest.mark.parametrize("slot", [-1, 2, 7])
def test_slot_without_a_worker_is_refused(slot: int) -> None:
    driver = Driver(slots=2).start()
    assert events(driver.tell(RecycleAsked(slot))) == ["recycle_refused"]


def test_parked_slot_is_refused() -> None:
    driver = Driver(slots=2).start()
    driver.tell(ScaleAsked(1))
    assert events(driver.tell(RecycleAsked(1))) == ["recycle_refused"]


def test_asked_for_a_slot_in_backoff_it_is_tried_at_once() -> None:
    driver = Driver(slots=2).start()
    driver.exit(2, 1)
    driver.fork(3)
    assert only(Spawn, driver.exit(3, 1)) == []
    assert one(Spawn, driver.tell(RecycleAsked(1))).slot == 1


def test_asked_for_a_booting_worker_nothing_is_done() -> None:
    driver = Driver(slots=2).start()
    driver.exit(2, 1)
    assert driver.tell(RecycleAsked(1)) == []


def test_asked_twice_it_is_done_once() -> None:
    driver = Driver(slots=2).start()
    driver.tell(RecycleAsked(1))
    assert driver.tell(RecycleAsked(1)) == []


def test_successor_that_fails_leaves_the_old_worker_and_backs_off() -> None:
    driver = Driver(slots=1, backoff_jitter=0.0).start()
    driver.wait(20)
    driver.tell(RecycleAsked(0))
    for worker in (2, 3, 4):
        driver.fork(worker)
        driver.exit(worker, 1)
        driver.wait(0.3)
    assert driver.owners == [1]
    assert driver.slot(0).failures == 3


def test_other_slots_are_recycled_while_one_backs_off() -> None:
    driver = Driver(slots=2, backoff_base_s=9.0).start()
    worker = one(Spawn, driver.tell(RecycleAsked(0))).worker
    for _ in range(2):
        driver.fork(worker)
        driver.exit(worker, 1)
        worker += 1
    assert one(Spawn, driver.tell(RecycleAsked(1))).slot == 1


def test_limit_that_is_always_exceeded_recycles_less_and_less_often() -> None:
    driver = Driver(slots=2, max_memory_bytes=100 * MIB).start()
    beat(driver, 1, memory_bytes=200 * MIB)
    for worker in range(3, 12):
        driver.serve(worker)
        beat(driver, worker, memory_bytes=200 * MIB)
        driver.wait(40)
    assert events(driver.log).count("recycling") == 10
    said = [r for r in only(ReportStatus, driver.log) if r.event == "recycling_loop"]
    assert [(each.level, each.slot) for each in said] == [("WARNING", 0)]
    assert said[0].text == (
        "3 workers in a row were over a limit soon after they began, the last one "
        "uses 200 MiB (--max-memory): the limit is too low; they are replaced ever "
        "more slowly, every 30 s at most"
    )
    for worker in (12, 13):
        driver.serve(worker)
        beat(driver, worker, memory_bytes=200 * MIB)
    assert only(Spawn, driver.wait(20)) == []
    assert len(only(Spawn, driver.wait(20))) == 1


def test_worker_that_was_below_its_limit_for_long_is_recycled_at_once() -> None:
    driver = Driver(slots=1, max_memory_bytes=100 * MIB).start()
    for worker in range(1, 9):
        driver.wait(11)
        actions = beat(driver, worker, memory_bytes=200 * MIB)
        driver.serve(one(Spawn, actions).worker)
    assert events(driver.log).count("recycling_loop") == 0


def test_asked_for_it_is_recycled_whatever_was_before() -> None:
    driver = Driver(slots=1, max_requests=1).start()
    for worker in range(1, 6):
        beat(driver, worker, requests=1)
        driver.wait(3)
        driver.serve(worker + 1)
    assert one(Spawn, driver.tell(RecycleAsked(0))).slot == 0
