"""What the app forks is not a forkserver and no worker.

A forked child inherits all that was installed in its parent: signal handlers, the
wakeup descriptor of the event loop, listeners, connections. ``Process.terminate``
would run the worker's own handler of SIGTERM in the child, which shuts the
sockets that both share. So what is installed in a process of ours is known here,
and undone in each child that it forks (``os.fork``, ``pty.fork``,
``multiprocessing``, ``subprocess`` with a ``preexec_fn``): the child then does
what any child of Python does.

From before the fork until that is done the signals are blocked. One that is sent
to a child at once would otherwise be handled by what is about to be undone, or be
lost: Python forgets what was pending in a child.

Code in C may fork without Python's knowledge. Therefore each handler looks whose
process it is in as well.
"""

import os
import select
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from blazeio_supervisor.ipc.signals import (
    HELD_BACK,
    do_nothing,
    find_python_default,
    has_terminal,
    leave_terminal,
)

Handler = Callable[[int, Any], None]


class OwnInstallations:
    """What was installed in this process, and is undone in each child.

    One is made in each forkserver. The workers that it forks go on with it.
    """

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._handlers: dict[int, Handler] = {}
        self._undoing: list[Callable[[], None]] = []
        self._blocked: frozenset[int] = frozenset()
        self._masks = threading.local()
        self._is_own_fork = False
        os.register_at_fork(
            before=self._block,
            after_in_parent=self._unblock,
            after_in_child=self._undo,
        )

    def handle(self, number: int, handler: Handler, *, restarts: bool = False) -> None:
        """Handle a signal in this process only.

        Args:
            number: Of the signal.
            handler: As for ``signal.signal``.
            restarts: System calls that it interrupts go on, as if it were
                ignored; else a handler runs also while one blocks.
        """

        def run(received: int, frame: Any) -> None:
            if self.is_at_home():
                handler(received, frame)
            else:
                _do_as_python_does(received, frame)

        self._handlers[number] = run
        signal.signal(number, run)
        signal.siginterrupt(number, not restarts)

    def hold_back(self) -> None:
        """Ignore signals that are meant for the master, then unblock them.

        The master blocks these before the exec: a ^C between the exec and this
        line would otherwise kill the child. The terminal is left: it would stop who
        writes to it from the background, and let another user type for its owner.
        """
        for number in HELD_BACK:
            self.handle(number, do_nothing, restarts=True)
        leave_terminal()
        if has_terminal():  # it may not be left: then its text is written at least
            for number in (signal.SIGTTIN, signal.SIGTTOU):
                signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_BACK)

    def block(self, *numbers: int) -> None:
        """Block signals in this process only."""
        self._blocked |= set(numbers)
        signal.pthread_sigmask(signal.SIG_BLOCK, numbers)

    def unblock(self, *numbers: int) -> None:
        """Unblock signals in this process only."""
        self._blocked -= set(numbers)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)

    def undo_in_children(self, undo: Callable[[], None]) -> None:
        """Call this in each child that is forked from now on; what it raises is lost.

        The last one that was given is called first.
        """
        self._undoing.append(undo)

    @contextmanager
    def forking_own(self) -> Iterator[None]:
        """Fork a process of ours within this: nothing is undone in it."""
        self._is_own_fork = True
        try:
            yield
        finally:
            self._is_own_fork = False

    def adopt(self) -> None:
        """Make this process the owner of the installations, after a fork of ours.

        Until then the signals are blocked: the handlers look whose process they
        are in.
        """
        self._pid = os.getpid()
        self._is_own_fork = False
        self._undoing.clear()  # of the forkserver
        signal.pthread_sigmask(signal.SIG_UNBLOCK, self._handlers)

    def is_at_home(self) -> bool:
        """Whether this is the process itself, and no child that it forked."""
        return os.getpid() == self._pid

    def _block(self) -> None:
        self._masks.before = signal.pthread_sigmask(
            signal.SIG_BLOCK, self._handlers.keys() | {signal.SIGTERM}
        )

    def _unblock(self) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._masks.before)

    def _undo(self) -> None:
        # A worker goes on with the handlers of its forkserver (``adopt``).
        if self._is_own_fork:
            return
        for number, handler in self._handlers.items():
            if signal.getsignal(number) is handler:  # else the app has its own
                signal.signal(number, find_python_default(number))
        # The wakeup descriptor of the loop is shared with the parent: a signal of the
        # child would wake the parent's loop, and be taken for one of its own.
        signal.set_wakeup_fd(-1)
        # A child of this child has nothing to undo.
        undoing, self._undoing = self._undoing[::-1], []
        mask = self._masks.before - self._blocked
        self._handlers, self._blocked = {}, frozenset()
        for undo in undoing:
            try:
                undo()
            except Exception:
                pass  # the fork is the app's: nothing of ours may fail it
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        except KeyboardInterrupt:
            # One was sent meanwhile, or in this instant. What a callback of a fork
            # raises is lost. So it dies of the signal, as it would by a
            # KeyboardInterrupt that nobody catches.
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            signal.raise_signal(signal.SIGINT)


def _do_as_python_does(number: int, frame: Any) -> None:
    default = find_python_default(number)
    signal.signal(number, default)
    if callable(default):
        default(number, frame)
    elif default is signal.SIG_DFL:
        signal.raise_signal(number)


def replace_epolls(*fds: int) -> None:
    """Replace each epoll by a new one, in a forked child.

    It is shared with the parent: what a child closes would be taken out of it.
    """
    for fd in fds:
        with select.epoll() as empty:
            os.dup2(empty.fileno(), fd, inheritable=False)


def disconnect_sockets(*fds: int) -> None:
    """Replace sockets in a forked child by one that is connected to nothing.

    An object of the parent may close its own number once more, later: by then it
    must not be that of another file. The socket in its place has no peer, and its
    options can be set as before.
    """
    with socket.socket() as unconnected:
        for fd in fds:
            if fd >= 0:
                os.dup2(unconnected.fileno(), fd, inheritable=False)


def find_epoll(loop: Any) -> int:
    """Return the descriptor of a loop's own epoll."""
    if hasattr(loop, "_get_backend_id"):  # uvloop
        return int(loop._get_backend_id())
    return int(loop._selector.fileno())


def forget_ready(loop: Any) -> None:
    """Clear the ready callbacks of an asyncio loop; uvloop has no way for it."""
    if hasattr(loop, "_ready"):
        loop._ready.clear()
