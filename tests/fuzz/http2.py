"""Random octets from clients of HTTP/2, to our compression, our heads and our streams.

    python -m tests.fuzz.http2 --seconds 600

Each input is what clients send, cut, spliced and repeated at random by a seed.
Whatever comes: nothing is raised but the documented errors, a stream of octets means
the same however it was cut, what we send are whole frames, and what is kept stays
within its bounds.
"""

import argparse
import asyncio
import logging
import random
import socket
import time
from collections.abc import Callable

from blazeio.errors import RemoteProtocolError
from blazeio.http2.connection import Http2Connection, StreamPool
from blazeio.limits import Limits
from blazeio.protocol.context import ServerContext
from blazeio.protocol.request import BlazeioServerProtocol
from blazeio.wire.http2_heads import HeadReader
from tests.support.http2 import (
    GET,
    GOAWAY,
    OPENING,
    POST,
    RST_STREAM,
    block,
    data,
    frame,
    headers,
    literal,
    parse_frames,
    reset,
    settings,
    window_update,
)
from tests.support.transport import FakeTransport
from tests.wire.http2_talk import Talk

LIMITS = Limits(head_bytes=4096, streams=20, high_water_bytes=1000)
LONGEST_BYTES = 30_000
SLOWEST_S = 1.0
TURNS = 64
"""Turns of the loop in which every answer must have been given."""

_socket, _peer = socket.socketpair()  # only its descriptor is asked things

BLOCKS = [
    block(GET),
    block([*POST, ("content-length", "5"), ("cookie", "a=b"), ("cookie", "c=d")]),
    b"\x82\x86\x84\x41\x8c\xf1\xe3\xc2\xe5\xf2\x3a\x6b\xa0\xab\x90\xf4\xff",
    b"\x82\x84\xbe\x58\x86\xa8\xeb\x10\x64\x9c\xbf",
    literal("x-a", "b" * 50, 0x40) + b"\xbe\xbf",
    b"\x20\x3f\xe1\x1f",
]
FRAMES = [
    headers(1),
    headers(3, POST, ends=False),
    headers(5, POST, ends=False, more=[("content-length", "5")]),
    data(3, b"abc"),
    data(3, b"x" * 100, ends=True),
    data(5, b"hello", ends=True),
    frame(0, 8, 3, b"\x02a\0\0"),
    frame(1, 0, 7, block(GET)[:20]),
    frame(9, 4, 7, block(GET)[20:]),
    frame(1, 5, 9, b"\x82\x86\x84\x41\x01a\x40\x01b\x01c"),
    frame(1, 5, 11, b"\x82\x86\x84\x01\x01a\xbe"),
    frame(1, 5, 3, block([("x-sum", "1")])),
    frame(1, 0x25, 13, b"\0\0\0\0\1" + block(GET)),
    frame(2, 0, 3, b"\0\0\0\1\1"),
    frame(6, 0, 0, b"12345678"),
    frame(7, 0, 0, bytes(8)),
    frame(0x20, 0, 0, b"?"),
    settings((4, 10), (5, 20_000)),
    settings((1, 0), (4, 100_000)),
    window_update(0, 1000),
    window_update(3, 5),
    reset(3),
    reset(1),
]


def change(octets: bytes, chance: random.Random) -> bytes:
    """The octets, changed in a few places."""
    for _ in range(chance.choice((0, 0, 1, 2, 5))):
        at = chance.randrange(len(octets) + 1)
        end = min(at + chance.choice((0, 1, 2, 9)), len(octets))
        piece = chance.choice(
            (b"", chance.randbytes(chance.choice((1, 1, 3))), octets[at:end] * 3)
        )
        octets = (octets[:at] + piece + octets[end:])[:LONGEST_BYTES]
    return octets


def read_blocks(chance: random.Random) -> None:
    """Header blocks, by a reader that keeps what they meant and one that does not."""
    keeping, forgetting = HeadReader(LIMITS), HeadReader(LIMITS)
    for _ in range(chance.randrange(1, 12)):
        octets = change(chance.choice(BLOCKS) + chance.choice((b"", *BLOCKS)), chance)
        forgetting.forget()
        results: list[object] = []
        for reader in (keeping, forgetting):
            try:
                head = reader.read(octets)
                results.append((head.method, head.target, head.headers.pairs))
            except RemoteProtocolError as error:
                results.append((type(error), str(error)))
        assert results[0] == results[1]
        assert keeping.decoder._size_bytes <= 4096
        assert len(keeping._heads) <= 16


