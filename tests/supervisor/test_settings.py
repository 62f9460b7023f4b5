import os
from pathlib import Path

import pytest

from blazeio_supervisor.errors import UsageError
from blazeio_supervisor.loading.app_path import parse_app_path
from blazeio_supervisor.settings import (
    Settings,
    WorkerLimits,
    find_app_dir,
    find_folder,
    find_runtime_directory,
)
from blazeio_supervisor.sockets.address import TcpAddress, UnixAddress

TCP = TcpAddress("127.0.0.1", 80)
UNIX = UnixAddress("/run/s")


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


def test_an_app_dir_is_relative_to_the_folder(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    assert find_app_dir(str(tmp_path), "src") == str(tmp_path / "src")
    assert os.path.samefile(find_app_dir(str(tmp_path), ""), tmp_path)


def test_a_missing_app_dir_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--app-dir none: no such folder"):
        find_app_dir(str(tmp_path), "none")


@pytest.mark.parametrize(
    ("binds", "is_shared"),
    [((UNIX,), True), ((TCP,), False), ((TCP, UNIX), False), ((), False)],
)
def test_the_planner_learns_whether_there_is_anything_to_steer(
    binds: tuple[TcpAddress | UnixAddress, ...], is_shared: bool
) -> None:
    settings = Settings(
        app=parse_app_path("app:web"),
        workers=2,
        binds=binds,
        folder="/",
        app_dir="/",
        graceful_timeout_s=7.0,
        timeout_s=9.0,
    )
    policy = settings.make_policy()
    assert policy.is_shared_listener is is_shared
    assert (policy.grace_s, policy.timeout_s) == (7.0, 9.0)
    assert not policy.has_health_check
    assert (policy.steering, policy.drain_delay_s) == ("load", 0.0)


def test_the_planner_learns_when_workers_are_replaced() -> None:
    settings = Settings(
        app=parse_app_path("app:web"),
        workers=2,
        binds=(TCP,),
        folder="/",
        app_dir="/",
        health_path="/up",
        rollout_timeout_s=9.0,
        limits=WorkerLimits(
            max_requests=1,
            max_requests_jitter=2,
            max_lifetime_s=3.0,
            max_lifetime_jitter_s=4.0,
            max_memory_bytes=5,
        ),
    )
    policy = settings.make_policy()
    assert policy.has_health_check
    assert policy.rollout_timeout_s == 9.0
    assert (policy.max_requests, policy.max_requests_jitter) == (1, 2)
    assert (policy.max_lifetime_s, policy.max_lifetime_jitter_s) == (3.0, 4.0)
    assert policy.max_memory_bytes == 5
