import asyncio

from blazeio.limits import Limits
from blazeio.protocol.carrier import Handover
from blazeio.protocol.request import BlazeioServerProtocol
from tests.protocol.serving import GET, CallLog, Wire
from tests.support.clock import wait_until
from tests.support.transport import FakeTransport

R = BlazeioServerProtocol


class Reader:
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.calls = CallLog()
        self.is_awaited = False

    def data_received(self, octets: bytes) -> None:
        self.calls.note(octets)

    def eof_received(self) -> None:
        self.calls.note("eof")

    def connection_lost(self) -> None:
        self.calls.note("lost")


class RecordingOwner:
    """Likewise."""

    def __init__(self) -> None:
        self.calls = CallLog()

    def eof_received(self) -> bool:
        self.calls.note("eof")
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self.calls.note("lost")

    def pause_writing(self) -> None:
        self.calls.note("pause")

    def resume_writing(self) -> None:
        self.calls.note("resume")


async def test_the_owner_keeps_all_but_the_octets() -> None:
    owner, reader = RecordingOwner(), Reader()
    handover = Handover(owner, reader.data_received)
    transport = FakeTransport()
    transport.set_protocol(handover)
    transport.feed(b"octets")
    transport.feed_eof()
    handover.pause_writing()
    handover.resume_writing()
    transport.lose()
    assert reader.calls.entries == [b"octets"]
    assert owner.calls.entries == ["eof", "pause", "resume", "lost"]


async def test_a_successor_has_what_came_behind_the_request_and_all_after() -> None:
    reader = Reader()
    is_over = asyncio.Event()

    async def leave_http(r: R) -> None:
        r.take_over(b"Upgrade: x\r\n", reader)
        await is_over.wait()

    wire = Wire(leave_http, Limits())
    wire.peer.feed(GET + b"early")
    await reader.calls.has(b"early")
    wire.peer.feed(b"later")
    wire.peer.feed_eof()
    assert wire.written.startswith(b"HTTP/1.1 101 ")
    reader.is_awaited = True  # a disconnect is told, and does not cancel
    wire.peer.lose()
    await reader.calls.has(b"early", b"later", "eof", "lost")
    is_over.set()
    await wire.end()


async def test_what_comes_after_the_handler_is_dropped() -> None:
    reader = Reader()

    async def leave_http(r: R) -> None:
        r.take_over(b"Upgrade: x\r\n", reader)
        r.response.complete()

    wire = Wire(leave_http, Limits())
    wire.peer.feed(GET)
    await wait_until(lambda: wire.peer.has_written_eof)
    wire.peer.feed(b"late")
    assert reader.calls.entries == []
    await wire.end()
