"""What a child may send, and what ends it."""

import asyncio
import gc
import os
import resource
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator

import msgspec
import pytest

from blazeio_supervisor.ipc import channel
from blazeio_supervisor.ipc.channel import (
    MESSAGE_BYTES,
    MESSAGES_PER_TURN,
    MOST_REST,
    MOST_UNREAD,
    ChildChannel,
    ChildFault,
    receive,
    receive_octets,
    send,
)
from blazeio_supervisor.ipc.messages import Admit, Fork, FromWorker, Ready, WorkerEvent
from blazeio_supervisor.ipc.packing import parse_from_worker, serialize_message
from blazeio_supervisor.ipc.signals import make_child_pair
from tests.support.clock import wait_until

READY = serialize_message(Ready())
BROKEN = {
    "empty": b"",
    "no message": b"hello",
    "unknown": msgspec.msgpack.encode({"type": "Other"}),
    "unknown field": msgspec.msgpack.encode({"type": "Ready", "pid": 1}),
    "truncated": READY[:-1],
    "trailing": READY + b"x",
    "of the master": serialize_message(Fork(1, 0)),
    "of a forkserver": msgspec.msgpack.encode(
        {"type": "Forked", "worker": 1, "pid": 1}
    ),
    "deep": msgspec.msgpack.encode({"type": "Ready"})[:-1] + b"\x91" * 60_000,
    "deep field": b"\x82\xa4type\xa5Ready\xa1x" + b"\x91" * 60_000 + b"\xc0",
    "no number": msgspec.msgpack.encode({"type": "Failed", "code": 1.5, "reason": ""}),
    "too large": b"\x81" + bytes(MESSAGE_BYTES),
    "bad text": b"\x82\xa4type\xa6Failed\xa6reason\xa1\xff",
}


def list_fds() -> int:
    return len(os.listdir("/proc/self/fd"))


class ChildChannelHarness:
    """The master's end, whose child the test is."""

    def __init__(self) -> None:
        own, self.end = make_child_pair()
        self.heard: list[FromWorker] = []
        self.faults: list[str] = []
        self.foreign: list[int] = []
        self.ends = 0
        self.pid = os.getpid()
        self.channel = ChildChannel[FromWorker](own)
        self.channel.start(
            asyncio.get_running_loop(),
            parse=parse_from_worker,
            on_message=self._on_message,
            on_fault=self.faults.append,
            on_end=self._end,
            is_sender=lambda pid: pid == self.pid,
            on_foreign=self.foreign.append,
        )

    def _on_message(self, message: FromWorker, sender: int) -> None:
        assert sender == self.pid
        self.heard.append(message)
        if message == WorkerEvent("requests_cut", "too much"):
            raise ChildFault("it said too much")

    def _end(self) -> None:
        self.ends += 1


@pytest.fixture
async def harness() -> AsyncIterator[ChildChannelHarness]:
    made = ChildChannelHarness()
    yield made
    made.channel.close()
    made.end.close()


async def test_an_honest_child_is_heard_to_its_end(
    harness: ChildChannelHarness,
) -> None:
    send(harness.end, Ready())
    harness.end.close()
    await wait_until(lambda: harness.ends)
    assert harness.heard == [Ready()]
    assert not harness.faults


@pytest.mark.parametrize("octets", BROKEN.values(), ids=BROKEN.keys())
async def test_what_is_no_message_of_its_is_its_fault(
    harness: ChildChannelHarness, octets: bytes
) -> None:
    harness.end.send(octets)
    send(harness.end, Ready())
    await wait_until(lambda: harness.faults)
    assert len(harness.faults) == 1
    assert len(harness.faults[0]) < 300
    assert not harness.heard  # what comes after is not heard any more
    assert not harness.channel.is_open


async def test_what_is_refused_by_who_hears_it_is_its_fault_too(
    harness: ChildChannelHarness,
) -> None:
    send(harness.end, WorkerEvent("requests_cut", "too much"))
    await wait_until(lambda: harness.faults)
    assert harness.faults == ["it said too much"]


@pytest.mark.parametrize("count", [1, 253])
@pytest.mark.parametrize("octets", [READY, b"junk", b""])
async def test_descriptors_are_closed_and_its_fault(
    harness: ChildChannelHarness, octets: bytes, count: int
) -> None:
    gc.collect()  # what other tests have left open
    before = list_fds()
    socket.send_fds(harness.end, [octets], [0] * count)
    await wait_until(lambda: harness.faults)
    assert "descriptors, which nobody expects" in harness.faults[0]
    await wait_until(lambda: list_fds() < before)  # that of the channel too
    assert not harness.heard


async def test_descriptors_that_find_no_room_are_its_fault(
    harness: ChildChannelHarness,
) -> None:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    socket.send_fds(harness.end, [READY], [0] * 200)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (list_fds() + 5, limits[1]))
        await wait_until(lambda: harness.faults)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert "descriptors" in harness.faults[0]


