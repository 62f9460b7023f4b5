"""``--single``: serve an app by one process, without a supervisor.

For development, and where there is no Linux: supervising needs its queues, pidfds and
shared memory. Nothing of it is imported here.
"""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

import click

from blazeio.app.app import App
from blazeio.app.mounting import ForeignApp
from blazeio.errors import ConfigurationError
from blazeio.gateways.interfaces import Interface, find_interface
from blazeio_supervisor.config.command_line import (
    PROGRAM,
    AppPath,
    parse_app_path,
)
from blazeio_supervisor.errors import ExitCode
from blazeio_supervisor.sockets.address import TcpAddress, parse_address
from blazeio_supervisor.worker.import_app import (
    LoadError,
    enter_folder,
    load_app,
    run_script,
)

SWITCH = "--single"
_NEEDS_LINUX = (
    f"{PROGRAM}: supervising needs Linux; {SWITCH} serves the app by one process, for "
    "development"
)
_BIND = "127.0.0.1:8000"
_RELOAD_ENV = "_BLAZEIO_SINGLE"
"""Set in the process that watches; its children serve."""
_LAST_S = 5.0
"""For the last requests once the process that watches is gone; as long as watchfiles
gives them at a change."""


def run_single(words: Sequence[str]) -> int:
    """Run the program where there is no supervisor; return the exit code."""
    if SWITCH not in words and "--version" not in words:
        click.echo(_NEEDS_LINUX, err=True)
        return ExitCode.USAGE
    try:
        code: int | None = _command.main(
            list(words), prog_name=PROGRAM, standalone_mode=False
        )
    except click.ClickException as error:
        click.echo(f"{PROGRAM}: {error.format_message()}", err=True)
        return ExitCode.USAGE
    except click.Abort:
        return ExitCode.INTERRUPTED
    return code or ExitCode.OK


@click.command(add_help_option=True, context_settings={"help_option_names": ["--help"]})
@click.version_option(package_name="blazeio-supervisor", prog_name=PROGRAM)
@click.option(SWITCH, is_flag=True, help="Serve by one process.")
@click.option(
    "--bind", "-b", default=None, metavar="HOST:PORT", help=f"[default: {_BIND}]"
)
@click.option("--host", default=None)
@click.option("--port", default=None, type=click.IntRange(0, 65535))
@click.option("--app-dir", default=".", help="Where the app is imported from.")
@click.option("--factory", is_flag=True, help="APP is a function that makes the app.")
@click.option(
    "--interface",
    default="auto",
    type=click.Choice(["auto", "blazeio", "asgi", "wsgi"]),
)
@click.option("--root-path", default=None)
@click.option("--reload", is_flag=True, help="Start anew when the code changes.")
@click.argument("app")
def _command(
    single: bool,
    bind: str | None,
    host: str | None,
    port: int | None,
    app_dir: str,
    factory: bool,
    interface: str,
    root_path: str | None,
    reload: bool,
    app: str,
) -> int:
    """Serve APP by this process, until ^C: for development."""
    try:
        path = parse_app_path(app)
        address = parse_address(bind) if bind else None
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    if bind and not isinstance(address, TcpAddress):
        raise click.UsageError(f"--bind {bind}: {SWITCH} listens at HOST:PORT")
    if isinstance(address, TcpAddress):
        host, port = host or address.host, address.port if port is None else port
    if reload and _RELOAD_ENV not in os.environ:
        return _watch(app_dir)
    try:
        if path.script:
            run_script(path)
        else:
            _serve(path, app_dir, factory, interface, host, port, root_path)
    except LoadError as error:
        click.echo(error.frames + f"{PROGRAM}: {error.reason}", err=True)
        return error.code
    return ExitCode.OK


def _serve(
    path: AppPath,
    app_dir: str,
    is_factory: bool,
    interface: str,
    host: str | None,
    port: int | None,
    root_path: str | None,
) -> None:
    enter_folder(app_dir)

    def adopt(found: object, name: str) -> App[Any] | None:
        if isinstance(found, App):
            return found
        try:
            kind = find_interface(found, name, interface)
        except ConfigurationError as error:
            raise ValueError(str(error)) from None
        if kind is Interface.FACTORY:
            return None
        return ForeignApp(cast("Callable[..., Any]", found), kind, path.text)

    app = load_app(path, adopt, is_factory=is_factory)
    app.host = host or app.host
    app.port = app.port if port is None else port
    app.root_path = app.root_path if root_path is None else root_path
    app.runner()


def _watch(folder: str) -> int:
    """Run this program again and again, each time that code below a folder changes."""
    try:
        from watchfiles import PythonFilter, run_process
    except ImportError:
        message = "--reload needs watchfiles: pip install watchfiles"
        raise click.UsageError(message) from None
    os.environ[_RELOAD_ENV] = "1"
    run_process(
        folder,
        target=_start_again,
        args=(sys.argv[1:],),
        watch_filter=PythonFilter(),
        target_type="function",
    )
    return ExitCode.OK


def _start_again(words: list[str]) -> None:
    _end_with_parent()
    sys.exit(run_single(words))


def _end_with_parent() -> None:
    """End this process when the one that watches is gone, by SIGKILL perhaps.

    It would keep the port: the next start failed, or was answered by the old code.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None  # this one was spawned

    def wait() -> None:
        # For the end of a pipe that only the parent has the other end of. It comes also
        # where the parent has ended before this, and on every system; Linux's own
        # signal for it (PR_SET_PDEATHSIG, prctl(2)) would need a look at both.
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(_LAST_S)
        # It has not ended: Python code blocks its loop, or a request takes long.
        os._exit(ExitCode.CRASHED)

    # A thread, and no reader of the loop: an import may take long, too, and the loop is
    # made by the app. An app that forks meanwhile is told of it by Python 3.12.
    threading.Thread(target=wait, name="parent", daemon=True).start()
