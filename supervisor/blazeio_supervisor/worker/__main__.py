"""The program of a forkserver process: ``python -m`` this, with a channel.

One process per generation, exec'd fresh, so that a reload sees the code on the
disk. It imports the app once and shares it with every worker it forks.
"""

import asyncio
import gc
import os
import signal
import socket
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, NoReturn

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace
from setproctitle import setproctitle

from blazeio.app import runner
from blazeio.app.app import App
from blazeio.errors import ConfigurationError
from blazeio.protocol.process import DEFAULT_LOOP, temporary_loop, use_loop
from blazeio.protocol.tls import TlsConfig
from blazeio.server.server import Server
from blazeio_supervisor.config.command_line import AppPath, parse_app_path
from blazeio_supervisor.errors import ExitCode
from blazeio_supervisor.ipc.channel import receive, send
from blazeio_supervisor.ipc.messages import (
    CHANNEL_CLOSED,
    Failed,
    Fork,
    Importing,
    Load,
    Loaded,
    Unsafe,
)
from blazeio_supervisor.ipc.processes import Identity, set_parent_death_signal, take_on
from blazeio_supervisor.ipc.protocol import PROTOCOL_BYTES, describe_skew, find_protocol
from blazeio_supervisor.ipc.signals import is_still, name_socket
from blazeio_supervisor.isolation import set_variables, unpack_variables
from blazeio_supervisor.log.setup import (
    LoggingError,
    apply_config,
    configure_other_logs,
    logs_configured,
)
from blazeio_supervisor.worker.fork_safety import (
    find_fork_dangers,
    find_generators,
    find_unread_files,
    is_pristine,
    open_anew,
    seed_anew,
    take_snapshot,
)
from blazeio_supervisor.worker.forkserver import (
    EXIT_STEPS_S,
    WORKER,
    Forkserver,
    WorkerStart,
    end_import,
    exec_worker,
    read_worker_start,
)
from blazeio_supervisor.worker.import_app import (
    ImportOrigins,
    LoadError,
    enter_folder,
    load_app,
)
from blazeio_supervisor.worker.overrides import (
    find_tasks,
    make_adopter,
    read_certificates,
    working_in,
)
from blazeio_supervisor.worker.process import (
    OwnInstallations,
    Printing,
    disconnect_sockets,
    end_escaped_child,
    end_forked,
    end_now,
)
from blazeio_supervisor.worker.prometheus_bridge import install_bridge
from blazeio_supervisor.worker.stack_dump import StackDump
from blazeio_supervisor.worker.worker import Worker

# What is installed under /root is closed to every other user.
_INSTALLATION = tuple(
    os.path.dirname(each.__file__ or "") for each in (os, runner, msgspec)
)


