"""An App, served as the operator wants it: the command line wins over it."""

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from blazeio.app.app import App
from blazeio.content.forwarded import parse_allow_list
from blazeio.errors import ConfigurationError
from blazeio.gateways.interfaces import Interface, find_interface
from blazeio.protocol.carrier import Trust
from blazeio.protocol.options import HeaderConfig
from blazeio.protocol.tls import TlsConfig
from blazeio.server.access_log import STANDARD_OUTPUT, AccessLog
from blazeio.server.server import Server
from blazeio.server.tls import TlsSettings, make_tls_config
from blazeio_supervisor.errors import ExitCode
from blazeio_supervisor.files import examine, open_to_append
from blazeio_supervisor.ipc.messages import (
    GatewayConfig,
    Load,
    Overrides,
)
from blazeio_supervisor.worker.import_app import Adopt, LoadError

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
            why.
    """
    if overrides.tls is None:
        return None
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
