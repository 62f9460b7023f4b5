import contextlib
import socket
from collections.abc import Iterator

import pytest

from blazeio_supervisor.errors import BindError
from blazeio_supervisor.ipc.messages import (
    ListenerInfo,
)
from blazeio_supervisor.sockets.address import TcpEndpoint
from blazeio_supervisor.sockets.bind import open_first
from blazeio_supervisor.sockets.listeners import (
    TcpGroup,
    inherit_group,
    open_group,
)
from blazeio_supervisor.sockets.reuseport import read_queue

ANY = TcpEndpoint(socket.AF_INET, "127.0.0.1", 0)


@pytest.fixture
def group() -> Iterator[TcpGroup]:
    made = open_group(ANY, 3)
    yield made
    for sock in made.sockets:
        sock.close()


def test_each_slot_has_its_own(group: TcpGroup) -> None:
    queues = [group.queue_of(slot, 3) for slot in range(3)]
    assert [queue.sock for queue in queues] == group.sockets
    assert {queue.terms for queue in queues} == {ListenerInfo()}


def test_slots_beyond_the_sockets_share_them(group: TcpGroup) -> None:
    queues = [group.queue_of(slot, 5) for slot in range(5)]
    assert [group.sockets.index(queue.sock) for queue in queues] == [0, 1, 2, 0, 1]
    assert {queue.terms for queue in queues} == {ListenerInfo(is_shared=True)}


def test_what_is_kept_is_lent_and_what_is_added_is_our_own(group: TcpGroup) -> None:
    kept = inherit_group(group.endpoint, group.sockets, is_fixed=False)
    assert kept.sockets == group.sockets
    assert kept.own == []
    kept.grow(4)
    assert [kept.queue_of(slot, 4).terms.is_kept for slot in range(4)] == [
        *[True] * 3,
        False,
    ]
    assert kept.own == kept.sockets[3:]
    kept.own[0].close()


@pytest.mark.parametrize("count", [2, 3])
def test_sockets_that_come_in_another_order_are_sorted(count: int) -> None:
    group = open_group(ANY, count)
    kept = inherit_group(group.endpoint, group.sockets[::-1], is_fixed=True)
    assert (kept.sockets, kept.is_ordered, kept.is_fixed) == (group.sockets, True, True)
    for sock in group.sockets:
        sock.close()


def test_nothing_connects_to_a_socket_that_is_alone() -> None:
    with open_first(ANY) as sock:
        assert inherit_group(ANY, [sock], is_fixed=True).is_ordered
        queue = read_queue(sock)
        assert queue is not None
        assert queue.length == 0


def test_one_that_was_lost_before_hides_no_other() -> None:
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(4)]
        group = TcpGroup(ANY, sockets, ranks=[1, 2, 3])
        group.note_lost([0, 2])
        assert group.ranks == [1, 3]
        assert not group.is_ordered


def test_to_what_somebody_else_has_opened_nothing_is_added() -> None:
    with open_first(ANY) as sock:
        group = inherit_group(ANY, [sock], is_fixed=True)
        group.grow(3)
        assert group.sockets == [sock]


def test_sockets_of_another_user_are_shared() -> None:
    with socket.socket() as sock:  # without SO_REUSEPORT nobody can join, either
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        group = inherit_group(ANY, [sock], is_fixed=False)
        with pytest.raises(BindError):
            group.grow(3)
        assert group.queue_of(2, 3).terms == ListenerInfo(is_shared=True, is_kept=True)
