"""Each bound is explained in the docstring, of which the documentation is made."""

import dataclasses
import inspect
import re

import pytest

from blazeio.limits import Limits

FIELDS = [each.name for each in dataclasses.fields(Limits)]
DOC = inspect.getdoc(Limits) or ""
ENTRIES = dict(re.findall(r"^    (\w+): (.+(?:\n     .+)*)", DOC, re.MULTILINE))


@pytest.mark.parametrize("name", FIELDS)
def test_each_limit_has_its_entry(name: str) -> None:
    assert len(ENTRIES[name].split()) >= 2


def test_no_entry_is_of_a_limit_that_is_gone() -> None:
    attributes = DOC.partition("Attributes:")[2].partition("Raises:")[0]
    assert set(re.findall(r"^    (\w+):", attributes, re.MULTILINE)) == set(FIELDS)


def test_the_units_are_said_once_for_all() -> None:
    assert re.search(r"Sizes are octets.*\bspans are seconds", DOC, re.DOTALL)
