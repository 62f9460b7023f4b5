"""An app on a real socket, in the test's own loop.

``async with served(web) as site: answer = await site.get("/path")``
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus

from blazeio.app.app import App
from blazeio.server.server import Server
from blazeio.testing import TestServer
from tests.support.http2_peer import Http2Peer
from tests.support.peer import RawPeer, UnexpectedEndError
from tests.support.response import Response

SPOKEN = "1.1"
"""What ``Site.ask`` speaks; a test that is run over both has it set."""


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
        if SPOKEN == "2":
            return await self._ask_http2(method, target, content, headers or {})
        async with await self.connect() as peer:
            await peer.send(serialize_request(method, target, content, headers))
            return await peer.read_response(method=method)

    async def drain(self) -> None:
        """Begin to drain, as at the end of the service."""
        self.server.stop_accepting()
        self.server.start_draining(0)
        await self._app.drain_hooks()

    async def _ask_http2(
        self,
        method: str,
        target: str,
        content: bytes | None,
        headers: Mapping[str, str],
    ) -> Response:
        fields = {name.lower(): value for name, value in headers.items()}
        authority = fields.pop("host", "test")
        if target.startswith("http://"):
            authority, slash, path = target.removeprefix("http://").partition("/")
            target = slash + path
        pseudo = [
            (":method", method),
            (":scheme", "http"),
            (":authority", authority),
            (":path", target),
        ]
        if content is not None:
            fields["content-length"] = str(len(content))
        async with await Http2Peer.connect(self.port) as peer:
            peer.ask(1, [*pseudo, *fields.items()], content)
            answer = await peer.answer(1)
        if answer.reset_code:
            raise UnexpectedEndError(f"the server reset the stream after {answer}")
        return Response(
            answer.status,
            HTTPStatus(answer.status).phrase,
            answer.final_head[1:],
            answer.body,
            answer.trailers,
            b"",
        )

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
