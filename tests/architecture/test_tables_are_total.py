"""Each pair of a state and an event leads somewhere, or is listed as illegal."""

import ast
import inspect

from blazeio.protocol import http1, states


def test_a_servers_connection_has_a_total_table() -> None:
    legal = {
        (state, event) for state in states.STATES for event in states.NEXT_STATE[state]
    }
    every = {(state, event) for state in states.STATES for event in states.EVENTS}
    assert legal | states.ILLEGAL == every
    assert not legal & states.ILLEGAL


def test_each_state_has_a_name_and_can_be_reached() -> None:
    assert len(states.NEXT_STATE) == len(states.STATE_NAMES)
    for names, numbers in (
        (states.STATE_NAMES, states.STATES),
        (states.EVENT_NAMES, states.EVENTS),
    ):
        assert [getattr(states, name) for name in names] == list(numbers)
    reached = {states.OPENED}
    while True:
        further = {
            following
            for each in reached
            for following in states.NEXT_STATE[each].values()
        }
        if further <= reached:
            break
        reached |= further
    assert reached == set(states.STATES)


def test_from_everywhere_the_connection_can_be_lost() -> None:
    for state in states.STATES:
        if state != states.CLOSED:
            assert states.NEXT_STATE[state][states.LOST] == states.CLOSED


def find_assignments(source: str, attribute: str) -> list[str]:
    """The functions that assign to ``self.<attribute>``."""
    found = []
    for function in ast.walk(ast.parse(source)):
        if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        found += [
            function.name
            for each in ast.walk(function)
            if isinstance(each, ast.Attribute)
            and each.attr == attribute
            and isinstance(each.ctx, ast.Store)
        ]
    return found


def test_the_state_is_set_in_one_place() -> None:
    assigning = find_assignments(inspect.getsource(http1), "_state")
    assert assigning == ["__init__", "_switch"]
