"""Queues of connections: how a worker gets one, and how long it is.

Of a listening TCP socket ``tcpi_unacked`` is the length of its queue, and
``tcpi_sacked`` the most that it holds. For unix sockets there is no such count.
"""

import socket
import struct
from collections.abc import Sequence

from msgspec import Struct, field

from blazeio_supervisor.process.messages import ListenerInfo

_COUNTS = struct.Struct("=24xII")  # tcpi_unacked, tcpi_sacked of struct tcp_info
_STATE_LISTEN = 10


class Queue(Struct, frozen=True):
    """A listener, with its terms."""

    sock: socket.socket
    terms: ListenerInfo = field(default_factory=ListenerInfo)


def pair(
    sockets: Sequence[socket.socket], terms: Sequence[ListenerInfo]
) -> list[Queue]:
    """Put together what came beside each other in a message."""
    return [Queue(sock, its) for sock, its in zip(sockets, terms, strict=True)]


def list_sockets(queues: Sequence[Queue]) -> list[socket.socket]:
    """Take them apart for a message: what goes as descriptors."""
    return [queue.sock for queue in queues]


def list_terms(queues: Sequence[Queue]) -> tuple[ListenerInfo, ...]:
    """The same: what goes as octets."""
    return tuple(queue.terms for queue in queues)


class AcceptQueue(Struct, frozen=True):
    """One queue, or several as one.

    Attributes:
        length: Connections that wait.
        limit: When so many wait, new ones are turned away.
    """

    length: int
    limit: int


def read_queue(sock: socket.socket) -> AcceptQueue | None:
    """Look at a listening TCP socket; None: it listens no more.

    Cost: one system call, 1 us.
    """
    try:
        octets = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _COUNTS.size)
    except OSError:
        return None
    if octets[:1] != bytes([_STATE_LISTEN]):
        return None
    return AcceptQueue(*_COUNTS.unpack(octets))


def read_queues(sockets: Sequence[socket.socket]) -> AcceptQueue | None:
    """Look at all queues of a slot; None: it has none of its own."""
    queues = [queue for sock in sockets if (queue := read_queue(sock)) is not None]
    if not queues:
        return None
    lengths, limits = zip(*((each.length, each.limit) for each in queues), strict=True)
    return AcceptQueue(sum(lengths), sum(limits))
