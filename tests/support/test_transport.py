"""The fake keeps the real transport's promises: each script runs on both."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from tests.support.clock import wait_until
from tests.support.transport import FakeTransport


class RecordingProtocol(asyncio.Protocol):
    """Writes down what the transport calls."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.received = b""
        self.keeps_half_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.calls.append("made")

    def data_received(self, data: bytes) -> None:
        self.received += data

    def eof_received(self) -> bool:
        self.calls.append("eof")
        return self.keeps_half_open

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")

    def connection_lost(self, exc: Exception | None) -> None:
        self.calls.append("lost" if exc is None else "broken")


class RecordingBufferedProtocol(asyncio.BufferedProtocol):
    """Receives into a buffer of three octets."""

    def __init__(self) -> None:
        self.buffer = bytearray(3)
        self.received = b""

    def get_buffer(self, sizehint: int) -> bytearray:
        return self.buffer

    def buffer_updated(self, nbytes: int) -> None:
        self.received += self.buffer[:nbytes]


class Side:
    """One transport under test and the peer at its other end."""

    calls: RecordingProtocol
    transport: asyncio.Transport

    async def peer_sends(self, octets: bytes) -> None: ...

    async def peer_sends_eof(self) -> None: ...

    async def peer_reads_all(self) -> None: ...


class FakeSide(Side):
    def __init__(self) -> None:
        self.calls = RecordingProtocol()
        self.fake = FakeTransport(self.calls)
        self.fake.is_stalled = True
        self.transport = self.fake

    async def peer_sends(self, octets: bytes) -> None:
        self.fake.feed(octets)

    async def peer_sends_eof(self) -> None:
        self.fake.feed_eof()

    async def peer_reads_all(self) -> None:
        self.fake.drain()


class RealSide(Side):
    def __init__(self, peer: socket.socket) -> None:
        self.peer = peer
        self.calls = RecordingProtocol()

    async def peer_sends(self, octets: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.peer, octets)

    async def peer_sends_eof(self) -> None:
        self.peer.shutdown(socket.SHUT_WR)

    async def peer_reads_all(self) -> None:
        loop = asyncio.get_running_loop()
        while self.transport.get_write_buffer_size():
            await loop.sock_recv(self.peer, 1 << 20)


Script = Callable[[Side], Awaitable[None]]


@pytest.fixture(params=["fake", "real"])
async def side(request: pytest.FixtureRequest) -> AsyncIterator[Side]:
    if request.param == "fake":
        yield FakeSide()
        return
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    real = RealSide(theirs)
    transport, _ = await asyncio.get_running_loop().create_connection(
        lambda: real.calls, sock=ours
    )
    real.transport = transport
    yield real
    real.transport.abort()
    theirs.close()
    await wait_until(lambda: real.calls.calls[-1] in ("lost", "broken"))


async def test_close_tells_the_protocol_later_and_once(side: Side) -> None:
    side.transport.close()
    side.transport.close()
    assert side.transport.is_closing()
    assert side.calls.calls == ["made"]
    await wait_until(lambda: len(side.calls.calls) > 1)
    side.transport.abort()
    await asyncio.sleep(0)
    assert side.calls.calls == ["made", "lost"]


async def test_a_paused_transport_delivers_nothing(side: Side) -> None:
    side.transport.pause_reading()
    assert not side.transport.is_reading()
    await side.peer_sends(b"one")
    for _ in range(5):
        await asyncio.sleep(0)
    assert side.calls.received == b""
    side.transport.resume_reading()
    await wait_until(lambda: side.calls.received == b"one")


async def test_a_fin_is_seen_after_all_octets(side: Side) -> None:
    side.calls.keeps_half_open = True
    side.transport.pause_reading()
    await side.peer_sends(b"last")
    await side.peer_sends_eof()
    side.transport.resume_reading()
    await wait_until(lambda: "eof" in side.calls.calls)
    assert side.calls.received == b"last"
    assert not side.transport.is_closing()


async def test_a_fin_closes_unless_the_protocol_objects(side: Side) -> None:
    await side.peer_sends_eof()
    await wait_until(lambda: side.calls.calls == ["made", "eof", "lost"])


async def test_writers_are_paused_and_resumed_at_the_watermarks(side: Side) -> None:
    side.transport.set_write_buffer_limits(high=1000, low=10)
    assert side.transport.get_write_buffer_limits() == (10, 1000)
    for _ in range(3):
        side.transport.write(b"x" * 1_000_000)
    assert side.calls.calls == ["made", "pause"]
    await side.peer_reads_all()
    await wait_until(lambda: side.calls.calls == ["made", "pause", "resume"])


async def test_a_write_after_the_end_of_writing_is_an_error(side: Side) -> None:
    side.transport.write_eof()
    with pytest.raises(RuntimeError, match="write_eof"):
        side.transport.write(b"more")


def test_a_buffered_protocol_gets_all_octets_through_its_small_buffer() -> None:
    calls = RecordingBufferedProtocol()
    transport = FakeTransport(calls)
    transport.feed(b"more than three")
    assert calls.received == b"more than three"


def test_what_was_written_can_be_taken() -> None:
    transport = FakeTransport(RecordingProtocol())
    transport.write(b"a")
    transport.writelines([b"b", b"c"])
    assert transport.take_written() == b"abc"
    assert transport.writes == [b"a", b"bc"]
    assert transport.get_extra_info("peername") == ("127.0.0.1", 54321)


def test_a_lost_connection_swallows_writes() -> None:
    calls = RecordingProtocol()
    transport = FakeTransport(calls)
    transport.lose(ConnectionResetError())
    transport.write(b"gone")
    assert (calls.calls, bytes(transport.written)) == (["made", "broken"], b"")
