"""What the kernel still holds of a stream socket, in octets."""

import fcntl
import select
import socket
import struct
import sys
import termios

_RESET = struct.pack("ii", 1, 0)
"""struct linger: on, for zero seconds."""


def unread_bytes(fd: int) -> int:
    """Received and not read by us yet (SIOCINQ)."""
    return _ask(fd, termios.FIONREAD)


def unsent_bytes(fd: int) -> int:
    """Written by us and not acknowledged by the peer yet (SIOCOUTQ)."""
    return _ask(fd, termios.TIOCOUTQ)


def has_hung_up(fd: int) -> bool:
    """Whether the peer has sent FIN or RST, or octets that wait to be read."""
    poll = select.poll()
    poll.register(fd, select.POLLIN | select.POLLRDHUP)
    return bool(poll.poll(0))


def reset_at_close(sock: socket.socket) -> None:
    """Let ``close`` send RST and drop what was not sent (socket(7), SO_LINGER)."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)


def _ask(fd: int, what: int) -> int:
    return int.from_bytes(fcntl.ioctl(fd, what, bytes(4)), sys.byteorder)
