"""Sections are those of the ASGI specification, "HTTP & WebSocket", 2.5."""

import asyncio
import logging
from typing import Any

import pytest

from blazeio.errors import LocalProtocolError
from tests.gateways.apps import GET, Receive, Send, Step, asgi, body, hello, start
from tests.support.clock import wait_until, within
from tests.support.peer import UnexpectedEndError

# Response


async def test_fields_keep_their_order_and_repeats() -> None:
    """Section "Response Start - send event"."""
    headers = [(b"B", b"1"), (b"set-cookie", b"a"), (b"A", b"2"), (b"Set-Cookie", b"b")]

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await send(start(200, *headers))
        await send(body(b"x"))

    async with asgi(app) as site:
        answer = await site.get("/")
    names = ("b", "set-cookie", "a")
    assert [field for field in answer.fields if field[0] in names] == [
        ("b", "1"),
        ("set-cookie", "a"),
        ("a", "2"),
        ("set-cookie", "b"),
    ]


async def test_date_and_server_are_not_doubled() -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await send(start(200, (b"date", b"then"), (b"server", b"mine")))
        await send(body(b"x"))

    async with asgi(app) as site:
        answer = await site.get("/")
    assert (answer.field("date"), answer.field("server")) == ("then", "mine")


async def test_connection_specific_fields_of_the_app_are_dropped() -> None:
    """RFC 9110 section 7.6.1."""

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await send(
            start(200, (b"Transfer-Encoding", b"chunked"), (b"Keep-Alive", b"x"))
        )
        await send(body(b"abc"))

    async with asgi(app) as site:
        answer = await site.get("/")
    assert answer.body == b"abc"
    assert answer.field("transfer-encoding") is None
    assert answer.field("keep-alive") is None


async def test_a_close_of_the_app_closes_the_connection() -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await send(start(200, (b"connection", b"close")))
        await send(body(b"abc"))

    async with asgi(app) as site, await site.connect() as peer:
        await peer.send(GET)
        octets = await peer.read_until_end()
    assert b"Connection: close\r\n" in octets


