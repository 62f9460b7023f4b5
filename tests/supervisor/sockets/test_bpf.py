import socket

import pytest

from blazeio_supervisor.sockets.reuseport import attach
from tests.support.users import need_filters

SO_ATTACH_FILTER = 26
KEEP_NOTHING = (0x06, 0, 0, 0)


def test_an_attached_program_runs_in_the_place_of_an_earlier_one() -> None:
    own, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with own, theirs:
        theirs.setblocking(False)
        attach(theirs, SO_ATTACH_FILTER, [KEEP_NOTHING])
        own.send(b"lost")
        attach(theirs, SO_ATTACH_FILTER, [(0x06, 0, 0, 3)])
        own.send(b"kept")
        assert theirs.recv(10) == b"kep"


def test_a_program_that_does_not_end_is_refused() -> None:
    need_filters()
    with socket.socket() as sock, pytest.raises(OSError, match="Invalid argument"):
        attach(sock, SO_ATTACH_FILTER, [(0x30, 0, 0, 0)])
