"""What the soak serves, as a Starlette app."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route


def say(what: str) -> None:
    print(f"lifespan: {what} {os.getpid()}", file=sys.stderr, flush=True)


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    say("startup")
    yield
    say("shutdown")


async def pid(request: Request) -> Response:
    return PlainTextResponse(str(os.getpid()))


async def echo(request: Request) -> Response:
    return Response(await request.body())


async def slow(request: Request) -> Response:
    await asyncio.sleep(0.4)
    return PlainTextResponse("late")


async def block(request: Request) -> Response:
    time.sleep(float(request.url.query or 8))  # noqa: ASYNC251 - what must not be
    return PlainTextResponse("late")


web = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/", pid),
        Route("/echo", echo, methods=["POST"]),
        Route("/slow", slow),
        Route("/block", block),
    ],
)
