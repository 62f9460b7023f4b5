import asyncio
import os
import sys
import time

import pytest
from msgspec.structs import replace

from blazeio_supervisor.errors import ExitCode
from blazeio_supervisor.fleet.planner import Planner
from blazeio_supervisor.fleet.policy import Policy
from blazeio_supervisor.master.children import Reaper
from blazeio_supervisor.master.loop import (
    LEAVE_S,
    SLACK_S,
    FactQueue,
    LastResort,
    Shutdown,
)
from blazeio_supervisor.master.systemd import SystemdNotifier
from tests.support.clock import wait_until, within


class LastResortHarness:
    """A stop of nobody who decides anything."""

    def __init__(self, grace_s: float = 0.2) -> None:
        loop = asyncio.get_running_loop()
        policy = Policy(grace_s=grace_s, kill_after_s=0.1, quick_grace_s=0.1)
        self.planner = Planner(policy, 1)
        self.reaper = Reaper(loop)
        self.ended: list[int] = []
        self.shutdown = Shutdown(FactQueue(loop), SystemdNotifier(None, loop))
        self.resort = LastResort(loop, self.reaper, self.planner, self.shutdown)
        self.shutdown.on_ask = self.resort.begin

    async def wait(self) -> float:
        """When the master was ended, though there may be children left."""
        assert await within(self.shutdown.wait(), 10) == ExitCode.CRASHED
        return time.monotonic()

    def start_child(self) -> None:
        words = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]
        pid = os.posix_spawn(sys.executable, words, os.environ)
        self.reaper.watch(pid, self.ended.append)


async def test_who_is_left_is_killed_in_time(caplog: pytest.LogCaptureFixture) -> None:
    stop = LastResortHarness()
    stop.start_child()
    began_at = time.monotonic()
    stop.shutdown.ask(False, "")
    await wait_until(lambda: stop.ended)
    assert time.monotonic() - began_at >= 0.2 + 0.1 + SLACK_S
    assert stop.ended == [-9]
    assert "event=stop_forced it has not ended in its time" in caplog.text
    assert await stop.wait() - began_at >= 0.2 + 0.1 + SLACK_S + LEAVE_S


async def test_a_quick_stop_has_its_own_time() -> None:
    stop = LastResortHarness(grace_s=60.0)
    stop.shutdown.ask(False, "")
    await asyncio.sleep(0)
    began_at = time.monotonic()
    stop.shutdown.ask(True, "")
    stop.shutdown.ask(True, "")
    assert await stop.wait() - began_at >= 0.1 + 0.1 + SLACK_S


async def test_what_a_stopped_master_sleeps_through_counts_little(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stop = LastResortHarness(grace_s=5.0)
    stop.start_child()
    stop.shutdown.ask(False, "")
    stop.resort._ticked_at -= 3600  # as if it had been stopped for an hour
    stop.resort._tick()
    assert stop.resort._waited_s < 1.0
    assert not stop.ended
    stop.reaper.kill_all()
    await wait_until(lambda: stop.ended)
    stop.planner.policy = replace(stop.planner.policy, grace_s=0.0)
    await stop.wait()
