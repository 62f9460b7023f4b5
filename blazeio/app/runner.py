"""Serving one app in this process: bind, serve, drain, signals; or as an ASGI app.

A script that defines an app usually ends with ``web.runner()``. Run alone, it serves
itself (``ServedAlone``), by ``AppRunner``. A supervisor's worker that runs the same
script sets ``run_hook`` before, and serves the app on the listener that the worker was
given. ``asgi(app)`` is for other servers, which call the app for each request.
"""

import asyncio
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Awaitable, Callable, Coroutine, MutableMapping
from contextvars import ContextVar
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from blazeio.app.lifespan import Hooks
from blazeio.errors import ConfigurationError
from blazeio.loggers import escape_line, get_logger
from blazeio.protocol.options import HeaderConfig
from blazeio.protocol.process import (
    CollectorTuning,
    get_loop,
    raise_descriptor_limit,
    run_through,
)
from blazeio.protocol.tls import TlsConfig
from blazeio.server.acceptor import bind
from blazeio.server.server import Server
from blazeio.server.tls import TlsSettings, make_tls_config

if TYPE_CHECKING:
    from blazeio.app.app import App
    from blazeio.gateways.asgi_carrier import Receive, Scope, Send


log = get_logger("blazeio.app")

RunHook = Callable[[Any], None]
"""Called with the ``App``."""

run_hook: ContextVar[RunHook | None] = ContextVar("run_hook", default=None)
"""Called by ``App.runner`` instead of serving by itself; returns when serving ends."""

DRAIN_IDLE_S = 2.0
"""How long an idle connection stays open while draining, seconds: its next request may
be under way."""
GRACE_S = 30.0
"""How long requests in flight may take while draining, seconds."""
ABORT_S = 1.0
"""How long a cancelled handler may clean up, seconds."""


class AppRunner:
    """One address, served until asked to stop. Made within a running loop.

    Args:
        host: An address or a name.
        port: 0 takes a free one.
        tls: The settings of HTTPS; None: plain HTTP.
        grace_s: After this, requests in flight are cut when it was asked to stop.
    """

    def __init__(
        self,
        host: str,
        port: int,
        tls: TlsConfig | None = None,
        *,
        grace_s: float = GRACE_S,
    ) -> None:
        self._grace_s = grace_s
        self._stop = asyncio.Event()
        self._over = asyncio.Event()
        self._tls = tls
        self._listener = bind(host, port)

    @property
    def address(self) -> str:
        """``host:port``, as bound; ``[host]:port`` for IPv6."""
        host, port = self._listener.getsockname()[:2]
        is_v6 = self._listener.family == socket.AF_INET6
        return f"[{host}]:{port}" if is_v6 else f"{host}:{port}"

    @property
    def _family_note(self) -> str:
        """Which half of the clients a wildcard leaves out; "" for other addresses."""
        return _ONE_FAMILY.get(self._listener.getsockname()[0], "")

    async def serve(
        self,
        make_server: Callable[[asyncio.AbstractEventLoop], Server],
        drain_hooks: Callable[[], Coroutine[Any, Any, None]],
    ) -> None:
        """Accept and serve; after ``ask_to_stop`` finish the requests in flight.

        If it is cancelled, it cuts every connection and returns at once.
        """
        loop = asyncio.get_running_loop()
        raise_descriptor_limit()
        server = make_server(loop)
        try:
            server.accept_from(self._listener)
            scheme = "http" if self._tls is None else "https"
            sys.stderr.write(
                f"blazeio: serving on {scheme}://{self.address} (pid {os.getpid()}, "
                f"{type(loop).__module__.partition('.')[0]}){self._family_note}\n"
            )
            await self._stop.wait()
            hooks = loop.create_task(drain_hooks())
            await self._drain(server)
            hooks.cancel()
        finally:
            server.close()

    async def _drain(self, server: Server) -> None:
        # Connections that the kernel has completed, and nobody has accepted, would be
        # reset by the ``close`` below. They are taken first, and answered.
        server.stop_accepting(take_queue=True)
        self._listener.close()  # else clients would wait in its queue for ever
        server.start_draining(DRAIN_IDLE_S)
        if await server.drained_within(self._grace_s):
            return
        log.warning("%d requests were cut: too late to answer", server.in_flight)
        server.cancel()
        await server.drained_within(ABORT_S)

    def ask_to_stop(self) -> None:
        """End ``serve``; if it has not begun, it will end at once."""
        self._stop.set()

    def close(self) -> None:
        """Close the listener; ``wait_closed`` returns."""
        self._listener.close()
        self._over.set()

    async def wait_closed(self) -> None:
        """Return when it is closed."""
        await self._over.wait()


