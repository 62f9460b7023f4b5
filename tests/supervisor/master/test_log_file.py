import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from blazeio_supervisor.errors import UsageError
from blazeio_supervisor.master import output as module
from blazeio_supervisor.master.output import open_log_file, resume_log_file


@pytest.fixture
def standard_error(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """A descriptor in its place."""
    fd = os.open("/dev/null", os.O_WRONLY)
    monkeypatch.setattr(module, "STDERR", fd)
    yield fd
    os.close(fd)


def test_it_is_appended_to_by_whoever_writes_to_standard_error(
    tmp_path: Path, standard_error: int
) -> None:
    path = tmp_path / "log"
    path.write_text("before\n")
    log_file = open_log_file(str(path))
    os.write(standard_error, b"after\n")
    log_file.close()
    assert path.read_text() == "before\nafter\n"


def test_reopened_it_writes_to_a_new_file(tmp_path: Path, standard_error: int) -> None:
    path = tmp_path / "log"
    log_file = open_log_file(str(path))
    path.rename(tmp_path / "log.1")
    assert log_file.reopen() == ""
    again = log_file.open_again()
    os.write(standard_error, b"a\n")
    os.write(again.fileno(), b"b\n")
    again.close()
    log_file.close()
    assert (tmp_path / "log.1").read_text() == ""
    assert path.read_text() == "a\nb\n"


def test_one_that_cannot_be_reopened_is_written_on(
    tmp_path: Path, standard_error: int
) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    log_file = open_log_file(str(folder / "log"))
    folder.rename(tmp_path / "moved")
    failure = log_file.reopen()
    os.write(standard_error, b"on\n")
    log_file.close()
    assert "No such file or directory; going on with the old one" in failure
    assert (tmp_path / "moved" / "log").read_text() == "on\n"


def test_one_that_cannot_be_opened_is_wrong_usage() -> None:
    with pytest.raises(UsageError, match="--log-file /nowhere/log: cannot open it"):
        open_log_file("/nowhere/log")


def test_another_image_goes_on_with_what_has_taken_its_place(
    tmp_path: Path, standard_error: int
) -> None:
    path = tmp_path / "log"
    first = open_log_file(str(path))
    path.rename(tmp_path / "log.1")
    later = resume_log_file(str(path))
    os.write(standard_error, b"a\n")
    later.reopen()
    os.write(standard_error, b"b\n")
    first.close()
    later.close()
    assert ((tmp_path / "log.1").read_text(), path.read_text()) == ("a\n", "b\n")
