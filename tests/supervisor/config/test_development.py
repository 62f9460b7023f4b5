import importlib.util
from pathlib import Path

import pytest

from blazeio_supervisor.errors import UsageError
from tests.supervisor.typed import configure, read_settings


def test_nothing_is_held_for_long_while_one_develops() -> None:
    policy = read_settings("--reload").make_policy()
    assert (policy.canary_hold_s, policy.hold_s) == (0.1, 0.1)
    assert read_settings("--reload").drain_s == 0.1
    assert read_settings("--reload", "--canary-hold=0").make_policy().hold_s == 0
    usual = read_settings()
    assert (usual.make_policy().canary_hold_s, usual.drain_s) == (2.0, 2.0)


def test_compiled_files_are_not_written_then() -> None:
    settings = read_settings("--reload", "--env=A=1")
    assert settings.environment == {"A": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    assert read_settings("--env=A=1").environment == {"A": "1"}


def test_what_is_watched_is_where_the_app_comes_from(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    own = read_settings("--reload", "--app-dir=src", folder=tmp_path)
    assert own.watched_folders == [f"{tmp_path}/src"]
    given = read_settings("--reload", "--reload-dir=src", folder=tmp_path)
    assert given.watched_folders == [f"{tmp_path}/src"]
    script = configure("src/app.py", "--reload", folder=tmp_path).make_settings()
    assert script.watched_folders == [f"{tmp_path}/src"]


def test_a_folder_to_watch_must_be_there() -> None:
    with pytest.raises(UsageError, match="--reload-dir none: none is not a folder"):
        read_settings("--reload", "--reload-dir=none")


def test_without_watchfiles_it_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    line = r"^--reload: it needs watchfiles, .*: pip install watchfiles$"
    with pytest.raises(UsageError, match=line):
        read_settings("--reload")
    assert not read_settings().reload
