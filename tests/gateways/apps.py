"""ASGI apps of the tests, and how they are served."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import fields
from typing import Any

from blazeio.app.mounting import ForeignApp, GatewayOptions
from blazeio.gateways.interfaces import Interface
from tests.support.served import Site, served

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Serve = Callable[[dict[str, Any], Receive, Send], Awaitable[None]]


def start(status: int = 200, *headers: tuple[bytes, bytes], **more: Any) -> Any:
    """The start of a response."""
    return {
        "type": "http.response.start",
        "status": status,
        "headers": list(headers),
        **more,
    }


def body(octets: bytes = b"", *, more: bool = False) -> Any:
    """A piece of its body."""
    return {"type": "http.response.body", "body": octets, "more_body": more}


GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


async def hello(scope: Any, receive: Receive, send: Send) -> None:
    """Answer with some text."""
    await send(start(200, (b"Content-Type", b"text/plain")))
    await send(body(b"hello"))


async def read_all(receive: Receive) -> bytes:
    """The whole body of a request."""
    whole = b""
    while True:
        message = await receive()
        assert message["type"] == "http.request"
        whole += bytes(message["body"])
        if not message["more_body"]:
            return whole


async def echo(scope: Any, receive: Receive, send: Send) -> None:
    """Answer with the body of the request."""
    content = await read_all(receive)
    await send(start())
    await send(body(content))


def make_foreign(app: Any, interface: Interface, **options: Any) -> ForeignApp:
    """Make an app of what it is served with, and the options of ``App``."""
    names = {each.name for each in fields(GatewayOptions)} & set(options)
    served_with = GatewayOptions(**{name: options.pop(name) for name in names})
    return ForeignApp(app, interface, "tests:app", served_with=served_with, **options)


@asynccontextmanager
async def asgi(serve: Serve, **options: Any) -> AsyncIterator[Site]:
    """Serve what answers each request; without a lifespan."""

    async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            raise NotImplementedError
        await serve(scope, receive, send)

    web = make_foreign(app, Interface.ASGI, **options)
    async with served(web) as site:
        yield site


@asynccontextmanager
async def wsgi(app: Any, **options: Any) -> AsyncIterator[Site]:
    """Serve a WSGI app."""
    async with served(make_foreign(app, Interface.WSGI, **options)) as site:
        yield site


class Step:
    """Something that a test waits for within an app."""

    def __init__(self) -> None:
        self.event = asyncio.Event()

    async def wait(self) -> None:
        async with asyncio.timeout(5):
            await self.event.wait()
