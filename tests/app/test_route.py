from typing import Any

import pytest

from blazeio.app.dispatch import Middlewares
from blazeio.app.endpoints import parse_pattern, parse_prefix
from blazeio.app.route import (
    ANY,
    Route,
    Scope,
    bind_arguments,
    check_methods,
    make_route_options,
    pick,
)
from blazeio.errors import ConfigurationError
from blazeio.protocol.options import DEFAULT_OPTIONS, RouteOptions


async def handler(r: Any) -> None: ...


def make_route(path: str = "/x", *methods: str) -> Route:
    pattern = parse_pattern(path)
    return Route(pattern, methods, handler, bind_arguments(handler, pattern))


def test_the_route_of_the_method_is_picked() -> None:
    get, post, every = make_route(), make_route(), make_route()
    assert pick({"GET": get, "POST": post}, "POST") is post
    assert pick({"GET": get}, "HEAD") is get
    assert pick({"GET": get, "HEAD": post}, "HEAD") is post
    assert pick({ANY: every}, "ODD") is every
    assert pick({"GET": get}, "POST") is None


def test_methods_are_in_capitals_and_once() -> None:
    assert check_methods(["get", "GET", "put"], "/x") == ("GET", "PUT")
    assert check_methods("get", "/x") == ("GET",)
    assert check_methods(None, "/x") == (ANY,)


def test_a_route_under_a_scope_is_below_its_prefix_with_all_else() -> None:
    route = make_route("/x/{a}", "GET")
    route.options = RouteOptions(content_bytes=1)
    inner = Scope(parse_prefix("/inner"), Middlewares())
    outer = Scope(parse_prefix("/outer"), Middlewares())
    below = route.under(inner).under(outer)
    assert below.pattern.text == "/outer/inner/x/{a}"
    assert [each.prefix.text for each in below.scopes] == ["/outer", "/outer/inner"]
    assert (below.methods, below.options) == (("GET",), route.options)


def test_terms_that_do_not_exist_are_named() -> None:
    assert make_route_options({}) is DEFAULT_OPTIONS
    assert make_route_options({"content_bytes": 3}) == RouteOptions(content_bytes=3)
    message = "a route has no term named 'size'; known: content_bytes, "
    with pytest.raises(ConfigurationError, match=message):
        make_route_options({"size": 3})
