"""What the starter of this program has left to it, put in order at its very start.

Init scripts, cron wrappers and shells start programs with standard descriptors
closed, with signals blocked or with SIGCHLD ignored, and all of that survives an
exec.
"""

import os
import signal
import sys

from blazeio_supervisor.errors import UsageError


def forget_starter() -> None:
    """Have standard descriptors, hear every signal, be told of ended children.

    Blocked signals would never be heard, and where SIGCHLD is ignored the kernel
    reaps each child before its exit status can be read.
    """
    open_standard_descriptors()
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)


def require_proc() -> None:
    """See that the kernel's view of processes is there.

    Raises:
        UsageError: ``/proc`` is not mounted.
    """
    if not os.path.isdir("/proc/self/fd"):
        raise UsageError(
            "/proc is not mounted, and blazeio-supervisor reads there whom it serves "
            "with: mount it (mount -t proc proc /proc; in a container it is there "
            "unless it was taken away)"
        )


def open_standard_descriptors() -> None:
    """Open ``/dev/null`` in the place of each standard descriptor that is closed.

    Else the next socket or file would get its number, and whatever is printed
    would be written into that.
    """
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            opened = os.open(os.devnull, os.O_RDWR)
            if opened != fd:  # a lower number is free only before this loop
                os.dup2(opened, fd)
                os.close(opened)
            os.set_inheritable(fd, True)
    # Python has no object for one that was closed when it began. It lives as long
    # as the process.
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
