"""Connections from one worker to another, over a socket pair."""

import array
import asyncio
import os
import socket

import msgspec
import pytest

from blazeio.protocol.carrier import STATE_BYTES, Transfer
from blazeio_supervisor.ipc.signals import make_pair
from blazeio_supervisor.worker.connections import (
    TRANSFER_BYTES,
    TransferReceiver,
    TransferSender,
)
from tests.support.clock import wait_until

SMALL = Transfer(b"GET / HTTP/1.1\r\n\r\n", b"rest", b"state")


class Heir:
    """What a worker has received."""

    def __init__(self, sock: socket.socket) -> None:
        self.got: list[Transfer] = []
        self.connections: list[socket.socket] = []
        loop = asyncio.get_running_loop()
        self.receiver = TransferReceiver(sock, loop, self.resume)

    def resume(self, connection: socket.socket, transfer: Transfer) -> None:
        self.connections.append(connection)
        self.got.append(transfer)

    def close(self) -> None:
        self.receiver.close()
        for each in self.connections:
            each.close()


async def test_a_connection_arrives_with_what_goes_along() -> None:
    ours, theirs = make_pair()
    sender, heir = TransferSender(ours), Heir(theirs)
    client, served = socket.socketpair()
    large = Transfer(b"h" * 32 * 1024, b"r" * 64 * 1024, b"s" * STATE_BYTES)
    with client, served:
        assert sender.send(SMALL, served.fileno())
        await wait_until(lambda: len(heir.got) == 1)
        assert sender.send(large, served.fileno())
        await wait_until(lambda: len(heir.got) == 2)
        assert heir.got == [SMALL, large]
        assert sender.count == 2
        assert not heir.connections[0].getblocking()
        heir.connections[0].send(b"hello")
        assert client.recv(10) == b"hello"
    sender.close()
    await wait_until(lambda: theirs.fileno() < 0)
    heir.close()


async def test_a_full_buffer_and_an_end_are_told() -> None:
    ours, theirs = make_pair()
    sender = TransferSender(ours)
    client, served = socket.socketpair()
    with client, served:
        too_large = Transfer(b"", b"", b"x" * TRANSFER_BYTES)
        assert not sender.send(too_large, served.fileno())
        sent = 0
        while sender.send(SMALL, served.fileno()):
            sent += 1
        assert sent == sender.count > 1
        theirs.close()
        assert not sender.send(SMALL, served.fileno())
    sender.close()


@pytest.mark.parametrize(
    ("octets", "count"),
    [
        (b"nonsense", 1),
        (msgspec.msgpack.encode(SMALL), 0),
        (msgspec.msgpack.encode(SMALL), 2),
        (msgspec.msgpack.encode([1, 2, 3]), 1),
        (b"", 1),
    ],
)
async def test_what_is_damaged_is_dropped_and_no_descriptor_is_left(
    octets: bytes, count: int
) -> None:
    ours, theirs = make_pair()
    heir = Heir(theirs)
    client, served = socket.socketpair()
    with ours, client, served:
        before = len(os.listdir("/proc/self/fd"))
        rights = array.array("i", [served.fileno()] * count)
        ancillary = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)] if count else []
        ours.sendmsg([octets], ancillary)
        sender = TransferSender(ours.dup())
        assert sender.send(SMALL, served.fileno())
        await wait_until(lambda: heir.got == [SMALL])
        sender.close()
        heir.connections.pop().close()
        assert len(os.listdir("/proc/self/fd")) == before
    heir.close()
