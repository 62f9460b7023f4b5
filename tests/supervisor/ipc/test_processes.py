import os
import re
import signal
import subprocess
import sys
import time

import psutil
import pytest

from blazeio_supervisor.ipc.processes import (
    find_process,
    read_command,
    read_cpu_s,
    read_parent,
)
from blazeio_supervisor.master.children import iterate_ancestors
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


def test_the_processor_time_of_a_process_grows() -> None:
    before = read_cpu_s(os.getpid())
    assert before is not None
    block_until(lambda: (read_cpu_s(os.getpid()) or 0.0) > before)


def test_the_processor_time_is_that_which_psutil_reads() -> None:
    times = psutil.Process().cpu_times()
    found = read_cpu_s(os.getpid())
    assert found is not None
    assert -0.001 < found - (times.user + times.system) < 1.0


def test_a_process_that_is_gone_has_no_time() -> None:
    assert read_cpu_s(2**22 + 1) is None


ORPHAN = """
import os, sys
from blazeio_supervisor.ipc.processes import become_subreaper
become_subreaper()
middle = os.fork()
if middle == 0:
    if os.fork() == 0:
        os.read(0, 1)  # until the test has seen the middle process end
        os._exit(int(os.getppid() == int(sys.argv[1] or 0)))
    os._exit(0)
os.waitpid(middle, 0)
os.write(1, b"ended")
pid, status = os.wait()
print(pid != middle, flush=True)
"""
BEREAVED = """
import os, signal, sys
from blazeio_supervisor.ipc.processes import set_parent_death_signal
pid = os.fork()
if pid == 0:
    set_parent_death_signal(signal.SIGTERM)
    print(os.getpid(), flush=True)
    signal.pause()
os.read(0, 1)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_subreaper_gets_the_orphans_below_it() -> None:
    command = [sys.executable, "-c", ORPHAN, "0"]
    done = subprocess.run(command, input=b"x", capture_output=True, timeout=20)
    assert done.stdout == b"endedTrue\n", done.stderr


def test_the_death_signal_comes_when_the_parent_dies() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", BEREAVED], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        pid = int(process.stdout.readline())
        process.stdin.write(b"x")
        process.stdin.close()
        assert process.wait(20) == -signal.SIGKILL
        block_until(lambda: not is_living(pid), 5, "the child's end")


def is_living(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_no_signal_is_asked_for_by_zero() -> None:
    code = (
        "from blazeio_supervisor.ipc import processes as kernel\n"
        "kernel.set_parent_death_signal(15); kernel.set_parent_death_signal(0)"
    )
    assert subprocess.run([sys.executable, "-c", code], timeout=20).returncode == 0
    assert os.getpid() > 0
