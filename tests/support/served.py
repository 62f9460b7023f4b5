"""An app on a real socket, in the test's own loop.

``async with served(web) as site: answer = await site.get("/path")``
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from blazeio.app.app import App
from blazeio.server.listener import bind
from blazeio.server.server import Server
from tests.support.clock import wait_until
from tests.support.peer import RawPeer
from tests.support.response import Response


class Site:
    """Where the app is served.

    Attributes:
        port: On 127.0.0.1.
        server: Serves the app.
    """

    def __init__(self, port: int, server: Server) -> None:
        self.port = port
        self.server = server

    async def connect(self) -> RawPeer:
        """A new connection; use it in an ``async with``."""
        return await RawPeer.connect("127.0.0.1", self.port)

    async def ask(
        self,
        method: str,
        target: str,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """One request on a connection of its own, and its answer."""
        async with await self.connect() as peer:
            await peer.send(serialize_request(method, target, content, headers))
            return await peer.read_response(method=method)

    async def get(self, target: str) -> Response:
        """GET it."""
        return await self.ask("GET", target)


def serialize_request(
    method: str,
    target: str,
    content: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> bytes:
    """A whole request; its Content-Length is added where it has content."""
    fields = {"Host": "test", **(headers or {})}
    if content is not None:
        fields["Content-Length"] = str(len(content))
    lines = [f"{method} {target} HTTP/1.1", *(f"{n}: {v}" for n, v in fields.items())]
    return "\r\n".join([*lines, "", ""]).encode() + (content or b"")


@asynccontextmanager
async def served(app: App) -> AsyncIterator[Site]:
    """Serve an app until the block ends; its hooks run."""
    await app.init()
    server = app.make_server(asyncio.get_running_loop())
    with bind("127.0.0.1", 0) as listener:
        server.accept_from(listener)
        try:
            yield Site(listener.getsockname()[1], server)
        finally:
            server.stop_accepting()
            server.cancel()
            await wait_until(lambda: not server.connection_count)
            server.close()
            await app.stop_hooks()
