"""One name, one meaning: no class of both packages is called as another."""

import ast
from collections import defaultdict
from functools import cache

from tests.support.tree import iterate_modules

TWICE: dict[str, str] = {
    "FilePart": "a form's, of blazeio.content; a file of the ASGI server, of gateways",
    "Lifespan": "an app's hooks, of blazeio.app; ASGI's events, of gateways",
}
"""Names that two classes have, each with what they are. To be emptied."""


@cache
def list_homes() -> dict[str, list[str]]:
    """Return the modules in which a class of each name is defined."""
    homes = defaultdict(list)
    for module in iterate_modules():
        for node in ast.walk(module.parse()):
            if isinstance(node, ast.ClassDef):
                homes[node.name].append(module.name)
    return homes


def test_no_class_has_the_name_of_another() -> None:
    homes = list_homes()
    assert len(homes) > 500
    twice = {name: where for name, where in homes.items() if len(where) > 1}
    assert {name: where for name, where in twice.items() if name not in TWICE} == {}


def test_the_allow_list_holds_only_what_is_needed() -> None:
    homes = list_homes()
    assert [name for name in TWICE if len(homes[name]) < 2] == []