async def test_to_close_what_it_sent_keeps_nobody_waiting(
    harness: ChildChannelHarness,
) -> None:
    """A close of a connection with SO_LINGER waits until its data are taken."""
    listener = socket.create_server(("127.0.0.1", 0))
    sender = socket.create_connection(listener.getsockname())
    peer, _ = listener.accept()
    sender.setblocking(False)
    linger = b"\1\0\0\0\x1e\0\0\0"  # on, 30 s
    sender.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    try:
        while True:
            sender.send(bytes(65536))
    except BlockingIOError:
        pass
    socket.send_fds(harness.end, [READY], [sender.fileno()])
    sender.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    fd = sender.detach()
    threading.Thread(target=os.close, args=(fd,), daemon=True).start()
    await asyncio.sleep(0)
    began_at = time.monotonic()
    harness.channel.read()
    assert harness.faults
    assert time.monotonic() - began_at < 15
    peer.close()  # that ends the waiting
    listener.close()


async def test_a_flood_takes_only_its_share_of_a_turn(
    harness: ChildChannelHarness,
) -> None:
    for _ in range(MESSAGES_PER_TURN + 5):
        send(harness.end, Ready())
    harness.channel.read()
    assert len(harness.heard) == MESSAGES_PER_TURN
    await wait_until(lambda: len(harness.heard) == MESSAGES_PER_TURN + 5)


async def test_of_one_that_is_dead_only_so_many_words_are_heard(
    harness: ChildChannelHarness,
) -> None:
    for _ in range(MOST_REST + 5):
        send(harness.end, Ready())
    harness.channel.read_rest()
    assert len(harness.heard) == MOST_REST
    assert not harness.channel.is_open


@pytest.mark.parametrize("octets", BROKEN.values(), ids=BROKEN.keys())
async def test_last_words_that_are_broken_fail_nobody(
    harness: ChildChannelHarness, octets: bytes
) -> None:
    send(harness.end, Ready())
    harness.end.send(octets)
    harness.end.close()
    harness.channel.read_rest()
    assert harness.heard == [Ready()]
    assert len(harness.faults) == 1
    assert not harness.channel.is_open


async def test_one_that_reads_no_orders_is_at_fault_and_nothing_piles_up(
    harness: ChildChannelHarness,
) -> None:
    before = list_fds()
    for _ in range(5000):
        harness.channel.send(Admit(), [harness.end])
        if harness.faults:
            break
    assert harness.faults == ["it does not read its orders"]
    assert len(harness.channel._outbox) <= MOST_UNREAD
    harness.channel.send(Admit(), [harness.end])
    assert len(harness.faults) == 1
    await wait_until(lambda: list_fds() <= before)


def say_by_another(end: socket.socket, octets: bytes, count: int = 1) -> int:
    """Have a child of the test send it; gives its pid."""
    code = f"import os\nfor _ in range({count}): os.write({end.fileno()}, {octets!r})"
    actions = [(os.POSIX_SPAWN_DUP2, end.fileno(), end.fileno())]
    words = [sys.executable, "-S", "-c", code]
    pid = os.posix_spawn(sys.executable, words, os.environ, file_actions=actions)
    os.waitpid(pid, 0)
    return pid


@pytest.mark.parametrize("octets", [READY, b"junk"])
async def test_what_others_say_in_its_name_is_dropped_and_is_not_its_fault(
    harness: ChildChannelHarness, octets: bytes
) -> None:
    pid = say_by_another(harness.end, octets)
    send(harness.end, Ready())
    await wait_until(lambda: harness.heard)
    assert harness.heard == [Ready()]
    assert harness.foreign == [pid]
    assert not harness.faults


async def test_a_flood_in_its_name_has_to_wait(
    harness: ChildChannelHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "FOREIGN_PAUSE_S", 0.2)
    say_by_another(harness.end, b"junk", MESSAGES_PER_TURN + 3)
    send(harness.end, Ready())
    began_at = time.monotonic()
    await wait_until(lambda: harness.heard)
    assert time.monotonic() - began_at >= 0.2
    assert len(harness.foreign) == 2  # once before the pause, once after it
    assert not harness.faults


async def test_an_order_to_an_honest_child_arrives(
    harness: ChildChannelHarness,
) -> None:
    harness.channel.send(Admit())
    assert receive(harness.end) == (Admit(), [])


# Streams


def test_a_piece_of_a_stream_is_taken_without_a_sender() -> None:
    own, theirs = socket.socketpair()
    with own, theirs:
        theirs.send(b"abcde")
        assert receive_octets(own, 3) == (b"abc", None)
        assert receive_octets(own, 3) == (b"de", None)
        with pytest.raises(BlockingIOError):
            receive_octets(own, 3)
        theirs.close()
        assert receive_octets(own, 3) is None


def test_descriptors_in_a_stream_are_refused_too() -> None:
    own, theirs = socket.socketpair()
    with own, theirs:
        socket.send_fds(theirs, [b"hello"], [0, 1])
        with pytest.raises(ChildFault, match="2 descriptors"):
            receive_octets(own, 100)
