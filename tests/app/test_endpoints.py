import functools
import inspect
from collections.abc import Callable
from typing import Any

import pytest

from blazeio.app.endpoints import (
    check_handler,
    decide_path,
    describe,
    find_endpoints,
    path_from_name,
)
from blazeio.errors import ConfigurationError


async def handler(r: Any) -> None:
    pass


async def with_route(r: Any, route: str = "/fp") -> None:
    pass


class Door:
    async def __call__(self, r: Any) -> None:
        pass


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("_api_ip", "/api/ip"),
        ("api_ip", "/api/ip"),
        ("_redirect", "/redirect"),
        ("_new_route", "/new/route"),
        ("hello", "/hello"),
        ("_", "/"),
    ],
)
def test_each_underscore_of_a_name_becomes_a_slash(name: str, path: str) -> None:
    assert path_from_name(name) == path


@pytest.mark.parametrize("name", ["__init__", "a__b", "_a_", "__"])
def test_a_name_with_an_empty_segment_makes_no_path(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"the name '{name}' makes no path"):
        path_from_name(name)


def test_the_name_says_the_path() -> None:
    assert decide_path(handler).text == "/handler"


def test_the_route_parameter_goes_before_the_name() -> None:
    assert decide_path(with_route).text == "/fp"


def test_the_given_path_goes_before_the_route_parameter() -> None:
    assert decide_path(with_route, "/given").text == "/given"


def test_a_route_parameter_without_default_is_no_path() -> None:
    async def named(r: Any, route: str) -> None: ...

    assert decide_path(named).text == "/named"


def test_a_handler_without_name_needs_a_path() -> None:
    with pytest.raises(ConfigurationError, match="has no name: give it a path"):
        decide_path(Door())
    assert decide_path(Door(), "/x").text == "/x"


@pytest.mark.parametrize("path", ["", "x", "/x?y", "/x#y", "/\n", "*"])
def test_a_path_that_no_request_has_is_refused(path: str) -> None:
    with pytest.raises(ConfigurationError, match="expected '/' and a path"):
        decide_path(handler, path)


def test_a_path_that_cannot_be_names_the_handler() -> None:
    with pytest.raises(ConfigurationError, match=r"handler \(.*two parameters of one"):
        decide_path(handler, "/{a}/{a}")


def test_a_function_is_described_with_its_place() -> None:
    line = inspect.getsourcelines(handler)[1]
    assert describe(handler) == f"{__name__}.handler ({__file__}:{line})"


def test_a_wrapped_function_is_described_by_what_it_wraps() -> None:
    @functools.wraps(handler)
    async def wrapper(r: Any) -> None: ...

    assert describe(wrapper) == describe(handler)
    assert describe(functools.partial(handler)) == describe(handler)


def test_an_object_is_described_by_its_representation() -> None:
    assert "Door object" in describe(Door())


@pytest.mark.parametrize(
    "good", [handler, with_route, Door(), functools.partial(with_route, route="/")]
)
def test_what_awaits_and_takes_r_is_a_handler(good: Callable[..., Any]) -> None:
    check_handler(good)


def test_a_plain_function_is_refused_by_name_and_place() -> None:
    def plain(r: Any) -> None: ...

    with pytest.raises(ConfigurationError) as raised:
        check_handler(plain)
    assert "plain (" in str(raised.value)
    assert f"{__file__}:" in str(raised.value)
    assert "must be defined with `async def`" in str(raised.value)


def test_a_generator_is_refused_with_the_remedy() -> None:
    async def streams(r: Any) -> Any:
        yield b""

    with pytest.raises(ConfigurationError, match=r"streams .* write to r instead"):
        check_handler(streams)


@pytest.mark.parametrize("name", ["none", "two"])
def test_a_handler_must_take_r_alone(name: str) -> None:
    async def none() -> None: ...
    async def two(r: Any, x: Any) -> None: ...

    handlers: dict[str, Callable[..., Any]] = {"none": none, "two": two}
    with pytest.raises(ConfigurationError, match="is called with r: "):
        check_handler(handlers[name])


def test_a_handler_may_take_the_parameters_of_its_path() -> None:
    async def two(r: Any, x: Any) -> None: ...

    check_handler(two, ("x", "y"))
    with pytest.raises(ConfigurationError, match="is called with r and by name y: "):
        check_handler(two, ("y",))


class Base:
    async def _inherited(self, r: Any) -> None: ...


class Site(Base):
    _table: Any = ()
    __slots__ = ()

    async def _api_ip(self, r: Any) -> None: ...
    async def before_middleware(self, anything: Any) -> None: ...
    async def public(self, r: Any, more: Any) -> None: ...
    def __mangled(self) -> None: ...

    async def _users(self, r: Any, n: int, route: str = "/users/{n:int}") -> None: ...

    @staticmethod
    async def _static(r: Any) -> None: ...

    @classmethod
    async def _of_class(cls, r: Any) -> None: ...

    @property
    def _never_read(self) -> None:
        raise AssertionError


def test_the_endpoints_of_an_instance_are_found_bound() -> None:
    site = Site()
    found = dict(find_endpoints(site))
    assert set(found) == {
        "_api_ip",
        "_inherited",
        "_of_class",
        "_static",
        "_users",
        "before_middleware",
    }
    assert found["_api_ip"] == site._api_ip


def test_a_plain_method_named_like_an_endpoint_is_refused_with_the_remedy() -> None:
    class Forgetful:
        def _load(self, r: Any) -> None: ...

    with pytest.raises(
        ConfigurationError, match="call it load or __load if it is none"
    ):
        list(find_endpoints(Forgetful()))


def test_a_plain_middleware_is_refused() -> None:
    class Forgetful:
        def before_middleware(self, r: Any) -> None: ...

    with pytest.raises(ConfigurationError, match=r"must be defined with `async def`$"):
        list(find_endpoints(Forgetful()))
