"""What is explained of surviving mutants is still in the code.

``make mutants`` compares the explanations of the files that it looks at, and so never
hears of those of a file that was renamed, or joined with another one.
"""

import ast
import re
from collections.abc import Iterator
from fnmatch import translate
from functools import cache

import pytest

from tests.mutants.explained_client import CLIENT
from tests.mutants.explained_content import CONTENT
from tests.mutants.explained_fleet import FLEET
from tests.mutants.explained_sockets import SOCKETS
from tests.mutants.explained_wire import WIRE
from tests.mutants.explanation import Explained
from tests.support.tree import iterate_modules

EXPLAINED = (*CLIENT, *CONTENT, *FLEET, *SOCKETS, *WIRE)


@cache
def list_functions() -> list[tuple[str, str]]:
    """Place and name of each function of both packages."""
    return [
        (str(module.place), name)
        for module in iterate_modules()
        for name in iterate_names(module.parse().body)
    ]


def iterate_names(body: list[ast.stmt], inside: str = "") -> Iterator[str]:
    """Iterate over the names of functions, those of a class behind its own."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield f"{inside}{node.name}"
        elif isinstance(node, ast.ClassDef):
            yield from iterate_names(node.body, f"{inside}{node.name}.")


def make_pattern(text: str) -> re.Pattern[str]:
    return re.compile(translate(text.replace("[", "[[]")))


@pytest.mark.parametrize("each", EXPLAINED, ids=lambda each: each.place)
def test_each_explanation_is_of_a_function_that_is_there(each: Explained) -> None:
    place, owner = make_pattern(each.place), make_pattern(each.owner)
    found = [
        name
        for where, name in list_functions()
        if place.match(where) and owner.match(name)
    ]
    assert found, f"{each.place}: {each.owner}"
