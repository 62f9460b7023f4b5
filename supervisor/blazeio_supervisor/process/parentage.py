"""Whose child a process is, and whose it runs as, as the kernel says."""

import errno
import os
from collections.abc import Iterator

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
