"""Ending what a process of ours has started, and what that has started."""

import os
import select
import signal
import sys
from collections.abc import Iterable, Iterator
from time import monotonic  # an app may put another clock into ``time``

_COMMAND_BYTES = 4096
_KILLED_S = 0.25  # for one that is killed to be gone


def list_descendants(pid: int) -> list[int]:
    """List the living processes below one; none where there is no /proc."""
    return list(_iterate(pid))


def list_children(pid: int) -> list[int]:
    """List the living children of a process; none where there is no /proc."""
    found: list[int] = []
    try:
        tasks = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return found
    for task in tasks:
        try:
            with open(f"/proc/{pid}/task/{task}/children") as file:
                found += [int(word) for word in file.read().split()]
        except OSError:
            continue  # it has just ended, or the kernel does not tell
    return found


def read_command(pid: int) -> str:
    """Return the command line of a process; "" when it is gone."""
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            octets = file.read(_COMMAND_BYTES)
    except OSError:
        return ""
    return octets.replace(b"\0", b" ").decode("utf-8", "replace").strip()


def _iterate(pid: int) -> Iterator[int]:
    for child in list_children(pid):
        yield child
        yield from _iterate(child)


def end_descendants(span_s: float) -> list[int]:
    """End every process below this one: TERM, then KILL.

    The tracker of the resources of ``multiprocessing`` is left alone: it ends by
    itself with the last process that it serves, and then removes what is left.

    Args:
        span_s: Between the two.

    Returns:
        Those that were told to end.
    """
    pids = [pid for pid in list_descendants(os.getpid()) if pid != find_tracker()]
    end_processes(pids, span_s)
    return pids


def end_processes(pids: Iterable[int], span_s: float) -> None:
    """End processes: TERM, then KILL.

    Args:
        pids: Children of this process, or below them.
        span_s: Between the two, if any of them takes so long.
    """
    pidfds = {pid: fd for pid in pids if (fd := _open(pid)) is not None}
    for number, wait_s in ((signal.SIGTERM, span_s), (signal.SIGKILL, _KILLED_S)):
        _send(pidfds.values(), number)
        _wait_for(pidfds, wait_s)
    for fd in pidfds.values():
        os.close(fd)


def _wait_for(pidfds: dict[int, int], span_s: float) -> None:
    """Wait until all have ended; takes out those that have."""
    give_up_at = monotonic() + span_s
    while pidfds and (left_s := give_up_at - monotonic()) > 0:
        poller = select.poll()
        for fd in pidfds.values():
            poller.register(fd, select.POLLIN)
        ended = {fd for fd, _ in poller.poll(left_s * 1000)}
        for pid, fd in list(pidfds.items()):
            if fd in ended:
                os.close(fd)
                del pidfds[pid]


def reap(pids: Iterable[int]) -> None:
    """Reap those of these children that have ended."""
    for pid in pids:
        try:
            os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            pass  # somebody has reaped it already


def list_orphans(known: Iterable[int]) -> list[int]:
    """List the children of this process in its own process group.

    A daemon has made a session of its own, and is none of them.

    Args:
        known: Children that were there before.
    """
    before, group = set(known), os.getpgid(0)
    return [
        pid
        for pid in list_children(os.getpid())
        if pid not in before and _find_group(pid) == group
    ]


def _find_group(pid: int) -> int:
    try:
        return os.getpgid(pid)
    except OSError:
        return -1  # it has just ended


def find_tracker() -> int | None:
    """Return the pid of the tracker of multiprocessing's resources, if it runs."""
    module = sys.modules.get("multiprocessing.resource_tracker")
    return getattr(getattr(module, "_resource_tracker", None), "_pid", None)


def _open(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except OSError:
        return None  # it has just ended


def _send(pidfds: Iterable[int], number: int) -> None:
    for fd in pidfds:
        try:
            signal.pidfd_send_signal(fd, number)
        except (ProcessLookupError, PermissionError):
            pass  # it ended in this instant, or has become another user
