"""Every event that is noted has a name of the table."""

import ast
import re
from collections.abc import Iterator, Sequence
from functools import cache

from blazeio_supervisor.log.formats import EVENTS, WORKER_EVENTS
from tests.support.tree import Module, iterate_modules

NOTERS = {"note", "report", "ReportStatus", "WorkerEvent"}
PASSING_ON = {"give_up"}
"""They note what they are given, among other things."""


def find_notes(module: Module) -> Iterator[str]:
    """The name in each call that notes an event, where it is a literal."""
    for node in ast.walk(module.parse()):
        if isinstance(node, ast.Call) and name_call(node.func) in NOTERS and node.args:
            name = node.args[0]
            if isinstance(name, ast.Constant):
                yield str(name.value)
        elif isinstance(node, ast.FunctionDef) and node.name in PASSING_ON:
            yield from (str(each.value) for each in find_texts(node.args.defaults))
        elif isinstance(node, ast.Call) and name_call(node.func) in PASSING_ON:
            yield from (str(each.value) for each in find_texts(node.args))


def find_texts(nodes: Sequence[ast.expr]) -> list[ast.Constant]:
    texts = [each for each in nodes if isinstance(each, ast.Constant)]
    return [each for each in texts if str(each.value).isidentifier()]


def name_call(function: ast.expr) -> str:
    match function:
        case ast.Name(name) | ast.Attribute(attr=name):
            return name.removeprefix("_").removesuffix("_fault")
        case _:
            return ""


MODULES = [m for m in iterate_modules() if m.name.startswith("blazeio_supervisor")]


@cache
def find_noted() -> set[str]:
    return {name for module in MODULES for name in find_notes(module)}


def test_each_event_that_is_noted_has_an_entry() -> None:
    assert find_noted() - EVENTS.keys() == set()


def test_each_entry_is_noted_somewhere() -> None:
    assert EVENTS.keys() - find_noted() == set()


def test_a_worker_sends_the_events_that_its_master_believes_and_no_others() -> None:
    sent = {
        ast.literal_eval(node.args[0])
        for module in MODULES
        for node in ast.walk(module.parse())
        if isinstance(node, ast.Call) and name_call(node.func) == "WorkerEvent"
    }
    assert sent == WORKER_EVENTS.keys()


def test_nobody_logs_an_event_past_the_ring() -> None:
    """``note`` keeps it, for the verb ``events`` and the metrics, and logs it."""
    found = [
        str(module.place)
        for module in MODULES
        for node in ast.walk(module.parse())
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and re.match(r"event=[%\w]", node.value)
        and module.name != "blazeio_supervisor.log.setup"
    ]
    assert found == []
