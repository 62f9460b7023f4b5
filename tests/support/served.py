"""An app on a real socket, in the test's own loop.

``async with served(web) as site: answer = await site.get("/path")``
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from blazeio.app.app import App
from blazeio.server.server import Server
from blazeio.testing import TestServer
from tests.support.peer import RawPeer
from tests.support.response import Response


class Site:
    """Where the app is served.

    Attributes:
        port: On 127.0.0.1.
        server: Serves the app.
    """

    def __init__(self, port: int, server: Server, app: App) -> None:
        self._app = app
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

    async def drain(self) -> None:
        """Begin to drain, as at the end of the service."""
        self.server.stop_accepting()
        self.server.start_draining(0)
        await self._app.drain_hooks()

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
    async with TestServer(app, grace_s=0) as running:
        yield Site(running.port, running.server, app)
