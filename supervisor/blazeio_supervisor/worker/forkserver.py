"""The forkserver: one per generation, single-threaded, without a loop.

It imports the app once, then forks workers on request. Each is forked twice:
the middle process exits at once, so that the worker's parent is gone and the
kernel hands it to the master, which is the subreaper. The forkserver itself
never has a child for longer than one message.

When the master dies it stays for the grace period and kills what is left: a
worker whose loop is blocked would otherwise keep the port for ever.
"""

import contextlib
import errno
import fcntl
import functools
import glob
import os
import select
import signal
import site
import socket
import stat
import struct
import sys
import time
from collections.abc import Callable, Mapping
from time import monotonic
from typing import Any, NoReturn, Self

import msgspec
from msgspec import Struct, field

from blazeio_supervisor.config.environment import VARIABLES
from blazeio_supervisor.ipc.channel import make_child_pair, receive, send
from blazeio_supervisor.ipc.messages import (
    PROTOCOL,
    Fork,
    Forked,
    ForkFailed,
    Load,
    Quit,
    ReopenLogs,
)
from blazeio_supervisor.ipc.messages import (
    Fork as ForkOrder,
)
from blazeio_supervisor.ipc.packing import (
    pack,
    unpack,
)
from blazeio_supervisor.ipc.processes import end_descendants
from blazeio_supervisor.ipc.signals import HELD_BACK, STACK_SIGNAL
from blazeio_supervisor.isolation import (
    isolate,
    list_own_options,
    pack_variables,
)
from blazeio_supervisor.worker.exit import (
    Printing,
    end_now,
    flush_output,
    run_exit_steps,
)
from blazeio_supervisor.worker.forks import OwnInstallations

RunWorker = Callable[[ForkOrder, list[int]], None]
_PID = struct.Struct("q")
_REPARENT_POLL_S = 0.0002
_TERM_POLL_S = 0.05
EXIT_STEPS_S = 0.5
"""For what an import has registered for the exit of its process."""
_HURRIED_S = 0.1
_CHILD_CRASHED = 70  # only when the worker's own reporting failed


