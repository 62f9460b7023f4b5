"""Pausing and resuming, on a fake transport over a real socket."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from blazeio.limits import Limits
from blazeio.protocol.context import ServerContext
from blazeio.protocol.kernel import ReadControl
from tests.protocol.serving import hello
from tests.support.clock import wait_until
from tests.support.transport import FakeTransport


class ReadControlHarness:
    """A control, its transport, the peer's end and what it was told."""

    def __init__(self) -> None:
        self.ours, self.theirs = socket.socketpair()
        self.transport = FakeTransport(asyncio.Protocol(), extra={"socket": self.ours})
        context = ServerContext(hello, Limits(), asyncio.get_running_loop())
        self.watcher = context.hangups
        self.read_control = ReadControl(self.transport, context, self)
        self.told: list[bool] = []

    def on_hangup(self, *, is_reset: bool) -> None:
        self.told.append(is_reset)

    def close(self) -> None:
        self.watcher.close()
        self.ours.close()
        self.theirs.close()


@pytest.fixture
async def side() -> AsyncIterator[ReadControlHarness]:
    side = ReadControlHarness()
    yield side
    side.close()


async def test_pausing_stops_reading_and_watches_for_the_end(
    side: ReadControlHarness,
) -> None:
    side.read_control.pause()
    assert not side.read_control.is_open
    assert not side.transport.is_reading()
    side.theirs.shutdown(socket.SHUT_WR)
    await wait_until(lambda: side.told == [False])


async def test_resuming_reads_and_watches_no_longer(side: ReadControlHarness) -> None:
    side.read_control.pause()
    side.read_control.resume()
    assert side.read_control.is_open
    assert side.transport.is_reading()
    side.theirs.shutdown(socket.SHUT_WR)
    for _ in range(5):
        await asyncio.sleep(0.001)
    assert not side.told


async def test_both_may_be_repeated(side: ReadControlHarness) -> None:
    side.read_control.resume()
    side.read_control.pause()
    side.read_control.pause()
    side.read_control.resume()
    side.read_control.resume()
    assert side.transport.is_reading()


async def test_a_closing_transport_is_neither_paused_nor_resumed(
    side: ReadControlHarness,
) -> None:
    side.read_control.pause()
    side.transport.close()
    side.read_control.resume()
    assert side.read_control.is_open
    side.read_control.pause()
    assert side.read_control.is_open


async def test_a_lost_connection_is_watched_no_longer(side: ReadControlHarness) -> None:
    side.read_control.pause()
    side.ours.close()  # the transport no longer knows its descriptor
    side.read_control.close()
    side.read_control.close()
    assert side.read_control.is_open


async def test_unread_octets_are_those_in_the_kernel(side: ReadControlHarness) -> None:
    side.theirs.sendall(b"abc")
    assert side.read_control.unread_bytes() == 3


async def test_unsent_octets_are_those_here_and_in_the_kernel(
    side: ReadControlHarness,
) -> None:
    side.transport.is_stalled = True
    side.transport.write(b"x" * 100)
    assert side.read_control.unsent_bytes() == 100
    side.ours.sendall(b"y" * 50)
    assert side.read_control.unsent_bytes() > 100
