import io
from typing import Any

import pytest

from blazeio.errors import LocalProtocolError
from blazeio.gateways import messages
from blazeio.gateways.messages import (
    HTTP_EXPECTED,
    HTTP_MESSAGES,
    WEBSOCKET_EXPECTED,
    WEBSOCKET_MESSAGES,
    Acceptance,
    FilePart,
    check_order,
    read_acceptance,
    read_body,
    read_close,
    read_data,
    read_file_part,
    read_path,
    read_start,
    read_trailers,
    write_early_hint,
)

START = "http.response.start"
BODY = "http.response.body"
EVERY = [
    (expected, known, state, kind)
    for expected, known in (
        (HTTP_EXPECTED, HTTP_MESSAGES),
        (WEBSOCKET_EXPECTED, WEBSOCKET_MESSAGES),
    )
    for state in expected
    for kind in known
]


@pytest.mark.parametrize(("expected", "known", "state", "kind"), EVERY)
def test_each_state_takes_its_messages_and_no_others(
    expected: dict[int, tuple[str, ...]], known: tuple[str, ...], state: int, kind: str
) -> None:
    message = {"type": kind}
    if kind in expected[state]:
        assert check_order(message, expected[state], known) == kind
    else:
        with pytest.raises(LocalProtocolError, match=kind):
            check_order(message, expected[state], known)


@pytest.mark.parametrize(
    "message", [{}, None, [], "http.response.start", {"type": "http.response.push"}]
)
def test_what_is_no_message_is_refused(message: Any) -> None:
    with pytest.raises(LocalProtocolError, match="message"):
        check_order(message, HTTP_EXPECTED[messages.START], HTTP_MESSAGES)


def test_a_start_has_status_fields_and_word_of_trailers() -> None:
    start = read_start({"type": START, "status": 201, "headers": [(b"a", b"1")]})
    assert (start.status, start.fields.lines, start.has_trailers) == (
        201,
        b"a: 1\r\n",
        False,
    )
    assert read_start({"type": START, "status": 200, "trailers": True}).has_trailers
    assert read_start({"type": START, "status": 200}).fields.lines == b""


def test_equal_starts_are_read_once() -> None:
    def read(status: Any, *values: bytes, trailers: bool = False) -> Any:
        headers = [(b"content-type", value) for value in values]
        message = {"type": START, "status": status, "headers": headers}
        return read_start({**message, "trailers": trailers})

    for _ in range(3):
        first = read(200, b"text/s")
    assert read(200, b"text/s") is first
    assert (first.status, first.has_trailers) == (200, False)
    assert first.fields.lines == b"content-type: text/s\r\n"
    assert read(404, b"text/s").status == 404
    assert read(200, b"text/s").status == 200
    assert read(200, b"text/s", trailers=True).has_trailers
    assert not read(200, b"text/s").has_trailers
    assert read(200, b"text/t").fields.lines == b"content-type: text/t\r\n"
    with pytest.raises(LocalProtocolError):
        read(200.0, b"text/s")


@pytest.mark.parametrize("pair", [(b"set-cookie", b"s=1"), (b"server", b"app")])
def test_a_start_that_is_not_like_others_is_not_kept(pair: tuple[bytes, bytes]) -> None:
    headers = [(b"content-type", b"text/u"), pair]
    for _ in range(3):
        start = read_start({"type": START, "status": 200, "headers": headers})
        assert pair[1] in start.fields.lines
    assert tuple(headers) not in messages._cached_starts.recent


@pytest.mark.parametrize(
    "status", [None, 99, 100, 103, 199, 600, 1000, "200", 2.0, True]
)
def test_a_status_out_of_range_is_refused(status: Any) -> None:
    with pytest.raises(LocalProtocolError, match="200 to 599"):
        read_start({"type": START, "status": status})


@pytest.mark.parametrize(
    ("body", "octets"),
    [(b"a", b"a"), (bytearray(b"a"), b"a"), (memoryview(b"a"), b"a")],
)
def test_a_body_is_octets(body: Any, octets: bytes) -> None:
    assert read_body({"type": BODY, "body": body}) == octets
    assert read_body({"type": BODY}) == b""


@pytest.mark.parametrize("body", ["a", None, 1, [b"a"]])
def test_a_body_that_is_none_is_refused(body: Any) -> None:
    with pytest.raises(LocalProtocolError, match="not bytes"):
        read_body({"type": BODY, "body": body})


