"""What the kernel still holds of a stream socket, in octets."""

import fcntl
import sys
import termios


def unread_bytes(fd: int) -> int:
    """Received and not read by us yet (SIOCINQ)."""
    return _ask(fd, termios.FIONREAD)


def unsent_bytes(fd: int) -> int:
    """Written by us and not acknowledged by the peer yet (SIOCOUTQ)."""
    return _ask(fd, termios.TIOCOUTQ)


def _ask(fd: int, what: int) -> int:
    return int.from_bytes(fcntl.ioctl(fd, what, bytes(4)), sys.byteorder)
