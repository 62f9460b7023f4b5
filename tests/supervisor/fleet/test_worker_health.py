import pytest

from blazeio_supervisor.fleet.facts import Beat
from blazeio_supervisor.fleet.roster import WorkerHealth

FRESH_S = 0.1


def read(
    health: WorkerHealth, at: float, now: float, *, clock_ahead: float = 0.0
) -> None:
    health.take(Beat(1, at + clock_ahead), now, now + clock_ahead, FRESH_S)


def test_beat_time_is_that_of_the_beat_not_of_the_reading() -> None:
    health = WorkerHealth()
    read(health, at=9.97, now=10.0)
    assert health.beat_at == 9.97


def test_steady_and_clock_time_may_differ() -> None:
    health = WorkerHealth()
    read(health, at=9.75, now=10.0, clock_ahead=64.0)
    assert health.beat_at == 9.75


def test_same_row_read_again_is_no_new_beat() -> None:
    health = WorkerHealth()
    for now in (10.0, 10.05, 10.1):
        read(health, at=9.97, now=now)
    assert (health.beat_at, health.good_beats) == (9.97, 1)


def test_span_that_the_master_slept_through_does_not_count() -> None:
    health = WorkerHealth()
    read(health, at=10.0, now=10.0)
    health.take(Beat(1, 10.5), 10.2, 70.0, FRESH_S)
    assert health.beat_at == 10.0


def test_beat_from_the_future_is_taken_as_of_now() -> None:
    health = WorkerHealth()
    read(health, at=12.0, now=10.0)
    assert health.beat_at == 10.0


def test_good_beats_are_counted_in_a_row() -> None:
    health = WorkerHealth()
    for now in (10.0, 10.05, 10.1):
        read(health, at=now, now=now)
    assert health.good_beats == 3
    read(health, at=10.2, now=10.4)
    assert health.good_beats == 0


def test_beat_of_a_full_worker_is_not_good() -> None:
    health = WorkerHealth()
    health.take(Beat(1, 10.0, is_full=True), 10.0, 10.0, FRESH_S)
    assert health.good_beats == 0


def test_load_follows_requests_and_lag_smoothly() -> None:
    health = WorkerHealth()
    before = health.load
    for tenth in range(90):
        now = 10.0 + tenth / 10
        health.take(Beat(1, now, lag_s=0.05, in_flight=8), now, now, FRESH_S)
        assert before < health.load < 32.0
        before = health.load
    assert health.load > 31.0


@pytest.mark.parametrize(
    ("in_flight", "lag_s", "load"),
    [
        (4, 0.0125, 8.35),  # a twentieth of the way from 8 to 15
        (8, 0.05, 8.4),  # no more than twice the load so far is believed
        (0, 0.0, 8.0),
    ],
)
def test_one_beat_moves_the_load_by_a_twentieth(
    in_flight: int, lag_s: float, load: float
) -> None:
    health = WorkerHealth()
    beat = Beat(1, 10.0, lag_s=lag_s, in_flight=in_flight)
    health.take(beat, 10.0, 10.0, FRESH_S)
    assert health.load == pytest.approx(load)


@pytest.mark.parametrize(("age_s", "good_beats"), [(0.0625, 1), (0.125, 0)])
def test_a_beat_is_good_while_it_is_younger_than_that(
    age_s: float, good_beats: int
) -> None:
    health = WorkerHealth()
    health.take(Beat(1, 10.0 - age_s), 10.0, 10.0, 0.125)
    assert health.good_beats == good_beats


def test_a_beat_in_the_midst_of_a_burst_says_little() -> None:
    health = WorkerHealth()
    before = health.load
    health.take(Beat(1, 10.0, in_flight=1000), 10.0, 10.0, FRESH_S)
    assert before < health.load < before * 1.1


def test_before_the_first_beat_nothing_is_in_flight_and_nothing_late() -> None:
    assert (WorkerHealth().in_flight, WorkerHealth().lag_s) == (0, 0.0)
