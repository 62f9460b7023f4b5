"""No modules import each other in a circle, and no folders do."""

import ast

import pytest

from tests.support.tree import (
    PACKAGES,
    REPOSITORY,
    build_import_graph,
    find_cycles,
    iterate_imports,
    list_imported,
)


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    return build_import_graph()


def test_the_graph_has_modules_and_imports(graph: dict[str, set[str]]) -> None:
    assert len(graph) > 200
    assert sum(len(imported) for imported in graph.values()) > 800


def test_no_module_imports_itself_through_others(graph: dict[str, set[str]]) -> None:
    assert find_cycles(graph) == []


@pytest.mark.parametrize("package", PACKAGES)
def test_no_folder_imports_itself_through_others(
    package: str, graph: dict[str, set[str]]
) -> None:
    """Of the rooms: a folder inside a room belongs to the room.

    A package's own folder is left out: it holds both the foundations (errors,
    limits) and the roof (api, __main__); the contract orders its modules.
    """
    rooms: dict[str, set[str]] = {}
    for module, imported in graph.items():
        for other in imported:
            one, two = (find_room(each) for each in (module, other))
            if one and two and {one.split(".")[0], two.split(".")[0]} == {package}:
                rooms.setdefault(one, set())
                rooms.setdefault(two, set())
                if one != two:
                    rooms[one].add(two)
    assert len(rooms) > 6
    assert find_cycles(rooms) == []


def find_room(module: str) -> str | None:
    """Return the folder of the package in which a module lies."""
    parts = module.split(".")
    root = REPOSITORY / PACKAGES[parts[0]]
    if len(parts) > 1 and (root / parts[1]).is_dir():
        return ".".join(parts[:2])
    return None


def test_a_cycle_is_found() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e"}, "e": set()}
    assert find_cycles(graph) == [["a", "b", "c"]]


def test_imports_that_do_not_run_are_left_out() -> None:
    source = """
import first
if TYPE_CHECKING:
    import never
else:
    import second
try:
    from third import part
except ImportError:
    import fourth
def later():
    import inner
"""
    found = [
        name
        for node in iterate_imports(ast.parse(source).body)
        for name in list_imported(node)
    ]
    assert found == ["first", "second", "third", "third.part", "fourth"]
