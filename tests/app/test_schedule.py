"""When a task that runs once is due."""

import os
import time
from collections.abc import Iterator
from datetime import datetime

import pytest
from hypothesis import given, strategies

from blazeio.app.service import Schedule, parse_schedule
from blazeio.errors import ConfigurationError


@pytest.fixture
def _in_berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    os.environ.setdefault("TZ", "")
    del os.environ["TZ"]
    time.tzset()


@pytest.mark.parametrize(
    ("every", "span_s"),
    [
        *(("30s", 30), ("15m", 900), ("1h30m", 5400), ("1d", 86_400), ("1.5s", 1.5)),
        *((60, 60), (2.5, 2.5), ("366d", 366 * 86_400)),
    ],
)
def test_spans_are_read(every: str | float, span_s: float) -> None:
    schedule = parse_schedule(every)
    assert schedule == Schedule(every_s=span_s)
    assert schedule.next_after(1000.0) == 1000.0 + span_s
    assert str(schedule) == f"every {span_s:g} s"


@pytest.mark.parametrize(
    "every",
    ["", "15", "m", "-5m", "0s", "0.5s", "367d", 0, -1, 1e9, "5 m", float("nan")],
)
def test_no_other_span_is_read(every: str | float) -> None:
    with pytest.raises(ConfigurationError, match="a span of 1 s to 366 days"):
        parse_schedule(every)


@pytest.mark.parametrize("at", ["24:00", "3", "03:60", "3:0", "03:00:00", "", 3])
def test_no_other_time_is_read(at: str) -> None:
    with pytest.raises(ConfigurationError, match="a time of day is expected"):
        parse_schedule(at=at)


def test_a_span_and_a_time_are_one_too_many() -> None:
    with pytest.raises(ConfigurationError, match="which"):
        parse_schedule("5m", "03:00")


@pytest.mark.usefixtures("_in_berlin")
@pytest.mark.parametrize(
    ("last", "due"),
    [
        ("2026-05-01 02:59:59", "2026-05-01 03:00"),
        ("2026-05-01 03:00", "2026-05-02 03:00"),
        ("2026-05-01 03:00:01", "2026-05-02 03:00"),
        ("2026-12-31 12:00", "2027-01-01 03:00"),
    ],
)
def test_a_time_of_day_is_the_machines_own(last: str, due: str) -> None:
    schedule = parse_schedule(at="3:00")
    began_at = datetime.fromisoformat(last).timestamp()
    assert schedule.next_after(began_at) == datetime.fromisoformat(due).timestamp()
    assert str(schedule) == "at 03:00"


@pytest.mark.usefixtures("_in_berlin")
def test_there_is_one_run_a_day_also_when_clocks_are_changed() -> None:
    schedule = parse_schedule(at="02:30")  # it comes twice, or not at all
    at = datetime(2026, 1, 1).timestamp()
    days = set()
    for _ in range(365):
        before, at = at, schedule.next_after(at)
        days.add(datetime.fromtimestamp(at).date())
        assert 22.9 * 3600 <= at - before <= 26 * 3600 or before % 86_400 == 82_800
    assert len(days) == 365


@given(
    strategies.integers(0, 23),
    strategies.integers(0, 59),
    strategies.floats(1e9, 4e9),
)
def test_what_is_due_is_later_and_within_two_days(
    hour: int, minute: int, last: float
) -> None:
    due = Schedule(at=(hour, minute)).next_after(last)
    assert last < due <= last + 2 * 86_400