class Forkserver(Struct):
    """Serves fork orders until it is told to stop, or the master dies.

    Attributes:
        channel: Its blocking end of the channel to the master.
        load: The first message.
        run_worker: What a forked worker does; gets the order and its
            descriptors. It ends the process itself.
        printing: The standard output and error of this process and its workers.
        own: What is installed in this process and in the workers.
    """

    channel: socket.socket
    load: Load
    run_worker: RunWorker
    printing: Printing
    own: OwnInstallations
    _app_sigchld: Any = None
    _workers: dict[int, int] = field(default_factory=dict)  # pid -> pidfd

    def serve(self) -> NoReturn:
        """Carry out orders; never returns.

        The app may ignore SIGCHLD, or reap every child in a handler of it, when
        it is imported. That is for the workers: here it would take the children
        whose pid is still to be told.
        """
        self._app_sigchld = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        while True:
            received = receive(self.channel)
            if received is None:
                self._end_orphans()
            message, fds = received
            if isinstance(message, Quit):
                self._end_with_workers()
            if isinstance(message, ForkOrder):
                self._fork(message, fds)
            elif isinstance(message, ReopenLogs):
                self.printing.reopen(fds)
                continue
            for fd in fds:
                os.close(fd)

    def _fork(self, order: ForkOrder, fds: list[int]) -> None:
        try:
            pid = self._fork_twice(order, fds)
        except OSError as error:
            reason = f"cannot fork: {error.strerror}"
            send(self.channel, ForkFailed(order.worker, reason))
            return
        self._forget_dead()
        try:
            self._workers[pid] = os.pidfd_open(pid)
        except ProcessLookupError:
            pass  # dead already, and reaped by the master
        send(self.channel, Forked(order.worker, pid))

    def _fork_twice(self, order: ForkOrder, fds: list[int]) -> int:
        flush_output()  # what is buffered would be printed by each child too
        pipe = os.pipe()
        try:
            with self.own.forking_own():
                middle = os.fork()
                if middle == 0:
                    self._run_middle(order, fds, pipe)
        except OSError:
            os.close(pipe[0])
            raise
        finally:
            os.close(pipe[1])
        # The pid comes over a pipe, since it is the middle process that learns it, and
        # an exit status has room for 8 bits. End of file without a pid: it was killed.
        octets = os.read(pipe[0], _PID.size)
        os.close(pipe[0])
        # It has ended by now, or is about to; as a zombie it would stay for the life of
        # this process.
        _wait_for(middle)
        if not octets:
            raise OSError(errno.ECHILD, "the process between was killed")
        (number,) = _PID.unpack(octets)
        if number < 0:
            raise OSError(-number, os.strerror(-number))
        return int(number)

    def _run_middle(
        self, order: ForkOrder, fds: list[int], pipe: tuple[int, int]
    ) -> NoReturn:
        own_pid = os.getpid()
        try:
            pid = os.fork()
            if pid == 0:
                self._run_worker(order, fds, pipe, own_pid)
            os.write(pipe[1], _PID.pack(pid))
        except OSError as error:
            os.write(pipe[1], _PID.pack(-(error.errno or 1)))
        finally:
            os._exit(0)

    def _run_worker(
        self, order: ForkOrder, fds: list[int], pipe: tuple[int, int], middle: int
    ) -> NoReturn:
        try:
            # First: while it is open, the forkserver waits for a pid.
            os.close(pipe[1])
            os.close(pipe[0])
            # A death signal set now would tell of the middle process.
            while os.getppid() == middle:
                time.sleep(_REPARENT_POLL_S)
            self.own.adopt()
            if self._app_sigchld is not None:  # else it was set by code in C
                signal.signal(signal.SIGCHLD, self._app_sigchld)
            # The master must see the end of file when the forkserver dies.
            self.channel.close()
            for pidfd in self._workers.values():
                os.close(pidfd)
            self.run_worker(order, fds)
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            end_now(_CHILD_CRASHED)

    def _forget_dead(self) -> None:
        """Close the pidfds of workers that have ended."""
        poller = select.poll()
        for pidfd in self._workers.values():
            poller.register(pidfd, select.POLLIN)
        ended = {fd for fd, _ in poller.poll(0)}
        for pid, pidfd in list(self._workers.items()):
            if pidfd in ended:
                os.close(pidfd)
                del self._workers[pid]

    def _end_with_workers(self) -> NoReturn:
        """Wait for the workers to end: what the import made is theirs until then.

        TERM, which is blocked, says that it takes too long.
        """
        while self._workers and not _is_told_to_end():
            if self._wait_for_workers(_TERM_POLL_S):
                received = receive(self.channel)
                if received is None:
                    self._end_orphans()
                if isinstance(received[0], ReopenLogs):
                    self.printing.reopen(received[1])
        end_import(_HURRIED_S if _is_told_to_end() else EXIT_STEPS_S)

    def _end_orphans(self) -> NoReturn:
        """Wait for the workers to end by themselves, then kill the rest."""
        give_up_at = monotonic() + self.load.graceful_timeout_s
        self.channel.close()
        while self._workers and monotonic() < give_up_at:
            self._wait_for_workers(max(0.0, give_up_at - monotonic()))
        for pidfd in self._workers.values():
            try:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
            except ProcessLookupError:
                pass  # it ended in this instant
        end_import(EXIT_STEPS_S)

    def _wait_for_workers(self, span_s: float) -> bool:
        """Wait until one has ended; return whether a message of the master has come."""
        poller = select.poll()
        channel = self.channel.fileno()
        if channel >= 0:
            poller.register(channel, select.POLLIN)
        for pidfd in self._workers.values():
            poller.register(pidfd, select.POLLIN)
        ready = {fd for fd, _ in poller.poll(span_s * 1000)}
        self._forget_dead()
        return channel in ready


def end_import(span_s: float, code: int = 0) -> NoReturn:
    """End a process that has imported the app, with all that the import made.

    Args:
        span_s: For what was registered for the exit; as long again for the
            processes that were started.
        code: The exit status.
    """

    def end(_: str = "") -> NoReturn:
        end_descendants(span_s)
        end_now(code)

    run_exit_steps(monotonic() + span_s, end)
    end()


