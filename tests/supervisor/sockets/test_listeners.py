import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from blazeio_supervisor.errors import BindError
from blazeio_supervisor.sockets import listeners as module
from blazeio_supervisor.sockets.address import TcpAddress, TcpEndpoint, UnixAddress
from blazeio_supervisor.sockets.bind import (
    InheritedSocket,
    ListenAddress,
    name_for_store,
    open_first,
    take_inherited,
)
from blazeio_supervisor.sockets.listeners import Listeners
from blazeio_supervisor.sockets.reuseport import read_queue
from tests.supervisor.copies import copy
from tests.support.clock import block_until

TCP = TcpAddress("127.0.0.1", 0)


@pytest.fixture
def listeners() -> Iterator[Listeners]:
    made = Listeners(3)
    yield made
    made.shut()


def connect(listeners: Listeners, count: int) -> list[socket.socket]:
    address = listeners.groups[0].sockets[0].getsockname()
    return [socket.create_connection(address) for _ in range(count)]


def accept_all(sock: socket.socket) -> int:
    count = 0
    while True:
        try:
            sock.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


def close_all(sockets: list[socket.socket]) -> None:
    for sock in sockets:
        sock.close()


def test_each_slot_has_a_queue_of_its_own_at_one_port(listeners: Listeners) -> None:
    listeners.open(TCP)
    clients = connect(listeners, 120)
    queues = [listeners.queue_of(slot) for slot in range(3)]
    counts = [accept_all(listeners.own_of(slot)[0].sock) for slot in range(3)]
    close_all(clients)
    assert sum(counts) == 120
    assert [queue and queue.length for queue in queues] == counts
    assert listeners.queue_of(3) is None
    assert min(counts) > 0


def test_a_port_that_was_picked_is_shown(listeners: Listeners) -> None:
    listeners.open(TCP)
    port = listeners.groups[0].sockets[0].getsockname()[1]
    assert listeners.addresses == [f"http://127.0.0.1:{port}"]
    assert listeners.mode == "a queue per slot"


def test_a_name_of_two_families_has_one_port(listeners: Listeners) -> None:
    listeners.open(TcpAddress("localhost", 0))
    assert len({group.endpoint.port for group in listeners.groups}) == 1


def test_a_new_slot_gets_sockets_and_its_share(listeners: Listeners) -> None:
    listeners.open(TCP)
    listeners.open_slot(4)
    clients = connect(listeners, 200)
    counts = [accept_all(listeners.own_of(slot)[0].sock) for slot in range(5)]
    close_all(clients)
    assert sum(counts) == 200
    assert min(counts) > 0


def test_a_slot_that_exists_is_not_opened_twice(listeners: Listeners) -> None:
    listeners.open(TCP)
    before = listeners.own_of(1)
    listeners.open_slot(1)
    assert listeners.own_of(1) == before
    assert len(listeners.groups[0].sockets) == 3


def test_a_slot_that_was_asked_for_before_any_address_has_sockets_later(
    listeners: Listeners,
) -> None:
    listeners.open_slot(3)
    assert not listeners.is_bound
    listeners.open(TCP)
    assert len(listeners.own_of(3)) == 1


def test_a_unix_socket_is_shared_by_all_slots(
    listeners: Listeners, tmp_path: Path
) -> None:
    listeners.open(UnixAddress(str(tmp_path / "s")))
    assert listeners.mode == "one shared queue"
    assert listeners.all_of(0) == listeners.all_of(2)
    assert listeners.own_of(0) == []


