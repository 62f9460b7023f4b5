import os
import sys

import pytest

from blazeio_supervisor.master.children import REAP_EVERY_S, OrphanReaper
from tests.supervisor.master.workers_harness import WorkersHarness
from tests.support.clock import wait_until


def spawn_stray() -> int:
    arguments = [sys.executable, "-S", "-c", ""]
    return os.posix_spawn(sys.executable, arguments, os.environ)


async def wait_dead(pid: int) -> None:
    def is_dead() -> bool:
        flags = os.WEXITED | os.WNOHANG | os.WNOWAIT
        return os.waitid(os.P_PID, pid, flags) is not None

    await wait_until(is_dead, 9)


@pytest.fixture
def strangers(harness: WorkersHarness) -> OrphanReaper:
    return OrphanReaper(
        harness.child_context.reaper,
        lambda: harness.workers.is_forking,
        harness.child_context.oom_kills,
    )


async def test_what_an_app_left_behind_is_reaped_when_it_is_time(
    strangers: OrphanReaper, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "blazeio")
    strangers.look(100.0)
    pid = spawn_stray()
    await wait_dead(pid)
    strangers.look(100.0 + REAP_EVERY_S / 2)
    assert "event=reaped_stranger" not in caplog.text
    strangers.look(100.0 + REAP_EVERY_S)
    assert f"event=reaped_stranger no process of ours: pid {pid}" in caplog.text


async def test_nobody_is_taken_for_one_while_a_worker_has_no_pid(
    harness: WorkersHarness, strangers: OrphanReaper
) -> None:
    harness.prepare()
    pid = spawn_stray()
    await wait_dead(pid)
    strangers.look(100.0)
    await wait_dead(pid)  # it is there yet, for us
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG)  # noqa: ASYNC222 - it is dead
