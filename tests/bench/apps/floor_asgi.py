"""What loop, kernel and an ASGI app alone cost: ``python floor_asgi.py PORT MODULE``.

Each read is taken for one request with one field, and the app is called for it in a
task of its own, as each server has to; what it sends leaves behind a constant head.
Nothing is checked: no server in Python on this loop is below it.
"""

import asyncio
import importlib
import sys
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import uvloop

Message = MutableMapping[str, Any]
HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
)
FIELDS = [(b"host", b"127.0.0.1")]
VERSIONS = {"version": "3.0", "spec_version": "2.5"}


class Exchange:
    """One request."""

    __slots__ = ("_transport",)

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport

    async def receive(self) -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.body":
            body = message["body"]
            self._transport.write(HEAD % len(body) + body)


class Floor(asyncio.Protocol):
    """Calls an app for each read.

    Args:
        app: Called for each.
        loop: Runs the tasks.
    """

    def __init__(self, app: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._app = app
        self._loop = loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        method, target, _ = data.decode("latin-1").split(" ", 2)
        path, _, query = target.partition("?")
        exchange = Exchange(self._transport)
        scope = {
            "type": "http",
            "asgi": VERSIONS.copy(),
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": FIELDS.copy(),
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
            "state": {},
            "extensions": {},
        }
        work = self._app(scope, exchange.receive, exchange.send)
        # As servers keep them, so that a task is not collected while it runs.
        self._task = asyncio.Task(work, loop=self._loop, name="app")


async def main() -> None:
    sys.path.insert(0, str(Path(__file__).parent))
    app = importlib.import_module(sys.argv[2]).app
    loop = asyncio.get_running_loop()
    server = await loop.create_server(
        lambda: Floor(app, loop), "127.0.0.1", int(sys.argv[1])
    )
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
