"""The number of workers follows their load, and does not swing."""

from collections.abc import Callable
from itertools import pairwise
from math import pi, sin
from random import Random

import pytest

from blazeio_supervisor.fleet.actions import Action, ReportStatus, Spawn, StopWorker
from blazeio_supervisor.fleet.facts import (
    Beat,
    LoadRead,
    MemoryRead,
    ParkAsked,
    ScaleAsked,
)
from blazeio_supervisor.fleet.policy import Policy
from blazeio_supervisor.fleet.scale import LoadScaler
from tests.supervisor.fleet.driver import Driver, events, only

MIB = 1024 * 1024
POLICY = Policy(least_workers=2, most_workers=16)
Curve = Callable[[float], float]
"""From seconds to the demand, in cores."""


def follow(curve: Curve, span_s: int, seed: int = 0, count: int = 2) -> list[int]:
    """The number of workers, second by second; each takes its share of the demand."""
    rng, scaler, counts = Random(seed), LoadScaler(), []
    for now in range(span_s):
        demand = max(curve(now) * rng.uniform(0.9, 1.1), 0.0)
        shares = [min(demand / count, 1.0)] * count
        queued = round(max(demand - count, 0.0) * 20)
        wanted, _ = scaler.decide(now, shares, queued, POLICY)
        if wanted != count:
            count = wanted
            scaler.move(now)
        counts.append(count)
    return counts


def turns(counts: list[int]) -> int:
    """How often the number changed its direction."""
    moves = [b - a for a, b in pairwise(counts) if b != a]
    return sum((a > 0) != (b > 0) for a, b in pairwise(moves))


@pytest.mark.parametrize("demand", [0.0, 0.4, 1.0, 1.5, 2.4, 3.7, 6.0, 9.5, 20.0])
def test_a_steady_load_has_a_steady_number_that_carries_it(demand: float) -> None:
    counts = follow(lambda _: demand, 600)
    (count,) = set(counts[300:])
    assert turns(counts) == 0
    assert count == 16 or demand <= 0.8 * count
    assert count == 2 or demand >= 0.4 * (count - 1)


def test_it_grows_within_seconds_and_shrinks_within_minutes() -> None:
    counts = follow(lambda now: 6.0 if 60 <= now < 120 else 0.2, 600)
    assert counts[60] == 2
    assert counts[80] >= 8
    assert counts[120] == counts[175] >= 8
    assert counts[200] < counts[175]
    assert counts[-1] == 2


def make_curve(number: int) -> tuple[Curve, int]:
    """Return a curve, and how often it turns by more than half within 20 minutes."""
    rng = Random(number)
    low, high = rng.uniform(0, 4), rng.uniform(4, 14)
    at, span = rng.uniform(60, 300), rng.uniform(120, 600)
    period = rng.choice([2, 7, 20, 45, 90, 400])
    kind = number % 5
    if kind == 0:
        return lambda now: high if now >= at else low, 1
    if kind == 1:
        return lambda now: high if at <= now < at + span else low, 2
    if kind == 2:
        middle, swing = (low + high) / 2, (high - low) / 2
        turns_ = 2 * 1200 // period + 1 if period > 90 else 2
        return lambda now: middle + swing * sin(2 * pi * now / period), turns_
    if kind == 3:
        return lambda now: low + (high - low) * min(now / span, 1), 1
    return lambda now: high if now % period < period / 2 else low, (
        2 * 1200 // period + 1 if period > 90 else 2
    )


@pytest.mark.parametrize("number", range(100))
def test_it_does_not_swing_on_any_of_100_load_curves(number: int) -> None:
    """What comes and goes within a minute or two is carried by the higher number."""
    curve, most = make_curve(number)
    counts = follow(curve, 1200, number)
    assert turns(counts) <= most
    assert min(counts) >= 2
    assert max(counts) <= 16


def test_connections_that_wait_are_a_load_too() -> None:
    scaler = LoadScaler()
    for now in range(4):
        wanted, reason = scaler.decide(now, [0.1, 0.1], 40, POLICY)
    assert wanted == 3
    assert reason == (
        "their loops are busy for 10% of the time, 40 connections waiting"
    )


def decide(
    now: float,
    shares: list[float],
    queued: int = 0,
    *,
    busy_since: float | None = None,
    idle_since: float | None = None,
    moved_at: float = 0.0,
) -> int:
    """The number that one reading asks for."""
    scaler = LoadScaler(
        read_at=now, busy_since=busy_since, idle_since=idle_since, moved_at=moved_at
    )
    return scaler.decide(now, shares, queued, POLICY)[0]


def test_as_many_as_may_be_are_within_the_bounds() -> None:
    assert LoadScaler().decide(9.0, [0.6] * 16, 0, POLICY) == (16, "")
    assert LoadScaler().decide(9.0, [0.6] * 2, 0, POLICY) == (2, "")


def test_after_a_move_nothing_is_looked_at_for_a_while() -> None:
    scaler = LoadScaler(moved_at=10.0)
    assert scaler.decide(12.9, [1.0, 1.0], 0, POLICY) == (2, "")
    assert scaler.demand is None
    scaler.decide(13.0, [1.0, 1.0], 0, POLICY)
    assert scaler.demand == 2.0


