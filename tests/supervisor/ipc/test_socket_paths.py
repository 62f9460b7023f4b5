import os
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from blazeio_supervisor.ipc import socket_paths
from blazeio_supervisor.ipc.socket_paths import (
    Listening,
    Peer,
    SocketPath,
    choose_places,
    is_name,
    list_listening,
    name_after,
    parse_place,
    read_peer,
    read_table,
    search,
)

HEADER = "Num       RefCount Protocol Flags    Type St Inode Path\n"


def make_table(
    folder: Path, *names: str, connected: Sequence[str] = ()
) -> Callable[[], Sequence[Listening]]:
    row = "0000000000000000: 00000002 00000000 {flags} 0001 01 12345"
    listening, open_ = row.format(flags="00010000"), row.format(flags="00000000")
    rows = [f"{listening} {name}\n" for name in names]
    rows += [f"{open_} {name}\n" for name in connected]
    path = folder / "unix"
    path.write_text(HEADER + f"{listening}\n" + "".join(rows))
    return lambda: read_table(str(path))


@pytest.fixture
def no_units(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Instead of the machine's own units: an empty folder."""
    pattern = f"{tmp_path}/run/*/{{name}}"
    monkeypatch.setattr(socket_paths, "UNIT_PATTERNS", (pattern,))
    return tmp_path


def make_file(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return str(path)


def test_a_path_is_made_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    place = parse_place("c.sock")
    assert (str(place), place.is_abstract) == (str(tmp_path / "c.sock"), False)
    assert place.address == str(tmp_path / "c.sock")


def test_an_abstract_name_begins_with_a_zero_octet() -> None:
    place = parse_place("@mine")
    assert (place.text, place.is_abstract, place.address) == ("@mine", True, "\0mine")


@pytest.mark.parametrize(
    ("text", "what"), [("", "write a path"), ("@", "write a path"), ("x" * 108, "107")]
)
def test_what_cannot_be_a_place_is_refused(text: str, what: str) -> None:
    with pytest.raises(ValueError, match=what):
        parse_place(text)


def test_the_runtime_directory_comes_first_then_an_abstract_name() -> None:
    own = SocketPath("@blazeio/7/shop")
    assert choose_places(None, "/run/blazeio/a", own) == [
        SocketPath("/run/blazeio/a/control.sock"),
        own,
    ]
    assert choose_places(None, "", own) == [own]
    assert choose_places(None, "", None) == []


def test_a_given_place_is_the_only_one() -> None:
    given = SocketPath("/c.sock")
    assert choose_places(given, "/run/blazeio/a", None) == [given]
    assert search(given, "/run/blazeio/a", 7).places == [given]


def test_inside_a_unit_its_own_service_is_meant(no_units: Path) -> None:
    own = make_file(no_units / "run" / "a" / "control.sock")
    make_file(no_units / "run" / "b" / "control.sock")
    found = search(None, os.path.dirname(own), 7, make_table(no_units, "@blazeio/7/1"))
    assert found.places == [SocketPath(own)]


def test_one_with_a_name_may_be_another_unit(no_units: Path) -> None:
    own = make_file(no_units / "run" / "a" / "control.sock")
    other = make_file(no_units / "run" / "b" / "control.sock")
    found = search(None, os.path.dirname(own), 7, make_table(no_units), is_named=True)
    assert found.places == [SocketPath(own), SocketPath(other)]


def test_one_with_a_name_may_be_in_a_folder_that_only_the_variable_names(
    no_units: Path,
) -> None:
    own = make_file(no_units / "elsewhere" / "control.sock")
    other = make_file(no_units / "run" / "b" / "control.sock")
    found = search(None, os.path.dirname(own), 7, make_table(no_units), is_named=True)
    assert found.places == [SocketPath(own), SocketPath(other)]


@pytest.mark.parametrize(
    ("app", "name"),
    [
        ("app:web", "app:web"),
        ("shop.app:make", "shop.app:make"),
        ("/srv/my shop/app.py", "app.py"),
        ("ünï.py", "-n-.py"),
        ("a" * 99, "a" * 64),
    ],
)
def test_an_instance_is_called_like_its_app(app: str, name: str) -> None:
    assert name_after(app) == name
    assert is_name(name)


@pytest.mark.parametrize("text", ["", "a b", "a/b", "a\n", "a" * 65])
def test_what_cannot_be_a_name_is_none(text: str) -> None:
    assert not is_name(text)


def test_units_and_own_abstract_names_are_looked_at(no_units: Path) -> None:
    unit = make_file(no_units / "run" / "a" / "control.sock")
    table = make_table(
        no_units, "@blazeio/7/1", "@blazeio/70/2", "@other", "/run/@blazeio/7/3"
    )
    found = search(None, "", 7, table)
    assert found.places == [SocketPath(unit), SocketPath("@blazeio/7/1")]
    assert found.others == [SocketPath("@blazeio/70/2")]
    assert found.looked_at == [f"{no_units}/run/*/control.sock", "@blazeio/7/*"]


def test_a_server_and_its_connections_are_one_place(no_units: Path) -> None:
    connected = ["@blazeio/7/1", "@blazeio/7/2"]
    table = make_table(no_units, "@blazeio/7/1", "@blazeio/7/1", connected=connected)
    assert search(None, "", 7, table).places == [SocketPath("@blazeio/7/1")]


def test_a_name_that_another_user_has_taken_is_his(no_units: Path) -> None:
    def list_names() -> list[Listening]:
        return [
            Listening("@blazeio/7/a", 7),
            Listening("@blazeio/7/b", 8),
            Listening("@blazeio/7/c", 0),
            Listening("@blazeio/7/\x1b[2J", 7),
        ]

    found = search(None, "", 7, list_names)
    assert found.places == [SocketPath("@blazeio/7/a"), SocketPath("@blazeio/7/c")]
    assert found.others == [SocketPath("@blazeio/7/b")]


def test_where_proc_is_hidden_the_paths_are_left(no_units: Path) -> None:
    found = search(None, str(no_units / "gone"), 7, lambda: read_table("/no/where"))
    assert found.places == []
    assert found.looked_at[0] == str(no_units / "gone" / "control.sock")


@pytest.mark.parametrize(("uid", "is_ours"), [(7, True), (0, True), (8, False)])
def test_only_our_own_and_roots_servers_are_believed(uid: int, is_ours: bool) -> None:
    assert SocketPath("@a").admits(Peer(1, uid), 7) is is_ours


def test_behind_a_path_its_owner_is_believed_too(tmp_path: Path) -> None:
    place = SocketPath(make_file(tmp_path / "c.sock"))
    assert place.admits(Peer(1, os.geteuid()), os.geteuid() + 1)
    assert not place.admits(Peer(1, os.geteuid() + 2), os.geteuid() + 1)


def test_the_kernel_tells_who_connected() -> None:
    one, other = socket.socketpair()
    with one, other:
        assert read_peer(one) == Peer(os.getpid(), os.geteuid())


def test_names_are_listed_with_their_owner() -> None:
    name = f"blazeio-test/\x1b {os.getpid()}"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(f"\0{name}")
        assert f"@{name}" not in [each.name for each in list_listening()]
        sock.listen()
        assert Listening(f"@{name}", os.geteuid()) in list_listening()


def test_where_the_kernel_may_not_be_asked_its_table_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse() -> list[Listening]:
        raise PermissionError

    monkeypatch.setattr(socket_paths, "_ask_kernel", refuse)
    name = f"blazeio-test/{os.getpid()}"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(f"\0{name}")
        assert Listening(f"@{name}") not in list_listening()
        sock.listen()
        assert Listening(f"@{name}") in list_listening()


def test_paths_are_no_names(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(tmp_path / "@blazeio"))
        sock.listen()
        assert not [each for each in list_listening() if "tmp" in each.name]