class ServedAlone(Hooks):
    """What an ``App`` has to serve itself in this process: a base of it."""

    _service: AppRunner | None = None
    _tls_terms: TlsConfig | None = None

    if TYPE_CHECKING:
        host: str
        port: int
        tls: TlsSettings | None
        tune_gc: bool

        def make_server(self, loop: asyncio.AbstractEventLoop) -> Server:
            """Make a server of this app: see ``App``."""
            ...

    def read_certificates(self) -> TlsConfig | None:
        """Read the files of ``tls``; once, before a fork if there is one.

        A process that forks afterwards shares one set of ticket keys with its children,
        and may drop the privileges that the files need.

        Raises:
            ConfigurationError: A file cannot be used; says which and why.
        """
        if self._tls_terms is None and self.tls is not None:
            self._tls_terms = make_tls_config(self.tls)
        return self._tls_terms

    async def run(self) -> None:
        """Serve in this process, on the running loop, until ``exit``.

        Raises:
            ConfigurationError: The address cannot be bound, a file of ``tls`` cannot be
                used, or the app is already served.
        """
        await self._run(tunes_gc=False)  # the process is the caller's

    async def _run(self, *, tunes_gc: bool) -> None:
        if self._service is not None:
            raise ConfigurationError(f"{self!r} is already served")
        # The address is bound before any hook runs. So one that is taken is told before
        # a hook opens connections, and a signal that comes while a slow hook runs is
        # not lost: its event is kept until ``serve`` waits for it.
        service = self._service = AppRunner(
            self.host, self.port, self.read_certificates()
        )
        try:
            await self.init()
            with CollectorTuning(asyncio.get_running_loop(), is_wanted=tunes_gc):
                await service.serve(self.make_server, self.drain_hooks)
        finally:
            try:
                # The hooks run even if ``init`` has failed half-way, since the first of
                # them may have opened something. ``close`` comes last, and always:
                # ``exit`` waits for it, and has promised that the hooks are over.
                await self.stop_hooks()
            finally:
                self._service = None
                service.close()

    async def exit(self) -> None:
        """Stop accepting, finish the requests in flight, end ``run``.

        Returns when ``run`` is over and the ``on_stop`` hooks have run. A handler must
        not await it, since it waits for that handler: use a task.
        """
        if self._service is None:
            await self.stop_hooks()
        else:
            self._service.ask_to_stop()
            await self._service.wait_closed()

    def runner(self) -> None:
        """Serve until told to end: the last line of a script.

        Alone it serves in this process until SIGINT or SIGTERM. Requests in flight are
        finished first; a second signal ends it at once. Under ``blazeio-supervisor``
        the worker that runs the script serves.

        Raises:
            ConfigurationError: An event loop runs here: await ``run`` instead.
            SystemExit: The address cannot be bound, or a file of ``tls`` cannot be
                used; says why.
        """
        serve = run_hook.get()
        if serve is not None:
            serve(self)
        else:
            run = partial(self._run, tunes_gc=self.tune_gc)
            run_until_signalled(run, self._ask_to_stop)

    def _ask_to_stop(self) -> None:
        if self._service is not None:
            self._service.ask_to_stop()


def run_until_signalled(
    run: Callable[[], Coroutine[Any, Any, None]],
    ask_to_stop: Callable[[], None],
) -> None:
    """Run a coroutine on the loop of this process until SIGINT or SIGTERM.

    The first signal asks it to stop, the next one cancels it.

    Args:
        run: What to run.
        ask_to_stop: Makes ``run`` return soon.

    Raises:
        ConfigurationError: A loop runs already: ``run`` can be awaited there.
        SystemExit: It was cancelled (128 plus the signal's number), or could not bind
            (1, with a message).
    """
    _require_no_loop()
    loop = get_loop()
    task = loop.create_task(run())
    seen: list[signal.Signals] = []

    def note(number: signal.Signals) -> None:
        seen.append(number)
        if len(seen) == 1:
            sys.stderr.write(
                "blazeio: stopping once all is answered; a second signal: at once\n"
            )
            ask_to_stop()
        else:
            task.cancel()

    pid = os.getpid()
    _watch_signals(loop, note)
    try:
        run_through(loop, task)
    except ConfigurationError as error:
        raise SystemExit(f"blazeio: {escape_line(error)}") from error
    except asyncio.CancelledError:
        if not seen:
            raise
        # As a shell reports a process that a signal has ended: a service manager sees
        # that it was not a clean end.
        raise SystemExit(128 + seen[0]) from None
    finally:
        if os.getpid() == pid:  # a forked process shares our epoll instance
            _unwatch_signals(loop)
            _finish(loop)


def _require_no_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    message = "runner() runs an event loop, and one runs here: await run() instead"
    raise ConfigurationError(message)


