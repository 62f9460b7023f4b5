from typing import Any

import pytest

from blazeio.app.dispatch import Middlewares
from blazeio.app.endpoints import parse_prefix
from blazeio.app.route import Scope
from blazeio.app.router import RouteTable
from blazeio.errors import ConfigurationError
from blazeio.protocol.options import RouteOptions


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
    assert table.methods_of("/x") == ["GET", "HEAD", "OPTIONS", "POST"]


def test_a_path_for_all_methods_names_none(table: RouteTable) -> None:
    table.add(one, "/x", None)
    assert table.methods_of("/x") == []


def test_methods_are_written_in_any_case(table: RouteTable) -> None:
    table.add(one, "/x", ["get"])
    assert table.find("GET", "/x") is one


@pytest.mark.parametrize("methods", [[], [""], ["GET POST"], ["é"], ["GET", "/x"]])
def test_what_is_no_method_is_refused(table: RouteTable, methods: list[str]) -> None:
    with pytest.raises(ConfigurationError, match="are not methods"):
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


class TestTerms:
    """What holds for one route alone."""

    @pytest.fixture
    def table(self, table: RouteTable) -> RouteTable:
        table.add(one, "/all", None, RouteOptions(content_bytes=1))
        table.add(one, "/some", "GET", RouteOptions(content_bytes=2))
        table.add(one, "/some", "POST", RouteOptions(content_bytes=3))
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
        assert table.find_options(method, path).content_bytes == size

    def test_hold_for_parameters_too(self, table: RouteTable) -> None:
        table.add(one, "/users/{id:int}", "PUT", RouteOptions(content_bytes=4))
        table.add(one, "/files/{rest:path}", None, RouteOptions(content_bytes=5))
        assert table.find_options("PUT", "/users/7").content_bytes == 4
        assert table.find_options("PUT", "/users/x").content_bytes is None
        assert table.find_options("PUT", "/files/a/b").content_bytes == 5

    def test_hold_where_the_table_is_mounted(self, table: RouteTable) -> None:
        outer = RouteTable()
        outer.mount(scope("/api"), table)
        assert outer.find_options("POST", "/api/some").content_bytes == 3


# Parameters


def params_of(table: RouteTable, path: str, method: str = "GET") -> Any:
    found = table.match(method, path)
    return found and (found[0].handler, found[1])


def test_a_parameter_takes_one_segment(table: RouteTable) -> None:
    table.add(one, "/users/{name}", None)
    assert params_of(table, "/users/ada") == (one, {"name": "ada"})
    assert params_of(table, "/users/") is None
    assert params_of(table, "/users/ada/") is None
    assert params_of(table, "/users/a/b") is None


def test_a_value_that_cannot_be_has_no_route(table: RouteTable) -> None:
    table.add(one, "/users/{id:int}", None)
    assert params_of(table, "/users/7") == (one, {"id": 7})
    assert params_of(table, "/users/seven") is None
    assert table.methods_of("/users/seven") == []


def test_an_exact_route_goes_before_parameters(table: RouteTable) -> None:
    table.add(one, "/users/{name}", "GET")
    table.add(two, "/users/me", "GET")
    assert params_of(table, "/users/me") == (two, {})
    assert table.find("GET", "/users/me") is two


def test_a_method_that_the_particular_route_lacks_is_served_by_another(
    table: RouteTable,
) -> None:
    table.add(one, "/users/{name}", "PUT")
    table.add(two, "/users/me", "GET")
    assert params_of(table, "/users/me", "PUT") == (one, {"name": "me"})
    assert table.methods_of("/users/me") == ["GET", "HEAD", "OPTIONS", "PUT"]


def test_the_names_of_parameters_are_those_of_the_method(table: RouteTable) -> None:
    table.add(one, "/users/{id}", "GET")
    table.add(two, "/users/{user}", "PUT")
    assert params_of(table, "/users/7", "HEAD") == (one, {"id": "7"})
    assert params_of(table, "/users/7", "PUT") == (two, {"user": "7"})


def test_routes_that_differ_only_in_names_collide(table: RouteTable) -> None:
    table.add(one, "/users/{id}", "GET")
    with pytest.raises(ConfigurationError) as raised:
        table.add(two, "/users/{user}", None)
    message = str(raised.value)
    assert message.startswith("route '/users/{user}' (any method): ")
    assert f"{__name__}.two ({__file__}:" in message
    assert message.endswith("(GET '/users/{id}')")


def test_routes_that_differ_in_kind_do_not_collide(table: RouteTable) -> None:
    table.add(one, "/users/{id}", "GET")
    table.add(two, "/users/{id:int}", "GET")
    assert params_of(table, "/users/7") == (two, {"id": 7})
    assert params_of(table, "/users/x") == (one, {"id": "x"})


# Mounting


def scope(prefix: str) -> Scope:
    return Scope(parse_prefix(prefix), Middlewares())


