import os
import socket

from blazeio_supervisor.ipc.socket_paths import Peer, read_peer


def test_the_kernel_tells_who_connected() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert read_peer(one) == Peer(os.getpid(), os.geteuid())
