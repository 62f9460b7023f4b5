import signal
import subprocess
import sys

import pytest

from blazeio_supervisor.process.signals import IGNORED_IN_CHILDREN, STACK_SIGNAL

CHILD = """
import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
os.kill(os.getpid(), signal.SIGINT)  # before it was ready, as a ^C may be
from blazeio_supervisor.process.signals import IGNORED_IN_CHILDREN, ignore_in_child
ignore_in_child()
for number in IGNORED_IN_CHILDREN:
    os.kill(os.getpid(), number)
print("alive", signal.pthread_sigmask(signal.SIG_BLOCK, []))
"""


def test_what_is_the_masters_does_not_touch_a_child() -> None:
    done = subprocess.run(
        [sys.executable, "-c", CHILD], capture_output=True, timeout=20
    )
    assert done.stdout == b"alive set()\n", done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, STACK_SIGNAL])
def test_what_the_master_sends_is_not_ignored(number: int) -> None:
    assert number not in IGNORED_IN_CHILDREN
