from pathlib import Path

import pytest

from tests.bench.table import ALL_CASES, REASONS, REASONS_PAGE, format_line, judge

PAGE = (Path(__file__).parents[2] / REASONS_PAGE).read_text()
CASES = {case.name: case for case in ALL_CASES}


@pytest.mark.parametrize("name", REASONS)
def test_each_reason_why_not_is_in_the_document(name: str) -> None:
    assert name in CASES
    assert f"\n- *{REASONS[name]}*: " in PAGE


def test_a_bar_that_is_met_is_a_line() -> None:
    case = CASES["supervised"]
    line = judge(case, {"supervised": [8.1, 8.2], "blazeio": [8.0, 8.0]})
    text = format_line(line)
    assert "1.02 [1.01-1.02] blazeio" in text
    assert " yes" in text
    assert "\n" not in text


def test_one_that_is_not_met_says_where_the_reason_is() -> None:
    case = CASES["supervised"]
    line = judge(case, {"supervised": [8.8, 8.8], "blazeio": [8.0, 8.0]})
    first, second = format_line(line).split("\n")
    assert " no " in first
    assert second == f'  why not: "Supervised" in {REASONS_PAGE}'


def test_one_without_a_reason_says_so() -> None:
    line = judge(CASES["hello"], {"blazeio": [50.0], "nginx": [10.0]})
    assert "why not: nobody has written it down" in format_line(line)