def test_what_was_opened_of_a_name_is_closed_when_the_rest_fails(
    listeners: Listeners,
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        count = len(os.listdir("/proc/self/fd"))
        with pytest.raises(BindError):
            listeners.open(TcpAddress("localhost", taken.getsockname()[1]))
        assert len(os.listdir("/proc/self/fd")) == count
    assert not listeners.is_bound


def test_one_port_is_picked_for_all_addresses_of_a_name(
    listeners: Listeners, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = [
        TcpEndpoint(socket.AF_INET, host, 0)
        for host in ("127.0.0.1", "127.0.0.2", "127.0.0.3")
    ]
    monkeypatch.setattr(module, "resolve", lambda _: found)
    listeners.open(TCP)
    assert [group.endpoint.host for group in listeners.groups] == [
        endpoint.host for endpoint in found
    ]
    assert len({group.endpoint.port for group in listeners.groups}) == 1


def test_each_address_has_the_port_that_it_asks_for(
    listeners: Listeners, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        open_first(TcpEndpoint(socket.AF_INET, "127.0.0.1", 0)) as one,
        open_first(TcpEndpoint(socket.AF_INET, "127.0.0.2", 0)) as two,
    ):
        found = [
            TcpEndpoint(socket.AF_INET, *sock.getsockname()) for sock in (one, two)
        ]
    monkeypatch.setattr(module, "resolve", lambda _: found)
    listeners.open(TCP)
    assert [group.endpoint for group in listeners.groups] == found


def test_how_connections_are_spread_is_told(
    listeners: Listeners, tmp_path: Path
) -> None:
    assert not listeners.is_bound
    listeners.open(TCP)
    assert listeners.is_bound
    assert (listeners.has_own_queues, listeners.has_shared_queues) == (True, False)
    listeners.open(UnixAddress(str(tmp_path / "s")))
    assert (listeners.has_own_queues, listeners.has_shared_queues) == (True, True)
    assert listeners.mode == "a queue per slot (unix: one shared queue)"
    only = Listeners(1)
    only.open(UnixAddress(str(tmp_path / "t")))
    assert only.is_bound
    assert (only.has_own_queues, only.has_shared_queues) == (False, True)
    only.shut()


def test_slots_without_a_queue_of_their_own_are_said(
    listeners: Listeners, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as sock:  # without SO_REUSEPORT nobody can join
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        place = TcpEndpoint(socket.AF_INET, *sock.getsockname())
        listeners.inherit([InheritedSocket(sock, place, "", is_stored=True)])
        listeners.open(TcpAddress(place.host, place.port))
        assert (listeners.has_own_queues, listeners.has_shared_queues) == (False, True)
        (said,) = caplog.records
        assert said.levelname == "WARNING"
        assert "event=queues_shared some slots share a queue" in caplog.text
        listeners.shut()


def test_an_unknown_host_cannot_be_bound(listeners: Listeners) -> None:
    with pytest.raises(BindError, match=r"cannot bind http://no-such\.invalid:80"):
        listeners.open(TcpAddress("no-such.invalid", 80))


def test_a_shut_slot_gets_no_more_connections(listeners: Listeners) -> None:
    listeners.open(TCP)
    listeners.shut_slots_except({1})
    clients = connect(listeners, 20)
    assert accept_all(listeners.own_of(1)[0].sock) == 20
    close_all(clients)


def test_shut_means_refused_even_while_somebody_holds_a_dup(
    listeners: Listeners,
) -> None:
    listeners.open(TCP)
    address = listeners.own_of(0)[0].sock.getsockname()
    dups = [listeners.own_of(slot)[0].sock.dup() for slot in range(3)]
    listeners.shut()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
    close_all(dups)


def test_a_unix_path_is_removed_at_the_end(
    listeners: Listeners, tmp_path: Path
) -> None:
    listeners.open(UnixAddress(str(tmp_path / "s")))
    listeners.shut()
    assert not (tmp_path / "s").exists()


def test_the_unix_path_of_a_later_service_is_left(
    listeners: Listeners, tmp_path: Path
) -> None:
    listeners.open(UnixAddress(str(tmp_path / "s")))
    (tmp_path / "s").unlink()
    (tmp_path / "s").write_text("a later one")
    listeners.unlink()
    assert (tmp_path / "s").exists()


def test_a_queue_outlives_whoever_accepted_from_it(listeners: Listeners) -> None:
    listeners.open(TCP)
    dups = [listeners.own_of(slot)[0].sock.dup() for slot in range(3)]
    clients = connect(listeners, 30)
    close_all(dups)
    counts = [accept_all(listeners.own_of(slot)[0].sock) for slot in range(3)]
    block_until(lambda: sum(counts) == 30)
    close_all(clients)


def test_a_copy_goes_on_with_the_same_queues(
    listeners: Listeners, tmp_path: Path
) -> None:
    listeners.open(TCP)
    listeners.open(UnixAddress(str(tmp_path / "a.sock")))
    listeners.scheme = "https"
    clients = connect(listeners, 6)
    later = copy(listeners)
    assert later.addresses == listeners.addresses
    assert [len(later.all_of(slot)) for slot in range(3)] == [2, 2, 2]
    accepted = 0

    def are_all_accepted() -> bool:
        nonlocal accepted
        accepted += sum(accept_all(sock) for sock in later.groups[0].sockets)
        return accepted == len(clients)

    block_until(are_all_accepted)
    close_all(clients)
    later.open_slot(3)
    assert len(later.own_of(3)) == 1
    later.shut()
    assert not (tmp_path / "a.sock").exists()


def test_each_queue_has_the_length_that_was_asked_for() -> None:
    listeners = Listeners(2, backlog=7)
    listeners.open(TCP)
    listeners.open_slot(2)
    for slot in range(3):
        queue = read_queue(listeners.own_of(slot)[0].sock)
        assert queue is not None
        assert queue.limit == 7
    listeners.shut()


def test_a_unix_socket_has_the_mode_that_was_asked_for(tmp_path: Path) -> None:
    listeners = Listeners(1, unix_mode=0o600)
    listeners.open(UnixAddress(str(tmp_path / "s")))
    listeners.open(UnixAddress(str(tmp_path / "s")))  # it is open
    assert len(listeners.unix) == 1
    assert (tmp_path / "s").stat().st_mode & 0o777 == 0o600
    listeners.shut()


def inherit(earlier: Listeners) -> list[InheritedSocket]:
    """What a manager would hand to the next start, having kept everything."""
    list(earlier.mark_kept(99))
    kept: list[tuple[socket.socket, ListenAddress]] = [
        *((sock, group.endpoint) for group in earlier.groups for sock in group.sockets),
        *((listener.sock, listener.address) for listener in earlier.unix),
    ]
    fds = [(os.dup(sock.fileno()), name_for_store(place)) for sock, place in kept]
    earlier.shut()
    return take_inherited(fds)


@pytest.fixture
def later() -> Iterator[Listeners]:
    made = Listeners(3)
    yield made
    made.shut()


def test_a_kept_address_is_opened_with_its_queues_and_who_waits_in_them(
    listeners: Listeners, later: Listeners
) -> None:
    listeners.open(TCP)
    endpoint = listeners.groups[0].endpoint
    clients = connect(listeners, 30)
    later.inherit(inherit(listeners))
    assert not later.is_bound  # nobody has asked for it yet
    later.open(TcpAddress(endpoint.host, endpoint.port))
    assert later.groups[0].endpoint == endpoint
    assert sum(accept_all(later.own_of(slot)[0].sock) for slot in range(3)) >= 30
    assert [queue.terms.is_kept for queue in later.all_of(0)] == [True]
    close_all(clients)


def test_kept_queues_that_are_too_few_get_more_and_too_many_stay(
    listeners: Listeners,
) -> None:
    listeners.open(TCP)
    endpoint = listeners.groups[0].endpoint
    more, fewer = Listeners(5), Listeners(1)
    more.inherit(inherit(listeners))
    more.open(TcpAddress(endpoint.host, endpoint.port))
    assert len(more.groups[0].sockets) == more.slot_count == 5
    fewer.inherit(inherit(more))
    fewer.open(TcpAddress(endpoint.host, endpoint.port))
    assert len(fewer.groups[0].sockets) == fewer.slot_count == 5
    fewer.shut()


def test_what_is_kept_for_nobody_is_let_go(
    listeners: Listeners, later: Listeners
) -> None:
    listeners.open(TCP)
    address = listeners.groups[0].sockets[0].getsockname()
    later.inherit(inherit(listeners))
    later.open(TCP)
    host, port = address
    assert later.give_up_stored() == [f"blazeio_tcp_//{host}_{port}"]
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)


def test_a_given_socket_is_served_unasked_and_shared(later: Listeners) -> None:
    with open_first(TcpEndpoint(socket.AF_INET, "127.0.0.1", 0)) as sock:
        address = sock.getsockname()
        later.inherit(take_inherited([(os.dup(sock.fileno()), "web.socket")]))
        later.open(TcpAddress(*address))  # it is there already
        assert later.mode == "one shared queue"
        queues = [later.all_of(slot)[0] for slot in range(3)]
        assert {queue.sock.fileno() for queue in queues} == {queues[0].sock.fileno()}
        later.shut()
        socket.create_connection(address).close()


def test_a_kept_unix_socket_keeps_its_path(
    listeners: Listeners, later: Listeners, tmp_path: Path
) -> None:
    path = tmp_path / "s"
    listeners.open(UnixAddress(str(path)))
    later.inherit(inherit(listeners))
    later.open(UnixAddress(str(path)))
    later.unlink()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_a_kept_unix_socket_without_its_path_is_opened_anew(
    listeners: Listeners, later: Listeners, tmp_path: Path
) -> None:
    path = tmp_path / "s"
    listeners.open(UnixAddress(str(path)))
    later.inherit(inherit(listeners))
    path.unlink()
    later.open(UnixAddress(str(path)))
    assert later.give_up_stored() == [f"blazeio_unix_{path}"]
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))


