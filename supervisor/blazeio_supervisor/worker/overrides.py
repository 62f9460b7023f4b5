"""An App, served as the operator wants it.

The command line wins over it, and adds static files, hooks and tasks to it.
"""

import asyncio
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, cast

from blazeio.app.app import App
from blazeio.app.service import OnceObserver, OnceTask, OnceTasks, parse_schedule
from blazeio.content.forwarded import parse_allow_list
from blazeio.errors import ConfigurationError
from blazeio.gateways.interfaces import Interface, find_interface
from blazeio.limits import Limits
from blazeio.protocol.carrier import Trust
from blazeio.protocol.options import HeaderConfig
from blazeio.protocol.tls import TlsConfig
from blazeio.server.access_log import STANDARD_OUTPUT, AccessLog
from blazeio.server.server import Server
from blazeio.server.tls import TlsSettings, make_tls_config
from blazeio_supervisor.api import list_declared, make_task
from blazeio_supervisor.config.command_line import parse_app_path
from blazeio_supervisor.errors import ExitCode
from blazeio_supervisor.files import examine, open_to_append
from blazeio_supervisor.ipc.messages import (
    Additions,
    GatewayConfig,
    Load,
    Message,
    Overrides,
    ReturnLease,
    TaskBegan,
    TaskEnded,
    TaskInfo,
)
from blazeio_supervisor.version import find_version
from blazeio_supervisor.worker.import_app import Adopt, LoadError, find_object

if TYPE_CHECKING:
    from blazeio.gateways.wsgi import WsgiGateway

_CERTIFICATES = {"certfile", "keyfile", "keyfile_password_file", "client_ca"}


def read_certificates(overrides: Overrides) -> TlsConfig | None:
    """Read the files that the operator named; None when there are none.

    Needs no App, so that it can come before its import, while this process may
    still read what only root may. As root it reads none that another user could
    have led to a key of somebody else.

    Raises:
        LoadError: The operator's fault: a file cannot be used; says which and
            why. Or the installation's: it does not know what the master sets.
    """
    _check_known("limit", overrides.limits, Limits)
    if overrides.tls is None:
        return None
    _check_known("TLS setting", overrides.tls, TlsSettings)
    given = dict(overrides.tls)
    pairs = tuple((cert, key) for cert, key in given.pop("other_certificates", ()))
    for name in _CERTIFICATES & given.keys():
        _examine(name, given[name])
    for path in (each for pair in pairs for each in pair if each):
        _examine("certfile", path)
    try:
        return make_tls_config(TlsSettings(**given, other_certificates=pairs))
    except ConfigurationError as error:
        raise LoadError(ExitCode.USAGE, str(error)) from error


def _check_known(what: str, given: Mapping[str, Any], kind: type[Any]) -> None:
    """Refuse what is no field of ours: it is one of the code that the master runs.

    These names go by what the operator has set, so they are no part of the protocol.
    """
    unknown = ", ".join(sorted(given.keys() - {each.name for each in fields(kind)}))
    if unknown:
        reason = (
            f"the installed blazeio ({find_version()}) knows no {what} {unknown}, "
            "which the running master sets: restart the service to use it"
        )
        raise LoadError(ExitCode.CRASHED, reason)


def _examine(name: str, path: str) -> None:
    if os.geteuid() == 0:
        try:
            examine(path)
        except (FileNotFoundError, IsADirectoryError, PermissionError):
            pass  # TlsSettings has the words for it
        except OSError as error:
            reason = f"TLS {name} {path}: {error.strerror}"
            raise LoadError(ExitCode.USAGE, reason) from None


def make_access_log(
    app: App,
    overrides: Overrides,
    loop: asyncio.AbstractEventLoop,
    worker: str,
    folder: str = "",
) -> AccessLog | None:
    """Open the access log of one worker.

    Args:
        app: The App, which may name an access log.
        overrides: The operator's wins.
        loop: The running one.
        worker: The name in each line.
        folder: From which a relative path starts, now and when it is reopened,
            wherever the app has gone meanwhile.

    Raises:
        ConfigurationError: It cannot be opened.
    """
    path = overrides.access_log or app.access_log
    if path is None:
        return None
    if path != STANDARD_OUTPUT:
        path = os.path.join(folder, path)
    form = overrides.access_log_format or app.access_log_format
    return AccessLog(path, loop, format_text=form, worker=worker, open_file=_open_log)


def _open_log(path: str, mode: int) -> int:
    return open_to_append(path, mode, may_be_pipe=True)


