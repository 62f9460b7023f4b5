"""Frames and messages of no octets at all: neither memory nor anybody's time."""

import asyncio
import base64
import sys
from collections.abc import Awaitable, Callable

import pytest
from websockets.frames import Frame, Opcode

import blazeio as io
from blazeio.protocol.flow import JOINED_BYTES
from blazeio.websocket.channel import HELD_MESSAGES
from blazeio.websocket.frames import STEP_FRAMES, FrameBounds, MessageAssembler
from tests.support.clock import wait_until
from tests.support.peer import RawPeer
from tests.support.served import served

MASK = b"\0\0\0\0"
EMPTY_TEXT = b"\x81\x80" + MASK
EMPTY_FRAGMENT = b"\x00\x80" + MASK
EMPTY_COMPRESSED = b"\xc1\x81" + MASK + b"\0"
BEGINNING = b"\x01\x81" + MASK + b"a"
PING = b"\x89\x80" + MASK
PONG = b"\x8a\x80" + MASK
END = b"\x80\x80" + MASK
COUNT = 20_000

Handler = Callable[[io.BlazeioServerProtocol], Awaitable[None]]


def shake_hands(path: str, extension: str = "") -> bytes:
    key = base64.b64encode(bytes(16)).decode()
    lines = [
        *(f"GET {path} HTTP/1.1", "Host: a", "Connection: upgrade"),
        *("Upgrade: websocket", f"Sec-WebSocket-Key: {key}"),
        "Sec-WebSocket-Version: 13",
    ]
    if extension:
        lines.append(f"Sec-WebSocket-Extensions: {extension}")
    return "\r\n".join([*lines, "", ""]).encode()


class App:
    """Handlers of WebSockets, and one that shows who waits."""

    def __init__(self) -> None:
        self.web = io.App()
        self.sockets: list[io.WebSocket] = []
        self.received = 0
        self.web.route.get("/read")(self.read)
        self.web.route.get("/inflate")(self.inflate)
        self.web.route.get("/busy")(self.busy)
        self.web.route.get("/ok")(self.ok)

    async def read(self, r: io.BlazeioServerProtocol) -> None:
        async with io.WebSocket(r) as ws:
            await self._receive(ws)

    async def inflate(self, r: io.BlazeioServerProtocol) -> None:
        async with io.WebSocket(r, compress=True) as ws:
            await self._receive(ws)

    async def _receive(self, ws: io.WebSocket) -> None:
        self.sockets.append(ws)
        async for _ in ws:
            self.received += 1

    async def busy(self, r: io.BlazeioServerProtocol) -> None:
        async with io.WebSocket(r) as ws:
            self.sockets.append(ws)
            await asyncio.get_running_loop().create_future()

    async def ok(self, r: io.BlazeioServerProtocol) -> None:
        r.reply(b"")


def held_bytes(ws: io.WebSocket) -> int:
    """What a channel keeps, with its objects."""
    endpoint = ws._endpoint
    assert endpoint is not None
    assembler = endpoint._protocol.assembler
    kept = [endpoint._unread, assembler._texts, *assembler._texts, ws._messages]
    kept += [*ws._messages, *(assembler._octets or ())]
    return sum(map(sys.getsizeof, kept))


FLOODS = {
    "messages": ("/read", b"", EMPTY_TEXT),
    "fragments": ("/read", BEGINNING, EMPTY_FRAGMENT),
    "pings": ("/read", b"", PING),
    "pongs": ("/read", b"", PONG),
    "compressed": ("/inflate", b"", EMPTY_COMPRESSED),
    "messages nobody takes": ("/busy", b"", EMPTY_TEXT),
    "pings beside a busy handler": ("/busy", b"", PING),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FLOODS)