class Generation(Struct):
    """A forkserver process: it imports the app and forks its workers.

    Attributes:
        channel: The blocking channel to the master.
        load: What to import.
        tls: The TLS settings of the operator; None: those of the App count.
        printing: The standard output and error of this process and its workers.
        own: What is installed in them, and undone in what the app forks.
        dump: Answers with the stacks of this process, until it has loaded.
    """

    channel: socket.socket
    load: Load
    tls: TlsConfig | None
    printing: Printing
    own: OwnInstallations
    dump: StackDump
    _generators: list[Any] = field(default_factory=list)
    _unread: list[tuple[int, str]] = field(default_factory=list)
    _warmed: tuple[int, tuple[str, ...]] = (0, ())

    def run(self) -> None:
        """Import, answer, then fork on request until the end."""
        path = parse_app_path(self.load.app)
        app = None
        if self.load.is_preload and path.module:
            app = self._preload(path)
        # Before the workers are forked: each has a socket for its stacks of its own.
        self.dump.end(self.own)
        if app is not None:
            address = app.host, app.port, app.tls is not None
            send(self.channel, Loaded(*address, *self._warmed))
        else:
            send(self.channel, Loaded())
        execs = app is None and self._needs_exec()
        gc.collect()
        gc.freeze()  # no collection in a worker ever unshares these pages
        set_parent_death_signal(0)
        # Blocked, not ignored: a worker that is told to end before it has
        # unblocked it still gets the signal.
        self.own.block(signal.SIGTERM)

        def run_worker(order: Fork, fds: list[int]) -> None:
            if execs:
                start = WorkerStart(self.load, order, fds, self.printing.log_fd)
                exec_worker(start, find_protocol())
            seed_anew(self._generators)
            open_anew(self._unread)
            worker = self.load, order, path, app, self.tls, fds
            Worker(*worker, self.printing, self.own).run()

        parts = self.channel, self.load, run_worker, self.printing, self.own
        Forkserver(*parts).serve()

    def _warm(self, app: App) -> None:
        with _logging(self.load, self.printing):
            try:
                self._warmed = warm(app, self.load.warm)
            except ConfigurationError as error:
                self._warmed = 0, (str(error),)

    def _needs_exec(self) -> bool:
        """Whether a fork of this process would lose what runs in it already.

        Keys that only root can read cannot be read again after an exec.
        """
        has_keys = self.tls is not None and self.load.identity is not None
        return not has_keys and not is_pristine(
            self.channel.fileno(), self.printing.log_fd
        )

    def _close_in_child(self) -> None:
        """Close the channel in a child that the import forks."""
        disconnect_sockets(self.channel.fileno())
        setproctitle(f"blazeio: child of forkserver gen {self.load.generation}")

    def _preload(self, path: AppPath) -> App:
        self.own.undo_in_children(self._close_in_child)
        send(self.channel, Importing())
        name = name_socket(self.channel)
        before = take_snapshot()
        births = ImportOrigins()
        births.begin()
        runner.run_hook.set(_refuse_to_serve)
        # A collection in mid-import would touch, so unshare, what is there.
        gc.disable()
        try:
            app = load_app(
                path, make_adopter(self.load), is_factory=self.load.is_factory
            )
            find_tasks(self.load.tasks)  # imported once, and a mistake is said once
            if self.tls is None:
                with _logging(self.load, self.printing):
                    _read_certificates(app, path, self.load.folder)
            if self.load.warm or app.warm_hook_count:
                self._warm(app)
        except LoadError as error:
            if not self.own.is_at_home():  # forked by what was imported
                end_forked(error.__cause__)
            if not is_still(self.channel, name):
                end_now(CHANNEL_CLOSED)
            send(self.channel, Failed(error.code, error.reason, error.frames))
            end_import(EXIT_STEPS_S, error.code)
        finally:
            gc.enable()
        if not self.own.is_at_home():
            end_escaped_child()
        if not is_still(self.channel, name):
            end_now(CHANNEL_CLOSED)
        runner.run_hook.set(None)
        births.end()
        objects = gc.get_objects()
        dangers = find_fork_dangers(before, births, objects)
        births.forget()
        if dangers:
            send(self.channel, Unsafe(dangers, self.load.is_forced))
            if not self.load.is_forced:
                end_import(EXIT_STEPS_S)
        self._generators = find_generators(objects)
        self._unread = find_unread_files(before)
        return app


def _read_certificates(app: App, path: AppPath, folder: str) -> None:
    """Read the certificates here, so that all workers have one set of ticket keys."""
    try:
        with working_in(folder):
            app.read_certificates()
    except ConfigurationError as error:
        raise LoadError(ExitCode.APP_FAILED, f"{path.text}: {error}") from error


def _refuse_to_serve(app: App) -> None:
    raise RuntimeError(
        "runner() was called while the module was imported: put it under "
        "`if __name__ == '__main__':`, or serve the file itself, "
        "`blazeio-supervisor app.py`"
    )


