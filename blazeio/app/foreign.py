"""``ForeignApp``: an app of another interface, served as an ``App`` is.

Whoever serves an ``App`` serves it as well: ``runner``, a supervisor, a test server.
"""

import asyncio
from collections.abc import Callable
from typing import Any, cast

from blazeio.app.app import App
from blazeio.app.dispatch import Dispatch
from blazeio.errors import ConfigurationError
from blazeio.gateways.asgi import AsgiGateway
from blazeio.gateways.connection import GatewayProtocol
from blazeio.gateways.interfaces import Interface
from blazeio.gateways.lifespan import Lifespan, LifespanMode
from blazeio.gateways.wsgi import WsgiGateway
from blazeio.protocol.options import RouteOptions

THREADS = 4
"""How many requests of a WSGI app run at once, unless it is said otherwise."""

HOST = "127.0.0.1"
"""Where it is served unless it is said otherwise, as such apps are used to."""

_TERMS = RouteOptions(on_disconnect="finish")


def _find_terms(method: str, path: str) -> RouteOptions:
    return _TERMS


class ForeignApp(App[Any]):
    """An ASGI or WSGI app with what it is served with.

    Args:
        app: The ASGI or WSGI app.
        interface: Which of the two.
        name: How it is called in the log.
        lifespan: Whether an ASGI app has to have a lifespan.
        threads: How many requests of a WSGI app run at once.
        sends_paths: Announce ``http.response.pathsend`` to an ASGI app.
        is_multiprocess: Other processes may serve the same app.
        options: Those of ``App``.
    """

    def __init__(
        self,
        app: Callable[..., Any],
        interface: Interface,
        name: str,
        *,
        lifespan: LifespanMode = LifespanMode.AUTO,
        threads: int = THREADS,
        sends_paths: bool = False,
        is_multiprocess: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**{"host": HOST, **options})
        self._request_class = GatewayProtocol
        self._name = name
        self._gateway: AsgiGateway | WsgiGateway
        self._asgi_lifespan: Lifespan | None = None
        if interface is Interface.ASGI:
            self._asgi_lifespan = own = Lifespan(app, lifespan)
            self.on_start(own.start)
            self._gateway = asgi = AsgiGateway(
                app, name, state=own.state, sends_paths=sends_paths
            )
            self.on_drain(asgi.drain)
        elif interface is Interface.WSGI:
            self._gateway = wsgi = WsgiGateway(
                app, name, threads, is_multiprocess=is_multiprocess
            )
            self.on_start(wsgi.begin)
            self.on_stop(wsgi.stop)
        else:
            raise ConfigurationError(f"{name}: expected an ASGI or a WSGI app")

    def __repr__(self) -> str:
        return f"<ForeignApp {self._name}>"

    async def stop_hooks(self) -> None:
        """Shut the app down; once.

        Raises:
            BaseException: What an ASGI app has raised at its shutdown, or
                ``LifespanFailed``, where it has said that it could not.
        """
        await super().stop_hooks()
        if self._asgi_lifespan is not None:
            await self._asgi_lifespan.stop()

    @property
    def dispatch(self) -> Dispatch:
        """The coroutine function that serves each request."""
        return cast(Dispatch, self._gateway.serve)

    def make_server(self, loop: asyncio.AbstractEventLoop, **options: Any) -> Any:
        """A server of this app; arguments as of ``App``."""
        root_path = options.get("root_path")
        self._gateway.root_path = self.root_path if root_path is None else root_path
        server = super().make_server(loop, **options)
        server.context.find_options = _find_terms
        server.context.name_handler = self._name_handler
        return server

    def _name_handler(self, method: str, path: str) -> str:
        return self._name