async def test_a_flood_of_empty_frames_is_read_turn_by_turn(name: str) -> None:
    path, first, frame = FLOODS[name]
    app = App()
    async with served(app.web) as site:
        peer = await site.connect()
        extension = "permessage-deflate" if path == "/inflate" else ""
        await peer.send(shake_hands(path, extension) + first)
        await wait_until(lambda: app.sockets)
        other = await site.connect()
        flood = asyncio.ensure_future(send_for_ever(peer, frame * 1000))
        drain = asyncio.ensure_future(drain_for_ever(peer))
        try:
            worst_bytes = 0
            for _ in range(60):
                await other.send(b"GET /ok HTTP/1.1\r\nHost: a\r\n\r\n")
                assert (await other.read_response()).status == 200
                worst_bytes = max(worst_bytes, held_bytes(app.sockets[0]))
        finally:
            flood.cancel()
            drain.cancel()
            await asyncio.wait([flood, drain])
            peer.reset()
            other.close()
        assert worst_bytes < 1024 * 1024
        if path == "/busy" and frame is EMPTY_TEXT:
            waiting = len(app.sockets[0]._messages)
            assert HELD_MESSAGES < waiting <= HELD_MESSAGES + STEP_FRAMES


async def send_for_ever(peer: RawPeer, octets: bytes) -> None:
    while True:
        await peer.send(octets)


async def drain_for_ever(peer: RawPeer) -> None:
    while True:
        await peer.read_some(60)


@pytest.mark.parametrize("path", ["/read", "/inflate"])
async def test_all_messages_come_however_many(path: str) -> None:
    app = App()
    extension = "permessage-deflate" if path == "/inflate" else ""
    async with served(app.web) as site:
        peer = await site.connect()
        await peer.send(shake_hands(path, extension))
        await wait_until(lambda: app.sockets)
        await peer.send(EMPTY_TEXT * COUNT + b"\x88\x82" + MASK + b"\x03\xe8")
        await wait_until(lambda: app.sockets[0].close_code is not None, 20)
        await wait_until(lambda: app.received == COUNT, 20)
        assert app.sockets[0].close_code == 1000
        peer.reset()


async def test_who_takes_late_gets_all_of_it() -> None:
    received: list[str | bytes] = []
    web = io.App()

    @web.route.get("/late")
    async def late(r: io.BlazeioServerProtocol) -> None:
        async with io.WebSocket(r) as ws:
            await wait_until(lambda: len(ws._messages) > HELD_MESSAGES, 20)
            while len(received) < COUNT:
                received.append(await ws.receive())

    async with served(web) as site:
        peer = await site.connect()
        await peer.send(shake_hands("/late"))
        sending = asyncio.ensure_future(peer.send((b"\x81\x81" + MASK + b"x") * COUNT))
        await wait_until(lambda: len(received) == COUNT, 20)
        await sending
        peer.reset()


def test_fragments_of_a_message_are_joined() -> None:
    for opcode, data in ((Opcode.TEXT, b"\xc3"), (Opcode.BINARY, b"a")):
        assembler = MessageAssembler()
        assembler.feed(Frame(opcode, data, fin=False))
        second = b"\xa4" if opcode is Opcode.TEXT else b"b"
        assembler.feed(Frame(Opcode.CONT, second, fin=False))
        for _ in range(50_000):
            assembler.feed(Frame(Opcode.CONT, b"", fin=False))
        for _ in range(3 * JOINED_BYTES):
            assembler.feed(Frame(Opcode.CONT, b"c", fin=False))
        kept = len(assembler._texts) + len(assembler._octets or ())
        assert kept < 100
        whole = assembler.feed(Frame(Opcode.CONT, b"", fin=True))
        rest = 3 * JOINED_BYTES
        if opcode is Opcode.TEXT:
            assert whole == "ä" + "c" * rest
        else:
            assert whole == b"ab" + b"c" * rest


@pytest.mark.parametrize("size", [1, 5, 6, 7, 100])
def test_bounds_stop_after_so_many_frames_and_octets(size: int) -> None:
    octets = EMPTY_TEXT * 50 + b"\x82\xfe\x01\x00" + MASK + bytes(256) + PING * 3
    bounds = FrameBounds()
    ends, at = [], 0
    for start in range(0, len(octets), size):
        piece, at = octets[start : start + size], 0
        while at < len(piece):
            before = bounds.frame_count
            end = bounds.skip(piece, at, most_bytes=50, most_frames=3)
            assert end > at
            assert end - at <= 50
            assert bounds.frame_count - before <= 3
            at = end
            ends.append(start + end)
    assert bounds.frame_count == 54
    assert bounds.is_at_start
    assert ends[-1] == len(octets)
