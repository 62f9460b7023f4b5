"""Against the client of ``websockets``, and against raw frames."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from blazeio.app.app import App
from blazeio.errors import ClientDisconnected
from blazeio.protocol.request import BlazeioServerProtocol
from blazeio.server.tls import TlsSettings
from blazeio.websocket.websocket import WebSocket
from tests.protocol.serving import CallLog
from tests.support.clock import scaled, wait_until
from tests.support.peer import RawPeer
from tests.support.served import Site, served
from tests.support.tls_peer import NAME, Certificates
from tests.websocket.test_handshake import GOOD

R = BlazeioServerProtocol
Chat = Callable[[WebSocket], Awaitable[Any]]


@asynccontextmanager
async def serving(chat: Chat, calls: CallLog, **options: Any) -> AsyncIterator[Site]:
    """``/`` is a WebSocket; how its handler ended is in the calls."""
    web = App()

    @web.add_route
    async def index(r: R, route: str = "/") -> None:
        try:
            async with WebSocket(r, **options) as ws:
                await chat(ws)
        except BaseException as error:
            calls.note(type(error).__name__)
            raise
        calls.note((ws.close_code, ws.close_reason))

    async with served(web) as site:
        yield site


async def echo(ws: WebSocket) -> None:
    async for message in ws:
        await ws.send(message)


@pytest.fixture
def calls() -> CallLog:
    return CallLog()


def client(site: Site, **options: Any) -> Any:
    return connect(f"ws://127.0.0.1:{site.port}/", proxy=None, **options)


async def open_raw(site: Site) -> RawPeer:
    peer = await site.connect()
    lines = "".join(f"{name}: {value}\r\n" for name, value in GOOD.items())
    await peer.send(f"GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n".encode())
    assert (await peer.read_response()).status == 101
    return peer


def masked(opcode: Opcode, data: bytes, *, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin=fin).serialize(mask=True)


class Strange(BaseException):
    """Of nobody's family."""


async def be_cancelled_by_a_task(ws: WebSocket) -> None:
    task = asyncio.ensure_future(asyncio.sleep(10))
    task.cancel()
    await task


async def take_too_long(ws: WebSocket) -> None:
    raise asyncio.CancelledError


async def cancel_itself(ws: WebSocket) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


async def exit_from_it(ws: WebSocket) -> None:
    raise SystemExit(1)


async def be_strange(ws: WebSocket) -> None:
    raise Strange


async def lose_another(ws: WebSocket) -> None:
    raise ClientDisconnected("of another connection")


