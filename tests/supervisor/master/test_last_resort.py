import asyncio
import os
import sys
import time

import pytest

from blazeio_supervisor.fleet.policy import Policy
from blazeio_supervisor.master.children import Reaper
from blazeio_supervisor.master.shutdown import LEAVE_S, SLACK_S, LastResort
from tests.support.clock import wait_until


class LastResortHarness:
    """A stop of nobody who decides anything."""

    def __init__(self, grace_s: float = 0.2) -> None:
        loop = asyncio.get_running_loop()
        self.reaper = Reaper(loop)
        self.policy = Policy(kill_after_s=0.1, quick_grace_s=0.0)
        self.grace_s = grace_s
        self.left_at: list[float] = []
        self.ended: list[int] = []
        self.resort = LastResort(
            loop,
            self.reaper,
            lambda: self.policy,
            lambda: self.grace_s,
            lambda: self.left_at.append(time.monotonic()),
        )

    def start_child(self) -> None:
        words = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]
        pid = os.posix_spawn(sys.executable, words, os.environ)
        self.reaper.watch(pid, self.ended.append)


async def test_who_is_left_is_killed_in_time(caplog: pytest.LogCaptureFixture) -> None:
    stop = LastResortHarness()
    stop.start_child()
    began_at = time.monotonic()
    stop.resort.begin(is_quick=False)
    await wait_until(lambda: stop.ended)
    assert time.monotonic() - began_at >= 0.2 + 0.1 + SLACK_S
    assert stop.ended == [-9]
    assert "event=stop_forced it has not ended in its time" in caplog.text
    await wait_until(lambda: stop.left_at)
    assert stop.left_at[0] - began_at >= 0.2 + 0.1 + SLACK_S + LEAVE_S


async def test_a_quick_stop_has_its_own_time() -> None:
    stop = LastResortHarness(grace_s=60.0)
    stop.resort.begin(is_quick=False)
    await asyncio.sleep(0)
    stop.grace_s = 0.1
    began_at = time.monotonic()
    stop.resort.begin(is_quick=True)
    stop.resort.begin(is_quick=True)
    await wait_until(lambda: stop.left_at)
    assert stop.left_at[0] - began_at >= 0.1 + 0.1 + SLACK_S


async def test_what_a_stopped_master_sleeps_through_counts_little(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stop = LastResortHarness(grace_s=5.0)
    stop.start_child()
    stop.resort.begin(is_quick=False)
    stop.resort._ticked_at -= 3600  # as if it had been stopped for an hour
    stop.resort._tick()
    assert stop.resort._waited_s < 1.0
    assert not stop.ended
    stop.reaper.kill_all()
    await wait_until(lambda: stop.ended)
    stop.grace_s = 0.0
    await wait_until(lambda: stop.left_at)
