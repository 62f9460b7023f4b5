"""PEP 3333, "The start_response() Callable"."""

import sys
from typing import Any

import pytest

from blazeio.errors import LocalProtocolError
from blazeio.gateways.messages import StartResponse


def write(part: bytes) -> None: ...


def new() -> StartResponse:
    return StartResponse(write)


def test_it_declares_a_head_and_returns_write() -> None:
    response = new()
    assert response("404 Not Here", [("X-A", "\xe9")]) is write
    assert response.start is not None
    assert response.start.status == 404
    assert response.start.fields.lines == b"X-A: \xe9\r\n"


def test_twice_is_refused() -> None:
    response = new()
    response("200 OK", [])
    with pytest.raises(LocalProtocolError, match="twice"):
        response("200 OK", [])


def failed() -> Any:
    try:
        raise ValueError("of the app")
    except ValueError:
        return sys.exc_info()


def test_with_exc_info_it_replaces_the_head() -> None:
    response = new()
    response("200 OK", [("a", "1")])
    response("500 Oops", [("b", "2")], failed())
    assert response.start is not None
    assert response.start.status == 500
    assert response.start.fields.lines == b"b: 2\r\n"


def test_with_exc_info_after_the_head_has_left_it_raises_that() -> None:
    response = new()
    response("200 OK", [])
    response.has_left = True
    with pytest.raises(ValueError, match="of the app"):
        response("500 Oops", [], failed())


@pytest.mark.parametrize(
    "status", ["", "200", "99 Low", "100 Continue", "600 High", "20 OK", b"200 OK", 200]
)
def test_a_status_is_three_digits_from_200_to_599(status: Any) -> None:
    if status == "200":
        new()(status, [])
        return
    with pytest.raises(LocalProtocolError, match="200 to 599"):
        new()(status, [])


def test_a_status_cannot_write_a_field() -> None:
    with pytest.raises(LocalProtocolError):
        new()("200 OK\r\nX-A: 1", [])


@pytest.mark.parametrize(
    "headers",
    [
        (),
        None,
        {"a": "1"},
        ["a"],
        [("a",)],
        [("a", 1)],
        [(b"a", b"1")],
        [("a", "\u20ac")],
        [("a", "1\r\nb: 2")],
        [("a b", "1")],
        [("a", "1\x00")],
    ],
)
def test_malformed_headers_are_refused(headers: Any) -> None:
    with pytest.raises(LocalProtocolError):
        new()("200 OK", headers)
