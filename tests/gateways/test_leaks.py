"""Clients that go away at every stage leave nothing behind."""

import asyncio
import gc
import logging
import os
from typing import Any

import pytest

from tests.gateways.apps import Receive, Send, asgi, body, start, wsgi
from tests.support.clock import wait_until
from tests.support.served import Site

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

REQUESTS = 10_000
BATCH = 50
KEY = "MDEyMzQ1Njc4OWFiY2RlZg=="
STAGES = {
    "in the head": b"GET / HTTP/1.1\r\nHos",
    "in the body": b"POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nab",
    "before the answer": b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n",
    "in the stream": b"GET /stream HTTP/1.1\r\nHost: a\r\n\r\n",
    "after the answer": b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    "in a WebSocket": (
        b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: %b\r\n\r\n" % KEY.encode()
    ),
}


async def app(scope: Any, receive: Receive, send: Send) -> None:
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


def count_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def come_and_go(site: Site, stages: list[bytes], how: str) -> None:
    async def one(octets: bytes) -> None:
        peer = await site.connect()
        await peer.send(octets)
        await asyncio.sleep(0)
        getattr(peer, how)()

    for first in range(0, REQUESTS, BATCH):
        batch = [stages[at % len(stages)] for at in range(first, first + BATCH)]
        await asyncio.gather(*(one(octets) for octets in batch))
    await wait_until(lambda: not site.server.in_flight, 20)
    await wait_until(lambda: not site.server.connection_count, 20)


def count_objects() -> int:
    gc.collect()
    return len(gc.get_objects())


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("interface", ["asgi", "wsgi"])
async def test_clients_that_leave_at_any_stage_leave_nothing(
    interface: str, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)  # or what is logged would be counted
    stages = list(STAGES.values())
    if interface == "wsgi":
        stages = [
            each for each in stages if b"/wait" not in each and KEY not in str(each)
        ]
    serving = asgi(app) if interface == "asgi" else wsgi(wsgi_app)
    async with serving as site:
        await come_and_go(site, stages, how)  # what is made once is there
        tasks, files = len(asyncio.all_tasks()), count_descriptors()
        objects = count_objects()
        await come_and_go(site, stages, how)
        assert len(asyncio.all_tasks()) == tasks
        assert count_descriptors() == files
        assert count_objects() < objects + 500
