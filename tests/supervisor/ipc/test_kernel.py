import os
import signal
import subprocess
import sys

from tests.support.clock import block_until

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
