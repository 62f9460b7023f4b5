import signal
import subprocess
import sys

import pytest

from blazeio_supervisor.ipc.signals import HELD_BACK, STACK_SIGNAL

CHILD = """
import os, signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
os.kill(os.getpid(), signal.SIGINT)  # before it was ready, as a ^C may be
from blazeio_supervisor.worker.process import OwnInstallations
from blazeio_supervisor.ipc.signals import HELD_BACK
OwnInstallations().hold_back()
for number in HELD_BACK:
    os.kill(os.getpid(), number)
print("alive", signal.pthread_sigmask(signal.SIG_BLOCK, []))
"""
FORGETTING = """
import signal
from blazeio_supervisor.isolation import forget_starter
forget_starter()
print(signal.getsignal(signal.SIGCHLD) is signal.SIG_DFL)
print(signal.pthread_sigmask(signal.SIG_BLOCK, []))
"""


def run(code: str, prefix: str = "") -> bytes:
    words = ["sh", "-c", f'{prefix} exec "$@"', "sh", sys.executable, "-c", code]
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGCHLD])
    try:
        done = subprocess.run(words, capture_output=True, timeout=20)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    assert not done.stderr, done.stderr
    return done.stdout


def test_what_is_the_masters_does_not_touch_a_child() -> None:
    words = [sys.executable, "-c", CHILD]
    done = subprocess.run(words, capture_output=True, timeout=20)
    assert done.stdout == b"alive set()\n", done.stderr


def test_what_the_starter_has_set_is_forgotten() -> None:
    assert run(FORGETTING, "trap '' CHLD;") == b"True\nset()\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, STACK_SIGNAL])
def test_what_the_master_sends_is_not_held_back(number: int) -> None:
    assert number not in HELD_BACK


def test_signals_that_are_blocked_stay_blocked_over_an_exec() -> None:
    # What the test above would otherwise assert of nothing.
    code = "import signal; print(len(signal.pthread_sigmask(signal.SIG_BLOCK, [])))"
    assert int(run(code)) >= 2
