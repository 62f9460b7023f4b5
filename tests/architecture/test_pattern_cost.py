"""No pattern of the product takes more than linear time, whatever it is given.

Every pattern is read from the source: each call of ``re``, wherever it stands,
with its pattern as the module that holds it would make it. It is tried in the
ways in which it is used there: a ``search`` begins anew at each octet, a
``fullmatch`` only once.
"""

import ast
import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest

from tests.support.pumping import find_attack, find_tokens
from tests.support.tree import Module, iterate_modules

WITH_PATTERN = {
    *("compile", "match", "fullmatch", "search", "sub", "subn"),
    *("split", "findall", "finditer"),
}
METHODS = WITH_PATTERN - {"compile"}
WHOLE = {"match", "fullmatch"}


@dataclass
class Found:
    """A pattern, where it is written, and how it is used."""

    place: str
    pattern: re.Pattern[Any]
    methods: set[str] = field(default_factory=set)


def is_of_re(node: ast.AST) -> bool:
    return isinstance(node, ast.Name) and node.id == "re"


def find_calls(tree: ast.Module) -> Iterator[tuple[ast.Call, str]]:
    """Calls of ``re`` that take a pattern, and the name of the function."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            name = node.func.attr
            if is_of_re(node.func.value) and name in WITH_PATTERN:
                yield node, name


def resolve(module: Module, node: ast.expr, namespace: dict[str, Any]) -> Any:
    try:
        code = compile(ast.Expression(node), str(module.path), "eval")
        return eval(code, namespace)
    except NameError as error:
        message = (
            f"{module.place}:{node.lineno}: a pattern that is not a constant: {error}"
        )
        raise AssertionError(message) from error


def read_call(
    module: Module, call: ast.Call, name: str, namespace: dict[str, Any]
) -> re.Pattern[Any]:
    """The pattern of a call, with its flags."""
    flags = [each.value for each in call.keywords if each.arg == "flags"]
    if name == "compile":
        flags += call.args[1:2]
    flag = resolve(module, flags[0], namespace) if flags else 0
    return re.compile(resolve(module, call.args[0], namespace), flag)


def find_patterns() -> dict[str, Found]:
    found: dict[str, Found] = {}
    trees = []
    for module in iterate_modules():
        tree = module.parse()
        calls = list(find_calls(tree))
        namespace = vars(importlib.import_module(module.name))
        trees.append((tree, namespace))
        for call, name in calls:
            pattern = read_call(module, call, name, namespace)
            place = f"{module.place}:{call.lineno}:{call.col_offset}"
            found[place] = Found(place, pattern)
            if name != "compile":
                found[place].methods.add(name)
    note_uses(found, trees)
    return found


def note_uses(
    found: dict[str, Found], trees: list[tuple[ast.Module, dict[str, Any]]]
) -> None:
    """Note by which methods each pattern is used, as far as it has a name."""
    by_pattern: dict[re.Pattern[Any], set[str]] = {}
    for tree, namespace in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and node.attr in METHODS:
                value = node.value
                named = namespace.get(value.id) if isinstance(value, ast.Name) else None
                if isinstance(named, re.Pattern):
                    by_pattern.setdefault(named, set()).add(node.attr)
    for each in found.values():
        each.methods |= by_pattern.get(each.pattern, set())
        each.methods = each.methods or WHOLE  # one of several, in a loop


def run(pattern: re.Pattern[Any], method: str, text: str) -> object:
    """Use the pattern in one of the ways in which it is used."""
    subject: Any = text
    if isinstance(pattern.pattern, bytes):
        subject = text.encode("latin-1", "replace")
    if method in ("sub", "subn"):
        return pattern.sub(subject[:0], subject)
    if method in ("findall", "finditer", "split"):
        return pattern.findall(subject)
    return getattr(pattern, method)(subject)


def find_slow_use(found: Found) -> str | None:
    """The method and a text for which a pattern takes more than linear time."""
    tokens = find_tokens(found.pattern)
    # findall, sub and split go on as search does, from each octet
    methods = {each if each in WHOLE else "search" for each in found.methods}
    if found.methods - WHOLE - {"search"}:
        methods.add("sub")
    for method in sorted(methods):
        attack = find_attack(partial(run, found.pattern, method), tokens)
        if attack is not None:
            return f"{found.place}: {method}: slow for {attack!r}"
    return None


@pytest.mark.slow
@pytest.mark.long
def test_each_pattern_takes_linear_time() -> None:
    """One test: finding them takes as long as trying them."""
    patterns = find_patterns()
    assert len(patterns) > 60
    assert [slow for each in patterns.values() if (slow := find_slow_use(each))] == []


def test_patterns_come_from_re_alone() -> None:
    otherwise = re.compile(
        r"^\s*(?:from (?:re|regex) import|import (?:re as|regex))\b", re.MULTILINE
    )
    assert not [
        module.place
        for module in iterate_modules()
        if otherwise.search(module.path.read_text())
    ]


@pytest.mark.parametrize(
    ("pattern", "method"),
    [
        (r'"[^"\\]*+"|"(?>(?:[^"\\]|\\.)*)"', "sub"),
        (r"(a+)+$", "match"),
        (r"[0-9]+x", "search"),
        (r"\s*=\s*\s*y", "fullmatch"),
        (r"(?:[a-z]*[a-z0-9])*!", "fullmatch"),
        (r"x[a-z]*[a-z0-9]*!", "fullmatch"),
        (r"\s+$", "search"),
    ],
)
def test_a_slow_pattern_is_found(pattern: str | bytes, method: str) -> None:
    compiled: re.Pattern[Any] = re.compile(pattern)
    tokens = find_tokens(compiled)
    assert find_attack(partial(run, compiled, method), tokens) is not None
