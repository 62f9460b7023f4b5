import asyncio
from pathlib import Path
from typing import Any

import pytest

from blazeio_supervisor.fleet.actions import ReloadEnded
from blazeio_supervisor.fleet.facts import Fact, ScaleAsked
from blazeio_supervisor.master import reloads as module
from blazeio_supervisor.master.loop import FactQueue
from blazeio_supervisor.master.probes import HealthChecks
from blazeio_supervisor.master.reloads import SettingsTransaction
from tests.supervisor.cli.master_harness import MasterHarness


@pytest.fixture
def titles(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []
    monkeypatch.setattr(module, "setproctitle", said.append)
    return said


class SettingsHarness:
    """The transaction of a service whose settings come from a file."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "blazeio.toml"
        self.write(workers=2)
        self.harness = MasterHarness(folder)
        self.inbox = FactQueue(asyncio.get_running_loop())
        service = self.harness.service
        self.checks = HealthChecks("", lambda _: None, self.inbox.tell)
        self.rules = SettingsTransaction(
            service.in_force, service.planner, self.checks, service.upgrades, self.inbox
        )

    def write(self, **settings: Any) -> None:
        lines = (f"{key} = {value!r}" for key, value in settings.items())
        self.file.write_text("\n".join(lines))

    def facts(self) -> list[Fact]:
        return self.inbox.take()


@pytest.mark.usefixtures("titles")
@pytest.mark.parametrize(("is_ok", "kept"), [(True, "/up"), (False, "")])
async def test_what_is_tried_out_is_kept_or_not(
    tmp_path: Path, is_ok: bool, kept: str
) -> None:
    control = SettingsHarness(tmp_path)
    control.write(health_path="/up")
    control.harness.in_force.read_again()
    control.rules.try_out(2)
    assert control.checks.path == "/up"
    control.rules.decide(ReloadEnded(1, 2, is_ok))
    assert control.checks.path == kept


async def test_the_master_is_named_by_its_app(
    tmp_path: Path, titles: list[str]
) -> None:
    control = SettingsHarness(tmp_path)
    control.rules.decide(ReloadEnded(1, 2, True))
    assert titles == ["blazeio: master [app:web]"]
    assert ScaleAsked(count=2) not in control.facts()
