import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import pytest

from blazeio.app.app import App
from blazeio.protocol.request import BlazeioServerProtocol
from blazeio.server.server import Server
from blazeio_supervisor.ipc.messages import (
    ListenerInfo,
)
from blazeio_supervisor.sockets.reuseport import Queue
from blazeio_supervisor.worker.connections import WorkerListeners
from tests.supervisor.worker.lone_generation import make_listener
from tests.support.clock import wait_until
from tests.support.peer import RawPeer

REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"


class ServerWithTwoListeners:
    """A server with its own listener and another slot's."""

    def __init__(self) -> None:
        app = App()
        app.add_route(self._answer, "/")
        self.own, self.other = make_listener(), make_listener()
        self.server: Server = app.make_server(asyncio.get_running_loop())
        self.is_orphan = False
        self.entrances = WorkerListeners(
            self.server, [Queue(self.own.dup())], lambda: self.is_orphan
        )

    async def _answer(self, r: BlazeioServerProtocol) -> None:
        r.reply(b"welcome")

    async def close(self) -> None:
        self.entrances.take_all_and_shut()
        self.server.close()
        await self.server.drained()
        self.own.close()
        self.other.close()


@pytest.fixture
async def harness() -> AsyncIterator[ServerWithTwoListeners]:
    made = ServerWithTwoListeners()
    yield made
    await made.close()


async def connect(listener: socket.socket) -> RawPeer:
    host, port = listener.getsockname()
    return await RawPeer.connect(host, port)


async def is_served(listener: socket.socket) -> bool:
    async with await connect(listener) as peer:
        return b"welcome" in await peer.exchange(REQUEST)


async def is_ignored(listener: socket.socket) -> bool:
    """Nobody accepts, though the loop has had time for it."""
    async with await connect(listener):
        for _ in range(5):
            await asyncio.sleep(0)
        accepted, _ = listener.accept()
        accepted.close()
    return True


async def test_nothing_is_accepted_before_it_is_opened(
    harness: ServerWithTwoListeners,
) -> None:
    assert await is_ignored(harness.own)
    harness.entrances.open()
    assert await is_served(harness.own)


async def test_an_adopted_queue_is_served_until_it_is_released(
    harness: ServerWithTwoListeners,
) -> None:
    harness.entrances.adopt(3, [Queue(harness.other.dup())])
    assert await is_served(harness.other)
    harness.entrances.release(3)
    assert await is_ignored(harness.other)


@pytest.mark.parametrize(("is_shared", "most"), [(True, 3), (False, 5)])
async def test_from_a_shared_queue_one_is_taken_at_a_time(
    is_shared: bool, most: int
) -> None:
    listener = make_listener()
    server = App().make_server(asyncio.get_running_loop())
    with contextlib.ExitStack() as stack:
        for _ in range(5):
            client = stack.enter_context(socket.socket(listener.family))
            client.connect(listener.getsockname())
        terms = ListenerInfo(is_shared=is_shared)
        entrances = WorkerListeners(server, [Queue(listener, terms)], lambda: False)
        entrances.open()
        for _ in range(3):
            await asyncio.sleep(0)
        assert 0 < server.connection_count <= most
        if not is_shared:
            assert server.connection_count == most
        await wait_until(lambda: server.connection_count == 5)
    entrances.take_all_and_shut()
    server.close()
    await server.drained()


async def test_a_queue_that_was_never_adopted_can_be_released(
    harness: ServerWithTwoListeners,
) -> None:
    harness.entrances.release(7)


async def test_a_queue_adopted_twice_is_released_once(
    harness: ServerWithTwoListeners,
) -> None:
    harness.entrances.adopt(3, [Queue(harness.other.dup())])
    harness.entrances.adopt(3, [Queue(harness.other.dup())])
    assert await is_served(harness.other)
    harness.entrances.release(3)
    assert await is_ignored(harness.other)


async def test_closed_it_leaves_the_queue_to_others(
    harness: ServerWithTwoListeners,
) -> None:
    harness.entrances.open()
    harness.entrances.close()
    assert await is_ignored(harness.own)


@pytest.mark.parametrize("is_closed_before", [False, True])
async def test_the_last_calls_are_answered_and_then_all_are_refused(
    harness: ServerWithTwoListeners, is_closed_before: bool
) -> None:
    harness.entrances.open()
    harness.entrances.adopt(3, [Queue(harness.other.dup())])
    if is_closed_before:
        harness.entrances.close()
    async with await connect(harness.own) as one, await connect(harness.other) as two:
        await harness.entrances.accept_last()
        assert b"welcome" in await one.exchange(REQUEST)
        assert b"welcome" in await two.exchange(REQUEST)
    for listener in (harness.own, harness.other):
        with pytest.raises(ConnectionRefusedError):
            await connect(listener)


@pytest.mark.parametrize("is_orphan", [True, False])
async def test_who_is_cut_off_by_a_living_master_leaves_what_that_can_undo(
    harness: ServerWithTwoListeners, *, is_orphan: bool
) -> None:
    """Only root lets go of a device (socket(7)), and a worker may be no root."""
    harness.is_orphan = is_orphan
    harness.entrances.take_all_and_shut()
    so_bindtoifindex = 62
    device = harness.own.getsockopt(socket.SOL_SOCKET, so_bindtoifindex)
    assert bool(device) is is_orphan


async def test_all_is_taken_at_once_when_there_is_no_time(
    harness: ServerWithTwoListeners,
) -> None:
    async with await connect(harness.own) as peer:
        harness.entrances.take_all_and_shut()
        assert b"welcome" in await peer.exchange(REQUEST)
    with pytest.raises(ConnectionRefusedError):
        await connect(harness.own)
    harness.entrances.take_all_and_shut()
    await harness.entrances.accept_last()
    await wait_until(lambda: not harness.server.connection_count)


async def test_what_is_lent_is_neither_emptied_nor_shut(
    harness: ServerWithTwoListeners,
) -> None:
    lent = ListenerInfo(is_kept=True)
    queues = [Queue(harness.own.dup(), lent)]
    entrances = WorkerListeners(harness.server, queues, lambda: False)
    entrances.open()
    assert await is_served(harness.own)
    await entrances.accept_last()
    entrances.take_all_and_shut()
    assert await is_ignored(harness.own)  # it waits for whoever accepts next
