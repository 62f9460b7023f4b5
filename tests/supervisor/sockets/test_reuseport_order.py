import socket
from collections.abc import Iterator
from random import Random

import pytest

from blazeio_supervisor.sockets.address import TcpAddress
from blazeio_supervisor.sockets.listeners import Listeners
from blazeio_supervisor.sockets.reuseport import pick_always, sort_by_order, steer


@pytest.fixture(params=["127.0.0.1", "127.0.0.2", "0.0.0.0", "::1", "::"])
def group(request: pytest.FixtureRequest) -> Iterator[list[socket.socket]]:
    listeners = Listeners(5)
    listeners.open(TcpAddress(request.param, 0))
    yield listeners.groups[0].sockets
    listeners.shut()


def has_waiting(sock: socket.socket) -> bool:
    try:
        sock.accept()[0].close()
    except BlockingIOError:
        return False
    return True


def empty(group: list[socket.socket]) -> None:
    for sock in group:
        while has_waiting(sock):
            pass


def test_the_order_is_found_whatever_order_they_come_in(
    group: list[socket.socket],
) -> None:
    mixed = group[:]
    Random(3).shuffle(mixed)
    assert sort_by_order(mixed) == group


def test_it_is_found_beside_connections_that_wait(group: list[socket.socket]) -> None:
    pick_always(group, 2)
    host, port = group[0].getsockname()[:2]
    clients = [socket.create_connection((host, port)) for _ in range(20)]
    assert sort_by_order(group[::-1]) == group
    for client in clients:
        client.close()


def test_a_hole_is_filled_by_the_last_one(group: list[socket.socket]) -> None:
    group[1].close()
    left = [group[0], group[4], group[2], group[3]]
    assert sort_by_order([group[0], group[2], group[3], group[4]]) == left
    steer(left, [0, 1, 0, 0])
    empty(left)
    host, port = left[0].getsockname()[:2]
    with socket.create_connection((host, port)):
        assert [has_waiting(sock) for sock in left] == [False, True, False, False]


def test_a_full_queue_cannot_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blazeio_supervisor.sockets.reuseport._CONNECT_S", 0.1)
    first, second = socket.socket(), socket.socket()
    clients = []
    for sock in (first, second):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.setblocking(False)
    first.bind(("127.0.0.1", 0))
    second.bind(first.getsockname())
    first.listen(0)
    second.listen(0)
    for index in (0, 1):
        pick_always([first], index)
        client = socket.socket()
        client.setblocking(False)
        client.connect_ex(first.getsockname())
        clients.append(client)
    assert sort_by_order([first, second]) is None
    for sock in (first, second, *clients):
        sock.close()
