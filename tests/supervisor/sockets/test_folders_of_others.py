"""Unix sockets of root in folders that another user may write."""

import os
import socket
import stat
import threading
from pathlib import Path

import pytest

from blazeio_supervisor.errors import BindError
from blazeio_supervisor.sockets.address import UnixAddress
from blazeio_supervisor.sockets.bind import open_unix
from blazeio_supervisor.sockets.listeners import Listeners
from tests.support.users import NOBODY, give, need_root


@pytest.fixture
def theirs(open_folder: Path) -> Path:
    """A folder of nobody's."""
    need_root()
    folder = open_folder / "theirs"
    folder.mkdir()
    return give(folder)


def describe(path: Path) -> tuple[int, int, int]:
    found = path.lstat()
    return found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode)


def test_a_socket_there_has_its_owner_and_mode(theirs: Path) -> None:
    path = theirs / "s"
    for owner in ((NOBODY, NOBODY), (12345, 54321), (0, 0)):
        with open_unix(UnixAddress(str(path)), 0o660, owner):
            assert describe(path) == (*owner, 0o660)
    with open_unix(UnixAddress(str(path)), 0o600):  # the last one was left behind
        assert describe(path) == (0, 0, 0o600)


def test_listeners_remove_theirs_and_no_other(theirs: Path) -> None:
    path = theirs / "s"
    listeners = Listeners(1, unix_owner=(NOBODY, NOBODY))
    listeners.open(UnixAddress(str(path)))
    listeners.shut()
    assert not path.exists()
    listeners.open(UnixAddress(str(path)))
    path.unlink()
    path.write_text("another")
    listeners.shut()
    assert path.read_text() == "another"


def test_no_folder_of_roots_is_reached_by_a_link(theirs: Path) -> None:
    secret = theirs.parent / "secret"
    secret.mkdir()
    (theirs / "run").symlink_to(secret)
    give(theirs / "run")
    with pytest.raises(BindError, match="is a symbolic link that nobody"):
        open_unix(UnixAddress(f"{theirs}/run/s"))
    assert not list(secret.iterdir())


def test_a_folder_that_is_exchanged_all_the_time_leads_nowhere(theirs: Path) -> None:
    """Root would have made, given away and removed files in a folder of its own."""
    secret = theirs.parent / "secret"
    secret.mkdir()
    (secret / "s").write_text("secret")
    real, other = theirs / "run", theirs / "aside"
    real.mkdir()
    give(real)
    other.symlink_to(secret)
    give(other)
    is_over = threading.Event()

    def exchange() -> None:
        while not is_over.is_set():
            for one, another in ((real, theirs / "x"), (other, real), (real, other)):
                os.rename(one, another)
            os.rename(theirs / "x", real)

    attacker = threading.Thread(target=exchange)
    attacker.start()
    try:
        for _ in range(300):
            try:
                open_unix(UnixAddress(f"{real}/s"), owner=(NOBODY, NOBODY)).close()
            except BindError:
                continue
    finally:
        is_over.set()
        attacker.join()
    assert [each.name for each in secret.iterdir()] == ["s"]
    assert (secret / "s").read_text() == "secret"
    assert describe(secret / "s")[:2] == (0, 0)


def test_a_folder_for_everybody_above_roots_own_is_refused(open_folder: Path) -> None:
    need_root()
    (open_folder / "open").mkdir()
    give(open_folder / "open", 0, 0o777)
    inner = open_folder / "open" / "inner"
    inner.mkdir()
    with pytest.raises(BindError, match=r"may be written by everybody \(mode 0777\)"):
        open_unix(UnixAddress(str(inner / "s")))
    with open_unix(UnixAddress(str(open_folder / "open" / "s"))):
        pass  # no name of a socket is followed


def test_what_stands_there_and_is_no_socket_is_left(theirs: Path) -> None:
    victim = theirs.parent / "victim"
    victim.write_text("text")
    (theirs / "s").symlink_to(victim)
    with pytest.raises(BindError, match="the path exists and is not a socket"):
        open_unix(UnixAddress(str(theirs / "s")))
    assert victim.read_text() == "text"


def test_root_is_root_again_afterwards(theirs: Path) -> None:
    with open_unix(UnixAddress(str(theirs / "s"))):
        status = Path("/proc/thread-self/status").read_text()
    assert "Uid:\t0\t0\t0\t0\n" in status
    assert "Gid:\t0\t0\t0\t0\n" in status
    with pytest.raises(BindError, match="cannot bind"):
        open_unix(UnixAddress(str(theirs / "none" / "s")))
    (theirs / "s").unlink()
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(theirs / "s"))
    assert describe(theirs / "s")[0] == 0
