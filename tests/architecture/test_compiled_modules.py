"""What mypyc compiles otherwise than Python runs it does not stand in ``wire``.

Each rule is here because its breach was compiled without a word, and then failed. All
else that differs is found by the tests that run against a compiled wheel
(``tests/test_compiled_wheel.py``); these need no compiler.
"""

import ast
import importlib.util
import re
from collections.abc import Iterator
from types import ModuleType

from tests.support.tree import REPOSITORY, Module, iterate_modules

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
RECORDS = {"FrozenRecord", "SharedRecord"}

ORDERED = {
    "block[at:at + most_bytes]": "http2_frames: at and a size",
    "block[at:end]": "hpack: end is at and a length",
    "octets[at + len(mark):line_end]": "the line begins with its mark",
    "octets[at - 2:at]": "request: at is 2 at least",
    "octets[at:end]": "chunked: end is at and what remains",
    "octets[at:at + 2 - len(self._held)]": "chunked: one octet is held at most",
    "octets[at:line_end]": "chunked: searched from at on",
    "octets[line_end + 2:at]": "request: looked at before",
    "octets[start:at]": "http2_connection: at is start and a size",
    "octets[start:end]": "request: the end of a head is behind its start",
    "octets[start:line_end]": "request: searched from start on",
    "octets[start:target_end + 16]": "request: searched from start on",
    "octets[tlvs:end]": "proxy_protocol: refused where it is behind the end",
    "octets[_V2_FIXED_BYTES:tlvs]": "proxy_protocol: added to it",
    "block[size:2 * size]": "proxy_protocol: a size of addresses",
    "payload[1:end]": "http2_frames: refused below 1",
    "parts[1:-1]": "http2_frames: a list, there it is as in Python",
}
"""Slices of which it cannot be seen that their end is not before their beginning."""

ADDED = re.compile(r"( \+ (\d+|_?[A-Z_]+))*")
"""Nothing, numbers and constants, none of which is negative."""

ENDING = {"parse_head": "after the empty lines, which do not begin with one again"}
"""Functions that call themselves, and why that ends: compiled code has no limit."""


def load_hook() -> ModuleType:
    path = REPOSITORY / "deploy/compiled_wheel.py"
    spec = importlib.util.spec_from_file_location("compiled_wheel", path)
    assert spec is not None
    assert spec.loader is not None
    hook = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(hook)
    return hook


def iterate_compiled() -> Iterator[Module]:
    pure = load_hook().PURE_MODULES
    for each in iterate_modules():
        if (
            each.place.parent.as_posix() == "blazeio/wire"
            and each.path.stem not in pure
        ):
            yield each


def walk_functions() -> Iterator[tuple[Module, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for module in iterate_compiled():
        for node in ast.walk(module.parse()):
            if isinstance(node, FUNCTIONS):
                yield module, node


def test_what_is_never_compiled_is_there() -> None:
    stems = {path.stem for path in (REPOSITORY / "blazeio/wire").glob("*.py")}
    assert stems >= load_hook().PURE_MODULES
    assert len(list(iterate_compiled())) > 10


def test_no_class_has_keywords_that_would_be_left_out() -> None:
    wrong = [
        f"{module.place}: {node.name}"
        for module in iterate_compiled()
        for node in ast.walk(module.parse())
        if isinstance(node, ast.ClassDef)
        and node.keywords
        and not (
            [ast.unparse(each) for each in node.keywords] == ["frozen=True"]
            and {ast.unparse(base) for base in node.bases} <= RECORDS
        )
    ]
    assert wrong == []


def test_no_two_except_clauses_of_a_function_bind_the_same_name() -> None:
    wrong = []
    for module, function in walk_functions():
        names = [
            each.name
            for each in ast.walk(function)
            if isinstance(each, ast.ExceptHandler) and each.name
        ]
        if len(names) != len(set(names)):
            wrong.append(f"{module.place}: {function.name}")
    assert wrong == []


def test_no_slice_ends_before_it_begins() -> None:
    """For octets that is a SystemError, where Python has none of them."""
    unknown, seen = [], set()
    for module in iterate_compiled():
        for node in ast.walk(module.parse()):
            if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Slice):
                text = ast.unparse(node)
                if text in ORDERED:
                    seen.add(text)
                elif not is_ordered(node.slice):
                    unknown.append(f"{module.place}:{node.lineno}: {text}")
    assert unknown == []
    assert seen == set(ORDERED)


def is_ordered(of: ast.Slice) -> bool:
    lower, upper = of.lower, of.upper
    if lower is None or upper is None:
        return True
    first, last = ast.unparse(lower), ast.unparse(upper)
    if first.isdecimal() and last.isdecimal():
        return int(first) <= int(last)
    base, _, number = first.rpartition(" + ")
    if number.isdecimal() and last.startswith(f"{base} + "):  # at + 1 : at + 3
        larger = last.removeprefix(f"{base} + ")
        return larger.isdecimal() and int(number) <= int(larger)
    return ADDED.fullmatch(last.removeprefix(first)) is not None


def test_what_calls_itself_is_known_to_end() -> None:
    calling: dict[str, set[str]] = {}
    for _, function in walk_functions():
        calls = (each for each in ast.walk(function) if isinstance(each, ast.Call))
        calling.setdefault(function.name, set()).update(
            name for each in calls if (name := name_of(each.func))
        )
    recursive = {name for name in calling if name in reach(calling, name)}
    assert recursive == set(ENDING)


def name_of(called: ast.expr) -> str | None:
    """Of a function of a module, or of a method of the same object."""
    if isinstance(called, ast.Name):
        return called.id
    if isinstance(called, ast.Attribute) and ast.unparse(called.value) == "self":
        return called.attr
    return None


def reach(calling: dict[str, set[str]], start: str) -> set[str]:
    found: set[str] = set()
    ahead = set(calling[start])
    while ahead:
        name = ahead.pop()
        found.add(name)
        ahead |= calling.get(name, set()) - found
    return found
