"""The few system calls that Python's ``os`` does not offer."""

import ctypes
import os

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_CHILD_SUBREAPER = 36

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
