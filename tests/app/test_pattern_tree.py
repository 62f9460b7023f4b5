import itertools
from typing import Any

import pytest

from blazeio.app.endpoints import parse_pattern
from blazeio.app.route import PatternTree

SHAPES = [
    "/a/{x}/c",
    "/a/{x:int}/c",
    "/a/{x:float}/c",
    "/a/{x:path}",
    "/{x}/b/c",
    "/{x}/{y}/{z}",
    "/{x:path}",
]


def found(tree: PatternTree, path: str) -> list[tuple[Any, tuple[Any, ...]]]:
    return [(next(iter(each)), values) for each, values in tree.search(path)]


def make_tree(*shapes: str) -> PatternTree:
    tree = PatternTree()
    for shape in shapes:
        tree.place_of(parse_pattern(shape))[shape] = shape  # type: ignore[assignment]
    return tree


def test_nothing_is_found_in_an_empty_tree() -> None:
    assert list(PatternTree().search("/")) == []


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (
            "/a/7/c",
            [
                ("/a/{x:int}/c", (7,)),
                ("/a/{x:float}/c", (7.0,)),
                ("/a/{x}/c", ("7",)),
                ("/a/{x:path}", ("7/c",)),
                ("/{x}/{y}/{z}", ("a", "7", "c")),
                ("/{x:path}", ("a/7/c",)),
            ],
        ),
        (
            "/a/b/c",
            [
                ("/a/{x}/c", ("b",)),
                ("/a/{x:path}", ("b/c",)),
                ("/{x}/b/c", ("a",)),
                ("/{x}/{y}/{z}", ("a", "b", "c")),
                ("/{x:path}", ("a/b/c",)),
            ],
        ),
        ("/a/", [("/a/{x:path}", ("",)), ("/{x:path}", ("a/",))]),
        ("/a", [("/{x:path}", ("a",))]),
        ("/", [("/{x:path}", ("",))]),
        ("", []),
    ],
)
def test_the_more_particular_goes_first_in_whatever_order_they_were_added(
    path: str, expected: list[Any]
) -> None:
    for shapes in itertools.islice(itertools.permutations(SHAPES), 0, None, 211):
        assert found(make_tree(*shapes), path) == expected


def test_the_same_shape_has_one_place() -> None:
    tree = PatternTree()
    first = tree.place_of(parse_pattern("/{a}/x/{b:int}"))
    assert tree.place_of(parse_pattern("/{c}/x/{d:int}")) is first
    assert tree.place_of(parse_pattern("/{c}/x/{d}")) is not first


def test_a_long_path_is_not_searched_deeper_than_the_tree() -> None:
    tree = make_tree("/{a}/{b}/{c}")
    assert found(tree, "/x" * 100_000) == []
