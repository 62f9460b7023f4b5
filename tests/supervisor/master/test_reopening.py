import asyncio
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from blazeio_supervisor.ipc.channel import Sendable
from blazeio_supervisor.master import output as module
from blazeio_supervisor.master.output import LogFile, LogReopener, open_log_file
from tests.support.clock import wait_until


class FakeChildren:
    """Write down what they are told."""

    def __init__(self) -> None:
        self.told: list[int] = []
        self.unread: list[str] = []

    def reopen_logs(self, files: Sequence[Sendable]) -> None:
        self.told.append(len(files))

    def list_unread(self) -> list[str]:
        return self.unread


@pytest.fixture
def log_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LogFile]:
    with (tmp_path / "stderr").open("wb") as stderr:
        monkeypatch.setattr(module, "STDERR", stderr.fileno())
        made = open_log_file(str(tmp_path / "log"))
        yield made
        made.close()


def test_all_others_are_told_too() -> None:
    one, other = FakeChildren(), FakeChildren()
    assert LogReopener(None, one, other).reopen() == ""
    assert (one.told, other.told) == ([0], [0])


def test_they_get_the_new_file(log_file: LogFile, tmp_path: Path) -> None:
    children = FakeChildren()
    (tmp_path / "log").rename(tmp_path / "log.1")
    assert LogReopener(log_file, children).reopen() == ""
    assert children.told == [1]
    assert (tmp_path / "log").exists()


def test_one_that_cannot_be_made_is_an_error(
    log_file: LogFile, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "log").unlink()
    (tmp_path / "log").mkdir()
    failure = LogReopener(log_file).reopen()
    assert "Is a directory; going on with the old one" in failure
    assert f"event=logs_reopened {failure}" in caplog.text


async def test_whoever_asks_is_answered_once_all_have_read_it() -> None:
    children = FakeChildren()
    children.unread = ["worker=3"]
    answer = asyncio.create_task(LogReopener(None, children).reopen_everywhere())
    await wait_until(lambda: children.told)
    assert not answer.done()
    children.unread = []
    assert await answer == ""


async def test_who_does_not_read_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REACHED_S", 0.01)
    children = FakeChildren()
    children.unread = ["worker=3", "gen=2"]
    failure = await LogReopener(None, children).reopen_everywhere()
    assert failure == "busy, and may still write to the old files: worker=3, gen=2"
