"""The two ends of a channel between processes of ours, and which socket is which.

Apart from ``channel.py``, so that the first process can be started before messages
are there: it imports the standard library only.
"""

import os
import socket


def make_pair() -> tuple[socket.socket, socket.socket]:
    """Make both ends of a channel; neither is inherited over exec."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def make_child_pair() -> tuple[socket.socket, socket.socket]:
    """Make the master's and the child's end of a channel.

    Each message comes with the credentials of its sender, which the kernel
    vouches for.
    """
    own, theirs = make_pair()
    own.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    return own, theirs


def name_socket(sock: socket.socket) -> tuple[int, int]:
    """Return what tells a socket from any other file; see ``is_still``."""
    found = os.fstat(sock.fileno())
    return found.st_dev, found.st_ino


def is_still(sock: socket.socket, name: tuple[int, int]) -> bool:
    """Whether its descriptor is still that socket, and was not closed by others.

    The number of one that was closed may be another file's by now, to which
    nothing of ours must be written.
    """
    try:
        return name_socket(sock) == name
    except OSError:
        return False
