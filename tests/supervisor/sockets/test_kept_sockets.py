"""Which sockets a service manager is given to keep, where it has little room."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from blazeio_supervisor.sockets.address import TcpAddress, TcpEndpoint, UnixAddress
from blazeio_supervisor.sockets.bind import InheritedSocket, identify_path, open_first
from blazeio_supervisor.sockets.listeners import Listeners

TCP = TcpAddress("127.0.0.1", 0)


@pytest.fixture
def listeners(tmp_path: Path) -> Iterator[Listeners]:
    """Three queues at one port, and two paths."""
    made = Listeners(3)
    made.open(TCP)
    for name in ("a", "b"):
        made.open(UnixAddress(str(tmp_path / name)))
    yield made
    made.shut()


def mark(listeners: Listeners, room: int) -> list[str]:
    """The kinds of those that are to be kept, with how many sockets each has."""
    return [
        f"{name.split('_')[1]} {len(sockets)}"
        for name, sockets in listeners.mark_kept(room)
    ]


@pytest.mark.parametrize(
    ("room", "kept"),
    [
        (0, []),
        (1, ["unix 1"]),
        (2, ["unix 1", "unix 1"]),
        (3, ["tcp 3"]),
        (4, ["tcp 3", "unix 1"]),
        (5, ["tcp 3", "unix 1", "unix 1"]),
        (9, ["tcp 3", "unix 1", "unix 1"]),
    ],
)
def test_as_many_are_kept_as_there_is_room_for(
    listeners: Listeners, room: int, kept: list[str]
) -> None:
    assert listeners.count_own() == 5
    assert mark(listeners, room) == kept
    count = sum(int(each[-1]) for each in kept)
    assert listeners.count_own() == 5 - count
    assert mark(listeners, room) == []  # those that are kept need their room


def test_room_that_is_taken_is_not_given_twice(listeners: Listeners) -> None:
    assert mark(listeners, 3) == ["tcp 3"]
    assert mark(listeners, 4) == ["unix 1"]
    assert mark(listeners, 4) == []
    assert mark(listeners, 5) == ["unix 1"]


def test_of_two_groups_the_first_is_kept(listeners: Listeners) -> None:
    listeners.open(TCP)
    assert mark(listeners, 5) == ["tcp 3", "unix 1", "unix 1"]
    assert mark(listeners, 8) == ["tcp 3"]


def test_a_group_that_has_grown_is_kept_once_more(listeners: Listeners) -> None:
    assert mark(listeners, 9) == ["tcp 3", "unix 1", "unix 1"]
    listeners.open_slot(3)
    assert mark(listeners, 9) == ["tcp 1"]


def test_what_a_manager_has_opened_itself_needs_no_room() -> None:
    with open_first(TcpEndpoint(socket.AF_INET, "127.0.0.1", 0)) as sock:
        place = TcpEndpoint(socket.AF_INET, *sock.getsockname())
        given = InheritedSocket(sock, place, "web", is_stored=False)
        listeners = Listeners(1)
        listeners.inherit([given])
        listeners.open(TCP)
        assert listeners.count_own() == 1
        assert mark(listeners, 1) == ["tcp 1"]
        listeners.shut()


def test_a_kept_path_is_left_and_its_queue_goes_on(
    listeners: Listeners, tmp_path: Path
) -> None:
    dups = {listener.address.path: listener.sock.dup() for listener in listeners.unix}
    assert mark(listeners, 1) == ["unix 1"]
    assert [queue.terms.is_kept for queue in listeners.all_of(0)] == [
        False,
        True,
        False,
    ]
    assert [queue.terms.is_shared for queue in listeners.all_of(0)] == [
        *(False, True, True)
    ]
    listeners.shut()
    assert os.listdir(tmp_path) == ["a"]
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(tmp_path / "a"))
    for sock in dups.values():
        sock.close()


def test_one_that_was_kept_is_known_by_its_path(tmp_path: Path) -> None:
    paths = [str(tmp_path / name) for name in ("a", "b")]
    later = Listeners(1)
    given = []
    for path in paths:
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(path)
        sock.listen()
        given.append(InheritedSocket(sock, UnixAddress(path), "s", is_stored=False))
    later.inherit(given)
    assert [each.is_kept for each in later.unix] == [True, True]
    assert [each.identity for each in later.unix] == [
        identify_path(path) for path in paths
    ]
    assert later.count_own() == 0
    later.shut()
    assert sorted(os.listdir(tmp_path)) == ["a", "b"]
