"""Content in pieces of an octet or two: as cheap to hold as any, and no one's delay."""

import asyncio
import sys
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blazeio.errors import RemoteProtocolError
from blazeio.limits import Limits
from blazeio.protocol.flow import (
    CHUNKS_PER_TURN,
    JOINED_BYTES,
    SEPARATE_PIECES,
    ContentStream,
    join_small,
)
from blazeio.wire.chunked import ChunkDecoder
from tests.protocol.serving import GET, Connect, R, Serve, Wire, request
from tests.support.clock import wait_until

CHUNKED = request("POST", "/", "Transfer-Encoding: chunked")
CHUNK = b"2\r\nab\r\n"
COUNT = 36_000
MANY = CHUNK * COUNT


async def count(r: R) -> None:
    r.reply(b"%d" % len(await r.read()))


def held_bytes(wire: Wire) -> int:
    """What the content of a connection keeps, with its objects."""
    content = wire.r.content
    held = [*content._pieces, content._undecoded]
    return sum(map(sys.getsizeof, held)) + sys.getsizeof(content._pieces)


@given(st.lists(st.binary(max_size=5000), max_size=400))
def test_joined_pieces_are_the_same_octets(pieces: list[bytes]) -> None:
    joined: deque[bytes] = deque()
    for piece in pieces:
        join_small(joined, piece)
    octets = b"".join(pieces)
    assert b"".join(joined) == octets
    # of any two neighbours one is large, or both are
    assert len(joined) <= SEPARATE_PIECES + 2 * (len(octets) // JOINED_BYTES + 1)


@given(st.lists(st.integers(1, 40), max_size=60), st.integers(1, 7))
def test_decoding_that_rests_gives_the_same(sizes: list[int], most: int) -> None:
    octets = b"".join(b"%x\r\n%b\r\n" % (size, b"x" * size) for size in sizes)
    octets += b"0\r\nA: b\r\n\r\nGET"
    decoder, pieces = ChunkDecoder(Limits()), list[bytes]()
    at = 0
    while not decoder.is_complete:
        part: list[bytes] = []
        at = decoder.decode(octets, at, part, most)
        assert len(part) <= most
        pieces += part
    assert b"".join(pieces) == b"x" * sum(sizes)
    assert octets[at:] == b"GET"
    assert dict(decoder.trailers or {}) == {"a": "b"}


def test_a_share_of_chunks_is_decoded_at_once() -> None:
    content = ContentStream(decoder=ChunkDecoder(Limits()))
    content.feed(MANY + b"0\r\n\r\n")
    turns = 1
    while content.has_undecoded:
        assert content.has_used_turn
        content.feed(b"")
        turns += 1
    assert turns >= COUNT // CHUNKS_PER_TURN
    assert content.is_whole
    assert content.queued_bytes == 2 * COUNT


async def test_chunks_of_two_octets_hold_what_they_are(connect: Connect) -> None:
    wire = connect(lambda r: asyncio.sleep(3600))
    wire.peer.feed(CHUNKED)
    for _ in range(8):  # a client that goes on as long as it is read
        if wire.peer.is_reading():
            wire.peer.feed(MANY)
        assert held_bytes(wire) < 1024 * 1024
        for _ in range(60):
            await asyncio.sleep(0)
    limit = wire.context.limits.receive_bytes
    assert not wire.peer.is_reading()
    assert limit < wire.r.content.queued_bytes < 2 * limit
    assert held_bytes(wire) < 2 * limit + 256 * 1024


async def test_octets_that_come_one_by_one_hold_what_they_are(
    connect: Connect,
) -> None:
    wire = connect(lambda r: asyncio.sleep(3600))
    wire.peer.feed(request("POST", "/", "Content-Length: 100000"))
    for _ in range(50_000):
        wire.peer.feed(b"a")
    assert held_bytes(wire) < 100_000


async def test_others_are_served_while_chunks_are_decoded(connect: Connect) -> None:
    order: list[str] = []

    async def handler(r: R) -> None:
        if r.method == "POST":
            await r.read()
        order.append(r.method)
        r.reply(b"")

    busy, other = connect(handler), connect(handler)
    busy.peer.feed(CHUNKED + MANY + b"0\r\n\r\n")
    for _ in range(10):
        await other.ask(GET)
    await wait_until(lambda: "POST" in order)
    assert order == [*["GET"] * 10, "POST"]


@pytest.mark.parametrize("ending", ["", "next", "fin"])
async def test_all_of_it_is_read_and_so_is_what_follows(
    serve: Serve, ending: str
) -> None:
    peer = await serve(count).connect()
    octets = CHUNKED + MANY + b"0\r\n\r\n"
    await peer.send(octets + (octets if ending == "next" else b""))
    if ending == "fin":
        peer.half_close()
    assert (await peer.read_response()).body == b"%d" % (2 * COUNT)
    if ending == "next":
        assert (await peer.read_response()).body == b"%d" % (2 * COUNT)


async def test_a_handler_that_is_slower_gets_all_of_it(serve: Serve) -> None:
    async def handler(r: R) -> None:
        size = 0
        async for piece in r.pull():
            size += len(piece)
            await asyncio.sleep(0.001)
        r.reply(b"%d" % size)

    peer = await serve(handler, receive_bytes=1000).connect()
    await peer.send(CHUNKED + MANY + b"0\r\n\r\n")
    assert (await peer.read_response()).body == b"%d" % (2 * COUNT)


async def test_content_that_nobody_reads_is_read_past(serve: Serve) -> None:
    async def handler(r: R) -> None:
        r.reply(r.method.encode())

    peer = await serve(handler).connect()
    await peer.send(CHUNKED + MANY + b"0\r\n\r\n" + GET)
    assert (await peer.read_response()).body == b"POST"


async def test_a_chunk_that_is_malformed_behind_many_is_found(serve: Serve) -> None:
    found: list[str] = []

    async def handler(r: R) -> None:
        try:
            await r.read()
        except RemoteProtocolError as error:
            found.append(str(error))

    peer = await serve(handler).connect()
    await peer.send(CHUNKED + MANY + b"x\r\n")
    await wait_until(lambda: found)
    assert "chunk" in found[0]
