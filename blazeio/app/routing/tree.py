"""Routes with parameters, found by segment: the more particular one first.

At each segment a literal goes before a parameter, and a parameter of a
narrower kind before one of a wider: int, uuid, float, str, path. So the order
in which routes were added means nothing. A search visits each node at most
once, and no node is deeper than the longest route: what a client sends cannot
make it long.

May import: blazeio.app.routing. Pure.
"""

from typing import Any

from blazeio.app.routing.converters import REST, Converter
from blazeio.app.routing.patterns import Parameter, Pattern
from blazeio.app.routing.route import ByMethod

Found = list[tuple[ByMethod, tuple[Any, ...]]]


class Node:
    """What may stand behind a part of a path.

    Attributes:
        literals: Where a segment leads that is written so.
        parameters: Where one leads that is a value; the narrowest kind first.
        here: Routes that end here.
        rest: Routes that take all that follows.
    """

    __slots__ = ("here", "literals", "parameters", "rest")

    def __init__(self) -> None:
        self.literals: dict[str, Node] = {}
        self.parameters: list[tuple[Converter, Node]] = []
        self.here: ByMethod = {}
        self.rest: ByMethod = {}


class PatternTree:
    """Routes by the shape of their paths: the names of parameters tell none apart."""

    __slots__ = ("_root", "is_empty")

    def __init__(self) -> None:
        self._root = Node()
        self.is_empty = True

    def place_of(self, pattern: Pattern) -> ByMethod:
        """The routes of this shape, to look into and to add to."""
        self.is_empty = False
        node = self._root
        for part in pattern.segments:
            if isinstance(part, str):
                node = node.literals.setdefault(part, Node())
            elif part.converter is REST:
                return node.rest
            else:
                node = _step(node, part)
        return node.here

    def search(self, path: str) -> Found:
        """Give what has this path, with the values, the most particular first."""
        found: Found = []
        if not self.is_empty:
            _walk(self._root, path.split("/"), 1, (), found)
        return found


def _step(node: Node, part: Parameter) -> Node:
    for converter, child in node.parameters:
        if converter is part.converter:
            return child
    child = Node()
    node.parameters.append((part.converter, child))
    node.parameters.sort(key=lambda each: each[0].rank)
    return child


def _walk(
    node: Node, segments: list[str], at: int, values: tuple[Any, ...], found: Found
) -> None:
    # Hot: once per segment of a path with parameters. Into a list, since a
    # generator of generators costs twice as much.
    if at == len(segments):
        if node.here:
            found.append((node.here, values))
        return
    segment = segments[at]
    literal = node.literals.get(segment)
    if literal is not None:
        _walk(literal, segments, at + 1, values, found)
    for converter, child in node.parameters:
        value = converter.convert(segment)
        if value is not None:
            _walk(child, segments, at + 1, (*values, value), found)
    if node.rest:
        found.append((node.rest, (*values, "/".join(segments[at:]))))
