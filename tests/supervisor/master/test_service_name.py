import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from blazeio_supervisor.ipc.socket_paths import NAME_CHARS, Home, find_home, is_name
from blazeio_supervisor.master import status as module
from blazeio_supervisor.master.status import Naming
from tests.supervisor.copies import copy

UID = os.geteuid()
Make = Callable[..., Naming]


@pytest.fixture
def name(tmp_path: Path) -> str:
    return f"test-{os.getpid()}-{tmp_path.name}"[:NAME_CHARS]


@pytest.fixture
def make() -> Iterator[Make]:
    made = []

    def make_one(name: str, home: Home | None = None) -> Naming:
        naming = Naming()
        naming.home = home or naming.home
        made.append(naming)
        naming.claim(name)
        return naming

    yield make_one
    for each in made:
        each.close()


def test_a_second_one_of_a_name_has_a_number(make: Make, name: str) -> None:
    first, second, third = (make(name) for _ in range(3))
    assert [each.name for each in (first, second, third)] == [
        name,
        f"{name[:59]}-2",
        f"{name[:59]}-3",
    ]
    assert [each.alias for each in (first, second, third)] == [name, "", ""]
    assert (first.why, second.why) == ("", f"@blazeio/{UID}/{name} is taken")


def test_a_name_is_free_again_when_its_service_has_ended(make: Make, name: str) -> None:
    make(name).close()
    assert make(name).name == name


def test_in_another_container_the_name_that_was_asked_for_holds_too(
    make: Make, name: str
) -> None:
    make(name)
    for home in (Home("pid:[1]", "1:2"), Home(find_home().pid_namespace, "1:2")):
        other = make(name, home)
        assert other.name != name
        assert other.alias == name


def test_every_name_is_one(make: Make) -> None:
    longest = f"{os.getpid()}".ljust(NAME_CHARS, "x")
    assert all(is_name(make(longest).name) for _ in range(3))


def test_who_takes_all_names_in_advance_takes_none_of_ours(
    make: Make, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_NUMBERED_COUNT", 3)
    names = [make(name).name for _ in range(5)]
    assert len(set(names)) == 5
    assert names[3].startswith(f"{name[:44]}-{os.getpid()}-")


def test_who_has_a_name_is_said_if_he_listens(make: Make, name: str) -> None:
    first = make(name)
    first.take_socket().listen(1)
    text = f"@blazeio/{UID}/{name} is taken by"
    assert make(name).why == f"{text} pid {os.getpid()} of uid {UID}"
    with socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX) as two:
        for each in (one, two):  # the queue is full
            each.setblocking(False)
            each.connect_ex(f"\0blazeio/{UID}/{name}")
        assert make(name).why == f"{text} uid {UID}"


def test_the_names_go_over_an_exec(make: Make, name: str) -> None:
    before = make(name)
    after = copy(before)
    before.close()
    assert (after.name, after.alias) == (name, name)
    assert make(name).name != name
    after.close()


def test_what_is_not_known_of_a_home_tells_nobody_apart() -> None:
    here = find_home()
    assert here.pid_namespace.startswith("pid:[")
    assert here.is_same(Home())
    assert not here.is_same(Home("pid:[1]"))
    assert not here.is_same(Home(here.pid_namespace, "1:1"))