def _fail(channel: socket.socket, error: LoadError) -> NoReturn:
    send(channel, Failed(error.code, error.reason, error.frames))
    end_now(error.code)


def _logging(load: Load, printing: Printing) -> AbstractContextManager[None]:
    return logs_configured(load.log, printing.log_fd, printing.origin)


def _begin(
    load: Load, variables: dict[str, str], printing: Printing
) -> TlsConfig | None:
    """Set folder, user, umask and variables before any code of the app runs.

    Returns what the operator's certificates make: only root may read some keys.
    """
    _enter(load.folder)
    with _logging(load, printing):
        tls = read_certificates(load.overrides)
    if load.identity is not None:
        _become(load.identity, load, has_secrets=tls is not None)
    if load.umask is not None:
        os.umask(load.umask)
    set_variables(variables)  # only now: they say what is imported
    # Its module is loaded here, not by each worker from the disk.
    use_loop(load.loop or DEFAULT_LOOP)
    enter_folder(load.app_dir)
    _prepare_import(load)
    return tls


def _prepare_import(load: Load) -> None:
    """Set up what the app finds when it is imported, its folder being importable."""
    if load.bridges_prometheus:
        install_bridge()
    try:
        apply_config(load.log)
    except LoggingError as error:
        raise LoadError(error.exit_code, str(error)) from error


def _enter(folder: str, who: str = "") -> None:
    try:
        os.chdir(folder)
    except OSError as error:
        reason = f"cannot enter {folder}{who}: {error.strerror}"
        raise LoadError(ExitCode.NOT_IMPORTABLE, reason) from error


def _become(identity: Identity, load: Load, *, has_secrets: bool) -> None:
    try:
        take_on(identity, has_secrets=has_secrets)
    except OSError as error:
        reason = f"cannot run as {identity}: {error.strerror}"
        raise LoadError(ExitCode.USAGE, reason) from error
    for folder in _INSTALLATION:
        if not _may_read(folder):
            raise LoadError(
                ExitCode.NOT_IMPORTABLE,
                f"--user: {identity} cannot read this installation, {folder}: "
                "install it where every user can read, for instance below /opt",
            )
    _enter(load.folder, f" as {identity}")
    if not _may_read(load.app_dir):
        reason = f"cannot read {load.app_dir} as {identity}: the import needs it"
        raise LoadError(ExitCode.NOT_IMPORTABLE, reason)


def _may_read(folder: str) -> bool:
    """Tell whether this process, as the user that it is now, reads a folder."""
    return os.access(folder, os.R_OK | os.X_OK)


# Requests that the forkserver answers itself, before it forks: ``--warm /``.
#
# What an app makes at its first request (compiled templates, caches, lazy imports) is
# then made once, and shared by all workers. It happens in an event loop that is closed
# afterwards, without ``on_start`` hooks: what they open must not be shared by workers.


WARM_ANSWER_S = 30.0
"""For one answer; an app that waits for longer is not warm."""
_WARM_HEAD = "GET {} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"


def warm(app: App, paths: Sequence[str]) -> tuple[int, tuple[str, ...]]:
    """Run the ``on_warm`` hooks, then answer a GET for each path.

    Returns:
        How many hooks and answers went well, and of the others what went wrong.
    """
    count, failures = 0, []
    # A loop of its own, closed before the first fork: its epoll would otherwise be
    # shared by all workers.
    with temporary_loop() as loop:
        failures += loop.run_until_complete(app.warm_hooks())
        count += app.warm_hook_count - len(failures)
        server = app.make_server(loop)
        for path in paths:
            failure = loop.run_until_complete(_ask(server, path))
            if failure:
                failures.append(failure)
            else:
                count += 1
        server.close()
    return count, tuple(failures)


