import socket
from pathlib import Path

import pytest

from blazeio_supervisor.sockets import listeners as listeners_module
from blazeio_supervisor.sockets.address import TcpAddress, UnixAddress
from blazeio_supervisor.sockets.bind import identify_path
from blazeio_supervisor.sockets.listeners import (
    Dead,
    Listeners,
    TcpGroup,
    find_dead,
    renew,
)
from blazeio_supervisor.sockets.reuseport import (
    attach,
    draw_evenly,
    drop_handshakes,
    pick_always,
    read_queue,
    steer,
)
from tests.supervisor.sockets.test_reuseport_weights import count_connections
from tests.support.users import NOBODY, need_filters, need_root

BACKLOG = 16
SO_ATTACH_REUSEPORT_CBPF = 51


def open_listeners(count: int) -> Listeners:
    listeners = Listeners(count)
    listeners.open(TcpAddress("127.0.0.1", 0))
    return listeners


def shut(listeners: Listeners, *places: int) -> None:
    for place in places:
        # A dup, as whoever has been forked has one.
        with listeners.groups[0].sockets[place].dup() as sock:
            sock.shutdown(socket.SHUT_RDWR)


def reach(listeners: Listeners, number: int) -> int:
    """The place of the socket that the kernel calls by this number."""
    group = listeners.groups[0]
    pick_always(group.sockets, number)
    socket.create_connection((group.endpoint.host, group.endpoint.port)).close()
    queues = [read_queue(sock) for sock in group.sockets]
    assert all(queue is not None for queue in queues)
    (place,) = (at for at, queue in enumerate(queues) if queue and queue.length)
    group.sockets[place].accept()[0].close()
    return place


@pytest.mark.parametrize("dead", [[0], [1], [3], [0, 1, 2, 3]])
def test_who_was_shut_down_listens_again_and_its_number_is_known(
    dead: list[int],
) -> None:
    listeners = open_listeners(4)
    group = listeners.groups[0]
    shut(listeners, *dead)
    assert find_dead(group.sockets) == [group.sockets[at] for at in dead]
    renewed, failures = renew(listeners, BACKLOG)
    assert not failures
    assert [each.slots for each in renewed] == [frozenset([at]) for at in dead]
    assert not find_dead(group.sockets)
    assert group.is_ordered
    found = [reach(listeners, number) for number in range(4)]
    assert found == group.list_ranks()
    # Of one more, and of one more that dies, likewise.
    listeners.open_slot(4)
    shut(listeners, 2)
    renew(listeners, BACKLOG)
    assert [reach(listeners, number) for number in range(5)] == group.list_ranks()
    listeners.shut()


def test_of_several_at_once_nobody_knows_the_order() -> None:
    listeners = open_listeners(4)
    shut(listeners, 1, 2)
    assert len(renew(listeners, BACKLOG)[0]) == 2
    assert not listeners.groups[0].is_ordered
    listeners.shut()


def test_one_that_held_off_handshakes_lets_them_begin_again() -> None:
    need_filters()
    listeners = open_listeners(1)
    drop_handshakes(listeners.groups[0].sockets[0])
    shut(listeners, 0)
    renew(listeners, BACKLOG)
    endpoint = listeners.groups[0].endpoint
    socket.create_connection((endpoint.host, endpoint.port), timeout=0.5).close()
    listeners.shut()


def test_a_port_that_somebody_has_taken_meanwhile_is_a_failure() -> None:
    listeners = open_listeners(1)
    endpoint = listeners.groups[0].endpoint
    shut(listeners, 0)
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind((endpoint.host, endpoint.port))
        other.listen()
        renewed, failures = renew(listeners, BACKLOG)
    assert not renewed
    assert failures == [f"http://127.0.0.1:{endpoint.port}: Address already in use"]
    assert len(renew(listeners, BACKLOG)[0]) == 1
    listeners.shut()