def test_the_routes_of_a_mounted_table_are_below_its_prefix(table: RouteTable) -> None:
    inner = RouteTable()
    inner.add(one, "/x", "GET")
    inner.add(one, "/", "GET")
    inner.add(two, "/users/{id:int}", None)
    table.mount(scope("/api"), inner)
    assert table.find("HEAD", "/api/x") is one
    assert table.find("GET", "/api/") is one
    assert table.find("GET", "/api") is None
    assert table.find("GET", "/x") is None
    assert params_of(table, "/api/users/7") == (two, {"id": 7})


def test_routes_added_later_are_mounted_too_however_deep(table: RouteTable) -> None:
    middle, inner = RouteTable(), RouteTable()
    table.mount(scope("/a"), middle)
    middle.mount(scope("/b"), inner)
    inner.add(one, "/x", None)
    assert table.find("GET", "/a/b/x") is one
    assert [each[-1].prefix.text for each in table.scopes] == ["/a", "/a/b"]


def test_a_table_may_be_mounted_twice(table: RouteTable) -> None:
    inner = RouteTable()
    inner.add(one, "/x", None)
    table.mount(scope("/a"), inner)
    table.mount(scope("/b"), inner)
    assert table.find("GET", "/a/x") is table.find("GET", "/b/x") is one


def test_the_prefix_may_have_parameters(table: RouteTable) -> None:
    inner = RouteTable()
    inner.add(one, "/users/{id:int}", None)
    table.mount(scope("/{tenant}"), inner)
    found = params_of(table, "/acme/users/7")
    assert found == (one, {"tenant": "acme", "id": 7})


@pytest.mark.parametrize("is_first", [True, False])
def test_a_mounted_route_that_collides_names_both(
    table: RouteTable, *, is_first: bool
) -> None:
    inner = RouteTable()
    table.add(one, "/api/x", None)
    if is_first:
        inner.add(two, "/x", "GET")
        with pytest.raises(ConfigurationError, match=r"two .* collides with .*one "):
            table.mount(scope("/api"), inner)
    else:
        table.mount(scope("/api"), inner)
        with pytest.raises(ConfigurationError, match=r"two .* collides with .*one "):
            inner.add(two, "/x", "GET")


@pytest.mark.parametrize(
    ("path", "method", "found"),
    [
        ("/api/users", "GET", (two, {"x": "users"})),
        ("/api/7", "GET", (one, {"n": 7})),
        ("/api/own/7", "GET", (one, {"id": "7"})),
        ("/api/users/7", "GET", None),
        ("/apix/users", "GET", (one, {"a": "apix", "b": "users"})),
        ("/api", "GET", None),
        ("/else", "GET", (one, {"rest": "else"})),
    ],
)
def test_what_is_wider_than_a_prefix_takes_nothing_below_it(
    table: RouteTable, path: str, method: str, found: Any
) -> None:
    inner = RouteTable()
    inner.add(two, "/{x}", "GET")
    table.add(one, "/{rest:path}", "GET")
    table.add(one, "/{a}/{b}", "GET")
    table.add(one, "/api/{n:int}", "GET")
    table.add(one, "/api/own/{id}", "GET")
    table.mount(scope("/api"), inner)
    assert params_of(table, path, method) == found
    assert bool(table.methods_of(path)) is (found is not None)


def test_a_literal_is_not_wider_than_a_prefix_with_parameters(
    table: RouteTable,
) -> None:
    table.add(one, "/acme/{x}", "GET")
    table.add(one, "/{x:path}", "GET")
    table.mount(scope("/{tenant}"), RouteTable())
    assert params_of(table, "/acme/7") == (one, {"x": "7"})
    assert params_of(table, "/other/7") is None


def test_a_table_is_not_mounted_in_itself(table: RouteTable) -> None:
    inner = RouteTable()
    table.mount(scope("/a"), inner)
    for outer, other in ((table, table), (inner, table)):
        with pytest.raises(ConfigurationError, match="mount '/b': within itself"):
            outer.mount(scope("/b"), other)


def test_a_seal_encloses_what_was_mounted_now_and_later(table: RouteTable) -> None:
    inner = RouteTable()
    inner.add(one, "/before", "GET")
    table.add(one, "/own", "GET")
    table.mount(scope("/api"), inner)
    table.seal(lambda route: two)
    inner.add(one, "/later", None)
    assert table.find("GET", "/own") is one
    assert table.find("HEAD", "/api/before") is two
    assert table.by_method["GET"]["/api/before"] is two
    assert table.any_method["/api/later"] is two
    assert inner.find("GET", "/later") is one


def test_the_methods_of_all_are_those_that_some_route_serves(table: RouteTable) -> None:
    table.add(one, "/a", "GET")
    table.add(one, "/{b}", ["PURGE"])
    assert table.methods_of_all() == ["GET", "HEAD", "OPTIONS", "PURGE"]
    table.add(one, "/c", None)
    assert " ".join(table.methods_of_all()) == (
        "DELETE GET HEAD OPTIONS PATCH POST PURGE PUT"
    )
