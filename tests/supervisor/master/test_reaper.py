import asyncio
import os
import signal
import subprocess
import sys
import time

import pytest

from blazeio_supervisor.ipc.processes import NotOurChildError
from blazeio_supervisor.master.children import UNKNOWN_STATUS, Reaper
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
    assert pid in Reaper(asyncio.get_running_loop()).reap_orphans()
    await wait_until(lambda: statuses)
    assert statuses == [UNKNOWN_STATUS]


async def test_whoever_is_no_child_is_not_watched(statuses: list[int]) -> None:
    reaper = Reaper(asyncio.get_running_loop())
    with pytest.raises(ProcessLookupError, match="is no child"):
        reaper.watch(os.getppid(), statuses.append)
    assert len(reaper) == 0


async def test_a_child_is_watched_once(statuses: list[int]) -> None:
    reaper = Reaper(asyncio.get_running_loop())
    pid = start("")
    reaper.watch(pid, statuses.append)
    with pytest.raises(NotOurChildError, match="is another child"):
        reaper.watch(pid, print)
    await wait_until(lambda: statuses, 10)


@pytest.mark.parametrize("pid", [0, -1, 2**31 - 1, 2**40])
async def test_what_is_no_pid_is_not_watched(pid: int, statuses: list[int]) -> None:
    reaper = Reaper(asyncio.get_running_loop())
    count = len(os.listdir("/proc/self/fd"))
    with pytest.raises(NotOurChildError, match="is no process"):
        reaper.watch(pid, statuses.append)
    assert len(os.listdir("/proc/self/fd")) == count


async def test_one_that_runs_as_another_is_not_watched(statuses: list[int]) -> None:
    reaper = Reaper(asyncio.get_running_loop())
    pid = start("import time; time.sleep(60)")
    count = len(os.listdir("/proc/self/fd"))
    with pytest.raises(NotOurChildError, match="does not run as uid 4711"):
        reaper.watch(pid, statuses.append, uid=4711)
    assert len(os.listdir("/proc/self/fd")) == count
    reaper.watch(pid, statuses.append, uid=os.getuid())
    reaper.send_signal(pid, signal.SIGKILL)
    await wait_until(lambda: statuses, 10)


TRACER = """
import ctypes, sys, time
libc = ctypes.CDLL(None, use_errno=True)
libc.ptrace.argtypes = [ctypes.c_long] * 4
SEIZE = 0x4206
failed = libc.ptrace(SEIZE, int(sys.argv[1]), 0, 0) != 0
print(ctypes.get_errno() if failed else "traces", flush=True)
time.sleep(60)
"""


def trace(pid: int) -> tuple[subprocess.Popen[str], str]:
    """Have a process trace another one; gives it, and what it said."""
    words = [sys.executable, "-c", TRACER, str(pid)]
    tracer = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert tracer.stdout is not None
    return tracer, tracer.stdout.readline().strip()


@pytest.mark.slow
async def test_a_dead_child_whose_tracer_does_not_let_go_is_given_up(
    statuses: list[int],
) -> None:
    reaper = Reaper(asyncio.get_running_loop())
    pid = start("import time; time.sleep(60)")
    tracer, said = trace(pid)
    reaper.watch(pid, statuses.append)
    reaper.send_signal(pid, signal.SIGKILL)
    used_s = time.process_time()
    await wait_until(lambda: statuses, 10)
    used_s = time.process_time() - used_s
    tracer.kill()
    tracer.communicate()
    if said != "traces":
        pytest.skip(f"one process may not trace another here: {os.strerror(int(said))}")
    assert statuses == [UNKNOWN_STATUS]
    assert used_s < 0.3  # it did not turn on the spot meanwhile
    await wait_until(lambda: pid in reaper.reap_orphans())


async def test_of_many_strangers_some_are_reaped_at_once() -> None:
    reaper = Reaper(asyncio.get_running_loop())
    pids = [start("") for _ in range(3)]
    block_until(lambda: all(map(is_zombie, pids)), 10)
    reaped = reaper.reap_orphans(2)
    assert len(reaped) == 2
    assert set(reaped) | set(reaper.reap_orphans(2)) == set(pids)


async def test_strangers_are_reaped_and_ours_are_told(statuses: list[int]) -> None:
    reaper = Reaper(asyncio.get_running_loop())
    ours, stranger = start("raise SystemExit(4)"), start("")
    reaper.watch(ours, statuses.append)
    block_until(lambda: is_zombie(ours) and is_zombie(stranger), 10)
    assert stranger in reaper.reap_orphans()
    assert statuses == [4]
    await asyncio.sleep(0)
    assert statuses == [4]


async def test_a_running_stranger_is_left_alone() -> None:
    reaper = Reaper(asyncio.get_running_loop())
    pid = start("import time; time.sleep(60)")
    assert pid not in reaper.reap_orphans()
    os.kill(pid, signal.SIGKILL)
    await wait_until(lambda: pid in reaper.reap_orphans())


async def test_without_children_there_is_nothing_to_reap() -> None:
    assert Reaper(asyncio.get_running_loop()).reap_orphans() == []