@pytest.mark.parametrize("dead", [0, 1])
def test_steering_goes_past_one_that_is_shut_down(dead: int) -> None:
    listeners = open_listeners(3)
    group = listeners.groups[0]
    before = group.sockets[:]
    shut(listeners, dead)
    steer(group.sockets, [1, 1, 1])
    draw_evenly(group.sockets)
    steer(group.sockets, [1, 1, 0])
    assert len(renew(listeners, BACKLOG)[0]) == 1
    assert group.sockets == before
    listeners.shut()


def test_the_draw_is_given_back_past_one_that_is_shut_down() -> None:
    listeners = open_listeners(3)
    group = listeners.groups[0]
    shut(listeners, 0)
    steer(group.sockets, [0, 1, 0])
    assert count_connections(group.sockets[1:], 20) == [20, 0]
    draw_evenly(group.sockets)
    assert min(count_connections(group.sockets[1:], 100)) > 0
    listeners.shut()


def test_those_that_are_all_shut_down_are_not_steered() -> None:
    listeners = open_listeners(2)
    shut(listeners, 0, 1)
    steer(listeners.groups[0].sockets, [1, 1])
    assert len(renew(listeners, BACKLOG)[0]) == 2
    listeners.shut()


@pytest.mark.parametrize("dead", [0, 1])
def test_one_that_the_kernel_has_put_aside_is_replaced(dead: int) -> None:
    listeners = open_listeners(3)
    group = listeners.groups[0]
    sock = group.sockets[dead]
    shut(listeners, dead)
    attach(sock, SO_ATTACH_REUSEPORT_CBPF, [(0x06, 0, 0, 0)])  # in that instant
    renewed, failures = renew(listeners, BACKLOG)
    assert not failures
    assert [each.slots for each in renewed] == [frozenset([dead])]
    assert sock.fileno() == -1
    assert not find_dead(group.sockets)
    queue = read_queue(group.sockets[dead])
    assert queue is not None
    assert queue.limit == BACKLOG
    assert [reach(listeners, number) for number in range(3)] == group.list_ranks()
    listeners.shut()


@pytest.mark.parametrize(("kept_count", "is_fixed"), [(1, False), (0, True)])
def test_one_that_others_hold_too_is_not_replaced(
    kept_count: int, is_fixed: bool
) -> None:
    listeners = open_listeners(2)
    group = listeners.groups[0]
    shut(listeners, 0)
    attach(group.sockets[0], SO_ATTACH_REUSEPORT_CBPF, [(0x06, 0, 0, 0)])
    group.kept_count, group.is_fixed = kept_count, is_fixed
    renewed, (failure,) = renew(listeners, BACKLOG)
    assert not renewed
    assert failure.endswith(": Address already in use")
    group.kept_count, group.is_fixed = 0, False
    listeners.shut()


def test_one_that_cannot_listen_again_holds_up_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listeners = open_listeners(3)
    shut(listeners, 0, 1)

    def fail_first(group: TcpGroup, at: int, backlog: int) -> None:
        if at == 0:
            raise OSError(1, "not this one")
        listen_again(group, at, backlog)

    listen_again = listeners_module._listen_again
    monkeypatch.setattr(listeners_module, "_listen_again", fail_first)
    renewed, failures = renew(listeners, BACKLOG)
    assert [each.slots for each in renewed] == [frozenset([1])]
    assert [each.partition(": ")[2] for each in failures] == ["not this one"]
    listeners.shut()


