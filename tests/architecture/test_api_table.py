"""docs/reference/api.md: each name has its place and its test, and both are there."""

import re

from tests.support.tree import REPOSITORY

TEXT = (REPOSITORY / "docs" / "reference" / "api.md").read_text()
ROWS = [
    line
    for line in TEXT.partition("## What is not carried over")[0].splitlines()
    if line.startswith("| ") and not line.startswith(("| name |", "| example |"))
    if not line.startswith("| feature |")
]
PLACE = re.compile(r"`((?:blazeio|examples|tests)/[^`]*)`")


def test_each_place_is_there() -> None:
    places = set(PLACE.findall(TEXT))
    assert len(places) > 100
    assert [each for each in places if not (REPOSITORY / each).exists()] == []


def test_each_row_names_a_test_unless_it_is_planned() -> None:
    assert len(ROWS) > 80
    assert [row for row in ROWS if not names_test(row) and "planned" not in row] == []


def names_test(row: str) -> bool:
    return any(place.startswith("tests/") for place in PLACE.findall(row))
