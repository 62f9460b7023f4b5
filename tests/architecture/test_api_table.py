"""docs/reference/api.md: each name has its place and its test, and both are there."""

import re

import pytest

from tests.support.tree import REPOSITORY

TEXT = (REPOSITORY / "docs" / "reference" / "api.md").read_text()
ROWS = [
    line
    for line in TEXT.partition("## What is not carried over")[0].splitlines()
    if line.startswith("| ") and not line.startswith(("| name |", "| example |"))
    if not line.startswith("| feature |")
]
PLACE = re.compile(r"`((?:blazeio|examples|tests)/[^`]*)`")


@pytest.mark.parametrize("place", sorted(set(PLACE.findall(TEXT))))
def test_each_place_is_there(place: str) -> None:
    assert (REPOSITORY / place).exists()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[2:40])
def test_each_row_names_a_test_unless_it_is_planned(row: str) -> None:
    shown = [place for place in PLACE.findall(row) if place.startswith("tests/")]
    assert shown or "planned" in row
