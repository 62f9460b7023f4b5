"""What joins processes of ours before there are messages: signals, pairs of sockets.

It imports the standard library only: the first process is started by it, before
anything else is imported.

A terminal sends INT, QUIT and WINCH to its whole foreground group, and an operator may
do so by ``kill -HUP -<group>``. Only the master may act on them, so forkserver and
workers do nothing about these from before the import on.

They handle them by a function that does nothing, and do not ignore them: what is
ignored stays ignored over an exec, and a program that the app starts could never
be interrupted. ``worker/process.py`` puts the defaults back in what the app forks.
"""

import fcntl
import os
import signal
import socket
import termios
from collections.abc import Iterable
from typing import Any

HELD_BACK = (
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGHUP,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGWINCH,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
"""What is the master's to answer."""

STOPS = frozenset({signal.SIGTERM, signal.SIGQUIT})
"""What stops a service gently; INT does so quickly."""
CHANGES = frozenset(
    {
        signal.SIGHUP,
        signal.SIGUSR1,
        signal.SIGUSR2,
        signal.SIGTTIN,
        signal.SIGTTOU,
        signal.SIGWINCH,
    }
)
"""What changes a service that goes on."""

STACK_SIGNAL = signal.SIGRTMIN + 6
"""Has a worker give all its stacks to the master; no app is likely to use it."""

STACKS_END = b"\0"
"""Behind the last line of its answer."""

PROFILE_SIGNAL = signal.SIGRTMIN + 7
"""Has a worker that serves read the order of a profile."""


def hold(signals: Iterable[int]) -> None:
    """Block these signals, until ``release`` or the end of the process.

    What waits when a process ends is dropped: it changes no exit code. By default
    these would end the process, in the moments in which it has no handler for them:
    before its loop runs, and after.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, signals)


def release(signals: Iterable[int]) -> None:
    """Unblock these signals; those that are pending come at once."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)


def do_nothing(number: int, frame: Any) -> None:
    """Ignore a signal that is meant for the master."""


def find_python_default(number: int) -> Any:
    """Return what Python itself does at a signal: the handler it begins with."""
    if number == signal.SIGINT:
        return signal.default_int_handler
    if number in (signal.SIGPIPE, signal.SIGXFSZ):
        return signal.SIG_IGN
    return signal.SIG_DFL


def has_terminal() -> bool:
    """Whether a terminal controls this process.

    With ``stty tostop`` such a one sends TTOU to whoever writes to it from the
    background, again and again while the signal is handled.
    """
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def is_in_foreground() -> bool:
    """Whether this process is in the foreground of the terminal that controls it.

    Whoever is gets WINCH when the window changes its size. A service in the
    background of a shell, or one without a terminal, does not.
    """
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False  # it was hung up
    finally:
        os.close(terminal)


def leave_terminal() -> None:
    """Have no terminal that controls this process, nor those that it forks.

    It goes on in its session and its group, and writes to the terminal as before. But
    job control is no matter of it any more (TTIN, TTOU), and the kernel does not let it
    put words into what is typed there (TIOCSTI), which the owner of the terminal, root
    perhaps, would seem to have typed.
    """
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return
    try:
        fcntl.ioctl(terminal, termios.TIOCNOTTY)
    except OSError:
        pass  # a sandbox refuses
    finally:
        os.close(terminal)


# The two ends of a channel between processes of ours, and which socket is which.


def make_pair() -> tuple[socket.socket, socket.socket]:
    """Make both ends of a channel; neither is inherited over exec."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def make_child_pair() -> tuple[socket.socket, socket.socket]:
    """Make the master's and the child's end of a channel.

    Each message comes with the credentials of its sender, which the kernel
    vouches for.
    """
    own, theirs = make_pair()
    own.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
    return own, theirs


def name_socket(sock: socket.socket) -> tuple[int, int]:
    """Return what tells a socket from any other file; see ``is_still``."""
    found = os.fstat(sock.fileno())
    return found.st_dev, found.st_ino


def is_still(sock: socket.socket, name: tuple[int, int]) -> bool:
    """Whether its descriptor is still that socket, and was not closed by others.

    The number of one that was closed may be another file's by now, to which
    nothing of ours must be written.
    """
    try:
        return name_socket(sock) == name
    except OSError:
        return False
