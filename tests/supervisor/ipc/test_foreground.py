"""Who is in the foreground of a terminal: its window's signals are no orders."""

import os
import subprocess
import sys

import pytest

from tests.support.clock import scaled

ASK = """
import fcntl, os, sys, termios
from blazeio_supervisor.ipc.signals import is_in_foreground
if sys.argv[1] == "none":
    print(is_in_foreground())
    sys.exit()
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
if os.fork() == 0:
    if sys.argv[1] == "background":
        os.setpgid(0, 0)
    print(is_in_foreground(), flush=True)
    os._exit(0)
os.wait()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("where", "answer"), [("foreground", "True"), ("background", "False"), ("none", "")]
)
def test_only_the_foreground_of_a_terminal_gets_its_signals(
    where: str, answer: str
) -> None:
    own, theirs = os.openpty()
    try:
        said = subprocess.run(
            [sys.executable, "-c", ASK, where],
            stdin=theirs,
            capture_output=True,
            text=True,
            start_new_session=True,
            timeout=scaled(10),
            check=False,
        )
    finally:
        os.close(own)
        os.close(theirs)
    assert said.stdout.strip() == (answer or "False"), said.stderr


LEAVE = """
import fcntl, os, sys, termios
from blazeio_supervisor.ipc.signals import has_terminal, leave_terminal
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
if os.fork() == 0:
    before = os.getsid(0), os.getpgrp()
    leave_terminal()
    if os.geteuid() == 0:
        os.setresuid(4242, 4242, 4242)
    try:
        fcntl.ioctl(0, termios.TIOCSTI, b"x")
    except PermissionError:
        print("may not type", end=" ")
    os.write(0, b"shown")
    print(has_terminal(), before == (os.getsid(0), os.getpgrp()), flush=True)
    os._exit(0)
os.wait()
"""


@pytest.mark.slow
def test_who_has_left_a_terminal_writes_to_it_and_cannot_type_there() -> None:
    own, theirs = os.openpty()
    try:
        said = subprocess.run(
            [sys.executable, "-c", LEAVE],
            stdin=theirs,
            capture_output=True,
            text=True,
            start_new_session=True,
            timeout=scaled(10),
            check=False,
        )
        shown = os.read(own, 100)
    finally:
        os.close(own)
        os.close(theirs)
    assert (said.stdout, said.stderr) == ("may not type False True\n", "")
    assert shown == b"shown"
