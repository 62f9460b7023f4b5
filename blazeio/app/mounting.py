"""An ASGI or WSGI app with its hooks: below a path of an ``App``, or alone.

Below a path it runs in a task of its own, in the context of the request's task: the
handler is over when the response is complete, so that middlewares and the connection go
on, and what the app does after that is counted as in flight until it ends.

Alone it is a ``ForeignApp``. Whoever serves an ``App`` serves it as well: ``runner``, a
supervisor, a test server.
"""

import asyncio
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypedDict, Unpack, cast

from blazeio.app.app import App
from blazeio.app.dispatch import Dispatch
from blazeio.app.endpoints import parse_prefix
from blazeio.app.lifespan import Lifespan
from blazeio.app.route import make_route
from blazeio.app.router import RouteTable
from blazeio.errors import ConfigurationError
from blazeio.files.static_server import StaticOptions, StaticServer
from blazeio.gateways.asgi import AsgiGateway, LifespanMode
from blazeio.gateways.asgi import Lifespan as AsgiLifespan
from blazeio.gateways.gateway import Gateway, GatewayProtocol, end_in_time
from blazeio.gateways.http import HttpExchange
from blazeio.gateways.interfaces import Interface, recognise
from blazeio.gateways.websocket import USUAL_BOUNDS, SocketBounds
from blazeio.gateways.wsgi import THREADS, WsgiGateway
from blazeio.protocol.options import RouteOptions
from blazeio.protocol.request import BlazeioServerProtocol
from blazeio.protocol.timeouts import NEVER
from blazeio.protocol.toolset import ServedApp

FINISHES = RouteOptions(on_disconnect="finish")
"""A disconnect is told to the app, and cancels nothing."""


class MountOptions(TypedDict, total=False):
    """What is said of one app where it is mounted; it wins over ``GatewayOptions``.

    Attributes:
        lifespan: Whether an ASGI app has to have a lifespan.
        threads: How many requests of a WSGI app run at once.
    """

    lifespan: Literal["auto", "on", "off"] | None
    threads: int | None


@dataclass(frozen=True, slots=True)
class GatewayOptions:
    """What an ASGI or WSGI app is served with.

    Attributes:
        lifespan: Whether an ASGI app has to have a lifespan.
        threads: How many requests of a WSGI app run at once.
        sends_paths: Announce ``http.response.pathsend`` to an ASGI app.
        compresses_websockets: Agree to permessage-deflate on its WebSockets.
        is_multiprocess: Other processes may serve the same app.
        socket_bounds: What bounds the WebSockets of an ASGI app.
    """

    lifespan: LifespanMode = LifespanMode.AUTO
    threads: int = THREADS
    sends_paths: bool = False
    compresses_websockets: bool = True
    is_multiprocess: bool = False
    socket_bounds: SocketBounds = USUAL_BOUNDS


DEFAULT_GATEWAY = GatewayOptions()


class GatewayPart(Lifespan):
    """A gateway, and what has to run before and after its requests.

    Args:
        app: The ASGI or WSGI app.
        interface: Which of the two.
        name: How it is called in the log.
        lifespan: Whether an ASGI app has to have a lifespan, whatever ``configure``
            says; None: as that says.
        threads: Likewise, how many requests of a WSGI app run at once.

    Attributes:
        gateway: Serves its requests.
        asgi_lifespan: Of an ASGI app; its shutdown is none of the stop hooks.
    """

    def __init__(
        self,
        app: Callable[..., Any],
        interface: Interface,
        name: str,
        *,
        lifespan: LifespanMode | None = None,
        threads: int | None = None,
    ) -> None:
        super().__init__()
        self._own_mode, self._own_threads = lifespan, threads
        self.gateway: AsgiGateway | WsgiGateway
        self.asgi_lifespan: AsgiLifespan | None = None
        if interface is Interface.ASGI:
            self.asgi_lifespan = own = AsgiLifespan(app, LifespanMode.AUTO)
            self.start_hooks.append(own.start)
            self.gateway = asgi = AsgiGateway(app, name, state=own.state)
            self.drain_hooks.append(asgi.drain)
        elif interface is Interface.WSGI:
            self.gateway = wsgi = WsgiGateway(app, name)
            self.start_hooks.append(wsgi.begin)
            self.stop_hooks.append(wsgi.stop)
        else:
            raise ConfigurationError(f"{name}: expected an ASGI or a WSGI app")
        self.configure(DEFAULT_GATEWAY)

    def configure(self, options: GatewayOptions) -> None:
        """Serve it with these options; before its start."""
        gateway = self.gateway
        if self.asgi_lifespan is not None:
            self.asgi_lifespan.mode = self._own_mode or options.lifespan
        if isinstance(gateway, WsgiGateway):
            gateway.threads = self._own_threads or options.threads
            gateway.is_multiprocess = options.is_multiprocess
        else:
            gateway.sends_paths = options.sends_paths
            gateway.compresses_websockets = options.compresses_websockets
            gateway.socket_bounds = options.socket_bounds


