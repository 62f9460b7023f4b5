"""A process that has run code of the app: how it ends, what it prints, what it forks.

It ends by ``os._exit``: what Python does on the way out is done here, one step
after the other, as far as it belongs to the process that ends. What an import has
registered belongs to the process that imported, not to those forked from it: the
first worker that ends must not delete the temporary folder of all.
"""

import atexit
import logging
import os
import select
import signal
import socket
import sys
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn

from blazeio_supervisor.ipc.signals import (
    HELD_BACK,
    do_nothing,
    find_python_default,
    has_terminal,
    leave_terminal,
)
from blazeio_supervisor.log.formats import STDERR, LogOrigin

if TYPE_CHECKING:
    import asyncio

log = logging.getLogger("blazeio.worker")

_LEAST_S = 0.05  # setitimer(0) would mean never
_THREAD_COUNT = 5
_LOOK_S = 0.25
_STUCK_LOOKS = 4
"""So often in a row nothing but daemons is waited for; then they are killed."""
_MP_UTIL = os.path.join("multiprocessing", "util.py")


def end_now(code: int) -> NoReturn:
    """End this process without running what the app left for its own exit."""
    try:
        flush_output()
    finally:
        os._exit(code)


def end_forked(error: BaseException | None) -> NoReturn:
    """End a child that the app forked, as Python would.

    Args:
        error: What left the code of the app; None: it came to its end.
    """
    code = 0
    exited = _find_exit(error)
    if exited is not None:
        code = _read_exit_code(exited)
    elif error is not None:
        sys.excepthook(type(error), error, error.__traceback__)
        code = 1
    try:
        # In the order of Python's own exit (``Py_FinalizeEx``): threads are joined
        # before the functions of ``atexit`` run, and the executors hook in at the first
        # (``_register_atexit``).
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
    finally:
        end_now(code)


def end_escaped_child() -> NoReturn:
    """End a child that the app forked and that came back to code of ours."""
    log.error(
        "pid %s, which the app has forked, came back to the worker's code: it is "
        "ended; a process that is forked must end by itself (os._exit)",
        os.getpid(),
    )
    end_now(1)


def end_escaped_task(task: "asyncio.Task[Any] | None") -> None:
    """End a child that came back to the loop; ``task`` is what it was forked in."""
    if task is not None and task.done() and not task.cancelled():
        error = task.exception()
        if error is not None:
            end_forked(error)
    end_escaped_child()


def leave_exit_steps_to_parent() -> None:
    """Drop the exit steps that were registered before a fork of ours.

    What the standard library itself does at the exit is done here too, for what
    this process will make of its own.
    """
    atexit._clear()
    atexit.register(logging.shutdown)
    registry: Any = weakref.finalize._registry  # type: ignore[attr-defined]
    for finalizer in list(registry):
        finalizer.atexit = False
    # It registers itself once in the life of an interpreter.
    atexit.register(weakref.finalize._exitfunc)  # type: ignore[attr-defined]
    _forget_executors()
    _forget_multiprocessing()


def run_exit_steps(until: float, say: Callable[[str], None]) -> None:
    """Run Python's exit steps, and end the process when time is over.

    Threads that are no daemons are joined, executors shut down and their processes
    joined, then what was registered at ``atexit`` is called.

    Args:
        until: Monotonic time. Then the process ends, wherever it is.
        say: Called with what is cut by that, in words.
    """

    stuck = 0

    def look(number: int, frame: FrameType | None) -> None:
        nonlocal stuck
        if monotonic() >= until:
            say(_describe_cut(frame))
            kill_processes()
            end_now(0)
        stuck = stuck + 1 if _waits_for_daemons(frame) else 0
        if stuck >= _STUCK_LOOKS:
            kill_processes()
            logging.shutdown()
            end_now(0)

    signal.signal(signal.SIGALRM, look)
    span_s = max(until - monotonic(), _LEAST_S)
    signal.setitimer(signal.ITIMER_REAL, min(span_s, _LOOK_S), min(span_s, _LOOK_S))
    try:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
    except BaseException:
        sys.excepthook(*sys.exc_info())
    signal.setitimer(signal.ITIMER_REAL, 0)


def _waits_for_daemons(frame: FrameType | None) -> bool:
    """Whether only the exit step of ``multiprocessing`` is left, and only for daemons.

    It is there to end them, so nothing is lost. And it may wait for ever: a process
    of a ``Pool`` that was killed by a signal to the whole process group has taken
    the lock of its queue along, and ``Pool`` waits for that when it ends.
    """
    if _list_lasting_threads() or not all(p.daemon for p in list_own_processes()):
        return False
    while frame is not None:
        code = frame.f_code
        if code.co_name == "_exit_function" and code.co_filename.endswith(_MP_UTIL):
            return True
        frame = frame.f_back
    return False


def _list_lasting_threads() -> list[threading.Thread]:
    """List the threads that are no daemons, but for the main one."""
    return [
        thread
        for thread in threading.enumerate()
        if not thread.daemon and thread is not threading.main_thread()
    ]


