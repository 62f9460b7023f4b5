"""Ending what a killed process of ours has left behind.

A worker that ends by itself joins the processes of its pools. One that is killed
cannot: they would wait for their next task for ever, with all the memory of the
app. What it has forked and what has run no other program since has a title that
says whose child it is; as an orphan it becomes the master's child. Those that
``multiprocessing`` has spawned show that by their arguments. A daemon, which has a
session of its own, is left alone.
"""

import asyncio
import os
import signal

from blazeio_supervisor.process.descendants import list_children, read_command

KILL_AFTER_S = 1.0
"""Between SIGTERM and SIGKILL."""
_SPAWNED = ("multiprocessing.spawn import ", "multiprocessing.forkserver import ")


def name_children_of(kind: str, number: int, generation: int) -> str:
    """Return what the titles of the children of a process begin with."""
    if kind == "forkserver":
        return f"blazeio: child of forkserver gen {generation}"
    return f"blazeio: child of {kind} {number} gen {generation} "


def end_left_behind(loop: asyncio.AbstractEventLoop, title: str) -> None:
    """End the orphans whose title begins like this, and what they leave behind.

    Args:
        loop: The master's.
        title: Of ``name_children_of``.
    """
    _send(title, signal.SIGTERM)
    loop.call_later(KILL_AFTER_S, _send, title, signal.SIGKILL)


def _send(title: str, number: signal.Signals) -> None:
    own_group = os.getpgid(0)
    for pid in list_children(os.getpid()):
        try:
            pidfd = os.pidfd_open(pid)
        except OSError:
            continue  # it has just ended
        try:
            command = read_command(pid)
            is_spawned = any(word in command for word in _SPAWNED)
            if (is_spawned or command.startswith(title)) and os.getpgid(
                pid
            ) == own_group:
                signal.pidfd_send_signal(pidfd, number)
        except (ProcessLookupError, PermissionError):
            pass  # it ended in this instant, or is another user by now
        finally:
            os.close(pidfd)
