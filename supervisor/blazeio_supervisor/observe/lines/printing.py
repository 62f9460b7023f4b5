"""What a process of the app prints, and where its own log goes: its side.

Without ``--capture-output`` both go where the master's go: the descriptors were
inherited. Else what is printed goes to the master, which writes it line by line
with the name of the process; only our own lines still go to the log by
themselves.
"""

import os
import sys
from collections.abc import Sequence

from blazeio_supervisor.observe.lines.formats import Origin
from blazeio_supervisor.observe.lines.terms import STDERR

_STDOUT = 1


class Printing:
    """Standard output and error of this process.

    Attributes:
        log_fd: Where lines of the log are written to.
        origin: Whose lines they are; one object, a worker goes on with that of
            its forkserver.
    """

    def __init__(self) -> None:
        self.log_fd = STDERR
        self.origin = Origin()

    @classmethod
    def of(cls, log_fd: int) -> "Printing":
        """Go on after an exec, with this descriptor for the log."""
        printing = cls()
        printing.log_fd = log_fd
        if printing.is_captured:
            sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        return printing

    @property
    def is_captured(self) -> bool:
        """Whether the master reads what is printed."""
        return self.log_fd != STDERR

    def capture(self, fd: int) -> None:
        """Print into this descriptor from now on; it is closed here."""
        if not self.is_captured:
            self.log_fd = os.dup(STDERR)
            # A pipe would be written to in blocks, and a line come too late.
            sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
        self._print_to(fd)
        os.close(fd)

    def release(self) -> None:
        """Nobody reads it any more: print into the log itself."""
        if self.is_captured:
            self._print_to(self.log_fd)

    def reopen(self, fds: Sequence[int]) -> None:
        """Take the new file of the log, if it has one; it is closed here."""
        for fd in fds:
            os.dup2(fd, self.log_fd, inheritable=not self.is_captured)
            os.close(fd)

    def _print_to(self, fd: int) -> None:
        for number in (_STDOUT, STDERR):
            os.dup2(fd, number, inheritable=True)
