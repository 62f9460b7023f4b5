"""The hello of Starlette, and a stream."""

from collections.abc import AsyncIterator

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, StreamingResponse
from starlette.routing import Route


async def hello(request: Request) -> PlainTextResponse:
    return PlainTextResponse("Hello, world!")


async def make_pieces() -> AsyncIterator[bytes]:
    for _ in range(20):
        yield b"x" * 64


async def stream(request: Request) -> StreamingResponse:
    return StreamingResponse(make_pieces(), media_type="text/plain")


app = Starlette(routes=[Route("/", hello), Route("/stream", stream)])