@pytest.mark.parametrize(
    ("shares", "queued", "is_busy", "is_idle"),
    [
        ([0.75, 0.75], 0, False, False),
        ([0.76, 0.76], 0, True, False),
        ([0.5, 0.5], 2, False, False),
        ([0.5, 0.5], 3, True, False),
        ([0.25, 0.25], 0, False, False),
        ([0.2, 0.2], 0, False, True),
        ([0.2, 0.2], 1, False, False),
        ([0.0], 0, False, False),
        ([0.3, 0.3, 0.3], 0, False, True),
        ([0.34, 0.34, 0.34], 0, False, False),
    ],
)
def test_when_workers_are_busy_and_when_one_is_too_many(
    shares: list[float], queued: int, is_busy: bool, is_idle: bool
) -> None:
    scaler = LoadScaler()
    scaler.decide(9.0, shares, queued, Policy(least_workers=1, most_workers=16))
    assert (scaler.busy_since, scaler.idle_since) == (
        9.0 if is_busy else None,
        9.0 if is_idle else None,
    )


@pytest.mark.parametrize(
    ("shares", "queued", "wanted"),
    [
        ([0.8] * 4, 0, 6),  # 3.2 / 0.6
        ([0.76] * 3, 0, 4),  # one more at least
        ([0.95] * 10, 0, 16),
        ([0.95] * 4, 0, 7),
        ([0.96] * 4, 0, 7),
        ([0.8] * 4, 5, 6),
        ([0.1] * 4, 5, 6),  # half as many more: what waits cannot be measured
        ([0.1] * 4, 4, 4),
        ([0.76] * 10, 11, 15),
        ([0.76] * 10, 10, 13),
        ([0.8] * 2, 2, 3),
        ([0.95, 0.95], 0, 4),
        ([1.0] * 2, 0, 4),
        ([1.0] * 2, 99, 4),  # no more than twice as many
    ],
)
def test_how_many_are_started(shares: list[float], queued: int, wanted: int) -> None:
    assert decide(9.0, shares, queued, busy_since=7.0) == wanted
    assert decide(8.9, shares, queued, busy_since=7.0) == len(shares)


def test_one_ends_after_a_minute() -> None:
    assert decide(69.9, [0.1] * 4, idle_since=10.0) == 4
    assert decide(70.0, [0.1] * 4, idle_since=10.0) == 3


def test_a_late_reading_counts_whole_and_an_early_one_in_part() -> None:
    scaler = LoadScaler(demand=1.0, read_at=10.0)
    scaler.decide(11.0, [1.0, 1.0], 0, POLICY)
    assert scaler.demand == pytest.approx(1.5)
    scaler.decide(21.0, [0.5, 0.5], 0, POLICY)
    assert scaler.demand == pytest.approx(1.0)


def test_what_was_seen_before_a_long_gap_is_no_part_of_the_minute() -> None:
    """A reload, or a service that was parked: nobody has looked meanwhile."""
    scaler = LoadScaler()
    for second in range(50):
        scaler.decide(second, [0.1] * 4, 0, POLICY)
    for second in range(70, 129):
        assert scaler.decide(second, [0.1] * 4, 0, POLICY)[0] == 4
    assert scaler.decide(130, [0.1] * 4, 0, POLICY)[0] == 3


def test_a_number_out_of_bounds_is_brought_back() -> None:
    scaler = LoadScaler()
    assert scaler.decide(0, [0.5], 0, POLICY) == (2, "2 to 16 are asked for")
    assert scaler.decide(0, [0.5] * 20, 0, POLICY)[0] == 16


# In the fleet


class Loaded(Driver):
    """A fleet whose workers are read once a second."""

    def __init__(self, slots: int = 2, **policy: object) -> None:
        super().__init__(slots, **policy)
        self.computed: dict[int, float] = {}

    def work(
        self, share: float, seconds: int = 5, free_bytes: int | None = None
    ) -> list[Action]:
        """Let each compute for this share of the time; return what is done."""
        done = len(self.log)
        for _ in range(seconds):
            self.wait(0.999)
            workers = [worker for worker in self.owners if worker is not None]
            for worker in workers:
                self.computed[worker] = self.computed.get(worker, 0.0) + share
            facts = [LoadRead(each, self.computed[each]) for each in workers]
            self.tell(MemoryRead(free_bytes), *facts)
        return self.log[done:]


def scaled(slots: int = 2) -> Loaded:
    driver = Loaded(slots, least_workers=2, most_workers=6)
    driver.start()
    return driver


def test_busy_workers_get_others_beside_them_and_the_reason_is_told() -> None:
    driver = scaled()
    actions = driver.work(0.9)
    assert len(only(Spawn, actions)) >= 1
    (report,) = [r for r in only(ReportStatus, driver.log) if r.event == "scaled"]
    assert report.text == (
        "their loops are busy for 90% of the time: from 2 to 3 workers"
    )
    assert report.reason == "load"


