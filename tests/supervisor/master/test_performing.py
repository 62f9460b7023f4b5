"""Which hand does what; that it is done is tested where it is done."""

import asyncio
from pathlib import Path
from typing import get_args

import pytest

from blazeio_supervisor.fleet import actions
from blazeio_supervisor.fleet.actions import Action, CloseListeners, Exit, ReportStatus
from tests.supervisor.master.test_composition import make_crew
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
    components.turns._perform(
        ReportStatus("odd", "it hums", "ERROR", 3, 1, 2, 99, "SIGKILL")
    )
    assert "event=odd worker=3 slot=1 gen=2 pid=99" in caplog.text


async def test_the_last_call_makes_every_drain_a_final_one(tmp_path: Path) -> None:
    components = make_crew(tmp_path, asyncio.get_running_loop())
    components.turns._perform(CloseListeners())
    assert components.ending.is_final


async def test_an_exit_is_the_end(tmp_path: Path) -> None:
    components = make_crew(tmp_path, asyncio.get_running_loop())
    components.turns._perform(Exit(3))
    assert await within(components.ending.wait(), 1) == 3
