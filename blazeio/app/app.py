"""``App``: routes, middlewares, hooks and settings; ``security_headers`` for it.

An ``App`` holds what a handler needs at run time and what a server needs to start. It
imports nothing of the supervisor: whoever has sockets (``AppRunner`` here, a worker
there, a test server) calls ``make_server``. Routes may be added at any time;
middlewares only until the dispatch is composed, which happens when the app is first
served.
"""

import asyncio
import inspect
import os
from collections.abc import Callable, Iterable, Mapping
from types import SimpleNamespace
from typing import (
    TYPE_CHECKING,
    Any,
    Generic,
    NoReturn,
    TypeVar,
    Unpack,
    cast,
    overload,
)

from blazeio.app.dispatch import Dispatch, compose_dispatch
from blazeio.app.endpoints import (
    MIDDLEWARE_NAMES,
    check_handler,
    check_root_path,
    describe,
    find_endpoints,
    make_url,
    parse_prefix,
)
from blazeio.app.route import (
    Methods,
    Scope,
    describe_missing,
    make_named,
    make_route,
    make_route_options,
)
from blazeio.app.router import HandlerT, MethodRoutes, RouteTable, route_files
from blazeio.app.runner import ServedAlone, check_address
from blazeio.errors import ConfigurationError
from blazeio.files.static_server import StaticOptions, StaticServer
from blazeio.limits import LimitOptions, Limits
from blazeio.loggers import get_logger
from blazeio.protocol.carrier import Trust, make_trust
from blazeio.protocol.context import Handler
from blazeio.protocol.options import (
    DEFAULT_OPTIONS,
    HeaderConfig,
    RouteOptions,
    RouteOptionValues,
)
from blazeio.protocol.request import BlazeioServerProtocol
from blazeio.protocol.tls import TlsConfig
from blazeio.protocol.toolset import ServedApp
from blazeio.server.access_log import AccessLog
from blazeio.server.log_format import compile_format
from blazeio.server.server import Server
from blazeio.server.tls import TlsSettings

log = get_logger("blazeio.app")

InstanceT = TypeVar("InstanceT")

if TYPE_CHECKING:
    from typing_extensions import TypeVar as DefaultTypeVar

    from blazeio.app.mounting import MountOptions

    StateT = DefaultTypeVar("StateT", default=SimpleNamespace)
else:
    StateT = TypeVar("StateT")


