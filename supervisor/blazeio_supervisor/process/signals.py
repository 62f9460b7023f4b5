"""Which process answers to which signal.

A terminal sends INT, QUIT and WINCH to its whole foreground group, and an
operator's ``kill -HUP -<group>`` does the like. Only the master may act on
them, so forkserver and workers ignore these from before the import on.
"""

import os
import signal

IGNORED_IN_CHILDREN = (
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGHUP,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGWINCH,
    signal.SIGUSR1,
    signal.SIGUSR2,
)

STACK_SIGNAL = signal.SIGRTMIN + 6
"""Has a worker give all its stacks to the master; no app is likely to use it."""


def ignore_in_child() -> None:
    """Ignore what is the master's to answer, then unblock it.

    The master blocks these before the exec: a ^C between the exec and this
    line would otherwise kill the child.
    """
    for number in IGNORED_IN_CHILDREN:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, IGNORED_IN_CHILDREN)


def has_terminal() -> bool:
    """Whether a terminal controls this process.

    Such a one sends WINCH when its window changes its size.
    """
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True