async def _ask(server: Server, path: str) -> str:
    """Have a GET answered; return what went wrong, "" where nothing has."""
    loop = asyncio.get_running_loop()
    ours, theirs = socket.socketpair()
    with ours:
        ours.setblocking(False)
        theirs.setblocking(False)
        await server.serve(theirs)
        try:
            async with asyncio.timeout(WARM_ANSWER_S):
                await loop.sock_sendall(ours, _WARM_HEAD.format(path).encode())
                head = await _read_answer(loop, ours)
        except TimeoutError:
            return f"GET {path}: no answer within {WARM_ANSWER_S:g} s"
    status = head.partition(b" ")[2][:3].decode(errors="replace")
    return "" if status < "400" and status else f"GET {path}: status {status or 'none'}"


async def _read_answer(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> bytes:
    """Read the whole response; return its beginning."""
    first = b""
    while octets := await loop.sock_recv(sock, 65536):
        first = first or octets
    return first


# The program itself.


def run_worker(own: OwnInstallations, start: WorkerStart, protocol: str) -> NoReturn:
    """Run a worker that was started by an exec; it imports the app by itself."""
    load, fds = start.load, start.fds
    skew = describe_skew(protocol)
    if skew is not None:
        _fail(socket.socket(fileno=fds[0]), LoadError(ExitCode.CRASHED, skew))
    own.block(signal.SIGTERM)
    printing = Printing.of(start.log_fd)
    printing.origin.generation = load.generation
    configure_other_logs(load.log, printing.log_fd, printing.origin)
    try:
        with _logging(load, printing):
            tls = read_certificates(load.overrides)
        use_loop(load.loop or DEFAULT_LOOP)
        enter_folder(load.app_dir)
        _prepare_import(load)
    except LoadError as error:
        _fail(socket.socket(fileno=fds[0]), error)
    sys.argv[:] = [load.app]
    path = parse_app_path(load.app)
    Worker(load, start.order, path, None, tls, fds, printing, own).run()


def _receive_protocol(channel: socket.socket) -> str:
    """Receive the protocol of a master that did not know it when it started us."""
    find_protocol()  # meanwhile
    told = channel.recv(PROTOCOL_BYTES)
    if not told:
        end_now(ExitCode.OK)  # the master ended before it said a word
    return told.decode("ascii", "replace")


def main() -> None:
    """Take the first message from the channel and run a generation."""
    own = OwnInstallations()
    own.hold_back()
    if sys.argv[1] == WORKER:
        run_worker(own, read_worker_start(int(sys.argv[3])), sys.argv[2])
    channel = socket.socket(fileno=int(sys.argv[1]))
    channel.set_inheritable(False)
    skew = describe_skew(sys.argv[2] or _receive_protocol(channel))
    if skew is not None:
        _fail(channel, LoadError(ExitCode.CRASHED, skew))
    variables = unpack_variables(int(sys.argv[3]))
    received = receive(channel)
    if received is None:
        end_now(ExitCode.OK)  # the master ended before it said a word
    load, fds = received
    assert isinstance(load, Load)
    setproctitle(f"blazeio: forkserver gen {load.generation}")
    printing = Printing()
    for output in fds[1:]:
        printing.capture(output)
    origin = printing.origin
    origin.generation, origin.pid = load.generation, os.getpid()
    configure_other_logs(load.log, printing.log_fd, origin)
    asker = socket.socket(fileno=fds[0])
    dump = StackDump(f"gen={load.generation} pid={os.getpid()}", asker)
    dump.arm(own)
    try:
        tls = _begin(load, variables, printing)
    except LoadError as error:
        _fail(channel, error)
    # From now on as it is, whatever a link in it leads to later.
    load = replace(load, folder=os.getcwd())
    # Here: a change of user clears it.
    set_parent_death_signal(signal.SIGTERM)
    if os.getppid() != load.master_pid:
        end_now(ExitCode.OK)  # it ended before its death was watched for
    sys.argv[:] = [load.app]
    Generation(channel, load, tls, printing, own, dump).run()


if __name__ == "__main__":
    main()
