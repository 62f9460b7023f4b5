"""Sections are those of the ASGI specification, "HTTP & WebSocket", 2.5."""

import asyncio
from typing import Any

import pytest

from blazeio.gateways.interfaces import Interface
from tests.gateways.apps import (
    GET,
    Receive,
    Send,
    Step,
    asgi,
    body,
    echo,
    hello,
    make_foreign,
    start,
)
from tests.support.clock import wait_until
from tests.support.served import served

# Request


async def test_a_body_is_received_whole_and_the_connection_goes_on() -> None:
    """Section "Request - receive event"."""
    async with asgi(echo) as site, await site.connect() as peer:
        for octets in (b"first", b"second"):
            await peer.send(
                b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%b"
                % (len(octets), octets)
            )
            assert (await peer.read_response()).body == octets


async def test_a_chunked_body_is_received_without_its_framing() -> None:
    async with asgi(echo) as site, await site.connect() as peer:
        await peer.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
        )
        assert (await peer.read_response()).body == b"abc"


async def test_a_body_is_received_in_pieces_as_it_arrives() -> None:
    pieces: list[bytes] = []
    arrived = Step()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            pieces.append(message["body"])
            arrived.event.set()
            if not message["more_body"]:
                break
        await hello(scope, receive, send)

    async with asgi(app) as site, await site.connect() as peer:
        await peer.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab")
        await arrived.wait()
        assert pieces == [b"ab"]
        await peer.send(b"cd")
        await peer.read_response()
    assert pieces == [b"ab", b"cd"]


async def test_a_cancelled_receive_loses_no_piece() -> None:
    cancelled = Step()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        waiting = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait((waiting,))
        cancelled.event.set()
        await echo(scope, receive, send)

    async with asgi(app) as site, await site.connect() as peer:
        await peer.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n")
        await cancelled.wait()
        await peer.send(b"ab")
        assert (await peer.read_response()).body == b"ab"


async def test_two_tasks_may_receive_at_once() -> None:
    got = Step()

    async def receive_one(receive: Receive) -> bytes:
        message = await receive()
        got.event.set()
        return bytes(message["body"])

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        both = await asyncio.gather(receive_one(receive), receive_one(receive))
        await send(start())
        await send(body(b"".join(both)))

    async with asgi(app) as site, await site.connect() as peer:
        await peer.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\na")
        await got.wait()
        await peer.send(b"b")
        assert (await peer.read_response()).body == b"ab"


async def test_continue_leaves_when_the_body_is_asked_for() -> None:
    """RFC 9110 section 10.1.1."""
    asked = Step()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await asked.wait()
        await echo(scope, receive, send)

    async with asgi(app) as site, await site.connect() as peer:
        await peer.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n"
            b"Expect: 100-continue\r\n\r\n"
        )
        await wait_until(lambda: site.server.in_flight)
        assert peer.octets == b""
        asked.event.set()
        assert (await peer.read_response()).status == 100
        await peer.send(b"ab")
        assert (await peer.read_response()).body == b"ab"


async def test_continue_never_leaves_when_the_app_answers_without_the_body() -> None:
    async with asgi(hello) as site, await site.connect() as peer:
        await peer.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n"
            b"Expect: 100-continue\r\n\r\n"
        )
        octets = await peer.read_until_end()
    assert octets.startswith(b"HTTP/1.1 200")
    assert b"Connection: close" in octets


# Disconnect


async def test_after_the_body_receive_sleeps_until_the_response_is_complete() -> None:
    """Section "Disconnect - receive event"."""
    received: list[str] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        waiting = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        assert not waiting.done()
        await hello(scope, receive, send)
        received.append((await waiting)["type"])
        received.append((await receive())["type"])

    async with asgi(app) as site, await site.connect() as peer:
        await peer.send(GET)
        await peer.read_response()
        await wait_until(lambda: len(received) == 2)
    assert received == ["http.disconnect"] * 2


@pytest.mark.parametrize("how", ["close", "reset", "half_close"])
async def test_a_client_that_goes_away_is_told_and_cancels_nothing(how: str) -> None:
    received: list[str] = []
    waits = Step()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        waits.event.set()
        received.append((await receive())["type"])
        await asyncio.sleep(0.01)  # a cancellation would come here
        received.append((await receive())["type"])

    async with asgi(app) as site, await site.connect() as peer:
        await peer.send(GET)
        await waits.wait()
        getattr(peer, how)()
        await wait_until(lambda: len(received) == 2)
    assert received == ["http.disconnect"] * 2


async def test_a_half_closed_client_is_still_answered() -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        assert (await receive())["type"] == "http.disconnect"
        await send(start())
        await send(body(b"one", more=True))
        await asyncio.sleep(0.01)
        await send(body(b"two"))

    async with asgi(app) as site, await site.connect() as peer:
        await peer.send(GET)
        peer.half_close()
        assert (await peer.read_response()).body == b"onetwo"