def kill_processes() -> None:
    """Kill what this process has started by ``multiprocessing`` and not joined."""
    for child in list_own_processes():
        try:
            child.kill()
        except Exception:
            pass  # it is gone, or was never started


def list_own_processes() -> list[Any]:
    """List what was started by ``multiprocessing`` and not joined."""
    module = sys.modules.get("multiprocessing.process")
    return list(getattr(module, "_children", ()))


def flush_output() -> None:
    """Flush standard output and error."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (AttributeError, OSError, ValueError):
            pass  # closed by the app, or nobody reads it any more


def _forget_executors() -> None:
    """Drop the executors of the parent: their threads are not in this process."""
    for module, registry in (
        ("concurrent.futures.thread", "_threads_queues"),
        ("concurrent.futures.process", "_threads_wakeups"),
    ):
        found = getattr(sys.modules.get(module), registry, None)
        if found is not None:
            found.clear()


def _forget_multiprocessing() -> None:
    """Drop what ``multiprocessing`` has of the parent."""
    util: Any = sys.modules.get("multiprocessing.util")
    if util is None:
        return
    process: Any = sys.modules["multiprocessing.process"]
    process._children = set()
    util._finalizer_registry.clear()
    util._run_after_forkers()
    atexit.register(util._exit_function)
    server: Any = sys.modules.get("multiprocessing.forkserver")
    if server is not None:  # the parent's child, which only that may wait for
        server._forkserver = server.ForkServer()


def _describe_cut(frame: FrameType | None) -> str:
    threads = _list_lasting_threads()
    children = list_own_processes()
    if not threads and children:
        pids = ", ".join(str(child.pid) for child in children[:_THREAD_COUNT])
        return f"killing processes of multiprocessing that still run: pid {pids}"
    if not threads:
        return f"what is registered at atexit is cut, at {_locate(frame)}"
    frames = sys._current_frames()
    named = [
        f"{thread.name!r} at {_locate(frames.get(thread.ident or 0))}"
        for thread in threads[:_THREAD_COUNT]
    ]
    more = len(threads) - _THREAD_COUNT
    rest = [f"{more} more"] if more > 0 else []
    count = (
        "1 thread that is" if len(threads) == 1 else f"{len(threads)} threads that are"
    )
    return f"cutting {count} no daemon: {', '.join([*named, *rest])}"


def _locate(frame: FrameType | None) -> str:
    """Return the innermost line that is not of the standard library."""
    library = os.path.dirname(threading.__file__)
    at = frame
    while at is not None and at.f_code.co_filename.startswith(library):
        at = at.f_back
    found = at or frame
    if found is None:
        return "an unknown place"
    name = found.f_code.co_filename.removeprefix(os.getcwd() + os.sep)
    return f"{name}:{found.f_lineno}"


def _find_exit(error: BaseException | None) -> SystemExit | None:
    """Return the ``sys.exit()`` that caused an exception."""
    while error is not None and not isinstance(error, SystemExit):
        error = error.__cause__
    return error


def _read_exit_code(error: SystemExit) -> int:
    if error.code is None or isinstance(error.code, int):
        return int(error.code or 0) & 0xFF
    sys.stderr.write(f"{error.code}\n")
    return 1


# What a process of the app prints, and where its own log goes: its side.
#
# Without ``--capture-output`` both go where the master's go: the descriptors were
# inherited. Else what is printed goes to the master, which writes it line by line
# with the name of the process; only our own lines still go to the log by
# themselves.


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
        self.origin = LogOrigin()

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
        """Print into the log itself: the master reads no more."""
        if self.is_captured:
            self._print_to(self.log_fd)

    def reopen(self, fds: Sequence[int]) -> None:
        """Print into the new file of the log, if it has one; closes the descriptor."""
        for fd in fds:
            os.dup2(fd, self.log_fd, inheritable=not self.is_captured)
            os.close(fd)

    def _print_to(self, fd: int) -> None:
        for number in (_STDOUT, STDERR):
            os.dup2(fd, number, inheritable=True)


# What the app forks is not a forkserver and no worker.
#
# A forked child inherits all that was installed in its parent: signal handlers, the
# wakeup descriptor of the event loop, listeners, connections. ``Process.terminate``
# would run the worker's own handler of SIGTERM in the child, which shuts the
# sockets that both share. So what is installed in a process of ours is known here,
# and undone in each child that it forks (``os.fork``, ``pty.fork``,
# ``multiprocessing``, ``subprocess`` with a ``preexec_fn``): the child then does
# what any child of Python does.
#
# From before the fork until that is done the signals are blocked. One that is sent
# to a child at once would otherwise be handled by what is about to be undone, or be
# lost: Python forgets what was pending in a child.
#
# Code in C may fork without Python's knowledge. Therefore each handler looks whose
# process it is in as well.


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