def test_a_file_is_named_by_its_descriptor() -> None:
    kind = "http.response.zerocopysend"
    with open(__file__, "rb") as file:
        part = read_file_part({"type": kind, "file": file, "offset": 1, "count": 2})
        assert part == FilePart(file.fileno(), 1, 2)
        assert read_file_part({"type": kind, "file": file.fileno()}).count is None


@pytest.mark.parametrize(
    "named",
    [
        {},
        {"file": io.BytesIO(b"")},
        {"file": "x"},
        {"file": 1, "offset": -1},
        {"file": 1, "count": "x"},
    ],
)
def test_a_part_of_no_file_is_refused(named: dict[str, Any]) -> None:
    with pytest.raises(LocalProtocolError, match="zerocopysend"):
        read_file_part({"type": "http.response.zerocopysend", **named})


def test_a_path_is_absolute() -> None:
    kind = "http.response.pathsend"
    assert read_path({"type": kind, "path": "/a"}) == "/a"
    for path in ("a", None, b"/a", "/a\0"):
        with pytest.raises(LocalProtocolError, match="absolute"):
            read_path({"type": kind, "path": path})


def test_early_hints_are_link_fields() -> None:
    """RFC 8297."""
    kind = "http.response.early_hint"
    assert write_early_hint({"type": kind, "links": [b"</a>", b"</b>"]}) == (
        b"Link: </a>\r\nLink: </b>\r\n"
    )
    with pytest.raises(LocalProtocolError, match="'Link' holds a control"):
        write_early_hint({"type": kind, "links": [b"a\r\nb: c"]})
    with pytest.raises(LocalProtocolError, match="a list of bytes"):
        write_early_hint({"type": kind, "links": b"a"})


def test_trailers_are_fields() -> None:
    message = {"type": "http.response.trailers", "headers": [(b"a", b"1")]}
    assert read_trailers(message) == b"a: 1\r\n"


def test_an_acceptance_may_have_subprotocol_and_fields() -> None:
    assert read_acceptance({"type": "websocket.accept"}) == Acceptance(None, b"")
    message = {
        "type": "websocket.accept",
        "subprotocol": "chat",
        "headers": [(b"a", b"1")],
    }
    assert read_acceptance(message) == Acceptance("chat", b"a: 1\r\n")
    with pytest.raises(LocalProtocolError, match="no str"):
        read_acceptance({"type": "websocket.accept", "subprotocol": b"chat"})


@pytest.mark.parametrize(
    ("message", "data"),
    [
        ({"text": "a"}, "a"),
        ({"text": ""}, ""),
        ({"bytes": b""}, b""),
        ({"bytes": b"a", "text": None}, b"a"),
        ({"text": "a", "bytes": None}, "a"),
        ({"bytes": bytearray(b"a")}, b"a"),
    ],
)
def test_a_websocket_message_is_text_or_octets(
    message: dict[str, Any], data: str | bytes
) -> None:
    assert read_data({"type": "websocket.send", **message}) == data


@pytest.mark.parametrize(
    "message", [{}, {"text": b"a"}, {"bytes": "a"}, {"text": "a", "bytes": b"a"}]
)
def test_a_websocket_message_that_is_neither_is_refused(
    message: dict[str, Any],
) -> None:
    with pytest.raises(LocalProtocolError, match="not both"):
        read_data({"type": "websocket.send", **message})


@pytest.mark.parametrize(
    ("message", "close"),
    [
        ({}, (1000, "")),
        ({"code": None, "reason": None}, (1000, "")),
        ({"code": 3000, "reason": "x"}, (3000, "x")),
        ({"code": 4999}, (4999, "")),
    ],
)
def test_a_close_has_code_and_reason(
    message: dict[str, Any], close: tuple[int, str]
) -> None:
    assert read_close({"type": "websocket.close", **message}) == close


@pytest.mark.parametrize(
    "message",
    [
        {"code": 1005},
        {"code": 1006},
        {"code": 1015},
        {"code": 999},
        {"code": 2000},
        {"code": 5000},
        {"code": "1000"},
        {"reason": "x" * 124},
        {"reason": b"x"},
    ],
)
def test_a_close_that_cannot_be_sent_is_refused(message: dict[str, Any]) -> None:
    """RFC 6455 section 7.4."""
    with pytest.raises(LocalProtocolError, match=r"websocket\.close"):
        read_close({"type": "websocket.close", **message})
