"""The verb ``check APP``: whether the service would start; nothing is served.

The app is imported where the service would import it: in a forkserver, as its user,
in its environment. Addresses are opened and closed again; an address that this same
service holds already is no mistake, since it keeps the address over a reload.
"""

import os
import select
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress

import click

from blazeio_supervisor.cli.output import say
from blazeio_supervisor.config.settings import Configuration, Settings
from blazeio_supervisor.errors import ExitCode, SupervisorError, describe_exit
from blazeio_supervisor.files import read
from blazeio_supervisor.ipc.channel import (
    MESSAGE_BYTES,
    ChildFault,
    receive_octets,
    send,
)
from blazeio_supervisor.ipc.inspection import ANSWER_TIMEOUT_S
from blazeio_supervisor.ipc.messages import (
    Failed,
    FromForkserver,
    Importing,
    Loaded,
    Unsafe,
)
from blazeio_supervisor.ipc.packing import MessageError, parse_from_forkserver
from blazeio_supervisor.ipc.protocol import find_protocol
from blazeio_supervisor.ipc.signals import STACK_SIGNAL, STACKS_END, make_pair
from blazeio_supervisor.log.formats import (
    LogConfig,
    escape_line,
    escape_lines,
    find_import,
)
from blazeio_supervisor.log.setup import configure_logs
from blazeio_supervisor.master.children import parse_exit
from blazeio_supervisor.master.forkservers import make_load
from blazeio_supervisor.master.worker_record import explain_silence
from blazeio_supervisor.sockets.address import Address, TcpAddress, format_address
from blazeio_supervisor.sockets.bind import AddressInUseError
from blazeio_supervisor.sockets.listeners import Listeners
from blazeio_supervisor.worker.starting import spawn_forkserver

_END_S = 2.0  # for the exit steps of the import, and for what it has started
_OWN_TITLE = "(blazeio: master ["