@pytest.mark.parametrize(
    ("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)]
)
@pytest.mark.parametrize("pieces", [1, 3])
async def test_what_has_no_content_has_none_whatever_the_app_sends(
    method: str, status: int, pieces: int
) -> None:
    """RFC 9110 section 6.4.1."""

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await send(start(status, (b"etag", b'"1"')))
        for number in range(pieces):
            await send(body(b"abc", more=number < pieces - 1))

    async with asgi(app) as site, await site.connect() as peer:
        for _ in range(2):  # the connection is usable after
            await peer.send(f"{method} / HTTP/1.1\r\nHost: a\r\n\r\n".encode())
            answer = await peer.read_response(method=method)
            assert (answer.status, answer.body) == (status, b"")
            assert answer.octets.endswith(b"\r\n\r\n")
            assert answer.field("transfer-encoding") is None or method == "HEAD"


async def test_head_is_told_the_length_that_get_would_have() -> None:
    async with asgi(hello) as site, await site.connect() as peer:
        await peer.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
        answer = await peer.read_response(method="HEAD")
    assert answer.field("content-length") == "5"


async def test_each_piece_leaves_before_send_returns() -> None:
    go_on = Step()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await send(start())
        await send(body(b"one", more=True))
        await go_on.wait()
        await send(body(b"two", more=True))
        await send(body())

    async with asgi(app) as site, await site.connect() as peer:
        await peer.send(GET)
        octets = b""
        while b"one" not in octets:
            octets += await peer.read_some()
        go_on.event.set()
        while not octets.endswith(b"0\r\n\r\n"):
            octets += await peer.read_some()
    assert octets.endswith(b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")


async def test_an_empty_piece_is_no_end_and_lets_the_head_leave() -> None:
    go_on = Step()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await send(start())
        await send(body(b"", more=True))
        await go_on.wait()
        await send(body(b"", more=True))
        await send(body(b"abc", more=True))
        await send(body())

    async with asgi(app) as site, await site.connect() as peer:
        await peer.send(GET)
        head = await peer.read_some()
        assert head.endswith(b"Transfer-Encoding: chunked\r\n\r\n")
        go_on.event.set()
        octets = b""
        while not octets.endswith(b"0\r\n\r\n"):
            octets += await peer.read_some()
    assert octets == b"3\r\nabc\r\n0\r\n\r\n"


async def test_nothing_of_the_head_leaves_before_the_first_piece() -> None:
    go_on = Step()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await send(start(201))
        await go_on.wait()
        raise ValueError

    async with asgi(app) as site, await site.connect() as peer:
        await peer.send(GET)
        await wait_until(lambda: site.server.in_flight)
        assert peer.octets == b""
        go_on.event.set()
        assert (await peer.read_response()).status == 500


async def test_http_1_0_gets_no_chunks() -> None:
    """RFC 9112 section 6.1."""

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await send(start())
        await send(body(b"one", more=True))
        await send(body(b"two"))

    async with asgi(app) as site, await site.connect() as peer:
        await peer.send(b"GET / HTTP/1.0\r\n\r\n")
        head, _, content = (await peer.read_until_end()).partition(b"\r\n\r\n")
    assert content == b"onetwo"
    assert b"Transfer-Encoding" not in head


async def test_http_1_0_that_asks_for_it_is_kept_alive() -> None:
    async with asgi(hello) as site, await site.connect() as peer:
        for _ in range(2):
            await peer.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
            answer = await peer.read_response()
            assert answer.field("connection") == "keep-alive"


# Work after the response


async def test_work_after_the_response_holds_up_nothing() -> None:
    ends = Step()
    running: list[str] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await hello(scope, receive, send)
        if scope["path"] == "/slow":
            running.append("begun")
            await ends.wait()
            running.append("ended")

    async with asgi(app) as site, await site.connect() as peer:
        await peer.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        await peer.read_response()
        await peer.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        await within(peer.read_response())
        await peer.send(b"GET /slow HTTP/1.1\r\nHost: a\r\n\r\n" + GET)
        for _ in range(2):
            await within(peer.read_response())
        await peer.send(b"GET /slow HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        await within(peer.read_until_end())
        assert running == ["begun"] * 3
        assert site.server.in_flight == 3  # counted until it is over
        ends.event.set()
        await wait_until(lambda: not site.server.in_flight)
    assert running == ["begun"] * 3 + ["ended"] * 3


async def test_an_exception_after_the_response_is_logged_and_hurts_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    go_on = Step()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await hello(scope, receive, send)
        if scope["path"] == "/slow":
            await go_on.wait()
        if scope["path"] != "/":
            raise ValueError("afterwards")

    async with asgi(app) as site, await site.connect() as peer:
        for path in (b"/slow", b"/fast", b"/"):
            await peer.send(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path)
            assert (await peer.read_response()).status == 200
        go_on.event.set()
        await wait_until(lambda: not site.server.in_flight)
        await peer.send(GET)
        assert (await peer.read_response()).status == 200
    assert sorted(record.getMessage() for record in caplog.records) == [
        "GET /fast: tests:app: ValueError: afterwards",
        "GET /slow: tests:app: ValueError: afterwards",
    ]


async def test_work_after_the_response_touches_no_later_request() -> None:
    go_on = Step()
    errors: list[BaseException] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        if scope["path"] == "/first":
            await hello(scope, receive, send)
            await go_on.wait()
            try:
                await send(body(b"late"))
            except LocalProtocolError as error:
                errors.append(error)
            assert (await receive())["type"] == "http.disconnect"
            return
        await send(start())
        await send(body(b"one", more=True))
        go_on.event.set()
        await wait_until(lambda: errors)
        await send(body(b"two"))

    async with asgi(app) as site, await site.connect() as peer:
        await peer.send(b"GET /first HTTP/1.1\r\nHost: a\r\n\r\n")
        await peer.read_response()
        await peer.send(GET)
        assert (await peer.read_response()).body == b"onetwo"
    assert len(errors) == 1


async def test_work_after_the_response_has_the_handlers_deadline() -> None:
    ends: list[BaseException] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await hello(scope, receive, send)
        if scope["path"] == "/slow":
            try:
                await asyncio.sleep(3600)
            except BaseException as error:
                ends.append(error)
                raise

    async with asgi(app, handler_timeout_s=0.05) as site, await site.connect() as peer:
        for path in (b"/slow", b"/"):
            await peer.send(b"GET %b HTTP/1.1\r\nHost: a\r\n\r\n" % path)
            assert (await within(peer.read_response())).status == 200
        await wait_until(lambda: ends)
        await wait_until(lambda: not site.server.in_flight)
    assert isinstance(ends[0], asyncio.CancelledError)


# Faults


@pytest.mark.parametrize(
    "error",
    [
        ValueError("secret"),
        ExceptionGroup("secret", [ValueError("secret")]),
        asyncio.CancelledError("secret"),
        SystemExit(1),
    ],
)
async def test_what_an_app_raises_before_the_head_is_500(
    error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        if scope["path"] != "/":
            await hello(scope, receive, send)
            return
        raise error

    async with asgi(app) as site, await site.connect() as peer:
        await peer.send(GET)
        answer = await peer.read_response()
        assert (answer.status, answer.body) == (500, b"Internal Server Error")
        await peer.send(b"GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await peer.read_response()).status == 200
    assert len(caplog.records) == 1
    record = caplog.records[0]
    assert record.name == "blazeio.app"
    assert record.levelno == logging.ERROR
    assert record.exc_info is not None
    assert record.exc_info[2] is not None
    assert record.exc_info[2].tb_frame.f_code.co_name == "app"


async def nothing(scope: Any, receive: Receive, send: Send) -> None:
    return


async def start_alone(scope: Any, receive: Receive, send: Send) -> None:
    await send(start())


@pytest.mark.parametrize("app", [nothing, start_alone])
async def test_no_answer_at_all_is_500(
    app: Any, caplog: pytest.LogCaptureFixture
) -> None:
    async with asgi(app) as site:
        assert (await site.get("/")).status == 500
    assert [record.getMessage() for record in caplog.records] == [
        "GET /: tests:app has not answered"
    ]


@pytest.mark.parametrize("raises", [True, False])
async def test_after_the_head_the_client_sees_that_it_was_cut(
    raises: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await send(start())
        await send(body(b"one", more=True))
        if raises:
            raise ValueError

    async with asgi(app) as site, await site.connect() as peer:
        await peer.send(GET)
        with pytest.raises((ConnectionResetError, UnexpectedEndError)):
            await peer.read_response()
        assert not peer.octets.endswith(b"0\r\n\r\n")
    assert len(caplog.records) == 1


LONG = (b"content-length", b"9")
SHORT = (b"content-length", b"1")


@pytest.mark.parametrize(
    ("messages", "words"),
    [
        ([start(200, LONG), body(b"abc")], "short of its declared"),
        ([start(200, SHORT), body(b"abc")], "more than the declared"),
        ([start(200, SHORT), body(b"abc", more=True)], "more than the declared"),
        ([start(), start()], "http.response.body or"),
        ([body(b"abc")], "http.response.start or"),
        ([{"type": "http.response.unknown"}], "no message"),
        ([start(99)], "200 to 599"),
        ([start(1000)], "200 to 599"),
        ([start(200, (b"a b", b"1"))], "not a token"),
        ([start(200, (b"a", b"1\r\nb: 2"))], "control character"),
        ([start(), body("abc")], "not bytes"),  # type: ignore[arg-type]
    ],
)
async def test_what_cannot_be_sent_is_an_exception_in_the_app_and_never_sent(
    messages: list[Any], words: str, caplog: pytest.LogCaptureFixture
) -> None:
    raised: list[bool] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        for message in messages[:-1]:
            await send(message)
        try:
            await send(messages[-1])
        finally:
            raised.append(True)

    async with asgi(app) as site:
        answer = await site.get("/")
    assert (answer.status, answer.body) == (500, b"Internal Server Error")
    assert answer.field("b") is None
    assert raised == [True]
    assert words in caplog.text


async def test_an_app_that_catches_a_refusal_may_go_on() -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await send(start(200, (b"content-length", b"3")))
        with pytest.raises(LocalProtocolError):
            await send(body(b"too much"))
        await send(body(b"abc"))

    async with asgi(app) as site:
        assert (await site.get("/")).body == b"abc"


async def test_too_little_for_its_content_length_is_cut() -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await send(start(200, LONG))
        await send(body(b"abc", more=True))
        await send(body())

    async with asgi(app) as site, await site.connect() as peer:
        await peer.send(GET)
        with pytest.raises((ConnectionResetError, UnexpectedEndError)):
            await peer.read_response()


# Contextvars


async def test_each_request_has_a_context_of_its_own() -> None:
    from contextvars import ContextVar

    seen: list[str] = []
    var = ContextVar("var", default="unset")

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        seen.append(var.get())
        var.set("set")
        await hello(scope, receive, send)

    async with asgi(app) as site, await site.connect() as peer:
        await peer.send(GET + GET)
        for _ in range(2):
            await peer.read_response()
    assert seen == ["unset", "unset"]


@pytest.mark.parametrize("more", [False, True])
async def test_a_field_of_each_response_gives_way_to_the_apps(more: bool) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await send(start(200, (b"x-frame-options", b"DENY")))
        await send(body(b"hello", more=more))
        if more:
            await send(body())

    headers = {"X-Frame-Options": "SAMEORIGIN", "X-Other": "1"}
    async with asgi(app, headers=headers) as site, await site.connect() as peer:
        await peer.send(GET)
        response = await peer.read_response()
    names = [name for name, _ in response.fields]
    assert names.count("x-frame-options") == 1
    assert response.field("x-frame-options") == "DENY"
    assert response.field("x-other") == "1"
    assert response.body == b"hello"
