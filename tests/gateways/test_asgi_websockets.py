"""Sections are those of the ASGI specification, "WebSocket", 2.5."""

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
import websockets
from websockets.exceptions import ConnectionClosed, InvalidStatus

from blazeio.errors import LocalProtocolError
from blazeio.gateways.websocket import SocketBounds
from tests.gateways.apps import Receive, Send, Step, asgi, hello
from tests.support.clock import wait_until
from tests.support.served import Site

ACCEPT = {"type": "websocket.accept"}
CLOSE = {"type": "websocket.close"}
KEY = base64.b64encode(b"0123456789abcdef").decode()
HANDSHAKE = (
    "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {KEY}\r\n"
)


async def echo(scope: Any, receive: Receive, send: Send) -> None:
    assert (await receive())["type"] == "websocket.connect"
    await send(ACCEPT)
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            return
        message["type"] = "websocket.send"
        await send(message)


@asynccontextmanager
async def connected(site: Site, **options: Any) -> AsyncIterator[Any]:
    url = f"ws://127.0.0.1:{site.port}/ws"
    async with websockets.connect(url, close_timeout=2, **options) as socket:
        yield socket


@pytest.mark.parametrize("message", ["text", "", b"octets", b"", "\u20ac" * 50_000])
async def test_messages_come_and_go(message: str | bytes) -> None:
    async with asgi(echo) as site, connected(site) as socket:
        for _ in range(2):
            await socket.send(message)
            assert await socket.recv() == message


async def test_fragments_are_one_message_and_pings_are_ours() -> None:
    async with asgi(echo) as site, connected(site) as socket:
        await socket.send(["one", "two", "three"])
        await (await socket.ping())
        assert await socket.recv() == "onetwothree"


async def test_a_websocket_has_a_scope_of_its_own() -> None:
    """Section "WebSocket Connection Scope"."""
    seen: dict[str, Any] = {}

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        seen.update(scope)
        await echo(scope, receive, send)

    async with asgi(app) as site, connected(site, subprotocols=["a", "b"]):
        pass
    assert (seen["type"], seen["scheme"], seen["path"]) == ("websocket", "ws", "/ws")
    assert seen["subprotocols"] == ["a", "b"]
    assert seen["extensions"] == {"websocket.http.response": {}}


async def test_the_handshake_is_answered_at_accept_with_what_it_says() -> None:
    """Section "Accept - send event"."""
    goes_on = Step()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await goes_on.wait()
        await send({**ACCEPT, "subprotocol": "b", "headers": [(b"x-a", b"1")]})
        await receive()

    async with asgi(app) as site, await site.connect() as peer:
        await peer.send(
            f"{HANDSHAKE}Sec-WebSocket-Protocol: a, b\r\n\r\n".encode("ascii")
        )
        await wait_until(lambda: site.server.in_flight)
        assert peer.octets == b""
        goes_on.event.set()
        octets = await peer.read_some()
    assert octets.startswith(b"HTTP/1.1 101 ")
    assert b"x-a: 1\r\n" in octets
    assert b"Sec-WebSocket-Protocol: b\r\n" in octets


@pytest.mark.parametrize(
    ("request_text", "status"),
    [
        (HANDSHAKE.replace("GET", "POST"), 405),
        (HANDSHAKE.replace(KEY, "x"), 400),
        (HANDSHAKE.replace("Version: 13", "Version: 12"), 426),
    ],
)
async def test_a_bad_handshake_is_refused_before_the_app_is_asked(
    request_text: str, status: int
) -> None:
    """RFC 6455 section 4.2."""
    asked: list[Any] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        asked.append(scope)

    async with asgi(app) as site, await site.connect() as peer:
        await peer.send(request_text.encode() + b"\r\n")
        assert (await peer.read_response()).status == status
    assert not asked


async def test_another_upgrade_is_a_request_of_http() -> None:
    """RFC 9110 section 7.8."""
    types: list[str] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        types.append(scope["type"])
        assert (await receive())["body"] == b"ab"
        await hello(scope, receive, send)

    async with asgi(app) as site, await site.connect() as peer:
        await peer.send(
            b"POST / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n"
            b"Content-Length: 2\r\n\r\nab"
        )
        assert (await peer.read_response()).status == 200
    assert types == ["http"]


async def test_a_close_before_accept_is_403() -> None:
    """Section "Close - send event"."""

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await send(CLOSE)

    async with asgi(app) as site:
        with pytest.raises(InvalidStatus) as caught:
            async with connected(site):
                pass
    assert caught.value.response.status_code == 403


async def test_a_denial_is_a_response_of_the_app() -> None:
    """Section "WebSocket Denial Response"."""

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        kind = "websocket.http.response"
        headers = [(b"x-a", b"1")]
        await send({"type": f"{kind}.start", "status": 418, "headers": headers})
        await send({"type": f"{kind}.body", "body": b"one", "more_body": True})
        await send({"type": f"{kind}.body", "body": b"two"})

    async with asgi(app) as site, await site.connect() as peer:
        for _ in range(2):  # the connection goes on
            await peer.send(HANDSHAKE.encode() + b"\r\n")
            answer = await peer.read_response()
            assert (answer.status, answer.body) == (418, b"onetwo")
            assert answer.field("x-a") == "1"


