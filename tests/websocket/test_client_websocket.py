"""Against the server of ``websockets``, and against ours."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.frames import CloseCode
from websockets.typing import Subprotocol
from websockets.utils import accept_key

from blazeio.app.app import App
from blazeio.client.session import Session
from blazeio.client.settings import ClientTls
from blazeio.errors import (
    ConnectError,
    InvalidResponse,
    InvalidUrl,
    LocalProtocolError,
    ServerDisconnected,
)
from blazeio.protocol.request import BlazeioServerProtocol
from blazeio.server.tls import TlsSettings
from blazeio.websocket.websocket import ClientWebSocket, WebSocket
from tests.support.clock import scaled, wait_until, within
from tests.support.raw_server import RawServer, Visitor
from tests.support.served import served
from tests.support.tls_peer import Certificates

R = BlazeioServerProtocol
MESSAGES = ("", "☃", b"\x00\xff", "x" * 200_000, b"y" * 70_000)


@asynccontextmanager
async def foreign(
    handler: Callable[[ServerConnection], Any], **options: Any
) -> AsyncIterator[str]:
    """The URL of a server of ``websockets``."""
    async with serve(handler, "127.0.0.1", 0, **options) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        yield f"ws://127.0.0.1:{port}/chat?a=1"


@asynccontextmanager
async def ours(**options: Any) -> AsyncIterator[str]:
    """The URL of an echo of ours."""
    web = App()

    @web.add_route
    async def chat(r: R) -> None:
        async with WebSocket(r, **options) as ws:
            async for message in ws:
                await ws.send(message)

    async with served(web) as site:
        yield f"ws://127.0.0.1:{site.port}/chat"


async def echo(ws: ServerConnection) -> None:
    async for message in ws:
        await ws.send(message)


async def assert_echoes(url: str, **options: Any) -> None:
    async with ClientWebSocket(url, **options) as ws:
        for message in MESSAGES:
            await ws.send(message)
            assert await ws.receive() == message
    assert ws.close_code == 1000


@pytest.mark.parametrize("compress", [False, True])
async def test_messages_come_and_go(compress: bool) -> None:
    async with foreign(echo) as url:
        await assert_echoes(url, compress=compress)
    async with ours(compress=True) as url:
        await assert_echoes(url, compress=compress)


async def test_what_comes_with_the_handshake_is_not_lost() -> None:
    async def greet(ws: ServerConnection) -> None:
        await ws.send("hello")
        await ws.close(4000, "full")

    async with foreign(greet) as url, ClientWebSocket(url) as ws:
        assert [message async for message in ws] == ["hello"]
        assert (ws.close_code, ws.close_reason) == (4000, "full")
        with pytest.raises(ServerDisconnected, match="closed: 4000"):
            await ws.send("late")


async def test_a_subprotocol_is_agreed_on_and_fields_are_sent() -> None:
    async def tell(ws: ServerConnection) -> None:
        assert ws.request is not None
        await ws.send(ws.request.headers["X-Name"] + ws.request.path)

    spoken = [Subprotocol("v1")]
    async with foreign(tell, subprotocols=spoken) as url:
        headers = {"X-Name": "ada"}
        options = {"subprotocols": ["v2", "v1"], "headers": headers}
        async with ClientWebSocket(url, **options) as ws:  # type: ignore[arg-type]
            assert ws.subprotocol == "v1"
            assert await ws.receive() == "ada/chat?a=1"


async def test_a_session_may_be_shared() -> None:
    async with ours() as url, Session() as session:
        for _ in range(2):
            await assert_echoes(url, session=session)
        async with session.get(url.replace("ws", "http", 1)) as resp:
            assert resp.status_code == 426


async def test_over_tls_it_is_the_same(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    web = App(tls=TlsSettings(certfile=certificates.issue("127.0.0.1")))

    @web.add_route
    async def chat(r: R) -> None:
        async with WebSocket(r) as ws:
            async for message in ws:
                await ws.send(message)

    trusted = ClientTls(ca_file=certificates.ca_file)
    async with served(web) as site, Session(tls=trusted) as session:
        await assert_echoes(f"wss://127.0.0.1:{site.port}/chat", session=session)


async def test_a_server_that_goes_away_ends_the_loop() -> None:
    async def leave(ws: ServerConnection) -> None:
        ws.transport.abort()

    async with foreign(leave) as url, ClientWebSocket(url) as ws:
        assert [message async for message in ws] == []
        assert ws.close_code == CloseCode.ABNORMAL_CLOSURE


async def test_messages_that_nobody_takes_hold_the_server_up() -> None:
    sent = 0

    async def flood(ws: ServerConnection) -> None:
        nonlocal sent
        while True:
            await ws.send(b"x" * 10_000)
            sent += 1

    async with foreign(flood) as url, ClientWebSocket(url) as ws:
        before = -1
        while before != sent:  # until it sleeps
            before = sent
            await asyncio.sleep(scaled(0.1))
        assert sent * 10_000 < 50_000_000
        for _ in range(sent + 100):
            assert len(await ws.receive()) == 10_000


async def test_an_exception_of_the_block_goes_on_and_closes_with_1011() -> None:
    codes: list[int | None] = []

    async def listen(ws: ServerConnection) -> None:
        await ws.wait_closed()
        codes.append(ws.close_code)

    async with foreign(listen) as url:
        with pytest.raises(ValueError, match="mine"):
            async with ClientWebSocket(url):
                raise ValueError("mine")
        await wait_until(lambda: codes == [1011])


@pytest.mark.parametrize("is_tls", [False, True])
@pytest.mark.parametrize("by", ["task", "timeout"])
async def test_a_cancelled_block_tells_the_server_too(
    tmp_path: Path, by: str, is_tls: bool
) -> None:
    codes: list[int | None] = []

    async def listen(ws: ServerConnection) -> None:
        await ws.wait_closed()
        codes.append(ws.close_code)

    certificates = Certificates(tmp_path)
    tls = ClientTls(ca_file=certificates.ca_file)
    context = certificates.server_context("localhost") if is_tls else None

    async def wait_for_ever(url: str, session: Session[Any]) -> None:
        span_s = 0.01 if by == "timeout" else None
        async with ClientWebSocket(url, session=session) as ws:
            is_there.set()
            async with asyncio.timeout(span_s):
                await ws.receive()

    is_there = asyncio.Event()
    async with foreign(listen, ssl=context) as url, Session(tls=tls) as session:
        if is_tls:
            url = url.replace("ws://127.0.0.1", "wss://localhost")
        task = asyncio.create_task(wait_for_ever(url, session))
        await is_there.wait()
        if by == "task":
            task.cancel()
        kind = TimeoutError if by == "timeout" else asyncio.CancelledError
        with pytest.raises(kind):
            await task
        await wait_until(lambda: codes == [1011])


@pytest.mark.parametrize("is_cancelled_twice", [False, True])
async def test_a_cancelled_block_waits_for_no_server_for_ever(
    is_cancelled_twice: bool,
) -> None:
    is_told, is_cut = asyncio.Event(), asyncio.Event()

    async def script(visitor: Visitor) -> None:
        key = re.search(rb"Sec-WebSocket-Key: (.*?)\r\n", await visitor.read_head())
        assert key is not None
        agreed = accept_key(key[1].decode())
        lines = ("HTTP/1.1 101 x", "Upgrade: websocket", "Connection: upgrade")
        head = "\r\n".join((*lines, f"Sec-WebSocket-Accept: {agreed}", "", ""))
        await visitor.send(head.encode())
        assert (await visitor.read_some())[0] == 0x88
        is_told.set()
        await visitor.read_until_end()
        is_cut.set()

    async def wait_for_ever() -> None:
        close_s = 1000.0 if is_cancelled_twice else 0.1
        url = server.url.replace("http", "ws")
        async with ClientWebSocket(url, close_timeout_s=close_s) as ws:
            is_there.set()
            await ws.receive()

    is_there = asyncio.Event()
    async with RawServer(script) as server:
        task = asyncio.create_task(wait_for_ever())
        await is_there.wait()
        task.cancel()
        await is_told.wait()
        if is_cancelled_twice:
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await within(task, 10)
        await within(is_cut.wait(), 10)


async def test_no_websocket_is_told_with_its_status() -> None:
    async with ours(origins=["https://here.example"]) as url:
        with pytest.raises(InvalidResponse, match=r"not a WebSocket: .*403"):
            async with ClientWebSocket(url):
                pass


async def test_what_cannot_be_connected_to_raises() -> None:
    with pytest.raises(InvalidUrl, match="expected ws:// or wss://"):
        ClientWebSocket("http://example.com/")
    with pytest.raises(ConnectError):
        async with ClientWebSocket("ws://127.0.0.1:1/"):
            pass
    with pytest.raises(LocalProtocolError, match="use it as"):
        await ClientWebSocket("ws://127.0.0.1:1/").send("a")


async def test_the_host_is_read_as_that_of_any_request(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    ok = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
    async with RawServer(ok, path=path) as server, Session(unix=path) as session:
        for host in ("stra\xdfe.de", "STRA%C3%9FE.de", "[fe80::1%25lo]"):
            with pytest.raises(InvalidResponse, match="is not a WebSocket"):
                async with ClientWebSocket(f"ws://{host}/", session=session):
                    pass
    hosts = [each.split(b"\r\n")[1] for each in server.requests]
    name = b"Host: xn--strae-oqa.de"
    assert hosts == [name, name, b"Host: [fe80::1]"]


@pytest.mark.parametrize("url", ["ws://a..b/", "ws://a/#x", "http://a/", "", b"ws://a"])
def test_a_url_that_is_none(url: str) -> None:
    with pytest.raises(InvalidUrl):
        ClientWebSocket(url)