def converse(chance: random.Random) -> None:
    """Frames, whole and in pieces."""
    frames = [chance.choice(FRAMES) for _ in range(chance.randrange(1, 40))]
    octets = OPENING + b"".join(
        change(each, chance) if chance.random() < 0.1 else each for each in frames
    )
    answer = chance.randbytes(chance.choice((0, 5, 3000)))
    marks = sorted(chance.randrange(len(octets) + 1) for _ in range(4))
    pieces = [octets[a:b] for a, b in zip([0, *marks], [*marks, None], strict=True)]
    talks = [Talk(LIMITS, answer, opening=b"") for _ in range(2)]
    told = []
    for talk, parts in zip(talks, ([octets], pieces), strict=True):
        told.append([(*each,) for each in talk.exchange(*parts)])
        assert talk.wire.running >= 0
        assert len(talk.wire._rest) < 16_384 + 9
        for stream in talk.wire.streams.values():
            assert not (stream.is_read and stream.is_written)
            assert stream.waiting_bytes == sum(map(len, stream.waiting or ()))
        assert talk.failure is None or told[-1][-1][0] == GOAWAY
    assert told[0] == told[1]
    first, second = (
        {
            stream: (each.content, each.is_whole, each.reset_for)
            for stream, each in talk.requests.items()
        }
        for talk in talks
    )
    assert first == second
    ended = [each[2] for each in told[0] if each[0] == RST_STREAM]
    assert len(ended) == len(set(ended)) or talks[0].failure or len(ended) < 40


async def answer(r: BlazeioServerProtocol) -> None:
    """Answer whole, in pieces, or not at all, as the content is long."""
    try:
        size = len(await r.read())
    except RemoteProtocolError as error:
        r.reply(str(error).encode(), error.status_hint)
        return
    if size % 3 == 0:
        r.reply(b"x" * size)
    elif size % 3 == 1:
        await r.prepare({"Content-Type": "text/plain"})
        await r.write(b"y" * 5000)
        await asyncio.sleep(0)
        await r.write(b"z")
    else:
        raise RuntimeError("on purpose")


async def serve_one(chance: random.Random) -> None:
    """A connection over a fake transport: nothing is raised, and nothing is left."""
    loop = asyncio.get_running_loop()
    faults: list[object] = []
    loop.set_exception_handler(lambda _, fault: faults.append(fault))
    context = ServerContext(answer, LIMITS, loop)
    connection = Http2Connection(StreamPool(context), None)
    transport = FakeTransport(connection, extra={"socket": _socket})
    frames = [chance.choice(FRAMES) for _ in range(chance.randrange(1, 40))]
    octets = OPENING + b"".join(
        change(each, chance) if chance.random() < 0.1 else each for each in frames
    )
    marks = sorted(chance.randrange(len(octets) + 1) for _ in range(5))
    happenings = (
        connection.drain,
        connection.on_state_timeout,
        connection.pause_writing,
        connection.resume_writing,
    )
    try:
        for start, end in zip([0, *marks], [*marks, None], strict=True):
            if not transport.is_lost and octets[start:end]:
                transport.feed(octets[start:end])
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
            if chance.random() < 0.1:
                chance.choice(happenings)()
        for _ in range(TURNS):
            await asyncio.sleep(0)
        parse_frames(bytes(transport.written))
        if not transport.is_lost:
            transport.lose(None)
        for _ in range(TURNS):
            await asyncio.sleep(0)
        assert not faults, faults
        assert context.in_flight == connection.wire.running == 0
        assert not context.connections
        assert not context.detached
    finally:
        context.close()


def serve(chance: random.Random) -> None:
    """Frames, to all of a connection."""
    asyncio.run(serve_one(chance))


TARGETS: dict[str, Callable[[random.Random], None]] = {
    "blocks": read_blocks,
    "streams": converse,
    "connections": serve,
}


def fuzz(name: str, seconds: float, first_seed: int) -> int:
    """How many inputs a target took; the first finding is raised with its seed."""
    target, count = TARGETS[name], 0
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at:
        seed = first_seed + count
        began_at = time.perf_counter()
        try:
            target(random.Random(seed))
            assert time.perf_counter() - began_at < SLOWEST_S
        except Exception as error:
            raise AssertionError(f"{name}: seed {seed}") from error
        count += 1
    return count


def main() -> None:
    """Fuzz each for its share of the time; the first finding ends it."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.http2")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    options = parser.parse_args()
    logging.getLogger("blazeio").addHandler(logging.NullHandler())
    for name in TARGETS:
        count = fuzz(name, options.seconds / len(TARGETS), options.seed)
        print(f"{name}: {count} inputs, nothing found (seed {options.seed})")


if __name__ == "__main__":
    main()