def _is_told_to_end() -> bool:
    return signal.SIGTERM in signal.sigpending()


def _wait_for(pid: int) -> None:
    try:
        os.waitpid(pid, 0)
    except ChildProcessError:
        pass  # reaped by a thread of the app, or by code in C


# Starting a forkserver: a fresh interpreter, and nothing inherited by chance.


_PACKAGES = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_FOLDERS = [os.path.abspath(folder) for folder in sys.path if folder]
"""Where this process looks for packages; taken before it changes its folder."""
_ENTRY = "blazeio_supervisor.worker"
WORKER = "worker"
"""The first argument of a worker that is started by an exec."""
_NEVER_SET = {signal.SIGKILL, signal.SIGSTOP}


def spawn_forkserver(
    channel: socket.socket,
    variables: Mapping[str, str] | None = None,
    *,
    is_privileged: bool = False,
    interpreter: str = "",
) -> int:
    """Start the interpreter anew, holding one end of a channel; return its pid.

    A fresh exec is what makes reloaded code fresh. ``posix_spawn`` does not
    copy the master's page tables, and takes only the descriptors named here:
    Python's own are closed by the exec.

    Args:
        channel: Its end.
        variables: Set in its environment, so in that of its workers.
        is_privileged: It will take on another user. It then starts isolated, and
            sets the variables afterwards.
        interpreter: Another one than that of this process, whose environment has this
            package, too; "": the same.

    Raises:
        OSError: The system has no room for a process, or the interpreter is
            gone from the disk.
    """
    given = dict(variables or {})
    options, environ = [], {**os.environ, **given}
    if is_privileged:
        isolation = isolate()
        options, environ = isolation.options, isolation.environment
        given = {**isolation.hidden, **given}
    fd, variables_fd = channel.fileno(), pack_variables(given)
    outputs = open_outputs_again()
    own = [(os.POSIX_SPAWN_DUP2, n, n) for n in (fd, variables_fd)]  # inheritable
    program = interpreter or sys.executable
    entry = ["-m", _ENTRY] if interpreter else find_entry(is_privileged=is_privileged)
    try:
        return os.posix_spawn(
            program,
            # -P: a file `logging.py` in the app's folder must not replace ours.
            [
                program,
                *list_own_options(),
                *options,
                *("-P", *entry),
                *(str(fd), str(PROTOCOL), str(variables_fd)),
            ],
            {name: environ[name] for name in environ.keys() - VARIABLES},
            file_actions=[
                *own,
                *((os.POSIX_SPAWN_DUP2, n, number) for number, n in outputs.items()),
            ],
            setsigmask=(*HELD_BACK, STACK_SIGNAL),  # until it has handlers for them
            # Whoever started the master may ignore some; what is ignored stays so.
            setsigdef=signal.valid_signals() - _NEVER_SET,
        )
    finally:
        for opened in (variables_fd, *outputs.values()):
            os.close(opened)


class EarlyForkserver:
    """The interpreter of the first forkserver, started before the master is whole.

    It imports what it needs while the master does; what app it is to load it is told
    by its first message. So both take their time beside each other.

    Args:
        variables: As of ``spawn_forkserver``,
        is_privileged: likewise,
        interpreter: likewise.
    """

    def __init__(
        self, variables: Mapping[str, str], *, is_privileged: bool, interpreter: str
    ) -> None:
        self._channel, theirs = make_child_pair()
        with theirs:
            self._pid = spawn_forkserver(
                theirs,
                variables,
                is_privileged=is_privileged,
                interpreter=interpreter,
            )
        self._given = variables, is_privileged, interpreter
        self._is_taken = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """End it, unless it was taken."""
        if not self._is_taken:
            self._channel.close()
            with contextlib.suppress(OSError):  # it has ended, and was reaped
                os.kill(self._pid, signal.SIGKILL)
                os.waitpid(self._pid, 0)

    def take(
        self, variables: Mapping[str, str], *, is_privileged: bool, interpreter: str
    ) -> tuple[socket.socket, int] | None:
        """Return the master's end of its channel, and its pid, once.

        Returns:
            None where it was started with something else.
        """
        if self._is_taken or self._given != (variables, is_privileged, interpreter):
            return None
        self._is_taken = True
        return self._channel, self._pid


