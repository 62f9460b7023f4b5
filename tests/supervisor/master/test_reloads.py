import asyncio
from pathlib import Path

import pytest

from blazeio_supervisor.config.settings import LiveSettings
from blazeio_supervisor.fleet.actions import ReloadEnded
from blazeio_supervisor.fleet.facts import Fact, ReloadAsked
from blazeio_supervisor.log.setup import FramesPrinter
from blazeio_supervisor.master.reloads import Reloads
from tests.supervisor.typed import NOWHERE, look_for_sources


@pytest.fixture(autouse=True)
def info(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "blazeio")


def make_reloads(
    folder: Path = NOWHERE,
) -> tuple[Reloads, list[Fact], FramesPrinter]:
    facts: list[Fact] = []
    frames = FramesPrinter()
    live_settings = LiveSettings.read(look_for_sources("app:web", folder=folder))
    return Reloads(facts.append, frames, live_settings), facts, frames


async def test_each_ask_is_a_ticket_of_its_own() -> None:
    reloads, facts, _ = make_reloads()
    first, second = reloads.ask("SIGHUP"), reloads.ask("pid 7")
    assert facts == [ReloadAsked(1, by="SIGHUP"), ReloadAsked(2, by="pid 7")]
    reloads.end(ReloadEnded((2,), 3, True))
    assert (first.done(), second.done()) == (False, True)


async def test_success_is_told_and_one_info_line(
    caplog: pytest.LogCaptureFixture,
) -> None:
    reloads, _, frames = make_reloads()
    outcome = reloads.ask("SIGHUP")
    frames.print("a worker that was tried again\n", 2)
    reloads.end(ReloadEnded((1,), 2, True))
    assert (outcome.result().is_ok, outcome.result().output) == (True, "")
    record = caplog.records[-1]
    assert record.levelname == "INFO"
    text = "event=reload_ok gen=2: the reload that SIGHUP asked for took"
    assert record.getMessage().startswith(text)


async def test_failure_is_told_with_what_the_app_raised(
    caplog: pytest.LogCaptureFixture,
) -> None:
    reloads, _, frames = make_reloads()
    outcome = reloads.ask("SIGHUP")
    frames.print("Traceback ...\n", 2)
    reloads.end(ReloadEnded((1,), 2, False, "no database"))
    reloads.ask("SIGHUP")
    ended = outcome.result()
    assert (ended.is_ok, ended.reason) == (False, "no database")
    assert (ended.generation, ended.output) == (2, "Traceback ...\n")
    text = "the reload that SIGHUP asked for has failed: no database"
    assert f"event=reload_failed gen=2: {text}" in caplog.messages
    # Where the planner has said so, it is not said once more.
    caplog.clear()
    reloads.end(ReloadEnded((2,), 3, False, "no database", is_reported=True))
    assert caplog.messages == []


async def test_what_another_generation_raised_is_not_told() -> None:
    reloads, _, frames = make_reloads()
    outcome = reloads.ask("SIGHUP")
    frames.print("Traceback ...\n", 1)
    reloads.end(ReloadEnded((1,), 2, False, "late"))
    assert outcome.result().output == ""


@pytest.mark.parametrize("is_ok", [True, False])
async def test_a_superseded_one_ends_as_the_one_that_took_its_place(
    caplog: pytest.LogCaptureFixture, is_ok: bool
) -> None:
    reloads, _, _ = make_reloads()
    first, second, third = (reloads.ask(f"pid {number}") for number in (7, 8, 9))
    reloads.end(ReloadEnded((1, 2, 3), 4, is_ok, superseded=(1, 2)))
    ends = [(each.result().generation, each.result().is_ok) for each in (first, second)]
    assert ends == [(4, is_ok)] * 2
    assert first.result().is_superseded
    assert not third.result().is_superseded
    (line,) = caplog.messages  # of the others there are events already
    assert "the reload that pid 9 asked for" in line


async def test_who_left_meanwhile_is_not_told() -> None:
    reloads, _, _ = make_reloads()
    outcome = reloads.ask("pid 7")
    waiting = asyncio.ensure_future(outcome)
    waiting.cancel()
    reloads.end(ReloadEnded((1,), 2, True))
    assert outcome.cancelled()


async def test_settings_that_cannot_be_fail_it_at_once_in_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    reloads, facts, _ = make_reloads(tmp_path)
    (tmp_path / "blazeio.toml").write_text("timeout = 0\n")
    outcome = reloads.ask("SIGHUP").result()
    assert (outcome.is_ok, facts) == (False, [])
    assert "timeout = 0: expected seconds, 1 to 86400" in outcome.reason
    (record,) = caplog.records
    assert record.levelname == "ERROR"
    assert outcome.reason in record.getMessage()


async def test_what_needs_a_restart_is_told(tmp_path: Path) -> None:
    reloads, _, _ = make_reloads(tmp_path)
    (tmp_path / "blazeio.toml").write_text("name = 'b'\n")
    outcome = reloads.ask("SIGHUP")
    reloads.end(ReloadEnded((1,), 2, True))
    assert outcome.result().needs_restart == ("name",)


def write(folder: Path, text: str) -> None:
    (folder / "blazeio.toml").write_text(text)


async def test_settings_are_on_trial_with_the_generation_that_is_loaded(
    tmp_path: Path,
) -> None:
    reloads, _, _ = make_reloads(tmp_path)
    write(tmp_path, "timeout = 7\n")
    reloads.ask("SIGHUP")
    assert reloads.begin(2, 1).timeout_s == reloads.settings_of(2).timeout_s == 7
    assert reloads.settings_of(1).timeout_s == 30
    assert reloads.end(ReloadEnded((1,), 2, True)).timeout_s == 7
    assert reloads.settings_of(1).timeout_s == 7


async def test_settings_of_code_that_is_taken_back_are_taken_back_too(
    tmp_path: Path,
) -> None:
    reloads, _, _ = make_reloads(tmp_path)
    write(tmp_path, "timeout = 7\n")
    reloads.ask("SIGHUP")
    reloads.begin(2, 1)
    reloads.end(ReloadEnded((1,), 2, True))
    assert reloads.undo().timeout_s == 30
    assert reloads.settings_of(2).timeout_s == 30
    assert reloads.undo().timeout_s == 30


async def test_settings_whose_code_is_not_taken_are_forgotten(tmp_path: Path) -> None:
    reloads, _, _ = make_reloads(tmp_path)
    write(tmp_path, "timeout = 7\n")
    reloads.ask("SIGHUP")
    reloads.begin(2, 1)
    assert reloads.end(ReloadEnded((1,), 2, False, "late")).timeout_s == 30
    assert reloads.settings_of(2).timeout_s == 30


async def test_a_generation_that_nobody_asked_for_has_what_is_in_force(
    tmp_path: Path,
) -> None:
    reloads, _, _ = make_reloads(tmp_path)
    write(tmp_path, "timeout = 7\n")
    assert reloads.begin(2, None).timeout_s == 30


async def test_who_asks_later_waits_for_a_generation_with_own_settings(
    tmp_path: Path,
) -> None:
    reloads, _, _ = make_reloads(tmp_path)
    for timeout in (7, 8):
        write(tmp_path, f"timeout = {timeout}\n")
        reloads.ask("SIGHUP")
    assert reloads.begin(2, 1).timeout_s == 7
    assert reloads.end(ReloadEnded((1,), 2, True)).timeout_s == 7
    assert reloads.begin(3, 2).timeout_s == 8
