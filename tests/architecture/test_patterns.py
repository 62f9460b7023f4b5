"""No pattern has a possessive group: some Pythons get them wrong.

Before CPython 3.11.5 and 3.12.0, ``(?:ab?c)?+`` matches "a" in "a": what the
failed group had consumed stays consumed. Debian 12 has 3.11.2, where a parser
built on one accepts what it must reject. An atomic group says the same and is
right everywhere: ``(?>(?:ab?c)?)``. Of single characters, ``[a-z]*+`` is fine.
"""

import importlib
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.tree import iterate_modules

PARSER: Any = importlib.import_module("re._parser")
SIMPLE = {"LITERAL", "NOT_LITERAL", "IN", "ANY"}


def iterate_patterns() -> Iterator[tuple[str, re.Pattern[Any]]]:
    for module in iterate_modules():
        for name, value in vars(importlib.import_module(module.name)).items():
            if isinstance(value, re.Pattern):
                yield f"{module.name}.{name}", value


def iterate_repeats(node: Any) -> Iterator[Any]:
    """The repeated part of every possessive quantifier, at any depth."""
    if isinstance(node, PARSER.SubPattern):
        node = node.data
    if isinstance(node, tuple | list):
        if len(node) == 2 and str(node[0]) == "POSSESSIVE_REPEAT":
            yield node[1][2]
        for child in node:
            yield from iterate_repeats(child)


def has_possessive_group(pattern: str | bytes, flags: int = 0) -> bool:
    return any(
        len(repeated) != 1 or str(repeated[0][0]) not in SIMPLE
        for repeated in iterate_repeats(PARSER.parse(pattern, flags))
    )


def test_no_pattern_has_a_possessive_group() -> None:
    patterns = dict(iterate_patterns())
    assert len(patterns) > 60
    assert [
        name
        for name, each in patterns.items()
        if has_possessive_group(each.pattern, each.flags & re.VERBOSE)
    ] == []


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (r"(?:ab)*+", True),
        (r"x(?:y|(z[a]++(?:b=c)?+))", True),
        (r"(?:a|bc)++", True),
        (rb"[ab]*+c{1,16}+.?+", False),
        (r"(?>(?:ab)*)", False),
        (r"(?:ab)*", False),
    ],
)
def test_a_possessive_group_is_found(pattern: str | bytes, expected: bool) -> None:
    assert has_possessive_group(pattern) is expected