class Outer(Protocol):
    """The ``App`` that another app is mounted in."""

    routes: RouteTable
    _lifespan: Lifespan
    _dispatch: Any
    _outer: Any
    _request_class: type[BlazeioServerProtocol]


def note_foreign(web: Outer) -> None:
    """Have requests to the app, and to those around it, serve another interface."""
    each: Outer | None = web
    while each is not None:
        each._request_class = GatewayProtocol
        each = each._outer


def list_foreign(web: Outer) -> list[GatewayPart]:
    """List the apps of other interfaces that an app serves, also deep within."""
    return [each for each in web._lifespan.walk() if isinstance(each, GatewayPart)]


def mount_foreign(
    web: Outer,
    prefix: str,
    app: object,
    name: str,
    options: MountOptions,
) -> None:
    """Serve an ASGI or WSGI app below a path.

    Args:
        web: The app it is mounted in.
        prefix: The path.
        app: The app.
        name: How it is called in the log; "": by its path.
        options: As of ``App.mount``.

    Raises:
        ConfigurationError: It is no app, the prefix ends with a slash, a route
            collides, an option is not for this interface, or it is too late.
    """
    if web._dispatch is not None:
        message = f"mount {prefix!r}: the app is served by now, it is too late"
        raise ConfigurationError(message)
    parse_prefix(prefix)
    called = name or f"the app at {prefix}"
    interface = recognise(app, f"mount({prefix!r}, ...)")
    try:
        part = GatewayPart(
            cast("Callable[..., Any]", app),
            interface,
            called,
            lifespan=_read_mode(interface, options),
            threads=_read_threads(interface, options),
        )
    except ValueError as error:
        raise ConfigurationError(f"mount({prefix!r}, ...): {error}") from None
    gateway = part.gateway

    async def serve(r: BlazeioServerProtocol) -> None:
        await _serve_mounted(gateway, cast(GatewayProtocol, r), r.path)

    async def serve_below(r: BlazeioServerProtocol, path: str) -> None:
        # The prefix as the client has sent it, and not the pattern: it may have
        # parameters, and the app makes its own links of it (``root_path``,
        # SCRIPT_NAME).
        above = r.path.removesuffix(path).removesuffix("/")
        await _serve_mounted(gateway, cast(GatewayProtocol, r), above)

    serve.__name__ = serve_below.__name__ = called
    whole = make_route(serve, prefix, options=FINISHES)
    below = make_route(serve_below, prefix + "/{path:path}", options=FINISHES)
    web.routes.add_all([whole, below])
    if part.asgi_lifespan is not None:
        # A stop hook that fails is logged, since other apps end here as well.
        # ``ForeignApp`` is alone, and lets the error out: then the process fails.
        part.stop_hooks.append(part.asgi_lifespan.stop)
    web._lifespan.include(part)
    note_foreign(web)


def _read_mode(interface: Interface, options: MountOptions) -> LifespanMode | None:
    lifespan = options.get("lifespan")
    if lifespan is None:
        return None
    if interface is not Interface.ASGI:
        raise ValueError("a WSGI app has no lifespan")
    if lifespan not in list(LifespanMode):
        expected = "'auto', 'on' or 'off'"
        raise ValueError(f"lifespan={lifespan!r:.60}, expected {expected}")
    return LifespanMode(lifespan)


def _read_threads(interface: Interface, options: MountOptions) -> int | None:
    unknown = set(options) - set(MountOptions.__annotations__)
    if unknown:
        raise ValueError(f"it takes no {', '.join(sorted(unknown))}")
    threads = options.get("threads")
    if threads is None:
        return None
    if interface is not Interface.WSGI:
        raise ValueError("an ASGI app has no threads")
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise ValueError(f"threads={threads!r:.60}, expected a number from 1")
    return threads


class MountedExchange(HttpExchange, kw_only=True):
    """A request whose handler waits beside the app for the response.

    Attributes:
        over: Set when the response is complete.
    """

    over: asyncio.Future[None]

    def detach(self) -> None:
        """The response is complete: the handler returns, whatever the app does."""
        if not self.over.done():
            self.over.set_result(None)


