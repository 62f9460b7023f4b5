"""Clients that go away at every stage leave nothing behind.

Native handlers, ASGI and WSGI apps; over HTTP/1.1 and HTTP/2, where a client also
resets its streams on a connection that goes on.
"""

import asyncio
import gc
import logging
import os
import sys
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any

import psutil
import pytest

import blazeio as io
from tests.gateways.apps import Receive, Send, asgi, body, start, wsgi
from tests.support.clock import wait_until
from tests.support.http2 import (
    GET,
    HEADERS,
    OPENING,
    POST,
    Fields,
    block,
    data,
    frame,
    headers,
    reset,
    window_update,
)
from tests.support.http2_peer import Http2Peer
from tests.support.served import Site, served

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

REQUESTS = 10_000
BATCH = 50
KEY = "MDEyMzQ1Njc4OWFiY2RlZg=="
MORE_OBJECTS = 500
MORE_BLOCKS = 5_000
MORE_BYTES = 4 * 1024 * 1024

STAGES = {
    "in the head": b"GET / HTTP/1.1\r\nHos",
    "in the body": b"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nab",
    "in a large body": (
        b"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\nab"
    ),
    "in chunks": (
        b"POST /body HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"
    ),
    "before the answer": b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n",
    "in the stream": b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n",
    "after the answer": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "in a WebSocket": (
        b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n\r\n" % KEY.encode()
    ),
}


def to(path: str, fields: Fields = GET) -> Fields:
    return [(name, path if name == ":path" else value) for name, value in fields]


CONNECT: Fields = [
    (":method", "CONNECT"),
    (":protocol", "websocket"),
    *to("/ws")[1:],
    ("sec-websocket-version", "13"),
]
STREAMS: dict[str, Callable[[int], bytes]] = {
    "in the head": lambda at: frame(HEADERS, 0, at, block(GET)[:20]),
    "in the body": lambda at: (
        headers(at, to("/body", POST), ends=False) + data(at, b"ab")
    ),
    "before the answer": lambda at: headers(at, to("/wait")),
    "in the stream": lambda at: headers(at, to("/stream")),
    "after the answer": lambda at: headers(at),
    "in a WebSocket": lambda at: headers(at, CONNECT, ends=False),
}


async def asgi_app(scope: Any, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        while (await receive())["type"] != "websocket.disconnect":
            pass
        return
    path = scope["path"]
    while (message := await receive())["type"] == "http.request":
        if not message["more_body"]:
            break
    if path == "/wait":
        await receive()
        return
    await send(start())
    if path == "/stream":
        while True:
            await send(body(b"x" * 1000, more=True))
    await send(body(b"hello"))


def wsgi_app(environ: Any, start_response: Any) -> Any:
    environ["wsgi.input"].read()
    start_response("200 OK", [])
    if environ["PATH_INFO"] == "/stream":
        return iter(lambda: b"x" * 1000, b"")
    return [b"hello"]


def make_native() -> io.App:
    web = io.App("127.0.0.1", 0)

    @web.add_route
    async def hello(r: io.BlazeioServerProtocol, route: str = "/") -> None:
        await io.Deliver.text(r, "hello")

    @web.add_route
    async def read(r: io.BlazeioServerProtocol, route: str = "/body") -> None:
        await r.read()

    @web.add_route
    async def wait(r: io.BlazeioServerProtocol, route: str = "/wait") -> None:
        await asyncio.get_running_loop().create_future()

    @web.add_route
    async def stream(r: io.BlazeioServerProtocol, route: str = "/stream") -> None:
        while True:
            await r.write(b"x" * 1000)

    @web.add_route
    async def chat(r: io.BlazeioServerProtocol, route: str = "/ws") -> None:
        async with io.WebSocket(r) as ws:
            async for _ in ws:
                pass

    return web


def serve(interface: str) -> AbstractAsyncContextManager[Site]:
    if interface == "asgi":
        return asgi(asgi_app, half_close_grace_s=0.05)
    if interface == "wsgi":
        return wsgi(wsgi_app, half_close_grace_s=0.05)
    web = make_native()
    web.limits = io.Limits(half_close_grace_s=0.05)
    return served(web)


Skipped = tuple[str, ...]
Leave = Callable[[Site, int, str, Skipped], Coroutine[Any, Any, int]]


async def leave_http1(site: Site, number: int, how: str, skips: Skipped) -> int:
    """Leave in one stage; return how many requests that were."""
    stages = [octets for name, octets in STAGES.items() if name not in skips]
    peer = await site.connect()
    await peer.send(stages[number % len(stages)])
    await asyncio.sleep(0)
    getattr(peer, how)()
    return 1


async def leave_http2(site: Site, number: int, how: str, skips: Skipped) -> int:
    """Leave each stream of a connection in another stage; then all of it goes."""
    stages = [make for name, make in STREAMS.items() if name not in skips]
    peer = await Http2Peer.connect(site.port, opening=OPENING + window_update(0, 2**20))
    last, *others = (stages[(number + at) % len(stages)] for at in range(len(stages)))
    for at, make in enumerate(others):
        if make is not STREAMS["in the head"]:  # nothing may come after that
            peer.send(make(2 * at + 1))
            if how == "reset":
                peer.send(reset(2 * at + 1))
    await peer.ping()
    peer.send(last(2 * len(stages) + 1))
    await asyncio.sleep(0)
    peer.reset()
    return len(stages)


async def come_and_go(leave: Leave, site: Site, how: str, skips: Skipped) -> None:
    left = first = 0
    while left < REQUESTS:
        batch = range(first, first + BATCH)
        counts = await asyncio.gather(*(leave(site, at, how, skips) for at in batch))
        left += sum(counts)
        first += BATCH
    await wait_until(lambda: not site.server.in_flight, 20)
    await wait_until(lambda: not site.server.connection_count, 20)


class Holdings:
    """What a process holds."""

    def __init__(self) -> None:
        gc.collect()
        self.tasks = len(asyncio.all_tasks())
        self.files = len(os.listdir("/proc/self/fd"))
        self.objects = len(gc.get_objects())
        self.blocks = sys.getallocatedblocks()
        self.resident_bytes = psutil.Process().memory_info().rss

    def check(self, before: "Holdings") -> None:
        assert self.tasks == before.tasks
        assert self.files == before.files
        assert self.objects < before.objects + MORE_OBJECTS
        assert self.blocks < before.blocks + MORE_BLOCKS
        assert self.resident_bytes < before.resident_bytes + MORE_BYTES


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("leave", [leave_http1, leave_http2])
@pytest.mark.parametrize("interface", ["native", "asgi", "wsgi"])
async def test_clients_that_leave_at_any_stage_leave_nothing(
    interface: str,
    leave: Leave,
    how: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.CRITICAL)  # or what is logged would be counted
    skips = ("before the answer", "in a WebSocket") if interface == "wsgi" else ()
    async with serve(interface) as site:
        await come_and_go(leave, site, how, skips)  # what is made once is there
        before = Holdings()
        await come_and_go(leave, site, how, skips)
        Holdings().check(before)
