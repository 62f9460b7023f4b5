import os
import re
import signal
import time

import pytest

from blazeio_supervisor.ipc.processes import (
    find_process,
    iterate_ancestors,
    read_command,
    read_cpu_s,
    read_parent,
)
from tests.support.clock import block_until
from tests.support.live import run_to_exit

NO_PID = 2**22 + 1


def spawn(*words: str) -> int:
    return os.posix_spawn("/bin/sleep", list(words), os.environ)


def end(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def test_a_process_that_is_gone_has_no_command_parent_or_time() -> None:
    assert read_command(NO_PID) == ""
    assert read_parent(NO_PID) == 0
    assert read_cpu_s(NO_PID) is None
    assert not find_process(NO_PID, re.compile(""), time.time())


def test_the_parent_and_the_ancestors_of_a_child() -> None:
    child = spawn("sleep", "60")
    try:
        assert read_parent(child) == os.getpid()
        assert list(iterate_ancestors(child)) == [child]
    finally:
        end(child)


def test_a_process_is_known_by_its_command_and_its_age() -> None:
    before = time.time() - 1
    child = spawn("sleep", "61")
    try:
        block_until(lambda: read_command(child) == "sleep 61")
        pattern = re.compile("sleep 6[1]")
        assert find_process(child, pattern, time.time() + 1)
        assert not find_process(child, re.compile("another"), time.time() + 1)
        assert not find_process(child, pattern, before)
    finally:
        end(child)


def test_a_process_that_nobody_has_reaped_is_over() -> None:
    child = spawn("sleep", "60")
    os.kill(child, signal.SIGKILL)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    try:
        assert not find_process(child, re.compile(""), time.time() + 1)
        assert read_command(child) == ""
    finally:
        os.waitpid(child, 0)


@pytest.mark.parametrize(
    "module",
    [
        "blazeio.api",
        "blazeio_supervisor.__main__",
        "blazeio_supervisor.master.master",
        "blazeio_supervisor.worker.__main__",
    ],
)
def test_neither_the_app_nor_master_and_worker_pay_for_psutil(module: str) -> None:
    code = f"import sys, {module}; print('psutil' in sys.modules)"
    done = run_to_exit(["python", "-c", code])
    assert (done.returncode, done.stdout.strip()) == (0, "False")
