"""An app whose import takes over the process that forks its workers."""

import os
import pwd
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.process.service import APP
from tests.support.clock import block_until, scaled
from tests.support.live import resolve
from tests.support.namespaces import let_everybody_read_python
from tests.support.users import need_root

pytestmark = pytest.mark.slow
GRACE_S = 1.0

TAKEN_OVER = """
import os, socket, sys, time
import msgspec
import blazeio_supervisor.worker.__main__ as generation
from blazeio_supervisor.worker import forkserver
from blazeio_supervisor.ipc.messages import (
    Forked,
    ForkFailed,
    Loaded,
    Unsafe,
)

VICTIM = int(os.environ["VICTIM"])
send = forkserver.send
"""
LIES = {
    "names the process of somebody else": """
def lie(sock, message, fds=()):
    if isinstance(message, Forked):
        message = Forked(message.worker, VICTIM)
    send(sock, message, fds)
forkserver.send = lie
""",
    "names the master": """
def lie(sock, message, fds=()):
    if isinstance(message, Forked):
        message = Forked(message.worker, os.getppid())
    send(sock, message, fds)
forkserver.send = lie
""",
    "names itself": """
def lie(sock, message, fds=()):
    if isinstance(message, Forked):
        message = Forked(message.worker, os.getpid())
    send(sock, message, fds)
forkserver.send = lie
""",
    "names workers that nobody asked for": """
def lie(sock, message, fds=()):
    if isinstance(message, Forked):
        message = Forked(message.worker + 7, message.pid)
    send(sock, message, fds)
forkserver.send = lie
""",
    "says everything twice": """
def lie(sock, message, fds=()):
    send(sock, message, fds)
    send(sock, message, fds)
forkserver.send = generation.send = lie
""",
    "sends junk": """
def lie(sock, message, fds=()):
    send(sock, message, fds)
    while True:
        sock.send(b"\\xc1junk")
forkserver.send = generation.send = lie
""",
    "sends descriptors": """
def lie(sock, message, fds=()):
    send(sock, message, [0] * 250)
forkserver.send = generation.send = lie
""",
    "forks nobody and says so for the living": """
def lie(sock, message, fds=()):
    send(sock, message, fds)
    if isinstance(message, Forked):
        send(sock, ForkFailed(message.worker, "no room"), fds)
forkserver.send = lie
""",
    "is its workers' parent": """
import ctypes
ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)
forkserver.Forkserver._fork_twice.__globals__["_wait_for"] = lambda pid: None
""",
}


USUAL = ("names the process of somebody else",)
"""Tried by each run; the others by ``make test-long``."""


@pytest.fixture
def victim() -> "Iterator[subprocess.Popen[bytes]]":
    """A process of root's; whoever could would have it signalled."""
    need_root()
    with subprocess.Popen(["sleep", "600"]) as made:
        yield made
        made.kill()


def start(folder: Path, code: str, victim: int, *options: str) -> list[str]:
    need_root()
    (folder / "app.py").write_text(TAKEN_OVER + code + APP)
    nobody = pwd.getpwnam("nobody")
    os.chown(folder, nobody.pw_uid, nobody.pw_gid)
    words = ["blazeio-supervisor", "app:web", "--user", "nobody", "--workers", "2"]
    words += ["--graceful-timeout", f"{GRACE_S:g}", "--env", f"VICTIM={victim}"]
    words += ["--boot-timeout", "10", "--control", str(folder / "c.sock")]
    return let_everybody_read_python(resolve([*words, *options]), folder / "aside")


@pytest.mark.parametrize(
    "lie",
    [
        lie if lie in USUAL else pytest.param(lie, marks=pytest.mark.long)
        for lie in LIES
    ],
)
def test_its_lies_hurt_nobody_and_the_service_ends(
    open_folder: Path, victim: "subprocess.Popen[bytes]", lie: str
) -> None:
    command = start(open_folder, LIES[lie], victim.pid)
    log = open_folder / "log"
    with log.open("wb") as file:
        master = subprocess.Popen(command, cwd=open_folder, stderr=file, stdout=file)

    def is_decided() -> bool:
        # The first boot fails, or it goes on until it is told to stop.
        text = log.read_text(errors="replace")
        is_told = "event=misbehaved" in text or "event=boot_failed" in text
        return is_told or master.poll() is not None

    try:
        block_until(is_decided, 40)
        master.send_signal(signal.SIGTERM)
        status = master.wait(scaled(GRACE_S + 20))
        text = log.read_text(errors="replace")
        assert status in (0, 3), text
        assert "event=misbehaved" in text, text
        assert "Exception in callback" not in text
        assert "event=turn_failed" not in text
        assert victim.poll() is None, "somebody else was signalled"
    finally:
        victim.kill()
        victim.wait()
        if master.poll() is None:
            master.kill()
            master.wait()
