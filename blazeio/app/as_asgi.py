"""``blazeio.asgi(app)``: an ``App`` as an ASGI 3 app, for other servers and tests."""

import asyncio
import traceback
from collections.abc import Awaitable, Callable, MutableMapping
from typing import TYPE_CHECKING, Any, Final

from blazeio.errors import ConfigurationError
from blazeio.protocol.options import HeaderConfig
from blazeio.server.server import Server

if TYPE_CHECKING:
    from blazeio.app.app import App
    from blazeio.gateways.asgi_carrier import Receive, Scope, Send

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
