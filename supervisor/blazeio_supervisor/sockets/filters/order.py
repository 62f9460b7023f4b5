"""In which order the kernel numbers the sockets of a group: found by trying.

A program that steers returns a number, which is the order in which the sockets
began to listen, with the last one moved into each hole that a close has left.
Of sockets that we did not open ourselves nobody can tell it. So the kernel is
told "number i" and one connection is made: it reached the queue that grew.
"""

import errno
import socket
from collections.abc import Sequence

from blazeio_supervisor.sockets.filters.draw import draw_evenly, pick_always
from blazeio_supervisor.sockets.queues import read_queue

_CONNECT_S = 1.0
_TRIES = 2
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def sort_by_order(sockets: Sequence[socket.socket]) -> list[socket.socket] | None:
    """Sort the sockets of one address as the kernel numbers them.

    Each gets a connection that is over at once. Nobody may accept meanwhile.

    Returns:
        None when it cannot be told: the kernel takes no program, a queue is
        full, or a firewall forbids to connect to ourselves.
    """
    try:
        for _ in range(_TRIES):
            found = [_find(sockets, index) for index in range(len(sockets))]
            if sorted(found) == list(range(len(sockets))):
                return [sockets[at] for at in found]
    except OSError:
        pass
    finally:
        draw_evenly(sockets[0])
    return None  # a handshake under way has ended elsewhere, twice


def _find(sockets: Sequence[socket.socket], index: int) -> int:
    """Find the socket that the kernel calls by this number."""
    pick_always(sockets[0], index)
    before = [_count_queued(sock) for sock in sockets]
    host, port = sockets[0].getsockname()[:2]
    address = (_ANYWHERE.get(host, host), port)
    socket.create_connection(address, timeout=_CONNECT_S).close()
    grown = [
        _count_queued(sock) - count for sock, count in zip(sockets, before, strict=True)
    ]
    return grown.index(max(grown))


def _count_queued(sock: socket.socket) -> int:
    queue = read_queue(sock)
    if queue is None:
        raise OSError(errno.EINVAL, "it listens no more")
    return queue.length