def test_without_bounds_nothing_is_read_and_nothing_changes() -> None:
    driver = Loaded()
    driver.start()
    assert not driver.planner.wants_load
    assert not driver.planner.wants_memory
    assert driver.work(0.9) == []


def test_an_order_by_hand_holds_until_the_load_may_decide_again() -> None:
    driver = scaled()
    driver.tell(ScaleAsked(count=2))
    assert driver.planner.snapshot().is_scaled_by_hand
    assert driver.work(0.9, 10) == []
    driver.tell(ScaleAsked(is_auto=True))
    assert "scaled" in events(driver.work(0.9, 10))


@pytest.mark.parametrize("is_auto", [True, False])
def test_an_order_while_it_is_parked_holds_as_well(is_auto: bool) -> None:
    driver = scaled()
    driver.tell(ScaleAsked(count=2, is_auto=not is_auto))
    driver.roll(driver.tell(ParkAsked()))
    driver.tell(ScaleAsked(count=3, is_auto=is_auto))
    assert driver.planner.snapshot().is_scaled_by_hand is not is_auto


def test_an_order_before_the_start_holds_as_well() -> None:
    driver = Loaded(2, least_workers=2, most_workers=6)
    driver.tell(ScaleAsked(count=3))
    assert driver.planner.snapshot().is_scaled_by_hand


def test_readings_of_a_turn_that_came_late_decide_nothing() -> None:
    driver = scaled()
    driver.work(1.0, 1)
    for _ in range(5):
        for worker in (1, 2):
            driver.computed[worker] += 3.0
        driver.now += 3.0
        facts = [LoadRead(each, driver.computed[each]) for each in (1, 2)]
        actions = driver.planner.plan(facts, driver.now)
        assert "scaled" not in events(actions)
        driver.wait(0.0001)
    assert driver.planner.state.autoscale.scaler.demand is None


def test_nobody_computes_for_more_than_the_whole_time() -> None:
    driver = scaled()
    driver.work(3.0, 2)
    assert driver.planner.state.autoscale.scaler.demand == 2.0


def test_that_there_is_no_memory_is_told_once_though_it_is_calm_meanwhile() -> None:
    driver = scaled()
    for worker in (1, 2):
        driver.ready[worker] = Beat(worker, 0.0, memory_bytes=50 * MIB)
    for _ in range(3):
        driver.work(1.0, 8, (64 + 49) * MIB)
        driver.work(0.5, 5, (64 + 49) * MIB)
        assert driver.planner.state.autoscale.is_short
    assert events(driver.log).count("scale_limited") == 1


def test_a_share_is_of_the_time_between_two_readings() -> None:
    driver = scaled(4)
    for _ in range(8):
        driver.wait(0.25)
        for worker in (1, 2, 3, 4):
            driver.computed[worker] = driver.computed.get(worker, 0.0) + 0.2
        facts = [LoadRead(each, driver.computed[each]) for each in (1, 2, 3, 4)]
        driver.tell(MemoryRead(None), *facts)
    assert driver.planner.state.autoscale.scaler.demand == pytest.approx(3.2, rel=0.05)


def test_nothing_is_decided_during_a_reload() -> None:
    driver = scaled()
    driver.reload()
    assert only(Spawn, driver.work(0.9, 10)) == []


def test_idle_workers_end_one_after_the_other_the_highest_slot_first() -> None:
    driver = scaled(4)
    actions = driver.work(0.01, 64)
    assert [end.worker for end in only(StopWorker, actions)] == [4]
    driver.exit(4)
    actions = driver.work(0.01, 70)
    assert [end.worker for end in only(StopWorker, actions)] == [3]
    driver.exit(3)
    assert only(StopWorker, driver.work(0.01, 200)) == []


def test_it_is_told_again_once_there_was_memory_meanwhile() -> None:
    driver = scaled()
    for worker in (1, 2):
        driver.ready[worker] = Beat(worker, 0.0, memory_bytes=50 * MIB)
    driver.work(1.0, 8, (64 + 49) * MIB)
    assert driver.planner.state.autoscale.is_short
    driver.work(1.0, 1, (64 + 500) * MIB)
    driver.work(1.0, 8, (64 + 500) * MIB)
    assert not driver.planner.state.autoscale.is_short


@pytest.mark.parametrize(
    ("free_mib", "count"), [(64 + 49, 2), (64 + 51, 3), (64 + 101, 4)]
)
def test_no_more_are_started_than_there_is_memory_for(
    free_mib: int, count: int
) -> None:
    driver = scaled()
    for worker in (1, 2):
        driver.ready[worker] = Beat(worker, 0.0, memory_bytes=50 * MIB)
    actions = driver.work(1.0, 8, free_mib * MIB)
    wanted = sum(not slot.is_parked for slot in driver.planner.snapshot().slots)
    assert wanted == count
    limited = [r for r in only(ReportStatus, actions) if r.event == "scale_limited"]
    assert [(each.level, each.text) for each in limited] == [
        ("WARNING", f"4 workers by load; there is memory for {count}")
    ] * (count < 4)