def test_what_there_is_no_room_for_ends_with_us(listeners: Listeners) -> None:
    listeners.open(TCP)
    assert list(listeners.mark_kept(2)) == []
    assert listeners.count_own() == 3
    assert len(list(listeners.mark_kept(3))) == 1
    assert list(listeners.mark_kept(3)) == []
    assert listeners.count_own() == 0


def test_what_is_kept_is_neither_shut_nor_held_off(listeners: Listeners) -> None:
    listeners.open(TCP)
    address = listeners.groups[0].sockets[0].getsockname()
    kept = [sock.dup() for _, socks in listeners.mark_kept(9) for sock in socks]
    listeners.stop_handshakes()
    listeners.shut_slots_except(())
    listeners.shut()
    socket.create_connection(address).close()
    close_all(kept)


def test_each_address_says_what_is_spoken_there(
    listeners: Listeners, tmp_path: Path
) -> None:
    listeners.scheme = "https"
    listeners.open(TcpAddress("127.0.0.1", 0, "http"))
    listeners.open(TCP)
    listeners.open(UnixAddress(str(tmp_path / "s"), "http"))
    plain, usual, unix = listeners.addresses
    assert (plain.partition(":")[0], usual.partition(":")[0]) == ("http", "https")
    assert unix == f"http://unix:{tmp_path}/s"
    schemes = [queue.terms.scheme for queue in listeners.all_of(1)]
    assert schemes == ["http", "", "http"]
    assert [group.scheme for group in listeners.groups] == ["http", ""]
