"""How a client's WebSocket ends: whose error it is, and how long it takes."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.utils import accept_key

import blazeio as io
from blazeio.errors import (
    ConnectTimeout,
    ServerDisconnected,
    SessionClosed,
    TotalTimeout,
)
from tests.support.clock import scaled, wait_until, within
from tests.support.raw_server import RawServer, Visitor
from tests.support.tls_peer import NAME, Certificates

SHORT_S = 0.2


@asynccontextmanager
async def peer(
    handler: Callable[[ServerConnection], Any], **options: Any
) -> AsyncIterator[str]:
    async with serve(handler, "127.0.0.1", 0, **options) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        scheme, host = ("wss", NAME) if "ssl" in options else ("ws", "127.0.0.1")
        yield f"{scheme}://{host}:{port}/"


async def stay(ws: ServerConnection) -> None:
    await ws.wait_closed()


async def leave(ws: ServerConnection) -> None:
    await ws.close(4000)


async def vanish(ws: ServerConnection) -> None:
    ws.transport.abort()


async def hang_up(visitor: Visitor) -> None:
    await visitor.read_request()


@pytest.mark.parametrize("ending", [leave, vanish])
async def test_receive_tells_the_end_and_leaves_the_block(ending: Any) -> None:
    async with peer(ending) as url:
        async with io.ClientWebSocket(url) as ws:
            await ws.receive()
            raise AssertionError("not reached")
        assert ws.close_code in (4000, 1006)
        async with io.ClientWebSocket(url) as ws, asyncio.TaskGroup() as group:
            group.create_task(ws.receive())


@pytest.mark.parametrize("ending", [stay, leave, vanish])
async def test_a_message_that_was_not_sent_is_an_error(ending: Any) -> None:
    async def use(url: str) -> None:
        async with io.ClientWebSocket(url) as ws:
            if ending is stay:
                await ws.close()
            await wait_until(lambda: ws.close_code is not None)
            await ws.send("an order")

    async with peer(ending) as url:
        with pytest.raises(ServerDisconnected, match="is closed: "):
            await use(url)


async def agree(visitor: Visitor) -> bytes:
    """What agrees to the handshake that comes next."""
    found = re.search(rb"\r\nSec-WebSocket-Key: (\S+)", await visitor.read_head())
    assert found is not None
    accept = accept_key(found[1].decode())
    return (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    ).encode()


CLOSE_OF_SERVER = b"\x88\x05\x03\xe8bye"
MALFORMED = b"\xf1\x01x"


@pytest.mark.parametrize(
    ("frames", "code", "reason"),
    [(CLOSE_OF_SERVER, 1000, "bye"), (MALFORMED, 1006, "")],
)
async def test_why_is_known_before_the_connection_is_closed(
    frames: bytes, code: int, reason: str
) -> None:
    async def script(visitor: Visitor) -> None:
        await visitor.send(await agree(visitor) + frames)
        await visitor.read_until_end()

    async with (
        RawServer(script) as server,
        io.ClientWebSocket(
            server.url.replace("http", "ws"), close_timeout_s=SHORT_S
        ) as ws,
    ):
        async for _ in ws:
            pass
        assert (ws.close_code, ws.close_reason) == (code, reason)
        with pytest.raises(ServerDisconnected, match=f"is closed: {code}"):
            await ws.send("an order")


async def test_what_is_sent_while_we_close_is_an_error() -> None:
    async def script(visitor: Visitor) -> None:
        await visitor.send(await agree(visitor))
        await visitor.read_until_end()

    async with (
        RawServer(script) as server,
        io.ClientWebSocket(
            server.url.replace("http", "ws"), close_timeout_s=SHORT_S
        ) as ws,
    ):
        closing = asyncio.create_task(ws.close())
        await asyncio.sleep(0)
        with pytest.raises(ServerDisconnected, match="is closed: by this side"):
            await ws.send("an order")
        await closing


async def test_what_is_awaited_after_our_own_close_is_an_error() -> None:
    async def use(url: str) -> None:
        async with io.ClientWebSocket(url) as ws:
            await ws.close()
            await ws.receive()

    async with peer(stay) as url:
        with pytest.raises(ServerDisconnected, match="is closed: 1000"):
            await use(url)


@pytest.mark.parametrize("kind", ["request", "websocket", "group"])
@pytest.mark.parametrize("ending", [stay, leave])
async def test_the_end_of_another_connection_goes_on(ending: Any, kind: str) -> None:
    async def fail() -> None:
        if kind == "websocket":
            async with io.ClientWebSocket(other) as ws:
                await ws.close()
                await ws.send("x")
        async with io.Session(server.url):
            pass

    async def use(url: str) -> None:
        async with io.ClientWebSocket(url):
            if kind == "group":
                async with asyncio.TaskGroup() as group:
                    group.create_task(fail())
            await fail()

    async with peer(ending) as url, peer(leave) as other, RawServer(hang_up) as server:
        with pytest.raises((ServerDisconnected, ExceptionGroup)) as caught:
            await use(url)
        assert isinstance(caught.value, ExceptionGroup) is (kind == "group")


async def test_a_session_that_is_closed_is_told() -> None:
    async with peer(stay) as url, io.Session() as session:

        async def listen() -> None:
            async with io.ClientWebSocket(url, session=session) as ws:
                ready.set()
                await ws.receive()

        async def iterate() -> None:
            async with io.ClientWebSocket(url, session=session) as ws:
                ready.set()
                async for _ in ws:
                    pass

        tasks = []
        for each in (listen, iterate):
            ready = asyncio.Event()
            tasks.append(asyncio.create_task(each()))
            await within(ready.wait())
        await session.close()
        for task in tasks:
            with pytest.raises(SessionClosed):
                await within(task)


@pytest.mark.slow
@pytest.mark.parametrize("is_tls", [False, True])
@pytest.mark.parametrize("is_said", [False, True])
@pytest.mark.parametrize("does_receive", [False, True])
async def test_an_unanswered_close_takes_its_time_and_no_longer(
    tmp_path: Path, is_tls: bool, is_said: bool, does_receive: bool
) -> None:
    """The server reads nothing more, and answers nothing."""
    go_on = asyncio.Event()

    async def deaf(ws: ServerConnection) -> None:
        ws.transport.pause_reading()
        await go_on.wait()
        ws.transport.abort()

    certificates = Certificates(tmp_path)
    options = {"ssl": certificates.server_context(NAME)} if is_tls else {}
    tls = io.ClientTls(ca_file=certificates.ca_file)
    async with peer(deaf, **options) as url, io.Session(tls=tls) as session:
        async with io.ClientWebSocket(
            url, session=session, close_timeout_s=SHORT_S
        ) as ws:
            receiving = asyncio.create_task(anext(ws, None)) if does_receive else None
            await asyncio.sleep(0)
            began_at = time.monotonic()
            if is_said:
                await ws.close()
        span_s = time.monotonic() - began_at
        assert SHORT_S * 0.9 <= span_s < SHORT_S + scaled(1.0)
        if receiving is not None:
            assert await within(receiving) is None
        go_on.set()


def test_by_default_a_close_is_waited_for_two_seconds() -> None:
    assert io.ClientWebSocket("ws://127.0.0.1:1/").close_timeout_s == 2.0


async def test_the_total_bounds_the_handshake() -> None:
    async def silent(visitor: Visitor) -> None:
        await visitor.read_until_end()

    timeouts = io.Timeouts(total_s=0.05)
    async with RawServer(silent) as server:
        url = server.url.replace("http", "ws")
        with pytest.raises(TotalTimeout):
            async with io.ClientWebSocket(url, timeouts=timeouts):
                pass


@pytest.mark.slow
@pytest.mark.parametrize("is_of_session", [False, True])
async def test_the_total_does_not_cut_one_in_use(is_of_session: bool) -> None:
    async def echo(ws: ServerConnection) -> None:
        async for message in ws:
            await ws.send(message)

    total_s = scaled(0.3)
    timeouts = io.Timeouts(total_s=total_s, read_s=total_s, head_s=total_s)
    async with peer(echo) as url, io.Session(timeouts=timeouts) as session:
        of_it = None if is_of_session else timeouts
        async with io.ClientWebSocket(url, session=session, timeouts=of_it) as ws:
            for _ in range(4):
                await asyncio.sleep(total_s / 2)
                await ws.send("x")
                assert await ws.receive() == "x"


async def test_the_handshake_has_its_own_bound_to_connect() -> None:
    async def silent(visitor: Visitor) -> None:
        await visitor.read_until_end()  # it never shakes hands of TLS

    async with RawServer(silent) as server:
        url = server.url.replace("http", "wss")
        with pytest.raises(ConnectTimeout, match=r"within 0\.05 s"):
            async with io.ClientWebSocket(url, timeouts=io.Timeouts(connect_s=0.05)):
                pass
