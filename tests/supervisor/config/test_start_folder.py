import os
from pathlib import Path

import pytest

from blazeio_supervisor.config.environment import (
    find_environment,
    find_folder,
)
from blazeio_supervisor.errors import UsageError
from blazeio_supervisor.ipc.socket_paths import find_runtime_directory


def test_the_folder_is_kept_as_it_was_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "release-1").mkdir()
    (tmp_path / "current").symlink_to("release-1")
    monkeypatch.chdir(tmp_path / "current")
    monkeypatch.setenv("PWD", str(tmp_path / "current"))
    assert find_folder() == str(tmp_path / "current")


@pytest.mark.parametrize("pwd", ["", "/no/such/folder", "/"])
def test_a_pwd_that_is_wrong_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pwd: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PWD", pwd)
    assert find_folder() == os.getcwd()


def test_a_folder_that_was_removed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(UsageError, match="does not exist any more"):
        find_folder()


@pytest.mark.parametrize(
    ("value", "folder"),
    [("/run/a", "/run/a"), ("/run/a:/run/b", "/run/a"), ("", "")],
)
def test_of_several_runtime_directories_the_first_is_ours(
    monkeypatch: pytest.MonkeyPatch, value: str, folder: str
) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", value)
    assert find_runtime_directory() == folder


def test_both_are_found_together(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RUNTIME_DIRECTORY", "/run/a")
    found = find_environment()
    assert (found.folder, found.runtime_directory) == (find_folder(), "/run/a")
