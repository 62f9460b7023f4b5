import dataclasses
from typing import Any, TypedDict

import msgspec
import pytest

from blazeio.app.request import decode_json
from blazeio.errors import Abort


class Item(msgspec.Struct):
    name: str
    price: float = 0.0


class Order(msgspec.Struct):
    items: list[Item]


@dataclasses.dataclass
class Point:
    x: int
    y: int = 0

    def __post_init__(self) -> None:
        if self.x < 0:
            raise ValueError("x is negative")


class Named(TypedDict):
    name: str


@pytest.mark.parametrize(
    ("content", "expected", "value"),
    [
        (b'{"a":[1]}', None, {"a": [1]}),
        (b'{"name":"a"}', Item, Item("a")),
        (b'{"items":[{"name":"a","price":2}]}', Order, Order([Item("a", 2.0)])),
        (b'{"x":1}', Point, Point(1)),
        (b'{"name":"a"}', Named, {"name": "a"}),
        (b"[1,2]", list[int], [1, 2]),
        (b"null", int | None, None),
    ],
)
def test_json_is_a_value_of_the_type(content: bytes, expected: Any, value: Any) -> None:
    assert decode_json(content, expected) == value


@pytest.mark.parametrize(
    ("content", "expected", "reason"),
    [
        (b'{"x":"1"}', Point, "Expected `int`, got `str` - at `$.x`"),
        (b"{}", Point, "Object missing required field `x`"),
        (b'{"x":-1}', Point, "x is negative"),
        (
            b'{"items":[{"name":"a"},{"name":1}]}',
            Order,
            "Expected `str`, got `int` - at `$.items[1].name`",
        ),
        (b"[]", Item, "Expected `object`, got `array`"),
    ],
)
def test_what_is_not_of_the_type_is_422_and_says_where(
    content: bytes, expected: Any, reason: str
) -> None:
    with pytest.raises(Abort) as caught:
        decode_json(content, expected)
    assert caught.value.status == 422
    assert caught.value.message == f"The content is not what is expected here: {reason}"


@pytest.mark.parametrize("expected", [None, Item])
@pytest.mark.parametrize("content", [b"", b"{", b"nonsense"])
def test_what_is_no_json_is_400(content: bytes, expected: Any) -> None:
    with pytest.raises(Abort) as caught:
        decode_json(content, expected)
    assert caught.value.status == 400


def test_a_type_that_cannot_be_is_the_callers_mistake() -> None:
    with pytest.raises(TypeError):
        decode_json(b"1", 5)


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"a":' * 100_000])
@pytest.mark.parametrize("expected", [None, list[Any], dict[str, Any]])
def test_what_is_nested_too_deeply_is_a_400_or_422(
    content: bytes, expected: Any
) -> None:
    with pytest.raises(Abort) as caught:
        decode_json(content, expected)
    assert caught.value.status in (400, 422)
