import pytest

from blazeio.content.representation import (
    Validators,
    Verdict,
    evaluate,
    holds_for_range,
)

OLD, DATE, NEW = (
    "Sun, 06 Nov 1994 08:49:36 GMT",
    "Sun, 06 Nov 1994 08:49:37 GMT",
    "Sun, 06 Nov 1994 08:49:38 GMT",
)
DATE_S = 784111777
NOW_S = DATE_S + 1000.0
CURRENT = Validators('"now"', DATE_S)
PERFORM, UNMODIFIED, FAILED = Verdict


@pytest.mark.parametrize(
    ("fields", "verdict"),
    [
        ({}, PERFORM),
        ({"if-match": '"now"'}, PERFORM),
        ({"if-match": '"other", "now"'}, PERFORM),
        ({"if-match": "*"}, PERFORM),
        ({"if-match": '"other"'}, FAILED),
        ({"if-match": 'W/"now"'}, FAILED),
        ({"if-match": "now"}, FAILED),
        ({"if-unmodified-since": OLD}, FAILED),
        ({"if-unmodified-since": DATE}, PERFORM),
        ({"if-unmodified-since": NEW}, PERFORM),
        ({"if-unmodified-since": "yesterday"}, PERFORM),
        ({"if-none-match": '"now"'}, UNMODIFIED),
        ({"if-none-match": 'W/"now"'}, UNMODIFIED),
        ({"if-none-match": ' "a" , "now"'}, UNMODIFIED),
        ({"if-none-match": "*"}, UNMODIFIED),
        ({"if-none-match": '"other"'}, PERFORM),
        ({"if-modified-since": OLD}, PERFORM),
        ({"if-modified-since": DATE}, UNMODIFIED),
        ({"if-modified-since": NEW}, UNMODIFIED),
        ({"if-modified-since": "Sunday, 06-Nov-94 08:49:37 GMT"}, UNMODIFIED),
        ({"if-modified-since": "yesterday"}, PERFORM),
        ({"if-modified-since": ""}, PERFORM),
    ],
)
def test_each_condition_of_a_read(fields: dict[str, str], verdict: Verdict) -> None:
    assert evaluate("GET", fields, CURRENT, NOW_S) is verdict
    assert evaluate("HEAD", fields, CURRENT, NOW_S) is verdict


@pytest.mark.parametrize(
    ("fields", "verdict"),
    [
        ({"if-match": '"now"', "if-unmodified-since": OLD}, PERFORM),
        ({"if-match": '"other"', "if-none-match": '"now"'}, FAILED),
        ({"if-unmodified-since": OLD, "if-none-match": '"now"'}, FAILED),
        ({"if-none-match": '"other"', "if-modified-since": NEW}, PERFORM),
        ({"if-none-match": '"now"', "if-modified-since": OLD}, UNMODIFIED),
        ({"if-match": '"now"', "if-modified-since": NEW}, UNMODIFIED),
    ],
)
def test_the_order_is_that_of_rfc_9110_section_13_2_2(
    fields: dict[str, str], verdict: Verdict
) -> None:
    assert evaluate("GET", fields, CURRENT, NOW_S) is verdict


@pytest.mark.parametrize(
    ("fields", "verdict"),
    [
        ({"if-none-match": "*"}, FAILED),
        ({"if-none-match": '"now"'}, FAILED),
        ({"if-modified-since": NEW}, PERFORM),
        ({"if-match": '"other"'}, FAILED),
    ],
)
def test_of_a_change_nothing_is_not_modified(
    fields: dict[str, str], verdict: Verdict
) -> None:
    assert evaluate("PUT", fields, CURRENT, NOW_S) is verdict


@pytest.mark.parametrize(
    ("value", "holds"),
    [
        ('"now"', True),
        ('W/"now"', False),
        ('"other"', False),
        (DATE, True),
        (OLD, False),
        (NEW, False),
        ("yesterday", False),
        ("", False),
    ],
)
def test_if_range_wants_the_very_state(value: str, holds: bool) -> None:
    assert holds_for_range(value, CURRENT, NOW_S) is holds


def test_a_weak_tag_never_holds_for_a_range() -> None:
    assert not holds_for_range('W/"a"', Validators('W/"a"', DATE_S), NOW_S)


def test_a_date_of_this_second_does_not_hold_for_a_range() -> None:
    assert not holds_for_range(DATE, CURRENT, DATE_S + 0.9)
    assert holds_for_range(DATE, CURRENT, DATE_S + 1.0)
