import dataclasses
from typing import Any

import pytest

from blazeio.errors import ConfigurationError
from blazeio.protocol.options import (
    DEFAULT_OPTIONS,
    HeaderConfig,
    RouteOptions,
    RouteOptionValues,
    find_default_options,
)


def test_a_server_without_routes_has_the_usual_terms() -> None:
    assert find_default_options("GET", "/") is DEFAULT_OPTIONS
    assert (DEFAULT_OPTIONS.content_bytes, DEFAULT_OPTIONS.on_disconnect) == (
        None,
        "cancel",
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"content_bytes": -1}, "content_bytes=-1: expected a number of octets"),
        ({"content_bytes": "1M"}, "content_bytes='1M': expected"),
        ({"handler_timeout_s": 0}, "handler_timeout_s=0: expected seconds, more than"),
        ({"handler_timeout_s": "9"}, "handler_timeout_s='9': expected seconds"),
        ({"on_disconnect": "stay"}, "on_disconnect='stay': expected 'cancel' or"),
    ],
)
def test_what_cannot_be_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        RouteOptions(**options)


NOSNIFF = ("X-Content-Type-Options", "nosniff")


def test_by_default_the_server_names_itself() -> None:
    assert HeaderConfig().write_lines() == b"Server: blazeio\r\n"
    assert HeaderConfig(has_server=False).write_lines() == b""


def test_fields_are_said_by_each_response() -> None:
    lines = HeaderConfig(has_server=False, fields=(NOSNIFF,)).write_lines()
    assert lines == b"X-Content-Type-Options: nosniff\r\n"


def test_what_a_handler_gives_counts_instead() -> None:
    options = HeaderConfig(fields=(NOSNIFF, ("X-A", "1")))
    given = ("x-content-type-options", "server")
    assert options.write_lines(given) == b"X-A: 1\r\n"


def test_another_name_of_the_server_is_said_once() -> None:
    assert HeaderConfig(fields=(("server", "x"),)).write_lines() == b"server: x\r\n"


@pytest.mark.parametrize(
    ("name", "value"),
    [("Content-Length", "1"), ("date", "x"), ("a b", "c"), ("a", "b\r\nc: d")],
)
def test_what_cannot_be_set_for_all_is_refused(name: str, value: str) -> None:
    with pytest.raises(ConfigurationError):
        HeaderConfig(fields=((name, value),))


def test_terms_by_name_have_the_types_of_their_fields() -> None:
    typed = {each.name: each.type for each in dataclasses.fields(RouteOptions)}
    assert RouteOptionValues.__annotations__ == typed
