"""Ending a TCP listener without resetting anybody.

Whatever sits in a queue when its socket is closed is reset, and between the last
``accept`` and the close there is always room for one more connection. So the
first packet of each new one is dropped beforehand: its client sends it again
after a second, and is then refused in the ordinary way. Handshakes under way go
on, since only packets with SYN and without ACK are dropped.
"""

import socket

from blazeio_supervisor.sockets.filters.bpf import Instruction, attach

HANDSHAKE_S = 0.1
"""Those under way are whole after this, from most places."""

_SO_ATTACH_FILTER = 26
_SO_DETACH_FILTER = 27
_FLAGS = 13  # the octet of the TCP header
_SYN, _ACK = 0x02, 0x10
_PROGRAM: list[Instruction] = [
    (0x30, 0, 0, _FLAGS),  # load this octet
    (0x54, 0, 0, _SYN | _ACK),  # and
    (0x15, 0, 1, _SYN),  # is it SYN alone
    (0x06, 0, 0, 0),  # keep nothing
    (0x06, 0, 0, 0xFFFFFFFF),  # keep all
]


def stop_handshakes(sock: socket.socket) -> None:
    """Let no new connection begin on this listener, whoever else holds it.

    A unix socket has no handshake: its path is removed instead.

    Raises:
        OSError: The kernel refused.
    """
    if sock.family != socket.AF_UNIX:
        attach(sock, _SO_ATTACH_FILTER, _PROGRAM)


def begin_handshakes(sock: socket.socket) -> None:
    """Let connections begin again; where none were held off: nothing."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
    except OSError:
        pass  # there was no filter
