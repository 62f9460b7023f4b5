"""Attacks on a server that answers somebody else meanwhile, and what only looks so."""

import asyncio
import resource
from collections.abc import Callable
from typing import Any, cast

import pytest

import blazeio as io
from blazeio.http2.connection import Http2Connection
from blazeio.protocol.request import BlazeioServerProtocol as R
from tests.support.clock import wait_until
from tests.support.http2 import (
    CONTINUATION,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    GET,
    HEADERS,
    OPENING,
    PADDED,
    PING,
    POST,
    PRIORITY,
    block,
    data,
    frame,
    headers,
    literal,
    reset,
    settings,
    window_update,
)
from tests.support.http2_peer import Http2Peer
from tests.support.served import Site, served

pytestmark = pytest.mark.slow

MOST_BYTES = 50 * 2**20
LARGE = bytes(100 * 2**20)


def make_app(**limits: Any) -> io.App[Any]:
    web: io.App[Any] = io.App(**limits)

    @web.route.get("/")
    async def hello(r: R) -> None:
        await io.Deliver.text(r, "hello")

    @web.route.get("/slow")
    async def slow(r: R) -> None:
        await asyncio.sleep(30)

    @web.route.get("/large")
    async def large(r: R) -> None:
        await r.prepare({"Content-Type": "application/octet-stream"})
        for _ in range(1600):
            await r.write(bytes(65_536))

    @web.route.get("/whole")
    async def whole(r: R) -> None:
        await io.Deliver.bytes(r, LARGE)

    @web.route.post("/")
    async def count(r: R) -> None:
        await io.Deliver.text(r, str(len(await r.read())))

    return web


def to(path: str) -> list[tuple[str, str]]:
    return [(name, path if name == ":path" else value) for name, value in GET]


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def rapid_reset(number: int) -> bytes:
    stream = number * 2 + 1
    return headers(stream, to("/slow")) + reset(stream)


def made_reset(number: int) -> bytes:
    stream = number * 2 + 1
    return headers(stream, to("/slow")) + window_update(stream, 0)


def dependent(number: int) -> bytes:
    stream = number * 2 + 1
    payload = stream.to_bytes(4, "big") + b"\0"
    return headers(stream, to("/slow")) + frame(PRIORITY, 0, stream, payload)


FLOODS: dict[str, tuple[Callable[[int], bytes], int]] = {
    "rapid reset": (rapid_reset, 300),
    "made you reset": (made_reset, 300),
    "depends on itself": (dependent, 300),
    "SETTINGS": (lambda _: settings((4, 65_535)), 2000),
    "PING": (lambda _: frame(PING, 0, 0, b"12345678"), 2000),
    "PRIORITY": (lambda _: frame(PRIORITY, 0, 3, b"\0\0\0\1\0"), 2000),
    "WINDOW_UPDATE": (lambda _: window_update(0, 1), 2000),
    "CONTINUATION": (
        lambda number: frame(CONTINUATION if number else HEADERS, 0, 1, b"\x82"),
        2000,
    ),
    "CONTINUATION without octets": (
        lambda number: frame(CONTINUATION if number else HEADERS, 0, 1, b""),
        2000,
    ),
    "empty DATA": (
        lambda number: data(1) if number else headers(1, POST, ends=False),
        2000,
    ),
}


@pytest.mark.parametrize("name", FLOODS)
async def test_floods_end_the_connection(name: str) -> None:
    make, most = FLOODS[name]
    before = peak_bytes()
    async with (
        served(make_app()) as site,
        await Http2Peer.connect(site.port) as peer,
        await Http2Peer.connect(site.port) as other,
    ):
        for number in range(most):
            peer.send(make(number))
        assert (await peer.goaway()).code == ENHANCE_YOUR_CALM
        assert (await other.get()).body == b"hello"
        await wait_until(lambda: not site.server.in_flight)
    assert peak_bytes() - before < MOST_BYTES


async def test_a_bomb_of_the_compression() -> None:
    before = peak_bytes()
    async with served(make_app()) as site, await Http2Peer.connect(site.port) as peer:
        octets = block(GET) + literal("a", "b" * 4000, 0x40) + b"\xbe" * 11_000
        peer.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, octets))
        assert (await peer.goaway()).code == ENHANCE_YOUR_CALM
    assert peak_bytes() - before < MOST_BYTES


