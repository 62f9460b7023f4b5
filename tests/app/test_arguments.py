import functools
import uuid
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from blazeio.app.endpoints import parse_pattern
from blazeio.app.route import bind_arguments
from blazeio.errors import ConfigurationError

PATTERN = parse_pattern("/{name}/{number:int}")


async def takes_none(r: Any) -> Any:
    return r.path_params


async def takes_all(r: Any, name: str, number: int) -> Any:
    return name, number


async def takes_one(r: Any, *, number: int, more: int = 3) -> Any:
    return number, more


async def takes_whatever(r: Any, **values: Any) -> Any:
    return values


async def has_route(r: Any, number: "int", route: str = "/{name}/{number:int}") -> Any:
    return number, route


async def calls_it_name(name: Any, number: int) -> Any:
    return name.path_params["name"], number


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        (takes_none, {"name": "ada", "number": 7}),
        (takes_all, ("ada", 7)),
        (takes_one, (7, 3)),
        (takes_whatever, {"name": "ada", "number": 7}),
        (has_route, (7, "/{name}/{number:int}")),
        (calls_it_name, ("ada", 7)),
        (functools.partial(takes_all, name="bob"), ("ada", 7)),
    ],
)
async def test_a_handler_gets_what_it_takes_by_name(
    handler: Callable[..., Any], expected: Any
) -> None:
    r: Any = SimpleNamespace(path_params={"name": "ada", "number": 7})
    assert await bind_arguments(handler, PATTERN)(r) == expected


def test_a_handler_that_takes_none_stays_what_it_is() -> None:
    assert bind_arguments(takes_none, PATTERN) is takes_none
    assert bind_arguments(takes_whatever, parse_pattern("/x")) is takes_whatever


def test_what_the_path_does_not_have_is_refused_by_name() -> None:
    async def ident(r: Any, ident: int) -> None: ...

    with pytest.raises(ConfigurationError, match=r"by name name, number: .* 'ident'"):
        bind_arguments(ident, PATTERN)


@pytest.mark.parametrize(
    ("said", "hint"),
    [(float, "float"), ("str", "str"), (uuid.UUID, "uuid"), ("UUID", "uuid")],
)
def test_another_type_than_that_of_the_path_is_refused(said: Any, hint: str) -> None:
    async def user(r: Any, number: Any) -> None: ...

    user.__annotations__["number"] = said
    with pytest.raises(ConfigurationError, match=rf"write \{{number:{hint}\}}$"):
        bind_arguments(user, PATTERN)


def test_a_type_of_the_users_own_is_left_alone() -> None:
    async def user(r: Any, number: "int | None" = None) -> None: ...

    bind_arguments(user, PATTERN)
