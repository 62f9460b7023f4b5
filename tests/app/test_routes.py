from typing import Any

import pytest

from blazeio.app.routes import MethodRoutes, RouteTable, make_terms
from blazeio.errors import ConfigurationError
from blazeio.protocol.terms import RouteTerms


async def one(r: Any) -> None: ...
async def two(r: Any, route: str = "/two") -> None: ...


@pytest.fixture
def table() -> RouteTable:
    return RouteTable()


def test_a_route_without_methods_serves_every_method(table: RouteTable) -> None:
    table.add(one, "/x", None)
    assert table.find("GET", "/x") is one
    assert table.find("BREW", "/x") is one


def test_a_route_without_methods_serves_those_that_others_name(
    table: RouteTable,
) -> None:
    table.add(one, "/before", None)
    table.add(two, "/y", "PUT")
    table.add(one, "/after", None)
    assert table.find("PUT", "/before") is one
    assert table.find("PUT", "/after") is one


def test_a_route_serves_only_the_methods_it_names(table: RouteTable) -> None:
    table.add(one, "/x", ["POST", "PUT"])
    assert table.find("POST", "/x") is one
    assert table.find("PUT", "/x") is one
    assert table.find("GET", "/x") is None
    assert table.find("post", "/x") is None


def test_the_methods_of_one_path_may_have_own_handlers(table: RouteTable) -> None:
    table.add(one, "/x", "GET")
    table.add(two, "/x", "POST")
    assert table.find("GET", "/x") is one
    assert table.find("POST", "/x") is two


def test_get_serves_head(table: RouteTable) -> None:
    table.add(one, "/x", "GET")
    assert table.find("HEAD", "/x") is one


@pytest.mark.parametrize("is_first", [True, False])
def test_an_own_head_goes_before_that_of_get(
    table: RouteTable, *, is_first: bool
) -> None:
    if is_first:
        table.add(two, "/x", "HEAD")
    table.add(one, "/x", "GET")
    if not is_first:
        table.add(two, "/x", "HEAD")
    assert table.find("HEAD", "/x") is two


def test_a_trailing_slash_is_another_path(table: RouteTable) -> None:
    table.add(one, "/x", None)
    assert table.find("GET", "/x/") is None


def test_what_is_not_there_is_none(table: RouteTable) -> None:
    assert table.find("GET", "/x") is None
    assert table.methods_of("/x") == []


def test_the_allowed_methods_are_sorted_and_know_head(table: RouteTable) -> None:
    table.add(one, "/x", "POST")
    table.add(two, "/x", "GET")
    assert table.methods_of("/x") == ["GET", "HEAD", "POST"]


def test_a_path_for_all_methods_names_none(table: RouteTable) -> None:
    table.add(one, "/x", None)
    assert table.methods_of("/x") == []


def test_methods_are_written_in_any_case(table: RouteTable) -> None:
    table.add(one, "/x", ["get"])
    assert table.find("GET", "/x") is one


@pytest.mark.parametrize("methods", [[], [""], ["GET POST"], ["é"], ["GET", "/x"]])
def test_what_is_no_method_is_refused(table: RouteTable, methods: list[str]) -> None:
    with pytest.raises(ConfigurationError, match="are no methods"):
        table.add(one, "/x", methods)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (None, None),
        (None, "GET"),
        ("GET", None),
        ("GET", "GET"),
        ("HEAD", "HEAD"),
        (["GET", "PUT"], ["POST", "PUT"]),
    ],
)
def test_two_handlers_of_one_method_collide(
    table: RouteTable, first: Any, second: Any
) -> None:
    table.add(one, "/x", first)
    with pytest.raises(ConfigurationError, match="collides with"):
        table.add(two, "/x", second)
    assert table.find("POST", "/x") is (one if first is None else None)


def test_a_collision_names_both_handlers_and_their_places(table: RouteTable) -> None:
    table.add(one, "/x", None)
    with pytest.raises(ConfigurationError) as raised:
        table.add(two, "/x", "GET")
    message = str(raised.value)
    assert message.startswith("route '/x' (GET): ")
    assert f"{__name__}.two ({__file__}:" in message
    assert f"{__name__}.one ({__file__}:" in message


def test_a_function_that_is_no_handler_is_refused(table: RouteTable) -> None:
    with pytest.raises(ConfigurationError, match="must be defined with `async def`"):
        table.add(lambda r: None, "/x", None)


def test_the_length_counts_paths(table: RouteTable) -> None:
    table.add(one, "/x", ["GET", "POST"])
    table.add(two, None, None)
    assert len(table) == 2
    assert repr(table) == "<RouteTable 2 paths>"


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


class TestTerms:
    """What holds for one route alone."""

    @pytest.fixture
    def table(self, table: RouteTable) -> RouteTable:
        table.add(one, "/all", None, RouteTerms(content_bytes=1))
        table.add(one, "/some", "GET", RouteTerms(content_bytes=2))
        table.add(one, "/some", "POST", RouteTerms(content_bytes=3))
        table.add(one, "/some", "PUT")
        table.add(one, "/plain", None)
        return table

    @pytest.mark.parametrize(
        ("method", "path", "size"),
        [
            ("POST", "/all", 1),
            ("ODD", "/all", 1),
            ("GET", "/some", 2),
            ("HEAD", "/some", 2),
            ("POST", "/some", 3),
            ("PUT", "/some", None),
            ("DELETE", "/some", None),
            ("POST", "/plain", None),
            ("POST", "/nowhere", None),
        ],
    )
    def test_are_found_by_method_and_path(
        self, table: RouteTable, method: str, path: str, size: int | None
    ) -> None:
        assert table.find_terms(method, path).content_bytes == size

    def test_are_written_at_the_decorator(self, table: RouteTable) -> None:
        MethodRoutes(table).post("/decorated", on_disconnect="finish")(one)
        assert table.find_terms("POST", "/decorated").on_disconnect == "finish"

    def test_that_do_not_exist_are_named(self) -> None:
        with pytest.raises(ConfigurationError, match="a route has no 'size'; known: c"):
            make_terms({"size": 3})