async def test_a_megabyte_of_fields() -> None:
    before = peak_bytes()
    async with served(make_app()) as site, await Http2Peer.connect(site.port) as peer:
        peer.send(frame(HEADERS, END_STREAM, 1, block(GET)))
        for _ in range(70):
            peer.send(frame(CONTINUATION, 0, 1, literal("a", "b" * 15_000)))
        assert (await peer.goaway()).code == ENHANCE_YOUR_CALM
    assert peak_bytes() - before < MOST_BYTES


@pytest.mark.parametrize("path", ["/large", "/whole"])
@pytest.mark.parametrize("window_bytes", [0, 2**31 - 1])
async def test_answers_that_nobody_reads(path: str, window_bytes: int) -> None:
    web = make_app(progress_window_s=0.2)
    async with served(web) as site, await Http2Peer.connect(site.port) as other:
        assert (await other.get()).status == 200
        before = peak_bytes()
        opening = OPENING + settings((4, window_bytes))
        if window_bytes:
            opening += window_update(0, 2**31 - 1 - 65_535)
        async with await Http2Peer.connect(site.port, opening=opening) as peer:
            peer.writer.transport.pause_reading()  # type: ignore[attr-defined]
            for number in range(90):
                peer.ask(number * 2 + 1, to(path))
            assert (await other.get("/", 3)).body == b"hello"
            if window_bytes:  # then it is the transport that does not move
                await wait_until(lambda: site.server.connection_count == 1, 5)
            else:
                await wait_until(lambda: not _list_streams(site), 5)
            assert peak_bytes() - before < MOST_BYTES


@pytest.mark.parametrize("size", [1000, 64 * 1024, 1024 * 1024])
async def test_what_a_blocked_stream_holds(size: int) -> None:
    """Beside what its handler has made: a quarter of the mark, also once it is nudged.

    A client that opens no window costs us so much for each of its streams.
    """
    web = make_app()

    @web.route.get("/endless")
    async def endless(r: R) -> None:
        await r.prepare({"Content-Type": "text/plain"})
        while True:
            await r.write(bytes(size))

    opening = OPENING + settings((4, 0))
    async with (
        served(web) as site,
        await Http2Peer.connect(site.port, opening=opening) as peer,
    ):
        streams = range(1, 21, 2)
        for number in streams:
            peer.ask(number, to("/endless"))
        await peer.until(lambda: all(peer.at(number).heads for number in streams))
        (connection,) = site.server.context.connections
        wire = cast(Http2Connection, connection).wire
        least = web.limits.high_water_bytes // 4
        for _ in range(3):
            await peer.ping()
            waiting = [each.waiting_bytes for each in wire.streams.values()]
            assert len(waiting) == len(streams)
            assert max(waiting) < least + least  # one step more, once it was nudged
            peer.send(*(window_update(number, 1) for number in streams))


def _list_streams(site: Site) -> list[object]:
    connections = site.server.context.connections
    return [
        stream
        for each in connections
        for stream in cast(Http2Connection, each).wire.streams
    ]


# What is no attack


@pytest.mark.long
async def test_ten_thousand_requests_on_one_connection() -> None:
    async with served(make_app()) as site, await Http2Peer.connect(site.port) as peer:
        for batch in range(100):
            first = batch * 200 + 1
            for stream in range(first, first + 200, 2):
                peer.send(headers(stream))
            for stream in range(first, first + 200, 2):
                assert (await peer.answer(stream)).body == b"hello"
        assert site.server.request_count == 10_000


async def test_ninety_of_ninety_are_aborted_and_it_goes_on() -> None:
    async with served(make_app()) as site, await Http2Peer.connect(site.port) as peer:
        for stream in range(1, 181, 2):
            peer.ask(stream, to("/slow"))
        await peer.ping()
        for stream in range(1, 181, 2):
            peer.send(reset(stream))
        await wait_until(lambda: not site.server.in_flight)
        assert (await peer.get("/", 201)).body == b"hello"


async def test_uploads_that_are_padded_to_the_utmost() -> None:
    async with served(make_app()) as site, await Http2Peer.connect(site.port) as peer:
        padded = frame(0, PADDED, 1, b"\xff" + b"x" + bytes(255))
        peer.send(headers(1, POST, ends=False))
        for _ in range(30):
            peer.send(padded * 100)
            await peer.ping()
        peer.send(data(1, ends=True))
        assert (await peer.answer(1)).body == b"3000"
