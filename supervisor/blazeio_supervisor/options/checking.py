"""``check APP``: would it start? Settings, import and addresses; nothing is served.

The app is imported where the service would import it: in a forkserver of its own,
as its user, in its environment. Addresses are opened and closed again; one that
this very service holds already is no mistake, as it keeps it over a reload.
"""

import os
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import click

from blazeio_supervisor.children.load import make_load
from blazeio_supervisor.errors import ExitCode, SupervisorError
from blazeio_supervisor.escaping import escape_line, escape_lines
from blazeio_supervisor.files.opening import read
from blazeio_supervisor.observe.lines.terms import LogTerms
from blazeio_supervisor.observe.logs import configure_logs
from blazeio_supervisor.options.program import LISTED, find_sources, print_config
from blazeio_supervisor.options.sectioned_command import SectionedCommand
from blazeio_supervisor.options.sources.configuration import Configuration
from blazeio_supervisor.process.channel import make_pair, send
from blazeio_supervisor.process.child_channel import (
    MESSAGE_BYTES,
    ChildFault,
    receive_octets,
)
from blazeio_supervisor.process.messages import (
    Failed,
    FromForkserver,
    Loaded,
    MessageError,
    Unsafe,
    parse_from_forkserver,
)
from blazeio_supervisor.process.spawn import spawn_forkserver
from blazeio_supervisor.settings import Settings
from blazeio_supervisor.sockets.address import Address, TcpAddress, format_address
from blazeio_supervisor.sockets.listeners import Listeners
from blazeio_supervisor.sockets.opening import AddressInUseError

_OWN_TITLE = "(blazeio: master ["
_EPILOG = """
\b
Exit codes:
  0 it would start            4 the app cannot be imported
  2 settings are wrong        5 an address cannot be bound
  3 the app raised
\b
What on_start hooks do is not tried: they may have an effect.
"""


class CheckFailedError(SupervisorError):
    """It would not start."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.exit_code = ExitCode(code)


def run_check(**words: Any) -> int:
    """Tell whether APP would start: its settings, its import, its addresses.

    The options are those of the service, and are read in the same places.
    """
    sources = find_sources(words)
    if words["print_config"]:
        return print_config(sources, shows_env=words["show_env"])
    configuration = sources.read()
    settings = configuration.make_settings()
    os.chdir(settings.folder)
    configure_logs(LogTerms(level="WARNING"))
    _say(f"settings   well{_name_file(configuration)}")
    own = import_app(settings)
    for address in settings.binds or own:
        _say(f"address    {try_address(settings, address)}")
    return ExitCode.OK


def import_app(settings: Settings) -> list[Address]:
    """Have the app imported; gives its own address, if it has one by then.

    Raises:
        CheckFailedError: It raised, or is not there; its traceback is printed.
    """
    if settings.app.script:
        _compile(settings.app.script)
        _say(f"app        {settings.app.text} can be compiled; it was not run")
        return []
    began_at = time.monotonic()
    with _load(settings) as channel:
        said = _hear(channel, settings.boot_timeout_s)
    took = f"{settings.app.text} imported in {time.monotonic() - began_at:.1f} s"
    match said:
        case Loaded(host, port):
            _say(f"app        {took}")
            return [] if host is None else [TcpAddress(host, port)]
        case Unsafe(findings):
            why = ", ".join(findings)
            _say(f"app        {took}, by each worker anew, since {why}")
            return []
        case Failed(code, reason, frames):
            click.echo(escape_lines(frames), err=True, nl=False)
            raise CheckFailedError(code, reason)
    raise CheckFailedError(
        ExitCode.APP_FAILED, f"not imported within {settings.boot_timeout_s:g} s"
    )


@contextmanager
def _load(settings: Settings) -> Iterator[socket.socket]:
    own, theirs = make_pair()
    with closing(own):
        send(own, make_load(settings, 1, is_preload=True))
        pid = spawn_forkserver(
            theirs, settings.environment, is_privileged=settings.is_privileged
        )
        theirs.close()
        try:
            yield own
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def _hear(channel: socket.socket, timeout_s: float) -> FromForkserver | None:
    channel.settimeout(timeout_s)
    try:
        received = receive_octets(channel, MESSAGE_BYTES)
        return None if received is None else parse_from_forkserver(received[0])
    except TimeoutError:
        return None
    except (ChildFault, MessageError) as error:
        reason = f"what imports the app misbehaved: {error}"
        raise CheckFailedError(ExitCode.APP_FAILED, reason) from None


def _compile(path: str) -> None:
    try:
        # It is the app's, whoever may write it: nothing of it runs.
        compile(read(path, is_judged=False), path, "exec", dont_inherit=True)
    except OSError as error:
        reason = f"{path}: {error.strerror}"
        raise CheckFailedError(ExitCode.NOT_IMPORTABLE, reason) from None
    except (SyntaxError, ValueError) as error:
        reason = f"{path} cannot be compiled: {error}"
        raise CheckFailedError(ExitCode.NOT_IMPORTABLE, reason) from None


def try_address(settings: Settings, address: Address) -> str:
    """Open an address, and close it again; gives a line on it.

    Raises:
        BindError: It cannot be had.
    """
    listeners = Listeners(
        1, unix_mode=settings.unix_mode, unix_owner=settings.unix_owner
    )
    text = format_address(address)
    try:
        listeners.open(address)
    except AddressInUseError as error:
        if _OWN_TITLE not in str(error):
            raise
        return f"{text} is open by now: {error}"
    listeners.shut()
    return f"{text} can be opened"


def _say(line: str) -> None:
    click.echo(escape_line(line))


def _name_file(configuration: Configuration) -> str:
    return f" ({configuration.path})" if configuration.path else ""


check = SectionedCommand(
    name="check",
    sections=LISTED,
    params=[click.Argument(["app"], required=False)],
    callback=run_check,
    help=run_check.__doc__,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 96},
)
