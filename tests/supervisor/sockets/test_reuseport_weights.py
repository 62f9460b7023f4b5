import socket
from collections.abc import Iterator

import pytest

from blazeio_supervisor.sockets.address import TcpAddress
from blazeio_supervisor.sockets.listeners import Listeners
from blazeio_supervisor.sockets.reuseport import make_program, steer


@pytest.fixture
def group() -> Iterator[list[socket.socket]]:
    listeners = Listeners(4)
    listeners.open(TcpAddress("127.0.0.1", 0))
    yield listeners.groups[0].sockets
    listeners.shut()


def count_connections(group: list[socket.socket], count: int) -> list[int]:
    address = group[0].getsockname()
    counts = [0] * len(group)
    for _ in range(count):
        with socket.create_connection(address):
            for slot, sock in enumerate(group):
                try:
                    sock.accept()[0].close()
                except BlockingIOError:
                    continue
                counts[slot] += 1
    return counts


@pytest.mark.parametrize("slot", range(4))
def test_one_live_slot_gets_everything(group: list[socket.socket], slot: int) -> None:
    steer(group, [int(slot == each) for each in range(4)])
    assert count_connections(group, 20)[slot] == 20


def test_connections_follow_the_weights(group: list[socket.socket]) -> None:
    steer(group, [50, 0, 150, 100])
    first, none, most, middle = count_connections(group, 600)
    assert none == 0
    # Three standard deviations are 31, 35 and 37.
    assert abs(first - 100) < 45
    assert abs(most - 300) < 55
    assert abs(middle - 200) < 52


def test_no_weight_at_all_gives_the_draw_back_to_the_kernel(
    group: list[socket.socket],
) -> None:
    steer(group, [0, 1, 0, 0])
    steer(group, [0, 0, 0, 0])
    assert min(count_connections(group, 200)) > 0


def test_new_weights_replace_the_old_ones(group: list[socket.socket]) -> None:
    steer(group, [0, 1, 0, 0])
    steer(group, [0, 0, 1, 0])
    assert count_connections(group, 20) == [0, 0, 20, 0]


def test_a_lone_socket_is_no_group() -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        with pytest.raises(OSError, match="Invalid argument"):
            steer([sock], [1])


def test_the_program_of_256_slots_is_accepted_by_the_kernel() -> None:
    listeners = Listeners(256)
    listeners.open(TcpAddress("127.0.0.1", 0))
    try:
        steer(listeners.groups[0].sockets, [100] * 256)
    finally:
        listeners.shut()


def test_the_ladder_has_one_step_for_each_live_slot_but_the_last() -> None:
    program = make_program([10, 0, 20, 30])
    returns = [number for code, _, _, number in program if code == 0x06]
    borders = [number for code, _, _, number in program if code == 0x35]
    assert returns == [0, 2, 3]
    assert borders == [10, 30]
