"""What ``import blazeio as io`` offers is listed, sorted and documented."""

import re
import sys
from types import ModuleType

import pytest

import blazeio
from blazeio import api
from tests.support.tree import REPOSITORY

PUBLIC: list[str] = list(blazeio.__all__)
NAMES = (REPOSITORY / "docs" / "reference" / "names.md").read_text()
PLAIN_VALUES = {"__version__", "loop"}
"""Public names whose object cannot carry a docstring of its own."""


def test_all_is_sorted_and_holds_no_name_twice() -> None:
    assert sorted(set(PUBLIC)) == PUBLIC


def test_each_public_name_is_explained_in_the_reference() -> None:
    explained = set(re.findall(r"`(?:io\.)?(\w+)", NAMES))
    assert set(PUBLIC) - explained == set()


def test_each_public_object_has_a_docstring() -> None:
    objects = {name: getattr(blazeio, name) for name in set(PUBLIC) - PLAIN_VALUES}
    assert [name for name, each in objects.items() if not each.__doc__] == []


def test_nothing_public_is_left_out_of_all() -> None:
    public = {
        name
        for module in (blazeio, api)
        for name, value in vars(module).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert public <= set(PUBLIC)


def test_the_capitalised_name_is_the_same_module(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delitem(sys.modules, "Blazeio", raising=False)
    assert __import__("Blazeio") is blazeio
