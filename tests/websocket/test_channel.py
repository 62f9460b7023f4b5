"""How messages wait, and for whom; the rest is in ``test_websocket``."""

import asyncio
from typing import cast

import pytest
from websockets.frames import Opcode
from websockets.protocol import Side

from blazeio.errors import ClientDisconnected, LocalProtocolError
from blazeio.limits import Limits
from blazeio.protocol.flow import WriteGate
from blazeio.websocket.channel import UNREAD_ANSWERS_BYTES, Carrier, Channel
from blazeio.websocket.frames import FrameEndpoint
from tests.support.transport import FakeTransport
from tests.websocket.test_endpoint import HELLO, masked

MOST_BYTES = 10


class ReadControl:
    """Whether the transport reads, and no more."""

    def __init__(self, transport: FakeTransport) -> None:
        self._transport = transport
        self.is_open = True

    def pause(self) -> None:
        self.is_open = False
        self._transport.pause_reading()

    def resume(self) -> None:
        self.is_open = True
        self._transport.resume_reading()


class ChannelHarness(asyncio.Protocol):
    """A carrier of a channel, on a fake transport."""

    def __init__(self) -> None:
        self.transport = FakeTransport(self)
        self.read_control = ReadControl(self.transport)
        self.gate = WriteGate()
        self.channel = Channel(ping_every_s=None, ping_timeout_s=1)
        end = FrameEndpoint(Side.SERVER, message_bytes=1000)
        self.channel.begin(end, cast(Carrier, self), Limits(), MOST_BYTES)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        pass

    def pause_writing(self) -> None:
        pass

    def data_received(self, data: bytes) -> None:
        self.channel.data_received(data)

    def on_hangup(self, *, is_reset: bool) -> None:
        pass

    def abort(self) -> None:
        self.transport.abort()


@pytest.fixture
async def harness() -> ChannelHarness:
    return ChannelHarness()


async def receiving(channel: Channel) -> asyncio.Task[str | bytes]:
    task = asyncio.create_task(channel.receive())
    await asyncio.sleep(0)
    return task


async def test_a_ping_is_answered_while_nobody_receives(
    harness: ChannelHarness,
) -> None:
    harness.transport.feed(masked(Opcode.PING, b"a"))
    assert harness.transport.written == b"\x8a\x01a"


async def test_messages_wait_in_their_order(harness: ChannelHarness) -> None:
    waiting = await receiving(harness.channel)
    for text in (b"1", b"2", b"3"):
        harness.transport.feed(masked(Opcode.TEXT, text))
    assert [await waiting, await harness.channel.receive()] == ["1", "2"]
    assert await harness.channel.receive() == "3"


async def test_reading_pauses_while_too_much_waits(harness: ChannelHarness) -> None:
    for _ in range(5):
        harness.transport.feed(HELLO)
    assert len(harness.transport.undelivered) == 2 * len(HELLO)
    assert [await harness.channel.receive() for _ in range(5)] == ["hello"] * 5
    assert harness.transport.is_reading()


async def test_a_message_survives_that_its_receiver_is_cancelled(
    harness: ChannelHarness,
) -> None:
    waiting = await receiving(harness.channel)
    harness.transport.feed(HELLO)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert await harness.channel.receive() == "hello"


async def test_two_tasks_cannot_receive_at_once(harness: ChannelHarness) -> None:
    waiting = await receiving(harness.channel)
    with pytest.raises(LocalProtocolError, match="two tasks receive"):
        await harness.channel.receive()
    harness.transport.feed(HELLO)
    assert await waiting == "hello"


async def test_what_has_arrived_can_be_taken_after_the_end(
    harness: ChannelHarness,
) -> None:
    harness.transport.feed(HELLO)
    harness.channel.connection_lost()
    assert await harness.channel.receive() == "hello"
    with pytest.raises(ClientDisconnected, match="closed: 1006"):
        await harness.channel.receive()


async def test_a_writer_sleeps_at_the_gate(harness: ChannelHarness) -> None:
    harness.gate.close()
    sending = asyncio.create_task(harness.channel.send("a"))
    await asyncio.sleep(0)
    assert not harness.transport.written
    harness.gate.open()
    await sending
    assert harness.transport.written == b"\x81\x01a"


async def test_who_pings_and_does_not_read_is_cut(harness: ChannelHarness) -> None:
    pings = masked(Opcode.PING, b"x" * 100) * 100
    for _ in range(10):
        harness.transport.feed(pings)  # as long as it is read, any number
    harness.transport.is_stalled = True
    harness.gate.close()
    for _ in range(5):
        harness.transport.feed(pings)
    assert not harness.transport.was_aborted
    for _ in range(5):
        harness.transport.feed(pings)
    assert harness.transport.was_aborted
    assert harness.transport.get_write_buffer_size() < 2 * UNREAD_ANSWERS_BYTES


async def test_before_the_handshake_it_says_how_it_is_used() -> None:
    channel = Channel(ping_every_s=None, ping_timeout_s=1)
    with pytest.raises(LocalProtocolError, match="use it as `async with"):
        await channel.send("a")
    assert repr(channel) == "<Channel new>"


async def test_who_waits_for_each_message_has_let_the_loop_turn(
    harness: ChannelHarness,
) -> None:
    """So an echo takes no further turn of the loop, however long it goes on."""
    for _ in range(100):
        waiting = await receiving(harness.channel)
        harness.transport.feed(masked(Opcode.TEXT, b"a"))
        assert harness.channel.send_at_once(await waiting)


async def test_what_cannot_be_sent_at_once_is_not_sent(
    harness: ChannelHarness,
) -> None:
    sent = 0
    while harness.channel.send_at_once("a"):  # until others have to have their turn
        sent += 1
        assert sent < 1000
    assert harness.transport.written == b"\x81\x01a" * sent
    await harness.channel.send("a")
    assert harness.channel.send_at_once("a")
    harness.gate.close()
    assert not harness.channel.send_at_once("a")