@pytest.mark.parametrize("raises", [True, False])
async def test_an_end_before_the_answer_is_500(
    raises: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        if raises:
            raise ValueError("secret")

    async with asgi(app) as site:
        with pytest.raises(InvalidStatus) as caught:
            async with connected(site):
                pass
    assert caught.value.response.status_code == 500
    assert len(caplog.records) == 1


@pytest.mark.parametrize(("raises", "code"), [(True, 1011), (False, 1000)])
async def test_an_end_after_accept_closes(raises: bool, code: int) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await send(ACCEPT)
        if raises:
            raise ValueError("secret")

    async with asgi(app) as site, connected(site) as socket:
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert socket.close_code == code


async def test_a_close_of_the_app_has_its_code_and_reason() -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        await send({**CLOSE, "code": 3001, "reason": "enough"})
        ends.append(await receive())

    ends: list[Any] = []
    async with asgi(app) as site, connected(site) as socket:
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert (socket.close_code, socket.close_reason) == (3001, "enough")
        await wait_until(lambda: ends)
    assert ends == [{"type": "websocket.disconnect", "code": 3001, "reason": "enough"}]


@pytest.mark.parametrize(
    ("close", "code", "reason"),
    [
        (lambda socket: socket.close(3002, "bye"), 3002, "bye"),
        (lambda socket: socket.close(), 1000, ""),
        (lambda socket: _abort(socket), 1006, ""),
        (lambda socket: _close_without_a_code(socket), 1005, ""),
    ],
    ids=["a code", "as usual", "lost", "not a code"],
)
async def test_a_disconnect_says_how_and_as_often_as_asked(
    close: Any, code: int, reason: str
) -> None:
    """Section "Disconnect - receive event"."""
    ends: list[Any] = []
    errors: list[BaseException] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        ends.extend([await receive(), await receive()])
        try:
            await send({"type": "websocket.send", "text": "too late"})
        except OSError as error:
            errors.append(error)

    async with asgi(app) as site:
        async with connected(site) as socket:
            await close(socket)
        await wait_until(lambda: errors)
    end = {"type": "websocket.disconnect", "code": code, "reason": reason}
    assert ends == [end, end]


async def _abort(socket: Any) -> None:
    socket.transport.abort()


async def _close_without_a_code(socket: Any) -> None:
    socket.transport.write(b"\x88\x80\x00\x00\x00\x00")  # masked, without content


async def test_receive_may_be_awaited_before_accept_is_sent() -> None:
    """As Quart does, in a task of its own."""

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        waiting = asyncio.ensure_future(receive())
        await asyncio.sleep(0.01)
        await send(ACCEPT)
        message = await waiting
        await send({"type": "websocket.send", "text": message["text"]})

    async with asgi(app) as site, connected(site) as socket:
        await socket.send("early")
        assert await socket.recv() == "early"


async def test_a_client_that_leaves_before_the_answer_is_told() -> None:
    ends: list[Any] = []
    waits = Step()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        waits.event.set()
        ends.append(await receive())

    async with asgi(app) as site, await site.connect() as peer:
        await peer.send(HANDSHAKE.encode() + b"\r\n")
        await waits.wait()
        peer.close()
        await wait_until(lambda: ends)
    assert ends == [{"type": "websocket.disconnect", "code": 1006, "reason": ""}]


async def test_a_cancelled_receive_loses_no_message() -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        for _ in range(20):
            waiting = asyncio.ensure_future(receive())
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait((waiting,))
            if not waiting.cancelled():
                await send({"type": "websocket.send", "text": waiting.result()["text"]})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})

    async with asgi(app) as site, connected(site) as socket:
        for number in range(20):
            await socket.send(str(number))
        assert [await socket.recv() for _ in range(20)] == [str(n) for n in range(20)]


async def test_receive_and_send_run_side_by_side() -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)

        async def push() -> None:
            for number in range(100):
                await send({"type": "websocket.send", "text": str(number)})

        async def pull() -> int:
            count = 0
            while (await receive())["type"] == "websocket.receive":
                count += 1
                if count == 100:
                    break
            return count

        async with asyncio.TaskGroup() as group:
            group.create_task(push())
            pulled = group.create_task(pull())
        await send({"type": "websocket.send", "text": f"pulled {pulled.result()}"})

    async with asgi(app) as site, connected(site) as socket:
        for number in range(100):
            await socket.send(str(number))
        got = [await socket.recv() for _ in range(101)]
    assert got == [*(str(n) for n in range(100)), "pulled 100"]


