import os
from pathlib import Path

import pytest

from blazeio_supervisor.errors import UsageError
from blazeio_supervisor.process.pid_file import pid_removed, pid_written


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
