import os
from pathlib import Path

import pytest

from blazeio_supervisor.errors import ExitCode, UsageError
from blazeio_supervisor.process.app_path import parse_app_path
from blazeio_supervisor.process.cpus import count_cpus
from blazeio_supervisor.settings import (
    Settings,
    find_app_dir,
    find_folder,
    read_app,
    read_binds,
    read_log_level,
    read_loop,
    read_span,
    read_workers,
)
from blazeio_supervisor.sockets.address import TcpAddress, UnixAddress

TCP = TcpAddress("127.0.0.1", 80)
UNIX = UnixAddress("/run/s")


@pytest.mark.parametrize(
    ("word", "line"),
    [
        ("app", "'app' is neither an APP nor a verb: did you mean `app:web`?"),
        ("a.b", "'a.b' is neither an APP nor a verb: did you mean `a.b:web`?"),
        (
            "a/b",
            "'a/b' is neither an APP nor a verb: write `module:attribute` or "
            "`script.py`",
        ),
        ("a:b c", "'a:b c' is not `module:attribute`: 'b c' is no Python name"),
    ],
)
def test_a_word_that_is_no_app_is_refused_in_one_line(word: str, line: str) -> None:
    with pytest.raises(UsageError) as caught:
        read_app(word)
    assert str(caught.value) == line
    assert caught.value.exit_code is ExitCode.USAGE


def test_an_app_is_read() -> None:
    assert read_app("app:web").module == "app"


@pytest.mark.parametrize(("text", "count"), [("1", 1), ("8", 8), ("256", 256)])
def test_a_number_of_workers_is_read(text: str, count: int) -> None:
    assert read_workers(text) == count


def test_auto_is_one_worker_for_each_usable_core() -> None:
    assert read_workers("auto") == count_cpus()


@pytest.mark.parametrize("text", ["0", "-1", "257", "many", "1.5", ""])
def test_a_count_that_cannot_be_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected 1 to 256, or auto"):
        read_workers(text)


def test_every_bind_is_read_in_order() -> None:
    assert read_binds(["unix:/run/s", "127.0.0.1:80"]) == (UNIX, TCP)


def test_the_same_address_twice_is_refused() -> None:
    with pytest.raises(UsageError, match=r"--bind 127\.0\.0\.1:80: given twice"):
        read_binds(["127.0.0.1:80", "127.0.0.1:80"])


def test_two_free_ports_may_be_asked_for() -> None:
    assert len(read_binds(["127.0.0.1:0", "127.0.0.1:0"])) == 2


def test_a_bad_address_is_refused() -> None:
    with pytest.raises(UsageError, match="--bind '80' has no port"):
        read_binds(["80"])


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf"), 90_000.0])
def test_a_span_that_cannot_be_is_refused(value: float) -> None:
    with pytest.raises(UsageError, match=r"--timeout .*: expected 1 to 86400 seconds"):
        read_span("--timeout", value, 1.0)


def test_a_span_may_be_the_least() -> None:
    assert read_span("--timeout", 1.0, 1.0) == 1.0


def test_a_loop_that_is_none_is_refused() -> None:
    assert read_loop("asyncio") == "asyncio"
    with pytest.raises(UsageError, match="--loop trio: expected uvloop or asyncio"):
        read_loop("trio")


def test_a_log_level_is_read_in_any_case() -> None:
    assert read_log_level("Warning") == "WARNING"
    with pytest.raises(UsageError, match="--log-level loud: expected one of debug"):
        read_log_level("loud")


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
