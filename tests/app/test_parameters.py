"""``get_params(type=)``: text becomes values, or a 422 that says what was wrong."""

import dataclasses
import datetime
import enum
from typing import Annotated, Any, Literal, TypedDict
from uuid import UUID

import msgspec
import pytest

from blazeio.app.request import Request, convert_params
from blazeio.content.forms import parse_urlencoded
from blazeio.errors import Abort
from blazeio.protocol.request import BlazeioServerProtocol
from tests.app.asking import URLENCODED, answer_of


class Order(enum.Enum):
    UP = "up"
    DOWN = "down"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Query(msgspec.Struct):
    limit: int = 10
    price: float = 0.0
    deep: bool = False
    order: Order = Order.UP
    level: Level = Level.LOW
    tags: list[str] = []
    ids: set[int] | None = None
    before: int | None = None
    unit: Literal["m", "ft"] = "m"
    day: datetime.date | None = None
    id: UUID | None = None
    page: Annotated[int, msgspec.Meta(ge=1, le=5)] = 1
    word: str = ""


class Strict(msgspec.Struct, forbid_unknown_fields=True, rename="camel"):
    max_age: int


@dataclasses.dataclass
class Point:
    x: int
    ys: list[float] = dataclasses.field(default_factory=list)


class Named(TypedDict):
    count: int


def convert(query: str, expected: Any = Query) -> Any:
    return convert_params(parse_urlencoded(query, 100), expected)


@pytest.mark.parametrize(
    ("query", "value"),
    [
        ("", Query()),
        ("limit=5&price=1.5", Query(limit=5, price=1.5)),
        ("limit=1&limit=2", Query(limit=2)),
        ("deep=true", Query(deep=True)),
        ("deep=1", Query(deep=True)),
        ("deep=on", Query(deep=True)),
        ("deep=FALSE", Query(deep=False)),
        ("deep=no", Query(deep=False)),
        ("order=down&level=2", Query(order=Order.DOWN, level=Level.HIGH)),
        ("tags=a", Query(tags=["a"])),
        ("tags=a&tags=b", Query(tags=["a", "b"])),
        ("tags=on", Query(tags=["on"])),
        ("ids=1&ids=2&ids=1", Query(ids={1, 2})),
        ("before=3", Query(before=3)),
        ("before=null", Query(before=None)),
        ("unit=ft&day=2024-02-29", Query(unit="ft", day=datetime.date(2024, 2, 29))),
        (f"id={UUID(int=1)}", Query(id=UUID(int=1))),
        ("word=nan&other=1", Query(word="nan")),
        ("word=on", Query(word="on")),
    ],
)
def test_text_becomes_values(query: str, value: Query) -> None:
    assert convert(query) == value


@pytest.mark.parametrize(
    ("query", "expected", "value"),
    [
        ("maxAge=3", Strict, Strict(3)),
        ("x=1&ys=2&ys=3", Point, Point(1, [2.0, 3.0])),
        ("count=1", Named, {"count": 1}),
        ("a=1&b=2&a=3", dict[str, int], {"a": 3, "b": 2}),
        ("a=1&b=2&a=3", dict[str, list[int]], {"a": [1, 3], "b": [2]}),
    ],
)
def test_of_many_kinds_of_types(query: str, expected: Any, value: Any) -> None:
    assert convert(query, expected) == value


@pytest.mark.parametrize(
    ("query", "expected", "told"),
    [
        ("limit=abc", Query, "The parameter 'limit': expected int, got 'abc'"),
        ("limit=", Query, "The parameter 'limit': expected int, got ''"),
        ("limit=1_0", Query, "The parameter 'limit': expected int, got '1_0'"),
        ("limit=1.5", Query, "The parameter 'limit': expected int, got '1.5'"),
        ("before=x", Query, "The parameter 'before': expected int | null, got 'x'"),
        ("deep=maybe", Query, "The parameter 'deep': expected bool, got 'maybe'"),
        (
            "price=nan",
            Query,
            "The parameter 'price': expected a finite float, got 'nan'",
        ),
        ("price=1e999", Query, "The parameter 'price': expected float, got '1e999'"),
        ("page=9", Query, "The parameter 'page': expected int <= 5, got '9'"),
        ("order=x", Query, "The parameter 'order': expected 'up' | 'down', got 'x'"),
        ("level=9", Query, "The parameter 'level': expected 1 | 2, got '9'"),
        ("unit=km", Query, "The parameter 'unit': expected 'ft' | 'm', got 'km'"),
        ("day=soon", Query, "The parameter 'day': expected date | null, got 'soon'"),
        ("id=1", Query, "The parameter 'id': expected uuid | null, got '1'"),
        ("ids=1&ids=x", Query, "The parameter 'ids': expected int, got 'x'"),
        ("", Strict, "The parameter 'maxAge' is missing, expected int"),
        ("", Point, "The parameter 'x' is missing, expected int"),
        ("", Named, "The parameter 'count' is missing, expected int"),
        ("maxAge=1&more=2", Strict, "There is no parameter 'more'"),
        ("x=1&ys=inf", Point, "The parameter 'ys': expected a finite float, got 'inf'"),
        ("a=1&b=z", dict[str, int], "The parameter 'b': expected int, got 'z'"),
        (
            "a=1&b=2&b=z",
            dict[str, list[int]],
            "The parameter 'b': expected int, got 'z'",
        ),
    ],
)
def test_what_does_not_fit_is_named(query: str, expected: Any, told: str) -> None:
    with pytest.raises(Abort) as caught:
        convert(query, expected)
    assert (caught.value.status, caught.value.message) == (422, told)


def test_a_long_value_is_told_in_part() -> None:
    with pytest.raises(Abort) as caught:
        convert("limit=" + "x" * 10_000)
    assert len(caught.value.message) < 200


async def ask_typed(r: BlazeioServerProtocol) -> Any:
    return await Request.get_params(r, type=Query)


async def ask_body(r: BlazeioServerProtocol) -> Any:
    return await Request.body_or_params(r, type=Strict)


async def test_a_handler_asks_for_typed_parameters() -> None:
    answer = await answer_of(ask_typed, target="/x?limit=7&tags=a%20b")
    assert '"limit":7' in answer.text
    assert '"tags":["a b"]' in answer.text
    answer = await answer_of(ask_typed, target="/x?limit=seven")
    assert answer.status == 422
    assert answer.text == "The parameter 'limit': expected int, got 'seven'"


@pytest.mark.parametrize(
    ("content", "headers", "target", "status"),
    [
        (b"maxAge=3", URLENCODED, "/x", 200),
        (b"maxAge=x", URLENCODED, "/x", 422),
        (b'{"maxAge":3}', {"Content-Type": "application/json"}, "/x", 200),
        (b'{"maxAge":"3"}', {"Content-Type": "application/json"}, "/x", 422),
        (None, None, "/x?maxAge=3", 200),
        (None, None, "/x", 422),
    ],
)
async def test_content_or_parameters_of_a_type(
    content: bytes | None, headers: dict[str, str] | None, target: str, status: int
) -> None:
    answer = await answer_of(ask_body, content, headers, target)
    assert answer.status == status
    if status == 200:
        assert answer.text == '{"maxAge":3}'
