"""What the master imports where it is needed is in the image that it keeps.

The files on the disk may be those of another version by then.
"""

import ast
from collections.abc import Iterator
from importlib.util import find_spec

from blazeio_supervisor.master.upgrade.image import LATER
from tests.support.tree import Module, iterate_modules

ROOMS = ("config", "fleet", "ipc", "log", "master", "sockets")
"""Whose code runs in a master that serves."""
PACKAGES = ("blazeio", "blazeio_supervisor", "psutil")
OF_THE_START = {
    "blazeio_supervisor.master.master": "at the start",
    "blazeio_supervisor.master.metrics": "where --metrics-bind is given",
    "blazeio.app.app": "with the handlers",
    "blazeio.errors": "by the settings",
    "blazeio_supervisor.ipc.control_api": "with the handlers",
    "blazeio_supervisor.master.guarded_server": "with the handlers",
}
"""What is imported before the image is kept, or with another module of it."""


def list_later(tree: ast.Module) -> Iterator[str]:
    """The modules that functions import; not those for type checkers."""
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            for node in ast.walk(function):
                if isinstance(node, ast.ImportFrom) and node.module is not None:
                    yield node.module
                elif isinstance(node, ast.Import):
                    yield from (each.name for each in node.names)


def find_missing(modules: Iterator[Module]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for module in modules:
        later = {
            name
            for name in list_later(module.parse())
            if name.partition(".")[0] in PACKAGES
        }
        if missing := later - {*LATER, *OF_THE_START}:
            found[module.name] = missing
    return found


def test_what_a_master_imports_later_is_kept() -> None:
    rooms = tuple(f"blazeio_supervisor.{room}." for room in ROOMS)
    masters = (m for m in iterate_modules() if m.name.startswith(rooms))
    assert not find_missing(masters)


def test_nothing_is_kept_that_no_longer_exists() -> None:
    """Else the image could not be made, and no service be upgraded."""
    assert [name for name in LATER if find_spec(name) is None] == []