async def _serve_mounted(gateway: Gateway, r: GatewayProtocol, prefix: str) -> None:
    """Serve one request by an app that is mounted below a path.

    Args:
        gateway: Whose app it is.
        r: The request, whose path begins with the prefix.
        prefix: Where the app is mounted.
    """
    context = r.context
    gate, over = r.response.gate, context.loop.create_future()
    exchange = MountedExchange(r, gateway, r.content, gate, over=over)
    root_path = context.root_path
    work = gateway.call(r, exchange, root_path, prefix)
    task = context.loop.create_task(work, name="mounted app")
    try:
        await asyncio.wait((task, over), return_when="FIRST_COMPLETED")
    except asyncio.CancelledError:
        # Waited for, too: the app uses ``r``, which serves another request once this
        # returns.
        task.cancel()
        await asyncio.wait((task,))
        raise
    if task.done():
        task.result()
    else:
        end = context.begin_background(task)
        ends_at = r.handler_task.deadline_at
        if ends_at != NEVER:
            end = end_in_time(task, ends_at, context, end)
        task.add_done_callback(lambda _: end())


# An app of another interface, alone


HOST = "127.0.0.1"
"""Where it is served unless it is said otherwise, as such apps are used to."""


class _AnswersOfForeignApp(ServedApp):
    """What requests ask an app of another interface, whose routes nobody knows.

    Its options are not the usual ones: a disconnect would cancel the app's coroutine,
    whereas ASGI tells it by ``http.disconnect``.
    """

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        super().__init__(lambda method, path: FINISHES)
        self._name = name

    def name_handler(self, method: str, path: str) -> str:
        return self._name


class ForeignApp(App[Any]):
    """An ASGI or WSGI app with what it is served with.

    Args:
        app: The ASGI or WSGI app.
        interface: Which of the two.
        name: How it is called in the log.
        served_with: What it is served with.
        options: Those of ``App``.
    """

    def __init__(
        self,
        app: Callable[..., Any],
        interface: Interface,
        name: str,
        *,
        served_with: GatewayOptions = DEFAULT_GATEWAY,
        **options: Any,
    ) -> None:
        super().__init__(**{"host": HOST, **options})
        self._name = name
        self._files: App[Any] = App()
        self._prefixes: list[str] = []
        self._part = GatewayPart(app, interface, name)
        self._part.configure(served_with)
        # Requests become ``GatewayProtocol``, which has the slots that the gateways
        # need; those of an ``App`` do without them.
        note_foreign(self)
        self._lifespan.include(self._part)

    def __repr__(self) -> str:
        return f"<ForeignApp {self._name}>"

    async def stop_hooks(self) -> None:
        """Shut the app down; once.

        Raises:
            BaseException: What an ASGI app has raised at its shutdown, or
                ``LifespanFailed``, where it has said that it could not.
        """
        await super().stop_hooks()
        if self._part.asgi_lifespan is not None:
            await self._part.asgi_lifespan.stop()

    def add_static(
        self,
        prefix: str,
        folder: str | os.PathLike[str],
        *,
        name: str | None = None,
        **options: Unpack[StaticOptions],
    ) -> StaticServer:
        """Serve the files below a folder, before the app is asked.

        Args:
            prefix: All paths below it are those of the folder; ``/`` is every path.
            folder: Where the files are.
            name: Of the route; the app makes its own URLs.
            options: Those of ``StaticServer``, by name.

        Raises:
            ConfigurationError: There is no such folder, or two have the same prefix.
        """
        static = self._files.add_static(prefix, folder, name=name, **options)
        self._prefixes.append(prefix.rstrip("/"))
        return static

    @property
    def dispatch(self) -> Dispatch:
        """The coroutine function that serves each request."""
        serve = cast(Dispatch, self._part.gateway.serve)
        if not self._prefixes:
            return serve
        serve_files, whole = self._files.dispatch, tuple(self._prefixes)
        below = tuple(f"{prefix}/" for prefix in whole)

        async def serve_files_first(r: BlazeioServerProtocol) -> None:
            is_file = r.path in whole or r.path.startswith(below)
            await (serve_files(r) if is_file else serve(r))

        return serve_files_first

    def make_server(self, loop: asyncio.AbstractEventLoop, **options: Any) -> Any:
        """A server of this app; arguments as of ``App``."""
        root_path = options.get("root_path")
        root_path = self.root_path if root_path is None else root_path
        self._part.gateway.root_path = root_path
        return super().make_server(loop, **options)

    def _answer_requests(self) -> ServedApp:
        return _AnswersOfForeignApp(self._name)
