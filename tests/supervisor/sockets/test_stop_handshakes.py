import socket
import threading
from collections.abc import Iterator

import pytest

from blazeio_supervisor.sockets.reuseport import stop_handshakes
from tests.support.clock import block_until, scaled


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket() as sock:
        sock.setblocking(False)
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        yield sock


def connect(listener: socket.socket) -> socket.socket:
    return socket.create_connection(listener.getsockname(), scaled(10))


@pytest.mark.slow
def test_a_late_client_is_refused_and_never_reset(listener: socket.socket) -> None:
    stop_handshakes(listener)
    caught: list[type[OSError]] = []

    def come_late() -> None:
        try:
            connect(listener).close()
        except OSError as error:
            caught.append(type(error))

    thread = threading.Thread(target=come_late)
    thread.start()
    with pytest.raises(BlockingIOError):
        listener.accept()
    listener.shutdown(socket.SHUT_RDWR)
    thread.join()
    assert caught == [ConnectionRefusedError]


def test_who_is_in_the_queue_is_accepted_and_served(listener: socket.socket) -> None:
    with connect(listener) as client:
        stop_handshakes(listener)
        accepted, _ = listener.accept()
        listener.shutdown(socket.SHUT_RDWR)
        with accepted:
            accepted.sendall(b"hello")
            assert client.recv(5) == b"hello"
            client.sendall(b"bye")
            assert accepted.recv(5) == b"bye"
            client.close()
            block_until(lambda: accepted.recv(5) == b"")


def test_a_unix_socket_is_left_as_it_is() -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        stop_handshakes(sock)
