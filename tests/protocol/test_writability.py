"""Who waits for room in a socket wakes when there is some, or an end."""

import asyncio
import socket

import pytest

from blazeio.protocol.kernel import WritabilityWatcher
from tests.support.clock import within
from tests.support.peer import reset_on_close


def full_pair() -> tuple[socket.socket, socket.socket]:
    """A connection whose buffers take no octet more; and its other end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        theirs = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()
    ours.setblocking(False)
    try:
        while True:
            ours.send(bytes(1_000_000))
    except BlockingIOError:
        return ours, theirs


async def test_it_wakes_when_the_peer_has_read() -> None:
    watcher = WritabilityWatcher(asyncio.get_running_loop())
    ours, theirs = full_pair()
    with ours, theirs:
        waiting = asyncio.create_task(watcher.writable(ours.fileno()))
        await asyncio.sleep(0)
        assert not waiting.done()
        theirs.setblocking(False)
        while not waiting.done():
            await asyncio.sleep(0)
            try:
                theirs.recv(1_000_000)
            except BlockingIOError:
                continue
        assert ours.send(b"more")
    watcher.close()


async def test_it_wakes_when_the_peer_has_reset() -> None:
    watcher = WritabilityWatcher(asyncio.get_running_loop())
    ours, theirs = full_pair()
    waiting = asyncio.create_task(watcher.writable(ours.fileno()))
    await asyncio.sleep(0)
    reset_on_close(theirs)
    theirs.close()
    await within(waiting)
    with pytest.raises(OSError, match=r"reset|pipe"):
        ours.send(b"more")
    ours.close()
    watcher.close()


async def test_one_that_waits_no_more_leaves_nothing() -> None:
    watcher = WritabilityWatcher(asyncio.get_running_loop())
    ours, theirs = full_pair()
    for _ in range(3):
        waiting = asyncio.create_task(watcher.writable(ours.fileno()))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
    assert not watcher._waiters
    ours.close()
    theirs.close()
    watcher.close()
    watcher.close()


async def test_a_descriptor_may_be_closed_under_it() -> None:
    watcher = WritabilityWatcher(asyncio.get_running_loop())
    ours, theirs = full_pair()
    waiting = asyncio.create_task(watcher.writable(ours.fileno()))
    await asyncio.sleep(0)
    ours.close()
    theirs.close()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    watcher.close()
