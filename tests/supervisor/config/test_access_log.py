from pathlib import Path

import pytest

from blazeio_supervisor.errors import UsageError
from tests.supervisor.typed import read_settings


def test_what_is_not_given_is_the_apps_own() -> None:
    overrides = read_settings().overrides
    assert overrides.access_log is overrides.access_log_format is None


@pytest.mark.parametrize("path", ["-", "access.log", "/access.log"])
def test_a_file_and_standard_output_are_taken(path: str) -> None:
    options = ["--access-log", path, "--access-log-format", "json:status"]
    overrides = read_settings(*options).overrides
    assert (overrides.access_log, overrides.access_log_format) == (path, "json:status")


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected a file"):
        read_settings("--access-log", str(tmp_path))


def test_an_empty_path_is_none() -> None:
    with pytest.raises(UsageError, match="--access-log '': expected a file"):
        read_settings("--access-log", "")


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "none"
    with pytest.raises(UsageError, match=f"there is no folder {folder}$"):
        read_settings("--access-log", str(folder / "access.log"))


def test_a_format_is_read_before_anything_starts() -> None:
    with pytest.raises(UsageError, match=r"--access-log-format .* mean status\?"):
        read_settings("--access-log-format", "{statsu}")
