"""Ending what a process of ours has started, and what that has started."""

import ctypes
import errno
import os
import select
import signal
import socket
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic

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


# The few system calls that Python's ``os`` does not offer.


_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36

_UNCHANGED = -1
_SO_PASSRIGHTS = 83

_libc = ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, argument: int) -> None:
    if _libc.prctl(option, ctypes.c_ulong(argument), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def become_subreaper(is_wanted: bool = True) -> None:
    """Make orphans below this process its own children."""
    _prctl(_PR_SET_CHILD_SUBREAPER, int(is_wanted))


def become_dumpable() -> None:
    """Let the own user look into this process again, after a change of user."""
    _prctl(_PR_SET_DUMPABLE, 1)


def set_parent_death_signal(signal_number: int) -> None:
    """Ask for a signal when the parent dies; 0 asks for none.

    The kernel means the parent of this moment: set it after any re-parenting,
    then look whether that parent still lives.
    """
    _prctl(_PR_SET_PDEATHSIG, signal_number)


@contextmanager
def files_made_as(uid: int, gid: int) -> Iterator[None]:
    """Have the kernel judge this thread's file accesses as another user's.

    Root's own rights to files (to read, write and own any) are gone meanwhile, and
    what is made belongs to that user. Only for root. Clears the parent death signal.

    Args:
        uid: Of the user.
        gid: Of its group; the supplementary groups stay ours.

    Raises:
        PermissionError: The kernel does not let us.
    """
    before = _libc.setfsuid(_UNCHANGED), _libc.setfsgid(_UNCHANGED)
    try:
        _libc.setfsgid(gid)
        _libc.setfsuid(uid)
        # Neither call tells that it has failed.
        if (_libc.setfsuid(_UNCHANGED), _libc.setfsgid(_UNCHANGED)) != (uid, gid):
            raise PermissionError(0, f"cannot make files as uid {uid}, gid {gid}")
        yield
    finally:
        _libc.setfsuid(before[0])
        _libc.setfsgid(before[1])
        become_dumpable()  # a change of user takes that away


def refuse_descriptors(sock: socket.socket) -> None:
    """Have the kernel let nobody send descriptors to a socket (Linux 6.16).

    For what others read; ``receive_octets`` refuses them itself.
    """
    with suppress(OSError):  # an older kernel: who reads drops them
        sock.setsockopt(socket.SOL_SOCKET, _SO_PASSRIGHTS, 0)


# Whose child a process is, and whose it runs as, as the kernel says.


MOST_ANCESTORS = 16
_PPID = 1  # behind the name, which may hold anything


class NotOurChildError(ProcessLookupError):
    """A pid that was told is not that of a child of ours that may be watched."""

    def __init__(self, pid: int, why: str) -> None:
        super().__init__(errno.ESRCH, f"pid {pid} {why}")


def open_child(pid: int, uid: int | None = None) -> int:
    """Open a child of this process by its pid; gives its pidfd.

    Pids are told by processes that run foreign code, perhaps as another user: a
    root that believed any would signal whomever they name. A child that nobody
    has reaped keeps its pid, so what is found here stays true.

    Args:
        pid: As told.
        uid: Whom it must run as, in every respect; None: that does not matter.

    Raises:
        NotOurChildError: There is no such child.
    """
    try:
        pidfd = os.pidfd_open(pid)
    except (OSError, OverflowError):
        raise NotOurChildError(pid, "is no process") from None
    try:
        os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        if uid is not None and _read_uids(pid) != {uid}:
            raise NotOurChildError(pid, f"does not run as uid {uid}")
    except ChildProcessError:
        os.close(pidfd)
        raise NotOurChildError(pid, "is no child of this process") from None
    except NotOurChildError:
        os.close(pidfd)
        raise
    return pidfd


def _read_uids(pid: int) -> set[int]:
    """Read the real, effective, saved and file system uid."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            lines = file.read().splitlines()
    except OSError:
        return set()
    found = [line.split()[1:] for line in lines if line.startswith(b"Uid:")]
    return {int(each) for each in found[0]} if found else set()


def iterate_ancestors(pid: int) -> Iterator[int]:
    """Give a process, its parent, and so on, up to this process or a dead one."""
    for _ in range(MOST_ANCESTORS):
        if pid <= 1 or pid == os.getpid():
            return
        yield pid
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                pid = int(file.read().rpartition(b")")[2].split()[_PPID])
        except OSError:
            return