class App(ServedAlone, Generic[StateT]):
    """Routes, middlewares and hooks, and a way to serve them.

    Paths with parameters, apps within apps, files, tasks in the background.
    ``runner()`` serves it in this process, ``blazeio-supervisor`` in many.

    Args:
        host: Listened at, an address or a name; ``0.0.0.0`` is IPv4 alone, ``::`` IPv6.
        port: 0 to 65535; 0 takes a free one.
        tls: The settings of HTTPS; None: plain HTTP.
        forwarded_allow_ips: Proxies whose X-Forwarded-* or Forwarded fields are
            believed about the client: addresses, networks, ``*`` or ``unix``, separated
            by commas or as a list. Nobody by default.
        proxy_protocol_allow_ips: Likewise, those that send a header of the PROXY
            protocol first, and have to.
        access_log: A file that gets a line for each response; "-" for standard output.
            None: no log.
        access_log_format: See ``server.log_format.compile_format``.
        headers: Fields of every response, also of errors, files and streams. A field of
            a handler wins over them; they win over those of the supervisor
            (``--header``).
        root_path: The prefix of each path that a proxy has removed, ``/api``: it is
            ``r.root_path``, and redirects of the framework begin with it.
        state: What belongs to the app as a whole, such as a pool of connections. A
            class of its own tells a type checker what it has: ``App(state=State())``.
            None: a SimpleNamespace.
        strict_slashes: False: where only a slash at the end of the path is wrong,
            redirect (308) instead of 404.
        debug: Show the traceback of a bug to the client. Never where others can reach
            it: it shows the code.
        tune_gc: Where ``runner`` or a worker serves, make Python's cyclic collector
            look at fewer objects, and less often: see docs/reference/limits.md.
            Thresholds that the app has set itself are not changed.
        http2: Speak HTTP/2 with clients that begin it, or agree to it within TLS.
        limits: The fields of ``Limits``, by name.

    Attributes:
        host, port: As given.
        tls: As given; its files are read when the app is served.
        trust: Both lists; None when they are empty.
        access_log: As given; it is opened when the app is served.
        access_log_format, root_path: As given.
        headers: As given, with those of the server itself.
        state: As given. Each worker has its own: what is opened in ``on_start`` is
            opened in each.
        strict_slashes, debug, tune_gc, http2: As given.
        limits: Every bound of the request path.
        routes: The route table.
        route: Decorators for one method: ``route.get("/path")`` and so on.

    Raises:
        ConfigurationError: A limit or the port is not possible, or a list or a format
            cannot be read.
    """

    def __init__(
        self,
        host: str = "0.0.0.0",
        port: int = 8000,
        *,
        tls: TlsSettings | None = None,
        forwarded_allow_ips: str | Iterable[str] = "",
        proxy_protocol_allow_ips: str | Iterable[str] = "",
        access_log: str | None = None,
        access_log_format: str = "combined",
        headers: Mapping[str, str] | None = None,
        root_path: str = "",
        state: StateT | None = None,
        strict_slashes: bool = True,
        debug: bool = False,
        tune_gc: bool = True,
        http2: bool = True,
        **limits: Unpack[LimitOptions],
    ) -> None:
        check_address(host, port, tls)
        self.host = host
        self.port = port
        self.tls = tls
        self.trust = make_trust(
            forwarded_allow_ips=forwarded_allow_ips,
            proxy_protocol_allow_ips=proxy_protocol_allow_ips,
        )
        compile_format(access_log_format, "")  # else it would fail when it is served
        self.access_log = access_log
        self.access_log_format = access_log_format
        self.headers = HeaderConfig(fields=tuple((headers or {}).items()))
        self.root_path = check_root_path(root_path)
        self.state = cast(StateT, SimpleNamespace() if state is None else state)
        self.strict_slashes = strict_slashes
        self.debug = debug
        self.http2 = http2
        self.tune_gc = tune_gc
        self.limits = make_named(Limits, limits, "App(...) has no limit named")
        self.routes = RouteTable()
        self.route = MethodRoutes(self.routes)
        ServedAlone.__init__(self)
        self._dispatch: Dispatch | None = None
        self._raw_handler: Handler | None = None
        self._outer: App[Any] | None = None
        self._served_below = self.root_path
        self._request_class: type[BlazeioServerProtocol] = BlazeioServerProtocol

    def __repr__(self) -> str:
        return f"<App {self.host}:{self.port} {len(self.routes)} paths>"

    if not TYPE_CHECKING:  # else every typo would pass a type checker

        def __getattr__(self, name: str) -> NoReturn:
            """Refuse an unknown attribute; say what it is called here."""
            raise AttributeError(describe_missing("App", name), name=name, obj=self)

    # Assembling the app

    @overload
    def add_route(
        self,
        target: HandlerT,
        path: str | None = None,
        *,
        methods: Methods = None,
        name: str | None = None,
        **options: Unpack[RouteOptionValues],
    ) -> HandlerT: ...
    @overload
    def add_route(
        self,
        target: str | None = None,
        *,
        methods: Methods = None,
        name: str | None = None,
        **options: Unpack[RouteOptionValues],
    ) -> Callable[[HandlerT], HandlerT]: ...
    def add_route(
        self,
        target: Any = None,
        path: str | None = None,
        *,
        methods: Methods = None,
        name: str | None = None,
        **options: Unpack[RouteOptionValues],
    ) -> Any:
        """Add a route, or a middleware by its name.

        ``@web.add_route``, ``@web.add_route("/path", methods=["GET"])`` and
        ``web.add_route(handler, "/path")`` are the three ways to write it.

        Args:
            target: The handler, or the path when used as a decorator.
            path: The path of the route: ``/users/{id:int}``; its parameters are in
                ``r.path_params``, and are passed to a handler that has arguments of
                their names. None: the default of the handler's parameter ``route``,
                else its name: ``_api_ip`` is ``/api/ip``.
            methods: The methods it serves (GET serves HEAD too); None: all of them.
            name: Its name for ``url_for``; None: the name of the handler.
            options: The fields of ``RouteOptions``, by name: ``content_bytes=``,
                ``handler_timeout_s=``, ``on_disconnect="finish"``.

        Raises:
            ConfigurationError: It is no ``async def`` that takes ``r``, has no usable
                path, or collides with a route that exists.
        """
        own = make_route_options(options)
        if callable(target):
            self._add(target, path, methods, own, name)
            return target
        if path is not None:
            shown = f"add_route({target!r:.80}, {path!r:.80})"
            raise ConfigurationError(f"{shown}: the handler comes first, then its path")

        def decorate(handler: HandlerT) -> HandlerT:
            self._add(handler, target, methods, own, name)
            return handler

        return decorate

    def _add(
        self,
        handler: Callable[..., Any],
        path: str | None,
        methods: Methods,
        options: RouteOptions = DEFAULT_OPTIONS,
        name: str | None = None,
    ) -> None:
        kind = getattr(handler, "__name__", "")
        if path is None and kind in MIDDLEWARE_NAMES:
            self._middlewares.add(kind, handler)
        else:
            self.routes.add(handler, path, methods, options, name)

    def mount(
        self,
        prefix: str,
        app: Any,
        *,
        name: str = "",
        **how: Unpack["MountOptions"],
    ) -> None:
        """Serve another app's routes below a path, also those that it gets later.

        A request there passes the middlewares of this app, then those of the other app.
        Where that has no fallback, this app's is used. Its hooks and tasks run with
        this app's. Its limits, TLS and logs do not count.

        An ASGI 3 or WSGI app gets all requests below the path, and is told its prefix.

        Args:
            prefix: With ``/api`` its route ``/users`` is ``/api/users``. It may have
                parameters.
            app: The other app.
            name: Put before the names of its routes: with "api",
                ``url_for("api.users")`` is the route that the other app calls "users".
            how: ``lifespan`` of an ASGI app ("auto", "on", "off") and ``threads`` of a
                WSGI app, over the command line's; without either "auto" and 4.

        Raises:
            ConfigurationError: Routes collide, the prefix ends with a slash, the app
                has a main handler, is none or takes no such option, or it is too late.
        """
        if not isinstance(app, App):
            # Imported here: a tenth of what the master, which mounts nothing, loads.
            from blazeio.app.mounting import mount_foreign

            mount_foreign(self, prefix, app, name, how)
            return
        for is_wrong, reason in (
            (how, f"an App takes no {', '.join(how)}"),
            (app._raw_handler, f"{app!r} has a main handler and no routes"),
            (self._dispatch, "the app is served by now, it is too late"),
        ):
            if is_wrong:
                raise ConfigurationError(f"mount {prefix!r}: {reason}")
        below = parse_prefix(prefix)
        scope = Scope(below, app._middlewares, app.strict_slashes, name)
        # A mount that is refused leaves nothing of the other app within this one:
        # neither routes, nor hooks and tasks.
        self._lifespan.check(app._lifespan)
        self.routes.mount(scope, app.routes)
        app._outer = self
        self._lifespan.include(app._lifespan)
        if app._request_class is not BlazeioServerProtocol:
            from blazeio.app.mounting import note_foreign

            note_foreign(self)

    def add_static(
        self,
        prefix: str,
        folder: str | os.PathLike[str],
        *,
        name: str | None = None,
        **options: Unpack[StaticOptions],
    ) -> StaticServer:
        """Serve the files below a folder.

        A route with a more specific path wins.

        Args:
            prefix: With ``/assets`` its file ``a/b.css`` is ``/assets/a/b.css``.
            folder: Where the files are.
            name: For ``url_for``, whose parameter is ``path``; None: "static".
            options: Those of ``StaticServer``, by name: ``index=``, ``listing=``,
                ``chunk_size=``, ``headers=``, ``memory_bytes=``.

        Raises:
            ConfigurationError: There is no such folder, or a route collides.
        """
        static = StaticServer(prefix, folder, **options)
        route_files(self.routes, static, prefix, name)
        return static

    def url_for(self, name: str, /, **params: Any) -> str:
        """Return the path of a route: ``web.url_for("user", id=7)`` is ``/users/7``.

        In a handler use ``r.url_for``. Values are percent-encoded; ``root_path`` and
        the prefixes of the apps that it is mounted in are put before it.

        Args:
            name: As given to ``add_route``; else the name of the handler.
            params: A value for each parameter of the path; all others are the query.

        Raises:
            LocalProtocolError: The caller's fault: there is no such route, or several;
                a parameter is missing or not of its kind.
        """
        # The prefix that a proxy removes is known to the app that is served itself. It
        # may not be the one that was declared: ``--root-path`` of a supervisor wins,
        # and is known from ``make_server`` on.
        outermost: App[Any] = self
        while outermost._outer is not None:
            outermost = outermost._outer
        pattern = self.routes.find_named(name)
        return outermost._served_below + make_url(name, pattern, params)

    def main_handler(self, handler: HandlerT) -> HandlerT:
        """Call a coroutine function for each connection, instead of HTTP.

        It is called once per connection; it reads octets by ``r.request()`` and writes
        them by ``await r.writer(octets)``; the connection is closed when it returns.
        There are no routes then.

        Raises:
            ConfigurationError: It is no ``async def`` that takes ``r``.
        """
        check_handler(handler)
        self._raw_handler = handler
        return handler

    async def append_class_routes(self, instance: object) -> None:
        """Add the endpoints and middlewares among an instance's methods.

        Endpoints are the methods whose names start with ``_`` but not ``__``:
        ``_api_ip`` is ``/api/ip``. The three kinds of middlewares are found by their
        names.

        Raises:
            ConfigurationError: See ``add_route``.
        """
        self.attach(instance)

    @overload
    def attach(self, target: type[InstanceT]) -> InstanceT: ...
    @overload
    def attach(self, target: InstanceT) -> InstanceT: ...
    def attach(self, target: Any) -> Any:
        """Do the same as ``append_class_routes``, without an event loop.

        Args:
            target: An instance, or a class that is made without arguments.

        Returns:
            The instance.

        Raises:
            ConfigurationError: See ``add_route``.
        """
        instance = target() if inspect.isclass(target) else target
        found = list(find_endpoints(instance))
        middlewares = [each for each in found if each[0] in MIDDLEWARE_NAMES]
        for _, method in middlewares:
            self._middlewares.check(method)
        self.routes.add_all(
            make_route(method) for name, method in found if name not in MIDDLEWARE_NAMES
        )
        for name, method in middlewares:
            self._middlewares.add(name, method)
        return instance

    # Serving

    @property
    def dispatch(self) -> Dispatch:
        """The coroutine function that serves each request.

        It is composed when it is first used; after that, routes can be added,
        middlewares cannot.
        """
        if self._dispatch is None:
            if self.debug:
                log.warning("debug=True: clients are shown tracebacks")
            self._dispatch = compose_dispatch(
                self.routes,
                self._middlewares,
                strict_slashes=self.strict_slashes,
                debug=self.debug,
            )
        return self._dispatch

    def make_server(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        limits: Limits | None = None,
        trust: Trust | None = None,
        access_log: AccessLog | None = None,
        tls: TlsConfig | None = None,
        heads: HeaderConfig | None = None,
        root_path: str | None = None,
        http2: bool = True,
    ) -> Server:
        """Make a server of this app, for whoever has sockets to accept from.

        Args:
            loop: The running loop.
            limits: Used instead of the app's own.
            trust: Used instead of the app's own.
            access_log: Used instead of the app's own; closed with the server.
            tls: Used instead of the app's own.
            heads: The fields that each response has beside its own.
            root_path: Used instead of the app's own.
            http2: False: HTTP/2 is not spoken, whatever the app says.

        Raises:
            ConfigurationError: The app's access log cannot be opened, or a file of its
                ``tls`` cannot be used.
        """
        if access_log is None and self.access_log is not None:
            access_log = AccessLog(
                self.access_log, loop, format_text=self.access_log_format
            )
        if root_path is not None:
            self._served_below = root_path
        return Server(
            self.dispatch,
            limits or self.limits,
            loop,
            self._raw_handler,
            trust=trust or self.trust,
            access_log=access_log,
            tls=tls or self.read_certificates(),
            app=self._answer_requests(),
            heads=self.headers if heads is None else heads.under(self.headers),
            root_path=self.root_path if root_path is None else root_path,
            http2=self.http2 and http2,
            request_class=self._request_class,
        )

    def _answer_requests(self) -> ServedApp:
        return _AnswersOfApp(self)

    async def serve_route(self, r: BlazeioServerProtocol) -> None:
        """Serve one request: middlewares, route, and the responses to errors."""
        await self.dispatch(r)


