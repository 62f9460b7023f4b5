"""Who is at the other end of a unix socket, as the kernel saw it connect."""

import socket
import struct

from msgspec import Struct

_UCRED = struct.Struct("3i")


class Peer(Struct, frozen=True):
    """A process at the moment of its ``connect`` or ``listen``.

    Attributes:
        pid: 0 when it lives where our pids do not reach (a container).
    """

    pid: int
    uid: int


def read_peer(sock: socket.socket) -> Peer:
    """Ask the kernel (SO_PEERCRED); nobody can lie here."""
    octets = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    pid, uid, _ = _UCRED.unpack(octets)
    return Peer(pid, uid)
