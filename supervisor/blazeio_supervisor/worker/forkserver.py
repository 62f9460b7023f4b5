"""The forkserver: one per generation, single-threaded, without a loop.

It imports the app once, then forks workers on request. Each is forked twice:
the middle process exits at once, so that the worker's parent is gone and the
kernel hands it to the master, which is the subreaper. The forkserver itself
never has a child for longer than one message.

When the master dies it stays for the grace period and kills what is left: a
worker whose loop is blocked would otherwise keep the port for ever.
"""

import errno
import os
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from time import monotonic
from typing import Any, NoReturn

import msgspec
from msgspec import Struct, field

from blazeio_supervisor.ipc.channel import receive, send
from blazeio_supervisor.ipc.messages import (
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
    list_own_options,
)
from blazeio_supervisor.worker.process import (
    OwnInstallations,
    Printing,
    end_now,
    flush_output,
    run_exit_steps,
)
from blazeio_supervisor.worker.starting import find_entry

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


# A worker in an interpreter of its own.


WORKER = "worker"
"""The first argument of a worker that is started by an exec."""


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


def exec_worker(start: WorkerStart, protocol: str) -> NoReturn:
    """Become a worker in a fresh interpreter, with the pid of this process.

    Its own ``sitecustomize`` runs, so the threads that this starts live in it.

    Args:
        start: What it is told.
        protocol: That of the forkserver, which the package on the disk must speak.
    """
    told = os.memfd_create("blazeio-worker", 0)
    os.write(told, pack(start))
    for fd in (*start.fds, start.log_fd):
        os.set_inheritable(fd, True)
    # Until its handlers are there; they stay blocked over the exec.
    held = (*HELD_BACK, signal.SIGTERM, STACK_SIGNAL)
    signal.pthread_sigmask(signal.SIG_BLOCK, held)
    words = [sys.executable, *list_own_options(), "-P", *find_entry()]
    os.execve(sys.executable, [*words, WORKER, protocol, str(told)], dict(os.environ))


def read_worker_start(told: int) -> WorkerStart:
    """Read what ``exec_worker`` has written; the descriptors are not inherited."""
    with open(told, "rb") as file:
        file.seek(0)
        start = unpack(file.read(), WorkerStart)
    for fd in (*start.fds, start.log_fd):
        os.set_inheritable(fd, fd <= 2)
    return start
