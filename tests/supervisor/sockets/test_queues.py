import contextlib
import socket

import pytest

from blazeio_supervisor.ipc.messages import (
    ListenerInfo,
)
from blazeio_supervisor.sockets.reuseport import (
    AcceptQueue,
    Queue,
    list_sockets,
    list_terms,
    pair,
    read_queue,
    read_queues,
)


def make_listener(backlog: int) -> socket.socket:
    listener = socket.create_server(("127.0.0.1", 0), backlog=backlog)
    listener.setblocking(False)
    return listener


def test_what_waits_is_counted_and_what_is_accepted_is_not() -> None:
    with make_listener(16) as listener, contextlib.ExitStack() as peers:
        assert read_queue(listener) == AcceptQueue(0, 16)
        for _ in range(3):
            address = listener.getsockname()
            peers.enter_context(socket.create_connection(address))
        assert read_queue(listener) == AcceptQueue(3, 16)
        listener.accept()[0].close()
        assert read_queue(listener) == AcceptQueue(2, 16)


def test_the_queues_of_a_slot_are_added() -> None:
    with make_listener(16) as first, make_listener(8) as second:
        assert read_queues([first, second]) == AcceptQueue(0, 24)


def test_what_does_not_listen_has_no_queue() -> None:
    with socket.socket() as plain, socket.socket(socket.AF_UNIX) as unix:
        unix.bind("")
        unix.listen()
        assert read_queue(plain) is None
        assert read_queues([plain, unix]) is None
        assert read_queues([]) is None


def test_what_is_taken_apart_is_put_together_again() -> None:
    with socket.socket() as one, socket.socket() as two:
        queues = [Queue(one), Queue(two, ListenerInfo(is_shared=True, is_kept=True))]
        assert pair(list_sockets(queues), list_terms(queues)) == queues


def test_a_socket_without_terms_is_an_error() -> None:
    with socket.socket() as one, pytest.raises(ValueError, match="shorter"):
        pair([one], ())
