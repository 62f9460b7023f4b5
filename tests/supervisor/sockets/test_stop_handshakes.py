import socket
import threading
import time
from collections.abc import Iterator

import pytest

from blazeio_supervisor.sockets.reuseport import (
    begin_handshakes,
    drop_handshakes,
    stop_handshakes,
)
from tests.support.clock import block_until, scaled
from tests.support.users import need_filters, need_root


@pytest.fixture(params=["127.0.0.1", "::1"])
def listener(request: pytest.FixtureRequest) -> Iterator[socket.socket]:
    family = socket.AF_INET6 if ":" in request.param else socket.AF_INET
    with socket.socket(family) as sock:
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind((request.param, 0))
        sock.listen()
        yield sock


def connect(listener: socket.socket) -> socket.socket:
    host, port, *_ = listener.getsockname()
    return socket.create_connection((host, port), scaled(10))


def test_a_late_client_is_refused_at_once(listener: socket.socket) -> None:
    stop_handshakes(listener)
    began_at = time.monotonic()
    with pytest.raises(ConnectionRefusedError):
        connect(listener)
    assert time.monotonic() - began_at < 0.5


def test_of_a_group_each_socket_refuses(listener: socket.socket) -> None:
    with socket.socket(listener.family) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(listener.getsockname())
        other.listen()
        stop_handshakes(listener)
        stop_handshakes(other)
        for _ in range(20):
            with pytest.raises(ConnectionRefusedError):
                connect(listener)


def has_filter(sock: socket.socket) -> bool:
    return bool(sock.getsockopt(socket.SOL_SOCKET, 26, 100))  # SO_GET_FILTER


def is_bound_to_device(sock: socket.socket) -> bool:
    return bool(sock.getsockopt(socket.SOL_SOCKET, 62))  # SO_BINDTOIFINDEX


def test_a_listener_has_its_device_until_handshakes_begin(
    listener: socket.socket,
) -> None:
    need_root()  # others bind one, and do not let go of it (socket(7))
    stop_handshakes(listener)
    assert is_bound_to_device(listener)
    assert not has_filter(listener)
    begin_handshakes(listener)
    assert not is_bound_to_device(listener)
    connect(listener).close()


def test_a_listener_has_the_filter_until_handshakes_begin(
    listener: socket.socket,
) -> None:
    need_filters()
    begin_handshakes(listener)  # there was none
    drop_handshakes(listener)
    assert has_filter(listener)
    begin_handshakes(listener)
    assert not has_filter(listener)


def test_a_unix_socket_has_no_handshakes() -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind("")
        sock.listen()
        stop_handshakes(sock)
        assert not has_filter(sock)
        assert not is_bound_to_device(sock)


@pytest.mark.slow
def test_where_no_device_can_be_bound_a_late_client_is_refused_later(
    listener: socket.socket,
) -> None:
    """As it was before Linux 5.7: it is dropped first, and never reset."""
    need_filters()
    drop_handshakes(listener)
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