def test_another_unix_socket_takes_the_path(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    listeners = Listeners(2)
    listeners.open(UnixAddress(path))
    with listeners.unix[0].sock.dup() as sock:
        sock.shutdown(socket.SHUT_RDWR)
    ((dead,), failures) = renew(listeners, BACKLOG)
    assert find_dead([listeners.unix[0].sock]) == []
    assert (dead.address, dead.slots, failures) == (f"unix:{path}", None, [])
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
    listeners.shut()
    assert not Path(path).exists()


def test_it_has_the_owner_and_the_queue_that_were_asked_for(tmp_path: Path) -> None:
    need_root()
    path = tmp_path / "socket"
    listeners = Listeners(1, unix_owner=(NOBODY, NOBODY), backlog=0)
    listeners.open(UnixAddress(str(path)))
    for _ in range(2):
        assert (path.stat().st_uid, path.stat().st_gid) == (NOBODY, NOBODY)
        with (
            socket.socket(socket.AF_UNIX) as first,
            socket.socket(socket.AF_UNIX) as second,
        ):
            first.connect(str(path))
            second.setblocking(False)
            with pytest.raises(BlockingIOError):
                second.connect(str(path))
        with listeners.unix[0].sock.dup() as sock:
            sock.shutdown(socket.SHUT_RDWR)
        assert not renew(listeners, 0)[1]
    listeners.shut()


def test_a_unix_path_that_cannot_be_made_again_is_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "socket"
    path.parent.mkdir()
    listeners = Listeners(1)
    listeners.open(UnixAddress(str(path)))
    with listeners.unix[0].sock.dup() as sock:
        sock.shutdown(socket.SHUT_RDWR)
    path.unlink()
    path.parent.rmdir()
    renewed, (failure,) = renew(listeners, BACKLOG)
    assert not renewed
    assert failure == f"cannot bind unix:{path}: No such file or directory"
    listeners.shut()


def test_a_unix_path_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    listeners = Listeners(1)
    listeners.open(UnixAddress(str(path)))
    with listeners.unix[0].sock.dup() as sock:
        sock.shutdown(socket.SHUT_RDWR)
    path.unlink()
    path.write_text("theirs")
    assert renew(listeners, BACKLOG)[1] == [
        f"unix:{path}: its path is another file by now"
    ]
    assert path.read_text() == "theirs"
    listeners.shut()


def test_a_unix_socket_whose_path_was_removed_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    listeners = Listeners(1)
    listeners.open(UnixAddress(str(path)))
    assert renew(listeners, BACKLOG) == ([], [])
    path.unlink()
    assert renew(listeners, BACKLOG) == ([Dead(f"unix:{path}", is_unlinked=True)], [])
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
    assert renew(listeners, BACKLOG) == ([], [])
    listeners.shut()


def test_a_unix_socket_whose_folder_was_removed_is_a_failure_until_it_is_back(
    tmp_path: Path,
) -> None:
    path = tmp_path / "folder" / "socket"
    path.parent.mkdir()
    listeners = Listeners(1)
    listeners.open(UnixAddress(str(path)))
    path.unlink()
    path.parent.rmdir()
    failure = f"cannot bind unix:{path}: No such file or directory"
    assert renew(listeners, BACKLOG) == ([], [failure])
    path.parent.mkdir()
    assert len(renew(listeners, BACKLOG)[0]) == 1
    listeners.shut()


def test_a_path_that_was_removed_and_taken_by_another_is_left_alone(
    tmp_path: Path,
) -> None:
    path = tmp_path / "socket"
    listeners = Listeners(1)
    listeners.open(UnixAddress(str(path)))
    path.unlink()
    path.write_text("theirs")
    assert renew(listeners, BACKLOG) == ([], [])
    assert path.read_text() == "theirs"
    listeners.shut()


def test_a_removed_path_that_is_not_ours_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    listeners = Listeners(1)
    listeners.open(UnixAddress(str(path)))
    listeners.unix[0].is_kept = True
    path.unlink()
    assert renew(listeners, BACKLOG) == ([], [])
    listeners.shut()


def test_a_path_that_was_gone_as_soon_as_it_was_made_is_made_anew(
    tmp_path: Path,
) -> None:
    path = tmp_path / "socket"
    listeners = Listeners(1)
    listeners.open(UnixAddress(str(path)))
    listeners.unix[0].identity = None  # nobody saw which file it was
    path.unlink()
    assert len(renew(listeners, BACKLOG)[0]) == 1
    assert listeners.unix[0].identity == identify_path(str(path))
    listeners.shut()


def test_a_path_that_cannot_be_looked_up_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "socket"
    path.parent.mkdir()
    listeners = Listeners(1)
    listeners.open(UnixAddress(str(path)))
    path.unlink()
    path.parent.rmdir()
    path.parent.write_text("no folder any more")
    sock = listeners.unix[0].sock
    assert renew(listeners, BACKLOG) == ([], [])
    listeners.shut()
    assert sock.fileno() == -1
