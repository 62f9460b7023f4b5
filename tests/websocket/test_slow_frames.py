"""A frame that has begun goes on at the least rate; between frames silence is free."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import pytest
from websockets.frames import Opcode

import blazeio as io
from blazeio.app.app import App
from blazeio.errors import ClientDisconnected
from blazeio.limits import Limits
from blazeio.websocket.channel import CLOSE_TIMEOUT_S
from blazeio.websocket.websocket import WebSocket
from tests.protocol.serving import CallLog
from tests.support.clock import scaled, within
from tests.support.raw_server import RawServer, Visitor
from tests.support.served import served
from tests.websocket.test_channel import ChannelHarness, receiving
from tests.websocket.test_client_websocket_end import agree
from tests.websocket.test_endpoint import HELLO, masked
from tests.websocket.test_websocket import R, open_raw

LIMITS = Limits()
WINDOW_S = LIMITS.progress_window_s
LEAST_BYTES = int(WINDOW_S * LIMITS.progress_bytes_per_s)
LARGE = masked(Opcode.BINARY, bytes(900))
TOO_SLOW = b"\x88\x19\x03\xf0a frame came too slowly"


class VirtualTime:
    """A loop whose timers are called by ``advance``."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._now = 1000.0
        self._timers: list[tuple[float, asyncio.Handle]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def time(self) -> float:
        return self._now

    def call_at(self, when: float, callback: Callable[..., object]) -> asyncio.Handle:
        handle = asyncio.Handle(callback, (), self._loop)
        self._timers.append((when, handle))
        return handle

    def call_later(
        self, span_s: float, callback: Callable[..., object]
    ) -> asyncio.Handle:
        return self.call_at(self._now + span_s, callback)

    def advance(self, span_s: float) -> None:
        end = self._now + span_s
        while due := [each for each in self._timers if each[0] <= end]:
            when, handle = first = min(due, key=lambda each: each[0])
            self._timers.remove(first)
            self._now = when
            if not handle.cancelled():
                handle._run()
        self._now = end

    @property
    def timer_count(self) -> int:
        return sum(not handle.cancelled() for _, handle in self._timers)


class SlowHarness(ChannelHarness):
    def __init__(self) -> None:
        super().__init__()
        loop = asyncio.get_running_loop()
        self.time = VirtualTime(loop)
        self.channel._loop = cast(asyncio.AbstractEventLoop, self.time)

    def feed(self, octets: bytes) -> None:
        self.transport.feed(octets)

    @property
    def is_told(self) -> bool:
        return self.transport.written.endswith(TOO_SLOW)


@pytest.fixture
async def slow() -> SlowHarness:
    return SlowHarness()


@pytest.mark.parametrize(
    "octets",
    [HELLO[:1], HELLO[:-1], HELLO + HELLO[:3], LARGE[:9]],
    ids=["in its head", "at its end", "the second", "in its content"],
)
async def test_a_frame_that_stops_closes_with_1008(
    slow: SlowHarness, octets: bytes
) -> None:
    slow.feed(octets)
    slow.time.advance(WINDOW_S - 0.1)
    assert not slow.transport.written
    slow.time.advance(0.2)
    assert slow.transport.written == TOO_SLOW


async def test_an_octet_a_second_is_too_slow(slow: SlowHarness) -> None:
    for octet in LARGE[: int(WINDOW_S)]:
        assert not slow.is_told
        slow.feed(bytes((octet,)))
        slow.time.advance(1.0)
    assert slow.is_told


async def test_who_receives_learns_it_at_once(slow: SlowHarness) -> None:
    task = await receiving(slow.channel)
    slow.feed(LARGE[:9])
    slow.time.advance(WINDOW_S + 0.1)
    with pytest.raises(ClientDisconnected, match="1006"):
        await within(task)
    assert slow.channel.close_code == 1006


async def test_who_does_something_else_is_cut_and_octets_do_not_put_it_off(
    slow: SlowHarness,
) -> None:
    slow.feed(LARGE[:9])
    slow.time.advance(WINDOW_S + 0.1)
    for octet in LARGE[9 : 9 + int(CLOSE_TIMEOUT_S)]:
        assert not slow.transport.was_aborted
        slow.feed(bytes((octet,)))
        slow.time.advance(1.0)
    assert slow.transport.was_aborted


async def test_octets_behind_a_close_do_not_put_off_the_end(slow: SlowHarness) -> None:
    slow.feed(masked(Opcode.CLOSE, b"\x03\xe8"))
    for _ in range(int(CLOSE_TIMEOUT_S)):
        assert not slow.transport.was_aborted
        slow.feed(b"x")
        slow.time.advance(1.0)
    assert slow.transport.was_aborted


async def test_a_handler_that_goes_on_behind_a_close_is_cut_after_the_fin(
    slow: SlowHarness,
) -> None:
    """It was busy when the close came, took the end, and is busy again."""
    slow.feed(masked(Opcode.CLOSE, b"\x03\xe8"))
    assert [message async for message in slow.channel] == []
    slow.time.advance(2 * CLOSE_TIMEOUT_S)
    assert not slow.transport.was_aborted
    slow.channel.eof_received()
    slow.time.advance(CLOSE_TIMEOUT_S + 0.1)
    assert slow.transport.was_aborted


async def test_a_slow_link_that_keeps_up_is_waited_for(slow: SlowHarness) -> None:
    """A large frame may take as long as it takes."""
    size = 10 * LEAST_BYTES
    head = b"\x82\xff" + size.to_bytes(8) + bytes(4)
    slow.channel._endpoint = type(slow.channel._opened())(
        slow.channel._opened()._protocol.side, message_bytes=size
    )
    slow.feed(head)
    for _ in range(10):
        slow.feed(bytes(LEAST_BYTES))
        slow.time.advance(WINDOW_S)
    assert await within(slow.channel.receive()) == bytes(size)
    assert not slow.transport.written


@pytest.mark.parametrize(
    "octets",
    [b"", HELLO, masked(Opcode.TEXT, b"a", fin=False), LARGE],
    ids=["before all", "a message", "a part of one", "in two reads"],
)
async def test_between_frames_a_peer_may_be_silent(
    slow: SlowHarness, octets: bytes
) -> None:
    slow.feed(octets[:9])
    slow.feed(octets[9:])
    slow.time.advance(10 * WINDOW_S)
    assert not slow.transport.written
    assert slow.time.timer_count == 0


async def test_each_frame_has_a_window_of_its_own(slow: SlowHarness) -> None:
    for _ in range(5):
        slow.feed(LARGE[:9])
        slow.time.advance(0.9 * WINDOW_S)
        slow.feed(LARGE[9:])
        assert await within(slow.channel.receive()) == bytes(900)
    assert not slow.transport.written


async def test_nothing_is_due_while_we_do_not_read(slow: SlowHarness) -> None:
    """More messages wait than the channel takes: 10 octets."""
    slow.feed(HELLO * 3 + LARGE[:9])
    assert not slow.read_control.is_open
    slow.time.advance(5 * WINDOW_S)
    assert not slow.transport.written
    for _ in range(3):
        assert await within(slow.channel.receive()) == "hello"
    await receiving(slow.channel)
    await asyncio.sleep(0)
    assert slow.read_control.is_open
    slow.time.advance(WINDOW_S - 0.1)
    assert not slow.transport.written
    slow.time.advance(0.2)
    assert slow.is_told


async def test_a_server_closes_and_its_handler_ends() -> None:
    web, calls = App(progress_window_s=scaled(0.1)), CallLog()

    @web.add_route
    async def index(r: R, route: str = "/") -> None:
        async with WebSocket(r) as ws:
            async for _ in ws:
                pass
        calls.note(ws.close_code)

    async with served(web) as site, await open_raw(site) as peer:
        await peer.send(HELLO[:-1])
        await calls.has(1006)
        assert (await within(peer.read_until_end())).startswith(TOO_SLOW)


async def test_a_client_closes_too() -> None:
    async def trickle(visitor: Visitor) -> None:
        await visitor.send(await agree(visitor))
        await visitor.send(b"\x81\x05hel")
        await visitor.read_until_end()

    limits = Limits(progress_window_s=scaled(0.1))
    async with (
        RawServer(trickle) as server,
        io.Session(limits=limits) as session,
        io.ClientWebSocket(f"ws{server.url[4:]}", session=session) as ws,
    ):
        assert [message async for message in ws] == []
        assert ws.close_code == 1006