class CheckFailedError(SupervisorError):
    """The service would not start."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.exit_code = ExitCode(code)


def check_start(configuration: Configuration) -> None:
    """Check the settings, the import of the app, and its addresses.

    Raises:
        SupervisorError: The service would not start.
    """
    settings = configuration.make_settings()
    os.chdir(settings.folder)
    configure_logs(LogConfig(level="WARNING"))
    _say(f"settings   ok{_name_file(configuration)}")
    own = import_app(settings)
    # As the master does it: without ``--bind`` the app's own host and port count.
    for address in settings.binds or own:
        _say(f"address    {try_address(settings, address)}")


def import_app(settings: Settings) -> list[Address]:
    """Import the app in a forkserver, and return its own address, if it has one.

    Raises:
        CheckFailedError: The app raised, or is not there; its traceback is printed.
    """
    if settings.app.script:
        _compile(settings.app.script)
        _say(f"app        {settings.app.text} can be compiled; it was not run")
        return []
    began_at = time.monotonic()
    with _load(settings) as importer:
        said = importer.hear(settings.boot_timeout_s)
    took = f"{settings.app.text} imported in {time.monotonic() - began_at:.1f} s"
    match said:
        case Loaded(host, port):
            _say(f"app        {took}")
            return [] if host is None else [TcpAddress(host, port)]
        case Unsafe(findings):
            why = ", ".join(findings)
            _say(f"app        {took}, again by each worker, since {why}")
            return []
        case Failed(code, reason, frames):
            say(escape_lines(frames), ends_line=False)
            raise CheckFailedError(code, reason)
    raise AssertionError("a forkserver says nothing else")


class _Importer:
    """A forkserver that imports the app.

    Args:
        pid: The pid of the forkserver.
        channel: The channel to it.
        asker: The socket on which it sends its stacks.
    """

    def __init__(self, pid: int, channel: socket.socket, asker: socket.socket) -> None:
        self._pid = pid
        self._channel = channel
        self._asker = asker
        self._is_importing = False

    def hear(self, timeout_s: float) -> FromForkserver:
        """Wait for the outcome of the import.

        Raises:
            CheckFailedError: There is none; the message says why.
        """
        ends_at = time.monotonic() + timeout_s
        while True:
            # Never 0, which would make the socket non-blocking: an import that ends in
            # this very moment is still heard.
            self._channel.settimeout(max(0.01, ends_at - time.monotonic()))
            try:
                received = receive_octets(self._channel, MESSAGE_BYTES)
                said = None if received is None else parse_from_forkserver(received[0])
            except TimeoutError:
                raise self._explain_lateness(timeout_s) from None
            except (ChildFault, MessageError) as error:
                reason = f"what imports the app misbehaved: {error}"
                raise CheckFailedError(ExitCode.NOT_IMPORTABLE, reason) from None
            match said:
                case None:
                    raise self._explain_end()
                case Importing():
                    # From here on its end is the doing of the app; before, it would be
                    # a fault of ours.
                    self._is_importing = True
                case _:
                    return said

    def _explain_lateness(self, timeout_s: float) -> CheckFailedError:
        # By its pid, which is safe here: a child that was not waited for keeps it
        # (wait(2)).
        os.kill(self._pid, STACK_SIGNAL)
        self._asker.settimeout(ANSWER_TIMEOUT_S)
        octets = b""
        with suppress(TimeoutError):
            while STACKS_END not in octets and (more := self._asker.recv(65536)):
                octets += more
        where = find_import(octets.decode("utf-8", "replace"))
        reason = f"not imported within {timeout_s:g} s (--boot-timeout): {where}"
        return CheckFailedError(ExitCode.APP_FAILED, reason.removesuffix(": "))

    def _explain_end(self) -> CheckFailedError:
        # WNOWAIT: its zombie stays, so that ``_end`` finds the pid still to be its own.
        ended = os.waitid(os.P_PID, self._pid, os.WEXITED | os.WNOWAIT)
        assert ended is not None
        status = parse_exit(ended)
        code, reason = ExitCode.CRASHED, ""
        if self._is_importing:
            status, reason = explain_silence(status, is_importing=True)
            code = ExitCode.NOT_IMPORTABLE
        return CheckFailedError(code, describe_exit(status, reason))


@contextmanager
def _load(settings: Settings) -> Iterator[_Importer]:
    own, theirs = make_pair()
    # While the import blocks nobody there reads the channel. Only the handler of
    # STACK_SIGNAL runs, and it writes to this socket.
    asker, answerer = socket.socketpair()
    with closing(own), closing(asker):
        load = make_load(settings, 1, is_preload=True)
        send(own, load, [answerer.fileno()])
        pid = spawn_forkserver(
            theirs,
            settings.environment,
            is_privileged=settings.is_privileged,
            interpreter=settings.interpreter,
            protocol=find_protocol(),
        )
        # While this process has the other end open, too, it would never see the end of
        # file of a forkserver that has died.
        theirs.close()
        answerer.close()
        try:
            yield _Importer(pid, own, asker)
        finally:
            own.close()  # the forkserver ends what the import has started, then itself
            _end(pid)


def _end(pid: int) -> None:
    """Wait for the end of a process, and kill it when that takes too long."""
    poller = select.poll()
    # waitpid(2) knows no timeout, so the end is awaited at a pidfd (pidfd_open(2)).
    pidfd = os.pidfd_open(pid)
    poller.register(pidfd, select.POLLIN)
    if not poller.poll(_END_S * 1000):
        os.kill(pid, signal.SIGKILL)
    os.close(pidfd)
    os.waitpid(pid, 0)


def _compile(path: str) -> None:
    try:
        # The script is not run, since it would begin to serve; so it does not matter
        # who may write it. ``dont_inherit``: the ``__future__`` imports of this module
        # are not the script's.
        compile(read(path, is_judged=False), path, "exec", dont_inherit=True)
    except OSError as error:
        reason = f"{path}: {error.strerror}"
        raise CheckFailedError(ExitCode.NOT_IMPORTABLE, reason) from None
    except (SyntaxError, ValueError) as error:
        reason = f"{path} cannot be compiled: {error}"
        raise CheckFailedError(ExitCode.NOT_IMPORTABLE, reason) from None


def try_address(settings: Settings, address: Address) -> str:
    """Open an address and close it again; return a line about it.

    Raises:
        BindError: The address cannot be opened.
    """
    listeners = Listeners(
        1, unix_mode=settings.unix_mode, unix_owner=settings.unix_owner
    )
    text = format_address(address)
    try:
        listeners.open(address)
    except AddressInUseError as error:
        # A service that is checked before its reload holds the address itself; anybody
        # else at that address would keep it from starting.
        if _OWN_TITLE not in str(error):
            raise
        return f"{text} is open by now: {error}"
    listeners.shut()
    return f"{text} can be opened"


def _say(line: str) -> None:
    click.echo(escape_line(line))


def _name_file(configuration: Configuration) -> str:
    return f" ({configuration.path})" if configuration.path else ""
