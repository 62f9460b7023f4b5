import os
from pathlib import Path

import pytest

from blazeio_supervisor.errors import UsageError
from blazeio_supervisor.master.start import CONTENT_BYTES, pid_removed, pid_written


def test_it_holds_our_pid_and_is_removed_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "x.pid"
    path.write_text("left behind")
    with pid_written(str(path)):
        assert path.read_text() == f"{os.getpid()}\n"
    assert not list(tmp_path.iterdir())


def test_what_another_one_has_written_by_then_is_left(tmp_path: Path) -> None:
    path = tmp_path / "x.pid"
    with pid_written(str(path)):
        path.write_text("7\n")
    assert path.read_text() == "7\n"


def test_what_another_image_has_written_is_removed_too(tmp_path: Path) -> None:
    path = tmp_path / "x.pid"
    path.write_text(f"{os.getpid()}\n")
    with pid_removed(str(path)):
        assert path.exists()
    assert not path.exists()


def test_without_a_path_there_is_no_file() -> None:
    with pid_written(""):
        pass


def test_a_file_that_cannot_be_written_is_wrong_usage() -> None:
    line = "^--pid-file /no/such/pid: No such file or directory$"
    with pytest.raises(UsageError, match=line), pid_written("/no/such/pid"):
        pass


def test_what_was_left_behind_is_replaced_and_a_link_is_not_followed(
    tmp_path: Path,
) -> None:
    path, victim = tmp_path / "x.pid", tmp_path / "victim"
    victim.write_text("1\n")
    path.symlink_to(victim)
    with pid_written(str(path)):
        assert not path.is_symlink()
        assert path.read_text() == f"{os.getpid()}\n"
    assert [each.name for each in tmp_path.iterdir()] == ["victim"]
    assert victim.read_text() == "1\n"


def test_what_is_no_pid_file_is_left(tmp_path: Path) -> None:
    path = tmp_path / "x.pid"
    path.write_text("x" * (CONTENT_BYTES + 1))
    with pytest.raises(UsageError, match="holds 65 octets, so it is not a pid file"):
        claim(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(UsageError, match=r"it is a pipe \(FIFO\)"):
        claim(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(UsageError, match="it is a folder"):
        claim(path)


def claim(path: Path) -> None:
    with pid_written(str(path)):
        pass


def test_one_of_a_later_service_is_left_though_it_holds_the_same_pid(
    tmp_path: Path,
) -> None:
    """Two containers with one folder: both have the pid 1."""
    path = tmp_path / "x.pid"
    with pid_written(str(path)):
        other = tmp_path / "other"
        other.write_text(f"{os.getpid()}\n")
        other.rename(path)
    assert path.exists()


def test_a_pid_that_something_else_has_by_now_is_nobodys(tmp_path: Path) -> None:
    path = tmp_path / "x.pid"
    for pid in (1, os.getppid(), 2**22 + 1, 2**70, -1):
        path.write_text(f"{pid}\n")
        claim(path)
        assert not path.exists()


def test_it_is_written_when_it_is_claimed(tmp_path: Path) -> None:
    path = tmp_path / "x.pid"
    with pid_written(str(path), waits=True) as claim:
        assert not path.exists()
        claim()
        assert path.exists()
    assert not path.exists()
