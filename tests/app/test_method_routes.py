from typing import Any

import pytest

from blazeio.app.router import MethodRoutes, RouteTable


async def one(r: Any) -> None: ...
async def two(r: Any, route: str = "/two") -> None: ...


@pytest.fixture
def table() -> RouteTable:
    return RouteTable()


@pytest.mark.parametrize("name", MethodRoutes.__slots__)
def test_each_method_has_its_decorator(table: RouteTable, name: str) -> None:
    decorator = getattr(MethodRoutes(table), name)
    assert decorator("/x")(one) is one
    assert table.find(name.upper(), "/x") is one
    assert table.find("TRACE", "/x") is None


def test_a_decorator_without_path_takes_that_of_the_handler(table: RouteTable) -> None:
    route = MethodRoutes(table)
    assert route.get(two) is two
    route.post()(one)
    assert table.find("GET", "/two") is two
    assert table.find("POST", "/one") is one


def test_terms_are_written_at_the_decorator(table: RouteTable) -> None:
    MethodRoutes(table).post("/decorated", on_disconnect="finish")(one)
    assert table.find_options("POST", "/decorated").on_disconnect == "finish"


def test_a_path_may_have_parameters(table: RouteTable) -> None:
    MethodRoutes(table).delete("/users/{id:int}")(one)
    assert table.find("DELETE", "/users/7") is one
    assert table.find("GET", "/users/7") is None
