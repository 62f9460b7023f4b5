"""The few system calls that Python's ``os`` does not offer."""

import ctypes
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress

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
