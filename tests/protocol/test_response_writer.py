"""Heads and framing of one response, given to a transport that only records."""

import asyncio
import socket

import pytest

from blazeio.errors import FieldInput, LocalProtocolError
from blazeio.limits import Limits
from blazeio.protocol.context import ServerContext
from blazeio.protocol.http1 import Http1Connection
from blazeio.protocol.response_writer import TEXT
from blazeio.wire.request import RequestHead, parse_head
from tests.protocol.serving import hello
from tests.support.response import Response, parse_response, parse_responses
from tests.support.transport import FakeTransport


class FakeSink(FakeTransport):
    """Keeps what is written, write by write."""

    def __init__(self, connection: Http1Connection) -> None:
        self.writes: list[bytes] = []
        ours, theirs = socket.socketpair()
        ours.close()
        theirs.close()
        super().__init__(connection, extra={"socket": ours})

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))


def a_head(method: str = "GET", minor: int = 1, persists: bool = True) -> RequestHead:
    connection = "keep-alive" if persists else "close"
    octets = f"{method} / HTTP/1.{minor}\r\nHost: h\r\nConnection: {connection}\r\n\r\n"
    if method == "CONNECT":
        octets = octets.replace(" / ", " h:1 ")
    head = parse_head(octets.encode(), Limits())
    assert head is not None
    assert head.is_persistent == persists
    return head


class ResponseWriterHarness:
    """One answer, and what was written of it."""

    def __init__(self, method: str = "GET", minor: int = 1, persists: bool = True):
        loop = asyncio.get_running_loop()
        self.context = ServerContext(hello, Limits(), loop)
        connection = Http1Connection(self.context)
        self.sink = FakeSink(connection)
        self.answer = connection.request.response
        self.answer.reset(a_head(method, minor, persists))
        self.method = method

    @property
    def persists(self) -> bool:
        """Whether the connection may go on after it."""
        message = self.answer.message
        return self.answer.is_persistent and (message is None or message.is_persistent)

    @property
    def response(self) -> Response:
        octets = b"".join(self.sink.writes)
        response = parse_response(octets, method=self.method, is_ended=True)
        assert response is not None
        return response


async def test_a_whole_answer_is_one_write() -> None:
    asked = ResponseWriterHarness()
    asked.answer.send_whole(b"abc", 404, TEXT, None)
    assert len(asked.sink.writes) == 1
    assert (asked.response.status, asked.response.body) == (404, b"abc")
    assert [name for name, _ in asked.response.fields] == [
        "date",
        "server",
        "content-type",
        "content-length",
    ]
    assert (asked.answer.status, asked.answer.is_complete) == (404, True)
    assert asked.persists


async def test_a_whole_answer_with_fields() -> None:
    asked = ResponseWriterHarness()
    asked.answer.send_whole(b"{}", 200, TEXT, {"Content-Type": "application/json"})
    assert asked.response.field_all("content-type") == ["application/json"]
    assert asked.response.field("content-length") == "2"
    assert len(asked.sink.writes) == 1


async def test_a_whole_answer_without_content_type() -> None:
    asked = ResponseWriterHarness()
    asked.answer.send_whole(b"", 200, b"", None)
    assert asked.response.field("content-type") is None


async def test_an_empty_body_has_no_content_type_where_fields_are_given() -> None:
    asked = ResponseWriterHarness()
    asked.answer.send_whole(b"", 302, TEXT, {"Location": "/"})
    assert asked.response.field("content-type") is None
    assert asked.response.field("location") == "/"


@pytest.mark.parametrize("status", [204, 304])
async def test_an_answer_without_content_has_no_length(status: int) -> None:
    asked = ResponseWriterHarness()
    asked.answer.send_whole(b"", status, TEXT, None)
    assert asked.response.field("content-length") is None
    assert asked.response.field("content-type") is None


@pytest.mark.parametrize("status", [204, 304])
async def test_the_answer_to_head_without_content_has_no_length(status: int) -> None:
    asked = ResponseWriterHarness("HEAD")
    asked.answer.send_whole(b"", status, TEXT, None)
    assert asked.response.field("content-length") is None


async def test_a_connected_tunnel_has_no_length() -> None:
    asked = ResponseWriterHarness("CONNECT")
    asked.answer.begin({"Content-Length": 0}, 200)
    asked.answer.send(b"", is_last=True)
    assert b"".join(asked.sink.writes).find(b"Content-Length") < 0


@pytest.mark.parametrize("status", [0, 99, 100, 101, 199, 600, 999, -1])
async def test_a_status_that_is_not_final_is_refused(status: int) -> None:
    asked = ResponseWriterHarness()
    for send in (
        lambda: asked.answer.send_whole(b"", status, TEXT, None),
        lambda: asked.answer.begin(None, status),
        lambda: asked.answer.begin({"Date": "x", "Server": "y"}, status),
    ):
        with pytest.raises(LocalProtocolError, match="expected a number, 200 to 599"):
            send()
    assert asked.sink.writes == []
    asked.answer.send_whole(b"ok", 200, TEXT, None)
    assert asked.response.status == 200


async def test_what_fails_before_it_is_sent_can_still_be_answered() -> None:
    asked = ResponseWriterHarness()
    with pytest.raises(TypeError):
        asked.answer.send_whole("text", 200, TEXT, None)  # type: ignore[arg-type]
    with pytest.raises(LocalProtocolError):
        asked.answer.send_whole(b"", 200, TEXT, {"A": "\n"})
    assert asked.answer.status == 0
    asked.answer.send_whole(b"sorry", 500, TEXT, None)
    assert asked.response.body == b"sorry"


