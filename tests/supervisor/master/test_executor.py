"""Which hand does what; that it is done is tested where it is done."""

import asyncio
from pathlib import Path
from typing import get_args

import pytest

from blazeio_supervisor.fleet import actions
from blazeio_supervisor.fleet.actions import (
    Action,
    CloseListeners,
    Exit,
    ReloadEnded,
    ReportStatus,
)
from blazeio_supervisor.fleet.facts import ScaleAsked
from blazeio_supervisor.master import reloads
from tests.supervisor.master.test_master import make_crew
from tests.support.clock import within


def test_every_action_has_its_case() -> None:
    """Beside mypy: what is not in the union would be no action of anybody."""
    declared = {
        each
        for each in vars(actions).values()
        if isinstance(each, type)
        and each.__module__ == actions.__name__
        and each.__name__ not in ("StopMode", "Stage")
    }
    assert declared == set(get_args(Action))


async def test_a_report_is_a_line_with_all_that_it_says(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    components = make_crew(tmp_path, asyncio.get_running_loop())
    components.control_loop._execute(
        ReportStatus("odd", "it hums", "ERROR", 3, 1, 2, 99, "SIGKILL")
    )
    assert "event=odd worker=3 slot=1 gen=2 pid=99" in caplog.text


async def test_the_last_call_makes_every_drain_a_final_one(tmp_path: Path) -> None:
    components = make_crew(tmp_path, asyncio.get_running_loop())
    components.control_loop._execute(CloseListeners())
    assert components.shutdown.is_final


async def test_an_exit_is_the_end(tmp_path: Path) -> None:
    components = make_crew(tmp_path, asyncio.get_running_loop())
    components.control_loop._execute(Exit(3))
    assert await within(components.shutdown.wait(), 1) == 3


@pytest.fixture
def titles(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []
    monkeypatch.setattr(reloads, "setproctitle", said.append)
    return said


@pytest.mark.parametrize(("is_ok", "kept"), [(True, "/up"), (False, "")])
async def test_the_master_goes_by_the_settings_of_a_reload(
    tmp_path: Path, is_ok: bool, kept: str, titles: list[str]
) -> None:
    (tmp_path / "blazeio.toml").write_text("workers = 2\n")
    components = make_crew(tmp_path, asyncio.get_running_loop())
    executor = components.control_loop._execute.__self__  # type: ignore[attr-defined]
    (tmp_path / "blazeio.toml").write_text("workers = 3\nhealth_path = '/up'\n")
    components.reloads.ask("a test")
    executor._go_by(executor.reloads.begin(2, 1))
    assert executor.health_checks.path == "/up"
    executor.execute(ReloadEnded((1,), 2, is_ok))
    assert executor.health_checks.path == kept
    assert titles == ["blazeio: master [app:web]"]
    asked = ScaleAsked(count=3, by="the new settings") in components.facts.take()
    assert asked == is_ok