class _AnswersOfApp(ServedApp):
    """What requests ask an ``App``."""

    __slots__ = ("_app",)

    def __init__(self, app: App[Any]) -> None:
        super().__init__(app.routes.find_options)
        self._app = app

    def find_route(self, method: str, path: str) -> str | None:
        return self._app.routes.find_route(method, path)

    def name_handler(self, method: str, path: str) -> str:
        if self._app._raw_handler is not None:
            return describe(self._app._raw_handler)
        return self._app.routes.name_handler(method, path)

    def make_url(self, name: str, params: Mapping[str, Any]) -> str:
        return make_url(name, self._app.routes.find_named(name), params)


# Security headers: fields by which browsers protect the users of an app


HSTS_S = 365 * 24 * 3600
"""The least that browsers want for their preload lists."""


def security_headers(
    *,
    content_security_policy: str | None = None,
    hsts_s: int | None = None,
    frame_options: str | None = "DENY",
    referrer_policy: str | None = "strict-origin-when-cross-origin",
    opener_policy: str | None = "same-origin",
    permissions_policy: str | None = None,
) -> dict[str, str]:
    """Make fields for ``App(headers=io.security_headers())``.

    X-Content-Type-Options is always among them. A handler's own field wins.

    Args:
        content_security_policy: What a page may load and run, ``default-src 'self'``;
            None: no such field.
        hsts_s: For how long browsers use HTTPS only, seconds; ``HSTS_S`` is a year.
            None: no such field. It cannot be revoked before.
        frame_options: ``DENY`` or ``SAMEORIGIN``: who may show a page in a frame.
        referrer_policy: What other sites learn about where a user comes from.
        opener_policy: Whether pages of other origins keep a reference to our window.
        permissions_policy: Which features pages may use, ``camera=()``.

    Raises:
        ConfigurationError: An argument is not possible.
    """
    if frame_options not in (None, "DENY", "SAMEORIGIN"):
        reason = "expected 'DENY', 'SAMEORIGIN' or None"
        raise ConfigurationError(f"frame_options={frame_options!r:.80}: {reason}")
    if hsts_s is not None and (not isinstance(hsts_s, int) or hsts_s < 0):
        raise ConfigurationError(f"hsts_s={hsts_s!r:.80}: expected seconds")
    fields = {
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": frame_options,
        "Referrer-Policy": referrer_policy,
        "Cross-Origin-Opener-Policy": opener_policy,
        "Permissions-Policy": permissions_policy,
        "Content-Security-Policy": content_security_policy,
        "Strict-Transport-Security": (
            None if hsts_s is None else f"max-age={hsts_s}; includeSubDomains"
        ),
    }
    return {name: value for name, value in fields.items() if value is not None}
