"""An ASGI or WSGI app with its hooks: alone, or below a path of an ``App``."""

from collections.abc import Callable
from typing import Any, Protocol, cast

from blazeio.app.lifespan import Lifespan
from blazeio.app.patterns import parse_prefix
from blazeio.app.router import RouteTable
from blazeio.errors import ConfigurationError
from blazeio.gateways.asgi import AsgiGateway
from blazeio.gateways.connection import GatewayProtocol
from blazeio.gateways.interfaces import Interface, recognise
from blazeio.gateways.lifespan import Lifespan as AsgiLifespan
from blazeio.gateways.lifespan import LifespanMode
from blazeio.gateways.mounted import serve_mounted
from blazeio.gateways.wsgi import WsgiGateway
from blazeio.protocol.options import RouteOptions
from blazeio.protocol.request import BlazeioServerProtocol

THREADS = 4
"""How many requests of a WSGI app run at once, unless it is said otherwise."""

FINISHES = RouteOptions(on_disconnect="finish")
"""A disconnect is told to the app, and cancels nothing."""


class GatewayPart:
    """A gateway, and what has to run before and after its requests.

    Args:
        app: The ASGI or WSGI app.
        interface: Which of the two.
        name: How it is called in the log.
        mode: Whether an ASGI app has to have a lifespan.
        threads: How many requests of a WSGI app run at once.
        sends_paths: Announce ``http.response.pathsend`` to an ASGI app.
        is_multiprocess: Other processes may serve the same app.

    Attributes:
        gateway: Serves its requests.
        lifespan: Its hooks, but the shutdown of an ASGI app.
        asgi_lifespan: Of an ASGI app.
    """

    def __init__(
        self,
        app: Callable[..., Any],
        interface: Interface,
        name: str,
        *,
        mode: LifespanMode = LifespanMode.AUTO,
        threads: int = THREADS,
        sends_paths: bool = False,
        is_multiprocess: bool = False,
    ) -> None:
        self.gateway: AsgiGateway | WsgiGateway
        self.lifespan = Lifespan()
        self.asgi_lifespan: AsgiLifespan | None = None
        if interface is Interface.ASGI:
            self.asgi_lifespan = own = AsgiLifespan(app, mode)
            self.lifespan.start_hooks.append(own.start)
            self.gateway = asgi = AsgiGateway(
                app, name, state=own.state, sends_paths=sends_paths
            )
            self.lifespan.drain_hooks.append(asgi.drain)
        elif interface is Interface.WSGI:
            self.gateway = wsgi = WsgiGateway(
                app, name, threads, is_multiprocess=is_multiprocess
            )
            self.lifespan.start_hooks.append(wsgi.begin)
            self.lifespan.stop_hooks.append(wsgi.stop)
        else:
            raise ConfigurationError(f"{name}: expected an ASGI or a WSGI app")


class Outer(Protocol):
    """The ``App`` that another app is mounted in."""

    routes: RouteTable
    _lifespan: Lifespan
    _dispatch: Any
    _outer: Any
    _request_class: type[BlazeioServerProtocol]


def share_request_class(web: Outer, inner: Outer) -> None:
    """Have the requests of an app, and of those around it, serve what is within."""
    if inner._request_class is GatewayProtocol:
        _note_foreign(web)


def _note_foreign(web: Outer) -> None:
    """A request to the app may be for one of another interface."""
    each: Outer | None = web
    while each is not None:
        each._request_class = GatewayProtocol
        each = each._outer


def mount_foreign(web: Outer, prefix: str, app: object, name: str) -> None:
    """Serve an ASGI or WSGI app below a path.

    Args:
        web: The app it is mounted in.
        prefix: The path.
        app: The app.
        name: How it is called in the log; "": by its path.

    Raises:
        ConfigurationError: It is no app, the prefix ends with a slash, a route
            collides, or it is too late.
    """
    if web._dispatch is not None:
        message = f"mount {prefix!r}: the app is served by now, it is too late"
        raise ConfigurationError(message)
    parse_prefix(prefix)
    called = name or f"the app at {prefix}"
    interface = recognise(app, f"mount({prefix!r}, ...)")
    part = GatewayPart(cast("Callable[..., Any]", app), interface, called)
    gateway = part.gateway

    async def serve(r: BlazeioServerProtocol) -> None:
        await serve_mounted(gateway, cast(GatewayProtocol, r), r.path)

    async def serve_below(r: BlazeioServerProtocol, path: str) -> None:
        above = r.path.removesuffix(path).removesuffix("/")
        await serve_mounted(gateway, cast(GatewayProtocol, r), above)

    serve.__name__ = serve_below.__name__ = called
    web.routes.add(serve, prefix, None, FINISHES)
    web.routes.add(serve_below, prefix + "/{path:path}", None, FINISHES)
    if part.asgi_lifespan is not None:
        part.lifespan.stop_hooks.append(part.asgi_lifespan.stop)
    web._lifespan.include(part.lifespan)
    _note_foreign(web)
