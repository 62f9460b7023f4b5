import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blazeio.content.field_values import (
    parse_http_date,
    parse_retry_after,
    serialize_http_date,
)

NOVEMBER_1994 = 784_111_777
NOW = datetime(2026, 6, 1, tzinfo=UTC).timestamp()


def test_the_date_of_the_rfc_is_written_as_the_rfc_writes_it() -> None:
    assert serialize_http_date(NOVEMBER_1994) == "Sun, 06 Nov 1994 08:49:37 GMT"


def test_a_fraction_of_a_second_is_cut_off() -> None:
    for part in (0.999, 0.9999999):
        text = serialize_http_date(NOVEMBER_1994 + part)
        assert text == "Sun, 06 Nov 1994 08:49:37 GMT"


@pytest.mark.parametrize("seconds", [1e20, -1e20, float("nan"), float("inf")])
def test_a_time_outside_the_calendar_is_refused(seconds: float) -> None:
    with pytest.raises(ValueError, match="not a time that HTTP can write"):
        serialize_http_date(seconds)


@pytest.mark.parametrize(
    "text",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
    ],
)
def test_all_three_forms_are_read(text: str) -> None:
    assert parse_http_date(text, NOW) == NOVEMBER_1994


@pytest.fixture
def far_east(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Where it is 14 hours later than in UTC."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "XXX-14")
        time.tzset()
        yield
    time.tzset()


def test_the_century_is_that_of_utc(far_east: None) -> None:
    now = datetime(2025, 12, 31, 23, tzinfo=UTC).timestamp()
    seconds = parse_http_date("Sunday, 06-Nov-76 08:49:37 GMT", now)
    assert seconds is not None
    assert datetime.fromtimestamp(seconds, UTC).year == 1976


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "Sun, 06 Nov 1994 08:49:37",
        "Sun, 06 Nov 1994 08:49:37 UTC",
        "Sun, 31 Nov 1994 08:49:37 GMT",
        "Sun, 06 Nox 1994 08:49:37 GMT",
        "Sun, 06 Nov 1994 24:49:37 GMT",
        "Sun, 06 Nov 1994 08:49:37 GMT ",
        "Sun, 06 Nov ١٩٩٤ 08:49:37 GMT",
        "Sun, 06 Nov 0000 08:49:37 GMT",
    ],
)
def test_what_is_no_date_is_none(text: str) -> None:
    assert parse_http_date(text, NOW) is None


def test_a_leap_second_is_read_as_the_second_before() -> None:
    text = "Sat, 31 Dec 2016 23:59:60 GMT"
    assert parse_http_date(text, NOW) == parse_http_date(
        "Sat, 31 Dec 2016 23:59:59 GMT", NOW
    )


def test_a_year_of_two_digits_is_never_more_than_50_years_ahead() -> None:
    in_76 = parse_http_date("Sunday, 06-Nov-76 08:49:37 GMT", NOW)
    in_77 = parse_http_date("Sunday, 06-Nov-77 08:49:37 GMT", NOW)
    assert in_76 == datetime(2076, 11, 6, 8, 49, 37, tzinfo=UTC).timestamp()
    assert in_77 == datetime(1977, 11, 6, 8, 49, 37, tzinfo=UTC).timestamp()


def test_a_year_of_two_digits_is_of_the_present_century() -> None:
    in_2005 = datetime(2005, 6, 1, tzinfo=UTC).timestamp()
    assert parse_http_date("Sunday, 06-Nov-05 08:49:37 GMT", in_2005) == (
        datetime(2005, 11, 6, 8, 49, 37, tzinfo=UTC).timestamp()
    )


@given(st.integers(min_value=-62_135_596_800, max_value=253_402_300_799))
def test_what_is_written_is_read_back(seconds: int) -> None:
    assert parse_http_date(serialize_http_date(seconds), NOW) == seconds


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("120", 120.0),
        ("999999999", 999_999_999.0),
        ("9999999999", None),
        ("-1", None),
        ("1.5", None),
        ("", None),
        ("soon", None),
        ("Sun, 06 Nov 1994 08:49:37 GMT", 37.0),
        ("Sun, 06 Nov 1994 08:48:00 GMT", 0.0),
        ("Sunday, 06-Nov-94 08:49:37 GMT", 37.0),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str, seconds: float | None) -> None:
    now = 784111777.0 - 37
    assert parse_retry_after(text, now) == seconds
