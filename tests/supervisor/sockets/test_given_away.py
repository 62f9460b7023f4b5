"""A socket file is given to its user, whatever stands at its path by then."""

import os
import re
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from blazeio_supervisor.errors import BindError
from blazeio_supervisor.sockets.address import UnixAddress
from blazeio_supervisor.sockets.bind import _give, open_unix
from tests.support.descriptors import list_open
from tests.support.users import NOBODY, need_root

THEIRS = (NOBODY, 54321)
EXCHANGED = re.escape("[Errno 0] it was exchanged as soon as it was made")


def owner_of(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_uid, found.st_gid


@pytest.fixture
def roots(open_folder: Path) -> Iterator[Path]:
    """A socket of root's, which somebody else would like to have."""
    need_root()
    path = open_folder / "roots"
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(str(path))
        yield path


def test_it_gets_user_and_group(roots: Path) -> None:
    before = list_open(os.getpid())
    _give(str(roots), THEIRS, is_sure=False)
    assert owner_of(roots) == THEIRS
    assert list_open(os.getpid()) == before


def test_a_link_in_its_place_leads_nowhere(roots: Path) -> None:
    link = Path(f"{roots}.link")
    link.symlink_to(roots)
    with pytest.raises(OSError, match=f"^{EXCHANGED}$"):
        _give(str(link), THEIRS, is_sure=False)
    assert (owner_of(roots), owner_of(link)) == ((0, 0), (0, 0))


def test_another_name_of_the_file_gives_nothing_away(roots: Path) -> None:
    other = Path(f"{roots}.other")
    os.link(roots, other)
    with pytest.raises(OSError, match=f"^{EXCHANGED}$"):
        _give(str(other), THEIRS, is_sure=True)
    assert owner_of(roots) == (0, 0)


def test_a_file_in_its_place_is_given_to_nobody(roots: Path) -> None:
    path = Path(f"{roots}.file")
    path.write_text("secret")
    with pytest.raises(OSError, match=f"^{EXCHANGED}$"):
        _give(str(path), THEIRS, is_sure=True)
    assert owner_of(path) == (0, 0)
    _give(str(path), (0, 0), is_sure=True)  # it has that owner: nothing is to do


def test_without_proc_its_name_has_to_be_sure(
    roots: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change_owner = os.chown

    def have_no_proc(path: str, uid: int, gid: int, **how: bool) -> None:
        if path.startswith("/proc/"):
            raise FileNotFoundError(path)
        assert how == {"follow_symlinks": False}
        change_owner(path, uid, gid, **how)

    monkeypatch.setattr(os, "chown", have_no_proc)
    with pytest.raises(FileNotFoundError):
        _give(str(roots), THEIRS, is_sure=False)
    assert owner_of(roots) == (0, 0)
    _give(str(roots), THEIRS, is_sure=True)
    assert owner_of(roots) == THEIRS


def test_only_a_folder_of_nobody_else_makes_its_name_sure(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need_root()
    change_owner = os.chown
    theirs = open_folder / "theirs"
    theirs.mkdir()
    change_owner(theirs, NOBODY, NOBODY)

    def have_no_proc(path: str, uid: int, gid: int, **how: bool) -> None:
        if path.startswith("/proc/"):
            raise FileNotFoundError(2, "No such file or directory")
        change_owner(path, uid, gid, **how)

    monkeypatch.setattr(os, "chown", have_no_proc)
    open_unix(UnixAddress(str(open_folder / "s")), owner=THEIRS).close()
    assert owner_of(open_folder / "s") == THEIRS
    with pytest.raises(BindError, match="No such file"):
        open_unix(UnixAddress(str(theirs / "s")), owner=THEIRS)


def test_who_may_not_give_it_away_is_told_and_nothing_listens(
    open_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str, uid: int, gid: int) -> None:
        raise PermissionError(1, "Operation not permitted", path)

    monkeypatch.setattr(os, "chown", refuse)
    before = list_open(os.getpid())
    path = open_folder / "s"
    text = f"cannot bind unix:{path}: Operation not permitted"
    with pytest.raises(BindError, match=f"^{re.escape(text)}$"):
        open_unix(UnixAddress(str(path)), owner=THEIRS)
    assert list_open(os.getpid()) == before
