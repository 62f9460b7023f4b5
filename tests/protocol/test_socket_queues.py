"""What the kernel says of a socket, checked with real ones."""

import socket
from collections.abc import Callable, Iterator

import pytest

from blazeio.protocol import kernel
from tests.support.clock import block_until

Pair = tuple[socket.socket, socket.socket]


@pytest.fixture(params=["unix", "tcp"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    if request.param == "unix":
        ours, theirs = socket.socketpair()
    else:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            theirs = socket.create_connection(listener.getsockname())
            ours, _ = listener.accept()
    with ours, theirs:
        yield ours, theirs


def repeat_until_blocked(call: Callable[[], object]) -> None:
    try:
        while True:
            call()
    except BlockingIOError:
        return


def test_unread_octets_are_counted(pair: Pair) -> None:
    ours, theirs = pair
    assert kernel.count_unread_bytes(ours.fileno()) == 0
    theirs.sendall(b"x" * 1000)
    block_until(lambda: kernel.count_unread_bytes(ours.fileno()) == 1000)
    ours.recv(400)
    assert kernel.count_unread_bytes(ours.fileno()) == 600


def test_unsent_octets_are_counted(pair: Pair) -> None:
    ours, theirs = pair
    ours.setblocking(False)
    theirs.setblocking(False)
    assert kernel.count_unsent_bytes(ours.fileno()) == 0
    repeat_until_blocked(lambda: ours.send(b"x" * 65536))
    before = kernel.count_unsent_bytes(ours.fileno())
    assert before > 0
    repeat_until_blocked(lambda: theirs.recv(65536))
    block_until(lambda: kernel.count_unsent_bytes(ours.fileno()) < before)


def test_a_reset_is_what_the_peer_sees(pair: Pair) -> None:
    ours, theirs = pair
    kernel.reset_at_close(ours)
    ours.close()
    if theirs.family == socket.AF_UNIX:  # it knows no reset
        assert theirs.recv(1) == b""
    else:
        with pytest.raises(ConnectionResetError):
            theirs.recv(1)
