"""Each pair of a state and an event leads somewhere, or is listed as illegal."""

import ast
import inspect
from types import ModuleType

import pytest

from blazeio.client import connection, exchange
from blazeio.client import states as client_states
from blazeio.protocol import http1
from blazeio.protocol import http1_states as server_states

TABLES = pytest.mark.parametrize("table", [server_states, client_states])


@TABLES
def test_the_table_is_total(table: ModuleType) -> None:
    legal = {
        (state, event) for state in table.STATES for event in table.NEXT_STATE[state]
    }
    every = {(state, event) for state in table.STATES for event in table.EVENTS}
    assert legal | table.ILLEGAL == every
    assert not legal & table.ILLEGAL


@TABLES
def test_numbers_and_names_are_those_of_each_other(table: ModuleType) -> None:
    assert len(table.NEXT_STATE) == len(table.STATE_NAMES)
    for names, numbers in (
        (table.STATE_NAMES, table.STATES),
        (table.EVENT_NAMES, table.EVENTS),
    ):
        assert [getattr(table, name) for name in names] == list(numbers)


@TABLES
def test_each_state_can_be_reached(table: ModuleType) -> None:
    reached = {0}
    while True:
        further = {
            following
            for each in reached
            for following in table.NEXT_STATE[each].values()
        }
        if further <= reached:
            break
        reached |= further
    assert reached == set(table.STATES)


@TABLES
def test_from_everywhere_the_connection_can_be_lost(table: ModuleType) -> None:
    for state in table.STATES:
        if state != table.CLOSED:
            assert table.CLOSED in table.NEXT_STATE[state].values()


def find_assignments(module: ModuleType, attribute: str) -> list[tuple[str, str]]:
    """What is assigned to ``self.<attribute>`` outside of ``__init__``: where, what."""
    return [
        (function.name, ast.unparse(each.value))
        for function in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        if function.name != "__init__"
        for each in ast.walk(function)
        if isinstance(each, ast.Assign | ast.AugAssign | ast.AnnAssign) and each.value
        for target in (each.targets if isinstance(each, ast.Assign) else [each.target])
        for name in ast.walk(target)
        if isinstance(name, ast.Attribute) and name.attr == attribute
    ]


@pytest.mark.parametrize(
    ("modules", "by_hand"),
    [
        ((http1,), {"data_received", "request_is_over", "_lose"}),
        ((connection, exchange), {"begin", "_begin_content", "_finish"}),
    ],
)
def test_the_state_is_set_by_the_table_alone(
    modules: tuple[ModuleType, ...], by_hand: set[str]
) -> None:
    found = [each for module in modules for each in find_assignments(module, "_state")]
    assert {where for where, _ in found} == {"_switch", *by_hand}
    assert all(what.startswith("NEXT_STATE[") for _, what in found)