async def test_send_to_a_lost_client_raises_an_os_error_that_is_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Section "Send exceptions", 2.4."""
    errors: list[BaseException] = []
    begun = Step()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await send(start())
        begun.event.set()
        try:
            while True:
                await send(body(b"x" * 65536, more=True))
        except OSError as error:
            errors.append(error)
            raise

    async with asgi(app) as site, await site.connect() as peer:
        await peer.send(GET)
        await begun.wait()
        peer.reset()
        await wait_until(lambda: errors)
        await wait_until(lambda: not site.server.in_flight)
    assert not caplog.records


async def test_send_sleeps_while_the_client_does_not_read() -> None:
    sent = 0

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        nonlocal sent
        await send(start())
        for _ in range(200):
            await send(body(b"x" * 100_000, more=True))
            sent += 1
        await send(body())

    async with asgi(app) as site, await site.connect() as peer:
        await peer.send(GET)
        await wait_until(lambda: sent)
        for _ in range(20):
            await asyncio.sleep(0)
        assert sent < 200  # the kernel takes a few MiB for itself
        size = 0
        octets = b""
        while not octets.endswith(b"\r\n0\r\n\r\n"):
            octets = octets[-8:] + await peer.read_some()
            size += len(octets)
    assert sent == 200
    assert size > 200 * 100_000


# A body that cannot become whole


@pytest.mark.parametrize(
    ("request_octets", "status"),
    [
        (b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"Transfer-Encoding: chunked\r\n\r\n7\r\n1234567\r\n", 413),
        (b"Content-Length: 7\r\n\r\n1234567", 413),
    ],
)
async def test_a_body_that_is_refused_is_a_disconnect_and_we_answer(
    request_octets: bytes, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    received: list[str] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        while (message := await receive())["type"] == "http.request":
            assert message["more_body"]
        received.append(message["type"])
        await hello(scope, receive, send)

    async with asgi(app, content_bytes=6) as site, await site.connect() as peer:
        await peer.send(b"POST / HTTP/1.1\r\nHost: a\r\n" + request_octets)
        assert (await peer.read_response()).status == status
        await peer.read_until_end()
    assert received == ["http.disconnect"]
    assert not caplog.records


async def test_a_body_that_comes_too_slowly_is_answered_408() -> None:
    async with (
        asgi(echo, progress_window_s=0.05, progress_bytes_per_s=100000) as site,
        await site.connect() as peer,
    ):
        await peer.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\na")
        assert (await peer.read_response()).status == 408


async def test_a_body_that_breaks_off_is_never_a_short_body() -> None:
    received: list[Any] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        received.append(await receive())
        received.append(await receive())

    async with asgi(app) as site, await site.connect() as peer:
        await peer.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nab")
        await wait_until(lambda: received)
        peer.close()
        await wait_until(lambda: len(received) == 2)
    assert received[0] == {"type": "http.request", "body": b"ab", "more_body": True}
    assert received[1] == {"type": "http.disconnect"}


@pytest.mark.parametrize("how", ["close", "reset", "half_close"])
async def test_an_app_that_returns_when_it_was_told_of_the_disconnect_is_no_fault(
    how: str, caplog: pytest.LogCaptureFixture
) -> None:
    waits = Step()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        waits.event.set()
        assert (await receive())["type"] == "http.disconnect"

    async with asgi(app) as site, await site.connect() as peer:
        await peer.send(GET)
        await waits.wait()
        getattr(peer, how)()
        await wait_until(lambda: not site.server.in_flight)
        await wait_until(lambda: not site.server.connection_count)
    assert not caplog.records


@pytest.mark.parametrize("interface", [Interface.ASGI, Interface.WSGI])
async def test_connect_is_refused_and_what_follows_is_not_answered(
    interface: Interface,
) -> None:
    """RFC 9110 section 9.3.6: after a 2xx it would be a tunnel."""
    asked: list[Any] = []

    async def any_asgi(scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            asked.append(scope["method"])
            await send(start())
            await send(body(b"ok"))

    def any_wsgi(environ: Any, start_response: Any) -> list[bytes]:
        asked.append(environ["REQUEST_METHOD"])
        start_response("200 OK", [])
        return [b"ok"]

    app = any_asgi if interface is Interface.ASGI else any_wsgi
    web = make_foreign(app, interface)
    async with served(web) as site, await site.connect() as peer:
        await peer.send(
            b"CONNECT b.example:443 HTTP/1.1\r\nHost: b.example:443\r\n\r\n" + GET
        )
        answer = await peer.read_response()
        assert (answer.status, answer.field("connection")) == (501, "close")
        assert await peer.read_until_end() == b""
    assert not asked
