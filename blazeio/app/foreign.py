"""``ForeignApp``: an app of another interface, served as an ``App`` is.

Whoever serves an ``App`` serves it as well: ``runner``, a supervisor, a test server.
"""

import asyncio
import os
from collections.abc import Callable
from typing import Any, Unpack, cast

from blazeio.app.app import App
from blazeio.app.dispatch import Dispatch
from blazeio.app.mounting import (
    DEFAULT_GATEWAY,
    FINISHES,
    GatewayOptions,
    GatewayPart,
    note_foreign,
)
from blazeio.files.static_server import StaticOptions, StaticServer
from blazeio.gateways.interfaces import Interface
from blazeio.protocol.options import RouteOptions
from blazeio.protocol.request import BlazeioServerProtocol

HOST = "127.0.0.1"
"""Where it is served unless it is said otherwise, as such apps are used to."""


def _find_options(method: str, path: str) -> RouteOptions:
    return FINISHES


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
        server = super().make_server(loop, **options)
        # The route table is empty, and would give the usual options: a disconnect would
        # cancel the app's coroutine, whereas ASGI tells it by ``http.disconnect``.
        server.context.find_options = _find_options
        server.context.name_handler = self._name_handler
        return server

    def _name_handler(self, method: str, path: str) -> str:
        return self._name