_ONE_FAMILY = {"0.0.0.0": "; 0.0.0.0 is IPv4 alone", "::": "; [::] is IPv6 alone"}
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def _watch_signals(
    loop: asyncio.AbstractEventLoop, note: Callable[[signal.Signals], None]
) -> None:
    # Only the main thread may set the wakeup descriptor that the loop uses
    # (``signal.set_wakeup_fd``). In another thread whoever started it ends it.
    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            loop.add_signal_handler(number, note, number)


def _unwatch_signals(loop: asyncio.AbstractEventLoop) -> None:
    if threading.current_thread() is threading.main_thread():
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


def _finish(loop: asyncio.AbstractEventLoop) -> None:
    """End the other tasks of the loop; the loop stays open for whoever made it."""
    tasks = asyncio.all_tasks(loop)
    for task in tasks:
        task.cancel()
    if tasks:
        run_through(loop, asyncio.gather(*tasks, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(loop.shutdown_default_executor())


def check_address(host: object, port: object, tls: object) -> None:
    """Check the first arguments of an App, whose order differs in other frameworks.

    Raises:
        ConfigurationError: One is of another type, or the port is not possible.
    """
    if not isinstance(host, str):
        raise ConfigurationError(f"App({host!r}): the host comes first: App('', 8000)")
    name, colon, digits = host.rpartition(":")
    if colon and ":" not in name and digits.isdigit():
        way_out = f"write App({name!r}, {int(digits)})"
        raise ConfigurationError(f"host {host!r}: the port is an argument: {way_out}")
    if not isinstance(port, int) or not 0 <= port <= 65535:
        raise ConfigurationError(f"port {port!r}: expected 0 to 65535")
    if tls is not None and not isinstance(tls, TlsSettings):
        way_out = "expected io.TlsSettings(certfile=..., keyfile=...)"
        raise ConfigurationError(f"tls {tls!r:.80}: {way_out}")


# Served by others: ``asgi(app)``


ROOT_PATHS: Final = 64
"""For how many paths, at which others mount the app, its requests are kept."""


class AsgiApp:
    """An App that other servers can call.

    Args:
        app: Its routes, middlewares, limits, access log and hooks count; its address
            and its TLS do not.
    """

    def __init__(self, app: "App[Any]") -> None:
        # Imported here: an App that is served by itself, as that of a master, needs no
        # carrier for others.
        from blazeio.app.app import App
        from blazeio.gateways.asgi_carrier import AsgiCarrier

        if not isinstance(app, App):
            kind = type(app).__name__
            raise ConfigurationError(f"asgi({kind} ...): expected an App")
        self._carrier = AsgiCarrier
        self._app = app
        self._servers: dict[tuple[asyncio.AbstractEventLoop, str], Server] = {}

    async def __call__(
        self,
        scope: "Scope",
        receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        """Serve a request, a WebSocket or the lifespan: see the ASGI specification."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] in ("http", "websocket"):
            server = self._find_server(scope.get("root_path", ""))
            kind = self._app._request_class
            await self._carrier(server.context, scope, receive, send, kind).run()
        else:
            raise ValueError(f"there is no {scope['type']} here")

    def _find_server(self, root_path: str) -> Server:
        """Return what the requests of this loop, mounted at this path, share."""
        loop = asyncio.get_running_loop()
        server = self._servers.get((loop, root_path))
        if server is None:
            # Mostly there is one. But ``Mount("/{tenant}")`` of Starlette puts what the
            # client has sent into ``root_path``, so without a bound a client could fill
            # the memory.
            if len(self._servers) >= ROOT_PATHS:
                self._close()
            # The server around says these.
            heads = HeaderConfig(has_date=False, has_server=False)
            server = self._app.make_server(loop, root_path=root_path, heads=heads)
            self._servers[loop, root_path] = server
        return server

    def _close(self) -> None:
        servers, self._servers = self._servers, {}
        for server in servers.values():
            server.close()

    async def _live(self, receive: "Receive", send: "Send") -> None:
        """Run the hooks."""
        await receive()
        try:
            await self._app.init()
        except Exception:
            text = traceback.format_exc()
            await send({"type": "lifespan.startup.failed", "message": text})
            return
        await send({"type": "lifespan.startup.complete"})
        await receive()
        # ASGI has no message for "begin to drain": the server around has closed its
        # connections by now. The hooks run all the same, since an app may clean up
        # there.
        await self._app.drain_hooks()
        await self._app.stop_hooks()
        self._close()
        await send({"type": "lifespan.shutdown.complete"})


def asgi(app: "App[Any]") -> AsgiApp:
    """Return an App as an ASGI 3 app: ``uvicorn main:app`` with ``app = io.asgi(web)``.

    Raises:
        ConfigurationError: It is no App.
    """
    return AsgiApp(app)