@functools.cache
def find_entry(*, is_privileged: bool = False) -> list[str]:
    """Return the options by which a fresh interpreter finds and runs our program.

    A wrapper (a zipapp, a pex, a script that sets ``sys.path``) has found this
    package where a fresh interpreter does not look: it is told where.
    """
    if _PACKAGES in _list_default_folders(is_privileged):
        return ["-m", _ENTRY]
    code = (
        f"import runpy, sys; sys.path += {_FOLDERS!r}; "
        f"runpy.run_module({_ENTRY!r}, run_name='__main__', alter_sys=True)"
    )
    return ["-c", code]


def _list_default_folders(is_privileged: bool) -> list[str]:
    """List where a fresh interpreter looks for packages."""
    sites: list[str] = []
    if not sys.flags.no_site:
        sites += [*site.getsitepackages(), site.getusersitepackages()]
    folders = sites[:]
    if not is_privileged:  # else it starts with another environment
        folders += os.environ.get("PYTHONPATH", "").split(os.pathsep)
    for each in sites:
        for path in glob.glob(os.path.join(glob.escape(each), "*.pth")):
            with contextlib.suppress(OSError, UnicodeDecodeError), open(path) as file:
                folders += file.read().splitlines()
    return [os.path.abspath(folder) for folder in folders if folder]


def open_outputs_again() -> dict[int, int]:
    """Open anew what standard output and error are, where they are files.

    A descriptor that is inherited has its position and flags in common with ours:
    an app that sets the one to 0, or takes O_APPEND off, would have the master
    write over the log. The master's own is made to append, too.

    Returns:
        By the number that it stands for, the new descriptor.
    """
    opened: dict[int, int] = {}
    for number in (1, 2):
        try:
            if not stat.S_ISREG(os.fstat(number).st_mode):
                continue
            flags = fcntl.fcntl(number, fcntl.F_GETFL)
            fcntl.fcntl(number, fcntl.F_SETFL, flags | os.O_APPEND)
            opened[number] = open_again(number)
        except OSError:
            continue  # it is closed, or nobody may open it any more
    return opened


def open_again(fd: int) -> int:
    """Open the file of a descriptor once more, to append to it.

    Raises:
        OSError: It cannot be opened: this process has another user by now.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY
    return os.open(f"/proc/self/fd/{fd}", flags)


class WorkerStart(msgspec.Struct, frozen=True):
    """What a worker is told that is started by an exec, over a memory file.

    Attributes:
        load: What the generation was started with.
        order: What the worker is.
        fds: As they came with the order.
        log_fd: Where its lines of the log go.
    """

    load: Load
    order: Fork
    fds: list[int]
    log_fd: int


def exec_worker(start: WorkerStart) -> NoReturn:
    """Become a worker in a fresh interpreter, with the pid of this process.

    Its own ``sitecustomize`` runs, so the threads that this starts live in it.
    """
    told = os.memfd_create("blazeio-worker", 0)
    os.write(told, pack(start))
    for fd in (*start.fds, start.log_fd):
        os.set_inheritable(fd, True)
    # Until its handlers are there; they stay blocked over the exec.
    held = (*HELD_BACK, signal.SIGTERM, STACK_SIGNAL)
    signal.pthread_sigmask(signal.SIG_BLOCK, held)
    words = [sys.executable, *list_own_options(), "-P", *find_entry()]
    os.execve(
        sys.executable, [*words, WORKER, str(PROTOCOL), str(told)], dict(os.environ)
    )


def read_worker_start(told: int) -> WorkerStart:
    """Read what ``exec_worker`` has written; the descriptors are not inherited."""
    with open(told, "rb") as file:
        file.seek(0)
        start = unpack(file.read(), WorkerStart)
    for fd in (*start.fds, start.log_fd):
        os.set_inheritable(fd, fd <= 2)
    return start