def make_server(
    app: App,
    overrides: Overrides,
    loop: asyncio.AbstractEventLoop,
    *,
    tls: TlsConfig | None,
    access_log: AccessLog | None,
) -> Server:
    """Make the server of one worker.

    Args:
        app: What is served.
        overrides: What wins over it.
        loop: The running one.
        tls: Of ``read_certificates``.
        access_log: Of ``make_access_log``.

    Raises:
        ConfigurationError: A file of the App's own TLS cannot be used.
        LoadError: The operator's certificate would drop the App's demand for
            those of clients.
    """
    if tls is not None:
        _check_clients_are_still_asked(app, overrides)
    return app.make_server(
        loop,
        limits=replace(app.limits, **overrides.limits),
        trust=_make_trust(app.trust or Trust(), overrides),
        access_log=access_log,
        tls=tls,
        heads=HeaderConfig(
            has_date=overrides.has_date_header,
            has_server=overrides.has_server_header,
            fields=overrides.headers,
        ),
        root_path=overrides.root_path,
        http2=overrides.http2,
    )


def _check_clients_are_still_asked(app: App, overrides: Overrides) -> None:
    is_asked = app.tls is not None and app.tls.client_cert != "none"
    if is_asked and "client_cert" not in (overrides.tls or {}):
        raise LoadError(
            ExitCode.USAGE,
            "--certfile replaces the App's tls, which asks for client certificates: "
            "say --client-cert none, optional or required as well",
        )


def _make_trust(own: Trust, overrides: Overrides) -> Trust | None:
    forwarded = overrides.forwarded_allow_ips
    proxies = overrides.proxy_protocol_allow_ips
    if forwarded is None and proxies is None:
        return None  # the App's own
    return Trust(
        own.forwarded_allow_ips if forwarded is None else parse_allow_list(forwarded),
        own.proxy_protocol_allow_ips if proxies is None else parse_allow_list(proxies),
    )


# The folder that relative paths start from, wherever the app goes by itself.


@contextmanager
def working_in(folder: str) -> Iterator[None]:
    """Change the working directory for a while.

    Args:
        folder: The working directory of the service, without symbolic links.

    Raises:
        OSError: The folder is gone.
    """
    try:
        if os.getcwd() == folder:
            yield
            return
        there = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        yield  # the app stands in a folder that is gone, and is left there
        return
    try:
        os.chdir(folder)
        yield
    finally:
        os.fchdir(there)
        os.close(there)


# What was found under the name of the app, and how it is served.


def make_adopter(load: Load) -> Adopt[App]:
    """Return a function that makes an App of what was imported."""
    gateway = load.gateway

    def adopt(found: object, name: str) -> App | None:
        interface = gateway.interface
        if isinstance(found, App):
            if interface in ("asgi", "wsgi"):
                raise ValueError(f"{name} is an App (--interface {interface})")
            return found
        return _adopt_foreign(found, name, load)

    return adopt


def _adopt_foreign(found: object, name: str, load: Load) -> App | None:
    gateway = load.gateway
    try:
        interface = find_interface(found, name, gateway.interface)
    except ConfigurationError as error:
        raise ValueError(str(error)) from None
    if interface is Interface.FACTORY:
        return None
    if gateway.interface == "blazeio":
        reason = f"takes what an {interface.upper()} app does, and is not an App"
        raise ValueError(f"{name} {reason} (--interface blazeio)")
    # Imported here: the gateways, with WebSockets and the client behind them, are a
    # third of what a forkserver would load before the app.
    from blazeio.app.mounting import ForeignApp

    return ForeignApp(cast("Callable[..., Any]", found), interface, load.app)


def configure_foreign(app: App, config: GatewayConfig) -> "list[WsgiGateway]":
    """Have the ASGI and WSGI apps that are served, or mounted, as the operator says.

    Returns:
        Those of WSGI apps, which have threads.
    """
    if "blazeio.app.mounting" not in sys.modules:
        return []  # it would be loaded, if there were one
    from blazeio.app.mounting import GatewayOptions, list_foreign
    from blazeio.gateways.asgi import LifespanMode
    from blazeio.gateways.websocket import SocketBounds
    from blazeio.gateways.wsgi import WsgiGateway

    options = GatewayOptions(
        lifespan=LifespanMode(config.lifespan),
        threads=config.threads,
        sends_paths=config.sends_paths,
        compresses_websockets=config.compresses_websockets,
        is_multiprocess=True,
        socket_bounds=SocketBounds(
            config.ws_message_bytes, config.ws_ping_every_s, config.ws_ping_timeout_s
        ),
    )
    parts = list_foreign(app)
    for part in parts:
        part.configure(options)
    gateways = (part.gateway for part in parts)
    return [each for each in gateways if isinstance(each, WsgiGateway)]


