"""An App, served as the operator wants it: the command line wins over it."""

import asyncio
import os
from dataclasses import replace

from blazeio.app.app import App
from blazeio.content.forwarded import parse_allow_list
from blazeio.errors import ConfigurationError
from blazeio.protocol.options import HeaderConfig
from blazeio.protocol.tls import TlsConfig
from blazeio.protocol.trust import Trust
from blazeio.server.access_log import STANDARD_OUTPUT, AccessLog
from blazeio.server.server import Server
from blazeio.server.tls import TlsSettings, make_tls_config
from blazeio_supervisor.errors import ExitCode
from blazeio_supervisor.files.opening import examine, open_to_append
from blazeio_supervisor.loading.importing import LoadError
from blazeio_supervisor.process.messages import Overrides

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
        app: It may name one.
        overrides: The operator's wins.
        loop: The running one.
        worker: The name in each line.
        folder: From which a relative path starts, now and when it is opened anew,
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
