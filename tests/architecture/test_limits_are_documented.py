"""Each bound is named in the docstring and in the table of the documentation."""

import dataclasses
import inspect
import re

import pytest

from blazeio.limits import Limits
from blazeio_supervisor.config.http import (
    WorkerLimits,
    format_default,
)
from blazeio_supervisor.config.option import list_options
from tests.support.tree import REPOSITORY

FIELDS = [each.name for each in dataclasses.fields(Limits)]
DOC = inspect.getdoc(Limits) or ""
ENTRIES = dict(re.findall(r"^    (\w+): (.+(?:\n     .+)*)", DOC, re.MULTILINE))

TABLE = (REPOSITORY / "docs" / "limits.md").read_text()
ROWS = [line.split("|")[1:-1] for line in TABLE.splitlines() if line.startswith("| `")]


@pytest.mark.parametrize("name", FIELDS)
def test_each_limit_has_its_entry(name: str) -> None:
    assert len(ENTRIES[name].split()) >= 2


def test_no_entry_is_of_a_limit_that_is_gone() -> None:
    attributes = DOC.partition("Attributes:")[2].partition("Raises:")[0]
    assert set(re.findall(r"^    (\w+):", attributes, re.MULTILINE)) == set(FIELDS)


def test_the_units_are_said_once_for_all() -> None:
    assert re.search(r"Sizes are octets.*\bspans are seconds", DOC, re.DOTALL)


def test_the_table_has_each_limit_with_its_unit_default_and_option() -> None:
    options = {each.of: f"`{each.flag}`" for each in list_options(WorkerLimits)}
    told = [[cell.strip() for cell in row] for row in ROWS]
    assert [(name, default, option) for name, _, default, option, _ in told] == [
        (f"`{name}`", format_default(name), options[name]) for name in FIELDS
    ]
    units = {
        "_bytes": "octets",
        "_bytes_per_s": "octets a second",
        "_resets_per_s": "streams a second",
        "_frames_per_s": "frames a second",
        "_s": "seconds",
    }
    for name, unit, _, _, consequence in told:
        ending = next((e for e in units if name.strip("`").endswith(e)), None)
        assert unit == (units[ending] if ending else unit)
        assert unit
        assert consequence