# What the operator adds to an app: static files, hooks, and tasks that run once.
#
# Before the app is served they become its own, beside those that it has declared
# itself. The tasks of both wait until the master grants the lease, and end when the
# worker drains. Of ``serve FOLDER`` the app itself is the operator's (``api.py``).


def add_to_app(app: App, additions: Additions) -> None:
    """Add static files and hooks to an app that is about to be served.

    Raises:
        LoadError: A function cannot be found, or a folder cannot be served.
    """
    app.add_outer_hooks(
        _find_functions("--hook-post-fork", additions.post_fork),
        _find_functions("--hook-worker-exit", additions.worker_exit),
    )
    for prefix, folder in additions.static_folders:
        try:
            app.add_static(prefix, folder, name=f"static {prefix}")
        except ConfigurationError as error:
            reason = f"--static {prefix}={folder}: {error}"
            raise LoadError(ExitCode.APP_FAILED, reason) from error


def _find_functions(flag: str, places: Sequence[str]) -> list[Callable[[], Any]]:
    found: list[Callable[[], Any]] = []
    for place in places:
        try:
            function = find_object(parse_app_path(place))
        except LoadError as error:
            reason = f"{flag} {place}: {error.reason}"
            raise LoadError(error.code, reason, error.frames) from error
        if not callable(function):
            reason = f"{flag} {place}: it is not a function"
            raise LoadError(ExitCode.NOT_IMPORTABLE, reason)
        found.append(function)
    return found


# Tasks that run once: those of the App, of ``once``, of ``--task``.


def find_tasks(texts: tuple[str, ...]) -> list[OnceTask]:
    """Import what ``--task`` names.

    Args:
        texts: ``MODULE:FUNCTION``, perhaps with ``every SPAN`` or ``at TIME``.

    Raises:
        LoadError: There is no such module or function.
    """
    found = []
    for text in texts:
        place, *schedule = text.split()
        given = dict([schedule]) if schedule else {}
        try:
            function = find_object(parse_app_path(place))
            when = parse_schedule(given.get("every"), given.get("at"))
            found.append(make_task(function, when, place))
        except LoadError as error:
            raise LoadError(
                error.code, f"--task {place}: {error.reason}", error.frames
            ) from error
        except ConfigurationError as error:
            reason = f"--task {place}: {error}"
            raise LoadError(ExitCode.NOT_IMPORTABLE, reason) from error
    return found


def add_tasks(app: App, texts: tuple[str, ...]) -> None:
    """Add what was declared by ``once`` and ``--task`` to the tasks of the App.

    Raises:
        LoadError: Two have the same name, or one cannot be found.
    """
    try:
        for task in (*list_declared(), *find_tasks(texts)):
            app.once_tasks.add(task)
    except ConfigurationError as error:
        raise LoadError(ExitCode.APP_FAILED, str(error)) from error


class LeasedTasks(OnceObserver):
    """Runs the tasks of one App while this worker has the lease.

    Args:
        tasks: Of the App.
        send: To the master; nothing is sent once that is gone.
    """

    def __init__(self, tasks: OnceTasks, send: Callable[[Message], None]) -> None:
        self._tasks = tasks
        self._send = send
        self._is_held = False
        self._is_over = False
        tasks.is_leased = True
        tasks.observer = self

    def describe(self) -> tuple[TaskInfo, ...]:
        """Return what the master has to know of them."""
        return tuple(
            TaskInfo(task.name, task.schedule.every_s, task.schedule.at)
            for task in self._tasks.tasks
        )

    def begin(self, last: Mapping[str, float]) -> None:
        """Run them from now on: the lease was granted.

        Args:
            last: By name, when the last run of each began.
        """
        if self._is_over:
            self._send(ReturnLease())
        else:
            self._is_held = True
            self._tasks.start(last)

    async def end(self) -> None:
        """End them, and give the lease back; return when that is done."""
        self._is_over = True
        if self._is_held:
            await self._tasks.stop()
            self._is_held = False
            self._send(ReturnLease())

    def note_began(self, name: str, at: float) -> None:
        """Send that a run begins, before it does."""
        self._send(TaskBegan(name))

    def note_ended(self, name: str, failure: str) -> None:
        """Send that a run is over."""
        self._send(TaskEnded(name, failure))
