import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blazeio.client.cookies import (
    MOST_AGE_S,
    SetCookie,
    parse_cookie_date,
    parse_set_cookie,
)
from blazeio.content.field_values import parse_http_date, serialize_set_cookie

NOW = 1_700_000_000.0
IN_1994 = 784_111_777.0


def test_every_attribute_is_read() -> None:
    field = serialize_set_cookie(
        "sid",
        "a1",
        path="/app",
        max_age=60,
        expires=IN_1994,
        domain=".Example.org",
        secure=True,
        same_site="Strict",
    )
    assert parse_set_cookie(field) == SetCookie(
        "sid", "a1", "example.org", "/app", 60, IN_1994, True, True, "strict"
    )


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("a=b", SetCookie("a", "b")),
        (" a = b ;", SetCookie("a", "b")),
        ("a=b=c", SetCookie("a", "b=c")),
        ('a="b c"', SetCookie("a", '"b c"')),
        ("a=", SetCookie("a", "")),
        ("=b", SetCookie("", "b")),
        ("b", SetCookie("", "b")),
        (
            "a=b; SECURE; httponly=no",
            SetCookie("a", "b", "", "", None, None, True, True),
        ),
        ("a=b; path=x", SetCookie("a", "b")),
        ("a=b; path=/x; path=/y", SetCookie("a", "b", path="/y")),
        ("a=b; path=/x; path=", SetCookie("a", "b")),
        ("a=b; domain=", SetCookie("a", "b")),
        ("a=b; domain=x; domain=y", SetCookie("a", "b", "y")),
        ("a=b; max-age=1.5", SetCookie("a", "b")),
        ("a=b; max-age=5; max-age=x", SetCookie("a", "b", max_age_s=5)),
        ("a=b; max-age=-1", SetCookie("a", "b", max_age_s=-1)),
        ("a=b; expires=never", SetCookie("a", "b")),
        (f"a=b; domain={'x' * 1025}", SetCookie("a", "b")),
        (f"{'a' * 96}={'b' * 4000}", SetCookie("a" * 96, "b" * 4000)),
    ],
)
def test_a_field_is_read_as_browsers_do(field: str, expected: SetCookie) -> None:
    assert parse_set_cookie(field) == expected


@pytest.mark.parametrize(
    "field",
    ["", "=", " = ;x", "a=b\x00", "a=b; path=/\x01", f"{'a' * 97}={'b' * 4000}"],
)
def test_what_browsers_ignore_is_ignored(field: str) -> None:
    assert parse_set_cookie(field) is None


@pytest.mark.parametrize(
    "text",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Sun, 06-Nov-1994 08:49:37 GMT",
        "6 november 1994 8:49:37",
        "08:49:37 1994 Nov 06th",
        "Nov/06/94;08:49:37.5",
    ],
)
def test_a_date_is_read_however_it_is_written(text: str) -> None:
    assert parse_cookie_date(text) == IN_1994


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Sun, 06 Nov 1994",
        "06 Nov 1994 00:00",
        "06 Nov 1994 24:00:00",
        "32 Nov 1994 00:00:00",
        "31 Feb 1994 00:00:00",
        "06 Nov 1600 00:00:00",
        "06 Nov 12345 00:00:00",
        "06 Now 1994 00:00:00",
        "06 No 1994 00:00:00",
    ],
)
def test_what_is_no_date_is_none(text: str) -> None:
    assert parse_cookie_date(text) is None


def test_two_digits_of_a_year_are_of_1970_to_2069() -> None:
    years = {
        text: parse_cookie_date(f"01 Jan {text} 00:00:00") for text in ("70", "69")
    }
    assert years == {
        "70": 0.0,
        "69": datetime(2069, 1, 1, tzinfo=UTC).timestamp(),
    }


@pytest.mark.parametrize(
    ("attributes", "expiry"),
    [
        ("", None),
        ("max-age=60", NOW + 60),
        ("max-age=60; expires=Sun, 06 Nov 1994 08:49:37 GMT", NOW + 60),
        ("expires=Sun, 06 Nov 1994 08:49:37 GMT", IN_1994),
        ("max-age=0", 0.0),
        ("max-age=-99999999999999", 0.0),
        ("max-age=99999999999999", NOW + MOST_AGE_S),
        ("expires=Fri, 31 Dec 9999 23:59:59 GMT", NOW + MOST_AGE_S),
    ],
)
def test_when_a_cookie_is_over(attributes: str, expiry: float | None) -> None:
    cookie = parse_set_cookie(f"a=b; {attributes}")
    assert cookie is not None
    assert cookie.expiry(NOW) == expiry


@given(st.text(st.characters(max_codepoint=255)))
def test_no_field_is_too_strange(field: str) -> None:
    parse_set_cookie(field)
    parse_cookie_date(field)


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("\ta\t=\tb\t;\tpath\t=\t/p\t", SetCookie("a", "b", path="/p")),
        ("XaX=XbX; XpathX=/p", SetCookie("XaX", "XbX")),
        ("a=b; path=/pX", SetCookie("a", "b", path="/pX")),
        # Blanks to Python, but not to RFC 6265.
        ("\xa0a\xa0=\xa0b\x85", SetCookie("\xa0a\xa0", "\xa0b\x85")),
        ("a=b; path=/p\xa0", SetCookie("a", "b", path="/p\xa0")),
        ("a=b; \xa0path=/p", SetCookie("a", "b")),
        # What is not valid counts as not sent, and what follows it counts.
        ("a=b; max-age=x; path=/p", SetCookie("a", "b", path="/p")),
        ("a=b; expires=x; path=/p", SetCookie("a", "b", path="/p")),
        (f"a=b; path=/{'x' * 1024}; secure", SetCookie("a", "b", is_secure=True)),
        (f"a=b; path=/{'x' * 1023}", SetCookie("a", "b", path="/" + "x" * 1023)),
        ("a=b; max-age=5; max-age=x", SetCookie("a", "b", max_age_s=5)),
        (
            "a=b; expires=Sun, 06 Nov 1994 08:49:37 GMT; expires=x",
            SetCookie("a", "b", expires_at=IN_1994),
        ),
        ("a=b; max-age=123456789012", SetCookie("a", "b", max_age_s=1_234_567_890)),
    ],
)
def test_what_counts_of_a_field(field: str, expected: SetCookie) -> None:
    assert parse_set_cookie(field) == expected


@pytest.mark.parametrize(
    ("year", "is_date"), [("100", False), ("1600", False), ("1601", True)]
)
def test_years_before_1601_are_no_dates(year: str, is_date: bool) -> None:
    date = f"06 Nov {year} 08:49:37"
    assert (parse_cookie_date(date) is not None) is is_date


def test_a_second_is_enough_to_live() -> None:
    assert SetCookie("a", "b", max_age_s=1).expiry(NOW) == NOW + 1
    assert SetCookie("a", "b", max_age_s=0).expiry(NOW) == 0.0


def test_dates_are_of_greenwich_wherever_the_program_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    time.tzset()
    try:
        assert parse_cookie_date("Sun, 06 Nov 1994 08:49:37") == IN_1994
        # At this moment it is 2001 already in Auckland: 51 is still more than 50 off.
        in_2000 = datetime(2000, 12, 31, 20, tzinfo=UTC).timestamp()
        read = parse_http_date("Friday, 06-Nov-51 08:49:37 GMT", in_2000)
        assert read is not None
        assert datetime.fromtimestamp(read, UTC).year == 1951
    finally:
        monkeypatch.undo()
        time.tzset()
