"""What leaves when, of a stream of an ASGI app."""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import pytest

from blazeio.app.mounting import ForeignApp
from blazeio.gateways.gateway import HELD_BYTES, MOMENT_S
from blazeio.gateways.interfaces import Interface
from blazeio.protocol.http1 import Http1Connection
from tests.gateways.apps import GET, Receive, Send, asgi, body, start
from tests.support.clock import wait_until
from tests.support.transport import FakeTransport

App = Callable[[Any, Receive, Send], Any]


class Clock:
    """Tells the time that a test says."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


async def serve(app: App, clock: Clock) -> FakeTransport:
    """Serve one request until it is over; return what it was written to."""
    web = ForeignApp(app, Interface.ASGI, "tests:app")
    context = web.make_server(asyncio.get_running_loop()).context
    context.now = clock
    with socket.socket() as sock:
        connection = Http1Connection(context, None, web._request_class)
        transport = FakeTransport(connection, extra={"socket": sock})
        transport.feed(GET)
        await wait_until(lambda: not context.in_flight)
        await asyncio.sleep(0)
    context.close()
    return transport


def chunks(transport: FakeTransport) -> list[bytes]:
    """The content of each write, the first without its head."""
    first, *others = transport.writes
    return [first.partition(b"\r\n\r\n")[2], *others]


async def test_pieces_of_one_moment_leave_in_one_write() -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await send(start())
        for piece in (b"a", b"b", b"", b"c" * 600):
            await send(body(piece, more=True))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        await send(body(b"d", more=True))
        await send(body(b"e"))

    transport = await serve(app, Clock())
    assert chunks(transport) == [
        b"1\r\na\r\n",
        b"1\r\nb\r\n258\r\n" + b"c" * 600 + b"\r\n",
        b"1\r\nd\r\n1\r\ne\r\n0\r\n\r\n",
    ]


async def test_a_piece_that_comes_alone_leaves_at_once() -> None:
    clock = Clock()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await send(start())
        for piece in (b"a", b"b", b"c"):  # the loop never turns
            await send(body(piece, more=True))
            clock.now_s += MOMENT_S
        await send(body())

    transport = await serve(app, clock)
    assert chunks(transport) == [
        b"1\r\na\r\n",
        b"1\r\nb\r\n",
        b"1\r\nc\r\n",
        b"0\r\n\r\n",
    ]


async def test_what_waits_leaves_before_a_piece_that_need_not() -> None:
    clock = Clock()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await send(start())
        await send(body(b"a", more=True))
        await send(body(b"b", more=True))
        clock.now_s += MOMENT_S
        await send(body(b"c", more=True))
        await send(body())

    transport = await serve(app, clock)
    assert chunks(transport) == [
        b"1\r\na\r\n",
        b"1\r\nb\r\n",
        b"1\r\nc\r\n",
        b"0\r\n\r\n",
    ]


@pytest.mark.parametrize("size", [HELD_BYTES, HELD_BYTES // 2])
async def test_not_more_waits_than_there_may(size: int) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await send(start())
        await send(body(b"a", more=True))
        for _ in range(4):
            await send(body(b"b" * size, more=True))
        await send(body())

    transport = await serve(app, Clock())
    assert len(transport.writes) == 2 + 4 * size // HELD_BYTES


async def test_what_was_sent_before_a_fault_is_not_lost() -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await send(start())
        await send(body(b"a", more=True))
        await send(body(b"b", more=True))
        raise ValueError("of the app")

    transport = await serve(app, Clock())
    assert chunks(transport) == [b"1\r\na\r\n", b"1\r\nb\r\n"]
    assert transport.was_aborted


async def test_trailers_come_after_all_pieces() -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await send(start(trailers=True))
        await send(body(b"a", more=True))
        await send(body(b"b", more=True))
        await send(body(b"c"))
        trailers = [(b"x-sum", b"3")]
        await send({"type": "http.response.trailers", "headers": trailers})

    ask = b"GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nConnection: TE, close\r\n\r\n"
    async with asgi(app) as site, await site.connect() as peer:
        await peer.send(ask)
        octets = b""
        while piece := await peer.read_some():
            octets += piece
    assert octets.endswith(b"1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\nx-sum: 3\r\n\r\n")


async def test_a_body_is_refused_where_trailers_are_due() -> None:
    raised: list[str] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await send(start(trailers=True))
        await send(body(b"a", more=True))
        await send(body(b"b"))
        try:
            await send(body(b"c"))
        except Exception as error:
            raised.append(str(error))
        await send({"type": "http.response.trailers", "headers": []})

    await serve(app, Clock())
    (text,) = raised
    assert "http.response.trailers is expected" in text