async def test_at_the_drain_each_client_has_its_share_of_the_window() -> None:
    told_at: list[float] = []
    loop = asyncio.get_running_loop()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        await receive()
        told_at.append(loop.time())

    async with asgi(app) as site, AsyncExitStack() as stack:
        for _ in range(4):
            await stack.enter_async_context(connected(site))
        await wait_until(lambda: site.server.in_flight == 4)
        began_at = loop.time()
        site.server.start_draining(0, 0.2)
        await site.drain()
        await wait_until(lambda: len(told_at) == 4)
    for place, at in enumerate(told_at):
        assert at - began_at >= 0.2 * place / 4 - 0.01


async def test_at_the_drain_client_and_app_are_told_and_nothing_is_cancelled() -> None:
    ends: list[Any] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await send(ACCEPT)
        ends.append(await receive())
        await asyncio.sleep(0.01)  # a cancellation would come here
        ends.append(await receive())

    site_of_web = asgi(app)
    async with site_of_web as site, connected(site) as socket:
        await wait_until(lambda: site.server.in_flight)
        draining = asyncio.ensure_future(site.drain())
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert socket.close_code == 1012
        await wait_until(lambda: len(ends) == 2)
        await draining
    assert [end["code"] for end in ends] == [1012, 1012]


@pytest.mark.parametrize(
    "messages",
    [
        [{"type": "websocket.send", "text": "a"}],
        [ACCEPT, ACCEPT],
        [ACCEPT, {"type": "websocket.http.response.start", "status": 400}],
        [{"type": "websocket.http.response.body"}],
        [{"type": "http.response.start", "status": 200}],
        [ACCEPT, {"type": "websocket.send"}],
        [ACCEPT, {**CLOSE, "code": 1006}],
        [{**ACCEPT, "headers": [(b"a", b"1\r\nb: 2")]}],
        [{**ACCEPT, "subprotocol": "a\r\nb: 2"}],
        [ACCEPT, CLOSE, CLOSE],
    ],
)
async def test_what_may_not_be_sent_is_an_error_in_the_app(messages: Any) -> None:
    raised: list[BaseException] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        for message in messages[:-1]:
            await send(message)
        try:
            await send(messages[-1])
        except LocalProtocolError as error:
            raised.append(error)
        if messages[:1] != [ACCEPT]:
            await send(CLOSE)

    async with asgi(app) as site:
        try:
            async with connected(site) as socket:
                await socket.recv()
        except (ConnectionClosed, InvalidStatus):
            pass
        await wait_until(lambda: raised)


async def test_a_message_beyond_the_bound_closes_with_1009() -> None:
    async with asgi(echo) as site, connected(site) as socket:
        # A head that announces 17 MiB; nothing of it needs to be sent.
        size = (17 * 1024 * 1024).to_bytes(8, "big")
        socket.transport.write(b"\x82\xff" + size + b"\0\0\0\0")
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert socket.close_code == 1009


async def test_send_sleeps_while_the_client_does_not_read() -> None:
    """Bounded towards the client."""
    sent = 0

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        nonlocal sent
        await receive()
        await send(ACCEPT)
        for _ in range(400):
            await send({"type": "websocket.send", "bytes": b"x" * 100_000})
            sent += 1

    async with asgi(app) as site, await site.connect() as peer:
        await peer.send(f"{HANDSHAKE}\r\n".encode())
        await wait_until(lambda: sent)
        seen = -1
        while seen != sent:  # until it stands still
            seen = sent
            await asyncio.sleep(0.05)
        assert sent < 400
        size = 0
        while size < 400 * 100_000:
            size += len(await peer.read_some())
        await wait_until(lambda: sent == 400)


async def test_messages_are_not_read_while_the_app_does_not_receive() -> None:
    """Bounded towards the app."""
    goes_on = asyncio.Event()
    received = 0

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        nonlocal received
        await receive()
        await send(ACCEPT)
        await goes_on.wait()
        while (await receive())["type"] == "websocket.receive":
            received += 1
            if received == 300:
                await send({"type": "websocket.send", "text": "all"})

    options = {"max_size": None, "compression": None}
    async with asgi(app) as site, connected(site, **options) as socket:
        is_stalled = False
        for _ in range(300):
            try:
                async with asyncio.timeout(0.5 if not is_stalled else None):
                    await socket.send(b"x" * 100_000)
            except TimeoutError:
                is_stalled = True
                goes_on.set()
        assert is_stalled
        assert await socket.recv() == "all"


async def test_a_message_that_is_too_large_closes_with_1009() -> None:
    bounds = SocketBounds(message_bytes=10)
    async with asgi(echo, socket_bounds=bounds) as site, connected(site) as socket:
        await socket.send("x" * 10)
        assert await socket.recv() == "x" * 10
        await socket.send("x" * 11)
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009


async def test_a_client_that_is_silent_is_pinged_as_often_as_it_is_said() -> None:
    bounds = SocketBounds(ping_every_s=0.05)
    async with asgi(echo, socket_bounds=bounds) as site, await site.connect() as peer:
        await peer.send(f"{HANDSHAKE}\r\n".encode())
        octets = b""
        while len(octets.partition(b"\r\n\r\n")[2]) < 2:
            octets += await peer.read_some()
        assert octets.partition(b"\r\n\r\n")[2][0] == 0x89  # FIN, ping
