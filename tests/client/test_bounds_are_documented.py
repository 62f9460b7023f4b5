"""The bounds of what servers send are in docs/reference/limits.md, with values."""

import importlib
import pkgutil
import re

import pytest

import blazeio.client
import blazeio.content
from tests.support.tree import REPOSITORY

MODULES = [
    importlib.import_module(f"{room.__name__}.{each.name}")
    for room in (blazeio.client, blazeio.content)
    for each in pkgutil.iter_modules(room.__path__)
]
SECTION = (
    (REPOSITORY / "docs" / "reference" / "limits.md")
    .read_text()
    .partition("## Of what servers send to our client")[2]
    .partition("\n## ")[0]
)
ROWS = [
    line.split("|")[1:3]
    for line in SECTION.splitlines()
    if line.startswith("| ") and "`" in line
]


@pytest.mark.parametrize(("bound", "values"), ROWS)
def test_each_has_the_value_that_is_written(bound: str, values: str) -> None:
    names = re.findall(r"`([A-Z_]+)`", bound)
    of_name = [
        {getattr(each, name) for each in MODULES if hasattr(each, name)}
        for name in names
    ]
    assert [len(values) for values in of_name] == [1] * len(names)
    found = [value for values in of_name for value in values]
    assert [f"{value:g}" if value < 10_000 else str(value) for value in found] == (
        values.strip().split(", ")
    )
