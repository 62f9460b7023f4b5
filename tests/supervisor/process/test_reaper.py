import asyncio
import os
import signal
import sys

import pytest

from blazeio_supervisor.process.reaper import UNKNOWN_STATUS, Reaper
from tests.support.clock import block_until, wait_until


def start(code: str) -> int:
    """A child that nobody waits for but the one under test."""
    arguments = [sys.executable, "-S", "-c", code]
    return os.posix_spawn(sys.executable, arguments, os.environ)


def is_zombie(pid: int) -> bool:
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] == "Z"


@pytest.fixture
def statuses() -> list[int]:
    return []


async def test_an_exit_code_is_told_once(statuses: list[int]) -> None:
    reaper = Reaper(asyncio.get_running_loop())
    reaper.watch(start("raise SystemExit(3)"), statuses.append)
    await wait_until(lambda: statuses, 10)
    assert statuses == [3]
    assert len(reaper) == 0


async def test_the_signal_that_killed_is_told_with_a_minus(
    statuses: list[int],
) -> None:
    reaper = Reaper(asyncio.get_running_loop())
    pid = start("import time; time.sleep(60)")
    reaper.watch(pid, statuses.append)
    reaper.send_signal(pid, signal.SIGKILL)
    await wait_until(lambda: statuses, 10)
    assert statuses == [-signal.SIGKILL]
    reaper.send_signal(pid, signal.SIGKILL)  # to nobody by now


async def test_a_child_that_is_dead_already_can_be_watched(
    statuses: list[int],
) -> None:
    pid = start("")
    block_until(lambda: is_zombie(pid), 10)
    reaper = Reaper(asyncio.get_running_loop())
    reaper.watch(pid, statuses.append)
    await wait_until(lambda: statuses)
    assert statuses == [0]


async def test_a_child_that_somebody_else_reaped_has_an_unknown_status(
    statuses: list[int],
) -> None:
    reaper = Reaper(asyncio.get_running_loop())
    pid = start("")
    block_until(lambda: is_zombie(pid), 10)
    reaper.watch(pid, statuses.append)
    assert pid in Reaper(asyncio.get_running_loop()).reap_strangers()
    await wait_until(lambda: statuses)
    assert statuses == [UNKNOWN_STATUS]


async def test_whoever_is_no_child_is_not_watched(statuses: list[int]) -> None:
    reaper = Reaper(asyncio.get_running_loop())
    with pytest.raises(ProcessLookupError, match="is no child"):
        reaper.watch(os.getppid(), statuses.append)
    assert len(reaper) == 0


async def test_strangers_are_reaped_and_ours_are_told(statuses: list[int]) -> None:
    reaper = Reaper(asyncio.get_running_loop())
    ours, stranger = start("raise SystemExit(4)"), start("")
    reaper.watch(ours, statuses.append)
    block_until(lambda: is_zombie(ours) and is_zombie(stranger), 10)
    assert stranger in reaper.reap_strangers()
    assert statuses == [4]
    await asyncio.sleep(0)
    assert statuses == [4]


async def test_a_running_stranger_is_left_alone() -> None:
    reaper = Reaper(asyncio.get_running_loop())
    pid = start("import time; time.sleep(60)")
    assert pid not in reaper.reap_strangers()
    os.kill(pid, signal.SIGKILL)
    await wait_until(lambda: pid in reaper.reap_strangers())


async def test_without_children_there_is_nothing_to_reap() -> None:
    assert Reaper(asyncio.get_running_loop()).reap_strangers() == []
