"""Peers that trickle, stall or half-close; others do not feel them."""

import contextlib
from pathlib import Path

import pytest

from tests.process.service import APP, Service, serialize_get, start_service
from tests.support.live import LiveServers
from tests.support.peer import BlockingPeer
from tests.support.variations import vary

pytestmark = pytest.mark.slow

LARGE = """
PIECE = bytes(64 * 1024)

@web.add_route
async def large(r, route="/large"):
    count = int(r.query or 512)
    await r.prepare({"Content-Length": count * len(PIECE)})
    for _ in range(count):
        await r.write(PIECE)
"""
LOOPS = vary("loop", ["uvloop", "asyncio"])


def connect(
    service: Service, stack: contextlib.ExitStack, count: int, window_bytes: int = 0
) -> list[BlockingPeer]:
    host, port = service.server.host, service.server.port
    return [
        stack.enter_context(BlockingPeer(host, port, receive_buffer_bytes=window_bytes))
        for _ in range(count)
    ]


@LOOPS
def test_every_half_closed_client_is_answered(
    live_server: LiveServers, tmp_path: Path, loop: str
) -> None:
    service = start_service(live_server, tmp_path, "--loop", loop)
    with contextlib.ExitStack() as stack:
        peers = connect(service, stack, 200)
        for peer in peers:
            peer.send(serialize_get("/slow"))
            peer.half_close()
        assert [peer.read_response().body for peer in peers] == [b"late"] * 200


@pytest.mark.long
def test_slow_heads_and_slow_content_hinder_nobody(
    live_server: LiveServers, tmp_path: Path
) -> None:
    service = start_service(live_server, tmp_path)
    head = serialize_get("/")
    post = serialize_get("/echo", "Content-Length: 1000").replace(b"GET", b"POST", 1)
    with contextlib.ExitStack() as stack:
        for peer in connect(service, stack, 200):
            peer.send(head[:-2])
        for peer in connect(service, stack, 200):
            peer.send(post)
        (other,) = connect(service, stack, 1)
        for _ in range(50):
            other.exchange(head)


@LOOPS
def test_a_reader_that_stalls_costs_a_tenth_of_a_megabyte(
    live_server: LiveServers, tmp_path: Path, loop: str
) -> None:
    options = ["--loop", loop]
    service = start_service(
        live_server, tmp_path, *options, code=APP + LARGE, workers=1
    )
    assert len(service.get("/large?20").body) == 20 * 64 * 1024
    (worker,) = service.server.children("blazeio: worker")
    before_bytes = worker.memory_info().rss
    with contextlib.ExitStack() as stack:
        for peer in connect(service, stack, 50, window_bytes=4096):
            peer.send(serialize_get("/large"))
        for _ in range(20):
            service.get()  # each of the stalled ones has had its turns
        grown_bytes = worker.memory_info().rss - before_bytes
    assert grown_bytes / 50 <= 100_000
