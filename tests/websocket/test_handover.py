"""A WebSocket goes on in another server; here it is one on the same loop."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from blazeio.app.app import App
from blazeio.errors import Abort, LocalProtocolError
from blazeio.protocol.carrier import STATE_BYTES, Transfer
from blazeio.protocol.request import BlazeioServerProtocol
from blazeio.server.tls import TlsSettings
from blazeio.websocket.websocket import WebSocket
from tests.support.clock import wait_until
from tests.support.served import Site, served
from tests.support.tls_peer import Certificates
from tests.websocket.test_handshake import GOOD

R = BlazeioServerProtocol
Chat = Callable[[WebSocket, str], Awaitable[Any]]


class Machines:
    """An old and a new server, and what goes from one to the other."""

    def __init__(self, old: Site, new: Site) -> None:
        self.old, self.new = old, new
        self.sent: list[Transfer] = []
        self.accepts = True
        self._arrivals: set[asyncio.Task[None]] = set()

    def send(self, transfer: Transfer, fd: int) -> bool:
        if not self.accepts:
            return False
        self.sent.append(transfer)
        connection = socket.socket(fileno=os.dup(fd))
        connection.setblocking(False)
        task = asyncio.ensure_future(self.new.server.resume(connection, transfer))
        self._arrivals.add(task)
        task.add_done_callback(self._arrivals.discard)
        return True

    def drain(self, farewell_s: float = 0.1) -> None:
        self.old.server.send_connections(self.send)
        self.old.server.start_draining(0, farewell_s)


def make(name: str, chat: Chat, ends: list[Any], **options: Any) -> App:
    web = App(**options)

    @web.add_route
    async def index(r: R, route: str = "/") -> None:
        async with WebSocket(r) as ws:
            await chat(ws, name)
        ends.append((name, ws.is_handed_over, ws.close_code))

    return web


@asynccontextmanager
async def machines(
    chat: Chat, ends: list[Any], **options: Any
) -> AsyncIterator[Machines]:
    old, new = (make(name, chat, ends, **options) for name in ("old", "new"))
    async with served(old) as one, served(new) as other:
        yield Machines(one, other)


def client(site: Site) -> Any:
    return connect(f"ws://127.0.0.1:{site.port}/", proxy=None, ping_interval=None)


async def count(ws: WebSocket, name: str) -> None:
    """Tell who answers, and all that was received, here and before."""
    seen = (ws.state or b"").decode()

    def tell() -> bytes:
        return seen.encode()

    ws.handover(tell)
    async for message in ws:
        seen += str(message)
        await ws.send(f"{name} {seen}")


async def say(socket: ClientConnection, text: str) -> str:
    await socket.send(text)
    return str(await socket.recv())


async def test_the_client_sees_nothing_and_the_state_goes_along() -> None:
    ends: list[Any] = []
    async with machines(count, ends) as both, client(both.old) as socket:
        assert await say(socket, "a") == "old a"
        both.drain()
        await wait_until(lambda: ends)
        assert await say(socket, "b") == "new ab"
        assert await say(socket, "c") == "new abc"
        assert ends == [("old", True, 1006)]
        assert (both.old.server.connection_count, both.new.server.in_flight) == (0, 1)
    assert [each.state for each in both.sent] == [b"a"]


async def test_messages_on_the_way_arrive_in_order() -> None:
    ends: list[Any] = []
    async with machines(count, ends) as both, client(both.old) as socket:
        texts = [f"{n}," for n in range(50)]
        for place, text in enumerate(texts):
            await socket.send(text)
            if place == 20:
                both.drain(5)
            await asyncio.sleep(0)
        answers = [str(await socket.recv()) for _ in texts]
        await wait_until(lambda: ends)
    assert [each.split()[1] for each in answers] == [
        "".join(texts[: n + 1]) for n in range(len(texts))
    ]


async def test_a_frame_that_is_half_received_goes_along() -> None:
    ends: list[Any] = []
    async with machines(count, ends) as both, client(both.old) as socket:
        assert await say(socket, "a") == "old a"
        frame = Frame(Opcode.TEXT, b"b" * 200).serialize(mask=True)
        socket.transport.write(frame[:100])
        (request,) = both.old.server.running
        await wait_until(lambda: request.handler_task.is_running)
        await asyncio.sleep(0.05)
        both.drain()
        await wait_until(lambda: ends)
        socket.transport.write(frame[100:])
        assert await socket.recv() == "new a" + "b" * 200
    assert both.sent[0].rest == frame[:100]


async def test_it_waits_until_the_handler_waits_for_a_message() -> None:
    ends: list[Any] = []
    busy, may_go_on = asyncio.Event(), asyncio.Event()

    async def chat(ws: WebSocket, name: str) -> None:
        ws.handover(b"told")
        async for message in ws:
            busy.set()
            if name == "old":
                await may_go_on.wait()
            await ws.send(f"{name} {message!s} {ws.state!r}")

    async with machines(chat, ends) as both, client(both.old) as socket:
        await socket.send("a")
        await busy.wait()
        both.drain(60)
        await asyncio.sleep(0.1)
        assert not both.sent
        may_go_on.set()
        assert await socket.recv() == "old a None"
        await wait_until(lambda: ends)
        assert await say(socket, "b") == "new b b'told'"


async def test_what_is_over_is_not_offered_any_more() -> None:
    ends: list[Any] = []
    async with machines(count, ends) as both:
        context = both.old.server.context
        async with client(both.old) as socket:
            assert await say(socket, "a") == "old a"
            assert len(context.transferable) == 1
        await wait_until(lambda: ends)
        await wait_until(lambda: not context.transferable)


@pytest.mark.parametrize(
    ("fields", "content"),
    [
        ("Content-Length: 5", b"hello"),
        ("Transfer-Encoding: chunked", b"5\r\nhello\r\n0\r\n\r\n"),
    ],
)
async def test_a_handshake_with_content_stays_where_that_was_read(
    fields: str, content: bytes
) -> None:
    ends: list[Any] = []
    lines = "".join(f"{name}: {value}\r\n" for name, value in GOOD.items())
    head = f"GET / HTTP/1.1\r\nHost: a\r\n{lines}{fields}\r\n\r\n"
    async with machines(count, ends) as both, await both.old.connect() as peer:
        await peer.send(head.encode() + content)
        assert (await peer.read_response()).status == 101
        both.drain()
        octets = await peer.read_some()
        assert (octets[:1], octets[2:4]) == (b"\x88", b"\x03\xf4")  # 1012
        assert both.sent == []


async def test_where_nobody_takes_it_the_client_is_told_to_come_back() -> None:
    ends: list[Any] = []
    async with machines(count, ends) as both, client(both.old) as socket:
        assert await say(socket, "a") == "old a"
        both.accepts = False
        both.drain()
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert socket.close_code == 1012


async def test_without_handover_the_client_is_told_to_come_back() -> None:
    ends: list[Any] = []

    async def chat(ws: WebSocket, name: str) -> None:
        async for message in ws:
            await ws.send(message)

    async with machines(chat, ends) as both, client(both.old) as socket:
        assert await say(socket, "a") == "a"
        both.drain()
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert (socket.close_code, both.sent) == (1012, [])


async def test_a_state_that_raises_declines_and_is_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    ends: list[Any] = []

    async def chat(ws: WebSocket, name: str) -> None:
        def decline() -> bytes:
            raise ValueError("not this one")

        ws.handover(decline)
        async for message in ws:
            await ws.send(message)

    async with machines(chat, ends) as both, client(both.old) as socket:
        assert await say(socket, "a") == "a"
        both.drain()
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert socket.close_code == 1012
    assert "its state cannot be handed over" in caplog.text
    assert "not this one" in caplog.text


async def test_new_code_that_serves_no_websocket_there_tells_the_client() -> None:
    ends: list[Any] = []
    other = App()

    @other.add_route
    async def before_middleware(r: R) -> None:
        raise Abort("who?", 401)

    async with (
        served(make("old", count, ends)) as old,
        served(other) as new,
        client(old) as socket,
    ):
        both = Machines(old, new)
        assert await say(socket, "a") == "old a"
        both.drain()
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert socket.close_code == 1012
        await wait_until(lambda: not new.server.connection_count)


async def test_tls_stays_where_its_keys_are(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    pem = certificates.issue("localhost", "127.0.0.1")
    ends: list[Any] = []
    tls = TlsSettings(certfile=str(pem))
    async with machines(count, ends, tls=tls) as both:
        url = f"wss://localhost:{both.old.port}/"
        context = certificates.client_context()
        context.set_alpn_protocols(["http/1.1"])
        async with connect(url, ssl=context, proxy=None) as socket:
            assert await say(socket, "a") == "old a"
            both.drain()
            with pytest.raises(ConnectionClosed):
                await socket.recv()
            assert (socket.close_code, both.sent) == (1012, [])


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ("text", "handover: expected bytes, found str"),
        (b"x" * (STATE_BYTES + 1), "handover: at most 65536 octets, found 65537"),
    ],
)
async def test_what_cannot_go_along_is_refused(state: Any, message: str) -> None:
    ends: list[Any] = []
    raised: list[str] = []

    async def chat(ws: WebSocket, name: str) -> None:
        with pytest.raises(LocalProtocolError) as error:
            ws.handover(state)
        raised.append(str(error.value))

    async with machines(chat, ends) as both, client(both.old) as socket:
        await wait_until(lambda: ends)
        await socket.wait_closed()
    assert raised == [message]


async def test_it_goes_on_and_on() -> None:
    ends: list[Any] = []
    async with machines(count, ends) as both, client(both.old) as socket:
        assert await say(socket, "a") == "old a"
        both.drain()
        await wait_until(lambda: ends)
        third = make("third", count, ends)
        async with served(third) as last:
            onward = Machines(both.new, last)
            assert await say(socket, "b") == "new ab"
            onward.drain()
            await wait_until(lambda: len(ends) == 2)
            assert await say(socket, "c") == "third abc"
            await socket.close()