class TestErrors:
    @pytest.mark.parametrize(
        "chat",
        [
            be_cancelled_by_a_task,
            take_too_long,
            cancel_itself,
            exit_from_it,
            be_strange,
            lose_another,
        ],
    )
    async def test_what_is_no_end_of_its_own_closes_with_1011(
        self, calls: CallLog, chat: Chat
    ) -> None:
        async with serving(chat, calls) as site, client(site) as ws:
            await ws.wait_closed()
            assert ws.close_code == 1011

    async def test_a_group_of_disconnects_is_its_end(
        self, calls: CallLog, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def receive_in_tasks(ws: WebSocket) -> None:
            async with asyncio.TaskGroup() as group:
                group.create_task(receive_two(ws))

        async def receive_two(ws: WebSocket) -> None:
            await ws.receive()
            await ws.receive()

        async with serving(receive_in_tasks, calls) as site:
            async with client(site) as ws:
                await ws.send("one")
            await calls.has((1000, ""))
        assert not [each for each in caplog.records if each.levelname == "ERROR"]


class TestContentOfTheHandshake:
    LINES = "".join(f"{name}: {value}\r\n" for name, value in GOOD.items())

    @pytest.mark.parametrize(
        ("field", "content"),
        [
            ("Content-Length: 5", b"hello"),
            ("Transfer-Encoding: chunked", b"5\r\nhello\r\n0\r\n\r\n"),
        ],
    )
    async def test_is_read_past_when_it_comes_later(
        self, calls: CallLog, field: str, content: bytes
    ) -> None:
        head = f"GET / HTTP/1.1\r\nHost: a\r\n{self.LINES}{field}\r\n\r\n".encode()
        async with serving(echo, calls) as site, await site.connect() as peer:
            await peer.send(head)
            await wait_until(lambda: site.server.in_flight == 1)
            await peer.send(content)
            assert (await peer.read_response()).status == 101
            await peer.send(masked(Opcode.TEXT, b"hi"))
            assert (await peer.read_some()).endswith(b"hi")

    async def test_has_a_bound(self, calls: CallLog) -> None:
        head = f"GET / HTTP/1.1\r\nHost: a\r\n{self.LINES}Content-Length: 9999999"
        async with serving(echo, calls) as site, await site.connect() as peer:
            await peer.send(f"{head}\r\n\r\n".encode())
            assert (await peer.read_response()).status == 413


class TestMessages:
    @pytest.mark.parametrize("compress", [False, True])
    async def test_come_and_go(self, calls: CallLog, compress: bool) -> None:
        async with serving(echo, calls, compress=compress) as site:
            async with client(site, compression="deflate" if compress else None) as ws:
                assert bool(ws.protocol.extensions) == compress
                for message in ("", "☃", b"\x00\xff", "x" * 200_000, b"y" * 70_000):
                    await ws.send(message)
                    assert await ws.recv() == message
            await calls.has((1000, ""))

    async def test_in_fragments_are_whole(self, calls: CallLog) -> None:
        async with serving(echo, calls) as site, client(site) as ws:
            await ws.send(["a", "b", "☃"])
            assert await ws.recv() == "ab☃"

    async def test_behind_the_handshake_are_not_lost(self, calls: CallLog) -> None:
        async with serving(echo, calls) as site, await site.connect() as peer:
            lines = "".join(f"{name}: {value}\r\n" for name, value in GOOD.items())
            head = f"GET / HTTP/1.1\r\nHost: a\r\n{lines}\r\n".encode()
            await peer.send(head + masked(Opcode.TEXT, b"hi"))
            assert (await peer.read_response()).status == 101
            assert await peer.read_some() == b"\x81\x02hi"

    async def test_too_large_close_with_1009(self, calls: CallLog) -> None:
        async with serving(echo, calls, message_bytes=1000) as site:
            async with client(site) as ws:
                await ws.send("x" * 1001)
                with pytest.raises(ConnectionClosed):
                    await ws.recv()
                assert ws.close_code == 1009
            await wait_until(lambda: len(calls.entries) == 1)

    async def test_of_broken_text_close_with_1007(self, calls: CallLog) -> None:
        async with serving(echo, calls) as site, await open_raw(site) as peer:
            await peer.send(masked(Opcode.TEXT, b"\xff"))
            assert (await peer.read_some())[2:4] == (1007).to_bytes(2)

    async def test_without_a_mask_close_with_1002(self, calls: CallLog) -> None:
        async with serving(echo, calls) as site, await open_raw(site) as peer:
            await peer.send(Frame(Opcode.TEXT, b"x").serialize(mask=False))
            assert (await peer.read_some())[2:4] == (1002).to_bytes(2)

    async def test_that_are_not_read_slow_the_sender_down(self, calls: CallLog) -> None:
        sent = 0

        async def flood(ws: WebSocket) -> None:
            nonlocal sent
            while True:
                await ws.send(b"x" * 10_000)
                sent += 1

        async with serving(flood, calls) as site, await open_raw(site):
            before = -1
            while before != sent:  # until it sleeps
                before = sent
                await asyncio.sleep(scaled(0.1))
            assert sent * 10_000 < 50_000_000
        await calls.has("CancelledError")


class TestClosing:
    async def test_by_the_client_ends_the_loop(self, calls: CallLog) -> None:
        async with serving(echo, calls) as site:
            async with client(site) as ws:
                await ws.close(3001, "enough")
            await calls.has((3001, "enough"))

    async def test_by_the_handler_tells_the_client(self, calls: CallLog) -> None:
        async def chat(ws: WebSocket) -> None:
            await ws.close(4000, "full")

        async with serving(chat, calls) as site, client(site) as ws:
            with pytest.raises(ConnectionClosed):
                await ws.recv()
            assert (ws.close_code, ws.close_reason) == (4000, "full")

    async def test_by_another_task_ends_the_loop(self, calls: CallLog) -> None:
        async def chat(ws: WebSocket) -> None:
            closing = asyncio.create_task(ws.close(4001))
            async for _ in ws:
                pass
            await closing

        async with serving(chat, calls) as site, client(site) as ws:
            with pytest.raises(ConnectionClosed):
                await ws.recv()
            assert ws.close_code == 4001
            await calls.has((4001, ""))

    async def test_at_the_end_of_the_handler_is_1000(self, calls: CallLog) -> None:
        async def chat(ws: WebSocket) -> None:
            await ws.send("bye")

        async with serving(chat, calls) as site, client(site) as ws:
            assert [message async for message in ws] == ["bye"]
            assert ws.close_code == 1000

    async def test_after_an_exception_is_1011(
        self, calls: CallLog, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def chat(ws: WebSocket) -> None:
            raise ValueError("too bad")

        async with serving(chat, calls) as site, client(site) as ws:
            with pytest.raises(ConnectionClosed):
                await ws.recv()
            assert ws.close_code == 1011
            await calls.has("ValueError")
        assert "too bad" in caplog.text

    async def test_by_a_reset_ends_a_loop_that_waits(self, calls: CallLog) -> None:
        async with serving(echo, calls) as site:
            (await open_raw(site)).reset()
            await calls.has((1006, ""))

    async def test_by_a_fin_ends_a_loop_that_waits(self, calls: CallLog) -> None:
        async with serving(echo, calls) as site, await open_raw(site) as peer:
            peer.half_close()
            await calls.has((1006, ""))

    async def test_by_a_reset_cancels_a_handler_that_does_not_receive(
        self, calls: CallLog
    ) -> None:
        async def chat(ws: WebSocket) -> None:
            await asyncio.Event().wait()

        async with serving(chat, calls) as site:
            (await open_raw(site)).reset()
            await calls.has("CancelledError")

    async def test_by_the_client_cancels_a_handler_that_does_not_see_it(
        self, calls: CallLog, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("blazeio.websocket.channel.CLOSE_TIMEOUT_S", 0.05)

        async def chat(ws: WebSocket) -> None:
            await asyncio.Event().wait()

        async with serving(chat, calls) as site, client(site) as ws:
            await ws.close(4000)  # agreed to at once
            assert ws.close_code == 4000
            await calls.has("CancelledError")

    async def test_what_is_sent_afterwards_raises(self, calls: CallLog) -> None:
        async def chat(ws: WebSocket) -> None:
            async for _ in ws:
                pass
            with pytest.raises(ClientDisconnected, match="closed: 1000"):
                await ws.send("late")
            with pytest.raises(ClientDisconnected, match="closed: 1000"):
                await ws.receive()

        async with serving(chat, calls) as site:
            async with client(site):
                pass
            await calls.has((1000, ""))

    async def test_at_the_drain_is_1012(self, calls: CallLog) -> None:
        async with serving(echo, calls) as site, client(site) as ws:
            await ws.send("hi")
            await ws.recv()
            site.server.start_draining(0)
            with pytest.raises(ConnectionClosed):
                await ws.recv()
            assert ws.close_code == 1012
            await site.server.drained()
        await calls.has("CancelledError")


async def test_a_deadline_of_handlers_does_not_hold(calls: CallLog) -> None:
    web = App(handler_timeout_s=scaled(0.05))

    @web.add_route
    async def index(r: R, route: str = "/") -> None:
        async with WebSocket(r) as ws:
            await asyncio.sleep(scaled(0.3))
            await ws.send("still here")

    async with served(web) as site, client(site) as ws:
        assert await ws.recv() == "still here"


class TestSilence:
    async def test_is_asked_and_the_answer_counts(self, calls: CallLog) -> None:
        span_s = scaled(0.1)
        options = {"ping_every_s": span_s, "ping_timeout_s": span_s}
        async with serving(echo, calls, **options) as site, client(site) as ws:
            await asyncio.sleep(5 * span_s)
            await ws.send("still here")
            assert await ws.recv() == "still here"

    async def test_without_an_answer_is_the_end(self, calls: CallLog) -> None:
        span_s = scaled(0.1)
        options = {"ping_every_s": span_s, "ping_timeout_s": span_s}
        async with (
            serving(echo, calls, **options) as site,
            await open_raw(site) as peer,
        ):
            assert await peer.read_some() == b"\x89\x00"
            await calls.has((1006, ""))


async def test_over_tls_it_is_the_same(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    web = App(tls=TlsSettings(certfile=certificates.issue(NAME)))

    @web.add_route
    async def index(r: R, route: str = "/") -> None:
        async with WebSocket(r) as ws:
            await echo(ws)

    tls = certificates.client_context()
    tls.set_alpn_protocols(["http/1.1"])
    async with served(web) as site:
        url = f"wss://{NAME}:{site.port}/"
        async with connect(url, host="127.0.0.1", ssl=tls, proxy=None) as ws:
            await assert_is_echoed(ws, 3)
            await ws.send("x" * 200_000)
            assert await ws.recv() == "x" * 200_000


async def test_one_connection_may_be_many_protocol_switches_apart(
    calls: CallLog,
) -> None:
    """A request before it, on the same connection, is a plain one."""
    async with serving(echo, calls) as site, await site.connect() as peer:
        await peer.send(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await peer.read_response()).status == 426


async def assert_is_echoed(ws: ClientConnection, count: int) -> None:
    for number in range(count):
        await ws.send(f"{number}")
        assert await ws.recv() == f"{number}"


async def test_many_at_once_do_not_mix(calls: CallLog) -> None:
    async with serving(echo, calls) as site, asyncio.TaskGroup() as group:

        async def talk() -> None:
            async with client(site) as ws:
                await assert_is_echoed(ws, 20)

        for _ in range(20):
            group.create_task(talk())