async def test_a_second_answer_is_refused() -> None:
    asked = ResponseWriterHarness()
    asked.answer.send_whole(b"", 200, TEXT, None)
    with pytest.raises(LocalProtocolError, match="already begun"):
        asked.answer.begin(None, 200)
    with pytest.raises(LocalProtocolError, match="already begun"):
        asked.answer.send_whole(b"", 200, TEXT, None)


async def test_fields_are_added_before_the_head_and_not_after() -> None:
    asked = ResponseWriterHarness()
    asked.answer.add_field("Set-Cookie", "a=1")
    asked.answer.add_field("Set-Cookie", "b=2")
    asked.answer.send_whole(b"", 200, TEXT, None)
    assert asked.response.field_all("set-cookie") == ["a=1", "b=2"]
    with pytest.raises(LocalProtocolError, match="Set-Cookie: the head has already"):
        asked.answer.add_field("Set-Cookie", "c=3")


async def test_nothing_is_left_for_the_next_request() -> None:
    asked = ResponseWriterHarness()
    asked.answer.add_field("Set-Cookie", "a=1")
    asked.answer.begin(None, 202)
    asked.answer.send(b"x", is_last=True)
    asked.answer.reset(a_head())
    assert (asked.answer.status, asked.answer.is_complete) == (0, False)
    assert asked.answer.message is None
    asked.answer.send_whole(b"", 200, TEXT, None)
    second = parse_responses(b"".join(asked.sink.writes))[1]
    assert second.field("set-cookie") is None


@pytest.mark.parametrize(
    ("minor", "persists", "wants_close", "expected"),
    [
        (1, True, False, None),
        (1, True, True, "close"),
        (1, False, False, "close"),
        (0, True, False, "keep-alive"),
        (0, True, True, "close"),
        (0, False, False, "close"),
    ],
)
async def test_connection_field(
    minor: int, persists: bool, wants_close: bool, expected: str | None
) -> None:
    asked = ResponseWriterHarness(minor=minor, persists=persists)
    fields = {"Connection": "close"} if wants_close else None
    asked.answer.send_whole(b"a", 200, TEXT, fields)
    assert asked.response.field("connection") == expected
    assert asked.persists is (expected != "close")


async def test_while_draining_each_answer_is_the_last() -> None:
    asked = ResponseWriterHarness()
    asked.context.start_draining(1)
    asked.answer.send_whole(b"a", 200, TEXT, None)
    assert asked.response.field("connection") == "close"
    assert not asked.persists


async def test_a_connection_can_be_given_up_before_and_after_the_head() -> None:
    before = ResponseWriterHarness()
    before.answer.give_up_connection()
    before.answer.send_whole(b"a", 200, TEXT, None)
    assert before.response.field("connection") == "close"
    after = ResponseWriterHarness()
    after.answer.begin(None, 200)
    after.answer.send(b"a", is_last=False)
    after.answer.give_up_connection()
    after.answer.send(b"", is_last=True)
    assert not after.persists


async def test_date_and_server_of_the_caller_win() -> None:
    asked = ResponseWriterHarness()
    asked.answer.send_whole(b"", 200, TEXT, {"Date": "then", "Server": "me"})
    assert asked.response.field("date") == "then"
    assert asked.response.field("server") == "me"


async def test_server_of_the_caller_leaves_the_date_ours() -> None:
    asked = ResponseWriterHarness()
    asked.answer.send_whole(b"", 200, TEXT, {"Server": "me"})
    assert asked.response.field("server") == "me"
    assert (asked.response.field("date") or "").endswith(" GMT")


async def test_date_of_the_caller_leaves_the_server_ours() -> None:
    asked = ResponseWriterHarness()
    asked.answer.send_whole(b"", 200, TEXT, {"Date": "then"})
    assert asked.response.field("date") == "then"


async def test_a_head_is_flushed_once_and_only_while_it_is_the_answer() -> None:
    asked = ResponseWriterHarness()
    message = asked.answer.begin(None, 200)
    asked.answer.flush_head(message)
    asked.answer.flush_head(message)
    assert len(asked.sink.writes) == 1
    asked.answer.send(b"", is_last=True)
    asked.answer.reset(a_head())
    old = asked.answer.begin(None, 200)
    asked.answer.reset(a_head())
    asked.answer.flush_head(old)
    assert len(asked.sink.writes) == 2


@pytest.mark.parametrize("body", [b"", b"text"])
@pytest.mark.parametrize(
    "fields",
    [
        {"Vary": "Origin"},
        {"Content-Type": "a/b"},
        {"Vary": "Origin", "X-Own": "1", "Set-Cookie": ["a=1", "b=2"]},
    ],
)
async def test_with_usual_fields_it_is_what_it_was_by_parts(
    body: bytes, fields: FieldInput
) -> None:
    at_once, by_parts = ResponseWriterHarness(), ResponseWriterHarness()
    at_once.answer.send_whole(body, 200, TEXT, fields)
    assert at_once.answer.message is None
    assert at_once.persists
    by_parts.answer.begin(fields, 200, TEXT if body else b"")
    by_parts.answer.send(body, is_last=True)
    assert at_once.sink.writes == by_parts.sink.writes


@pytest.mark.parametrize(
    "fields", [{"Connection": "close"}, {"Date": "now"}, {"Content-Length": 4}]
)
async def test_with_unusual_fields_it_is_composed_by_parts(
    fields: dict[str, str | int],
) -> None:
    asked = ResponseWriterHarness()
    asked.answer.send_whole(b"text", 200, TEXT, fields)
    assert asked.answer.message is not None
    assert asked.response.body == b"text"
    assert asked.persists == ("Connection" not in fields)
