"""Random octets from clients, to each decoder of the server and to connections.

    python -m tests.fuzz.clients --seconds 600

Each input is what clients send, cut, spliced and repeated at random by a seed.
Whatever comes: nothing is raised but the documented error, a stream means the same
however it was cut, and no input takes much more time than its octets. That heads are
read as others read them is tried by ``python -m tests.fuzz``.
"""

import asyncio
import contextlib
import logging
import random
import re
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory
from websockets.protocol import Side

from blazeio.content.forms import parse_urlencoded
from blazeio.content.forwarded import Client, parse_allow_list, resolve_client
from blazeio.content.parsers import FileHead, MultipartDecoder, parse_boundary
from blazeio.errors import RemoteProtocolError
from blazeio.limits import Limits
from blazeio.protocol.context import ServerContext
from blazeio.protocol.flow import ContentStream
from blazeio.protocol.http1 import Http1Connection
from blazeio.protocol.request import BlazeioServerProtocol
from blazeio.websocket.frames import STEP_FRAMES, FrameEndpoint
from blazeio.websocket.websocket import WebSocket
from blazeio.wire.chunked import ChunkDecoder
from blazeio.wire.grammar import cached_lines
from blazeio.wire.headers import Headers
from blazeio.wire.heads import cached_sections
from blazeio.wire.proxy_protocol import V2_BYTES, parse_proxy_header
from blazeio.wire.request import (
    cached_heads,
    cached_heads_with_content,
    parse_head,
    parse_whole,
)
from tests.fuzz import runner
from tests.support.transport import FakeTransport

LIMITS = Limits(part_field_bytes=500, form_field_count=40, collected_bytes=20_000)
LONGEST_BYTES = 20_000
SLOWEST_S = 1.0
"""Of one input, in CPU time; the usual one takes less than a millisecond."""
TURNS = 400
"""Of the loop, in which a connection must have done with an input."""
PEER = Client("127.0.0.1", 1, "http", "")
PROXIES = parse_allow_list("127.0.0.0/8")

_PIECES = (
    *(b"\r\n", b"\n", b"\r", b"\0", b"\xff", b" ", b"\t", b";", b",", b"=", b'"'),
    *(b"\\", b":", b"//", b"%", b"%4", b"\xc3\xa4", b"\xc3", b"0", b"-", b"--"),
    *(b"99999999999999999999", b"-1", b"chunked", b"\r\n\r\n", b"\r\n ", b"*="),
)
_DISPOSITION = b'--b\r\nContent-Disposition: form-data; name="a"'
_MASK = b"\x01\x02\x03\x04"
_V2 = b"\r\n\r\n\x00\r\nQUIT\n"
_GET = b"GET /a?b=%41 HTTP/1.1\r\nHost: a\r\n"
_UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
    b"Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
)


def mutate(seeds: Sequence[bytes], chance: random.Random) -> bytes:
    """Change one of the seeds."""
    return runner.change(chance.choice(seeds), chance, seeds, _PIECES, LONGEST_BYTES)


def forget() -> None:
    """Nothing is known from before."""
    heads = (cached_heads, cached_heads_with_content)
    for memo in (*heads, cached_sections, cached_lines):
        cast("Any", memo).clear()


# The decoders


def read_head(octets: bytes, chance: random.Random) -> None:
    """Heads of requests: known, unknown, and in pieces."""
    forget()
    try:
        whole = parse_head(octets, LIMITS)
    except RemoteProtocolError:
        return
    if whole is None:
        return
    assert not re.search(r"[\r\n\0]", f"{whole.headers.pairs}{whole.target}")
    for _ in range(3):  # by then it may be kept
        again = parse_head(octets[: whole.end], LIMITS)
        alone = parse_whole(octets[: whole.end], LIMITS)
        assert again is not None
        assert alone is None or alone.headers.pairs == whole.headers.pairs
        assert (again.path, again.query) == (whole.path, whole.query)
        assert again.headers.pairs == whole.headers.pairs
        assert dict(again.headers.index()) == dict(whole.headers)
        assert again.is_chunked == whole.is_chunked
    forget()
    have, scanned = b"", 0
    for piece in runner.cut(octets[: whole.end], chance):
        have += piece
        head = parse_head(have, LIMITS, 0, scanned) if have else None
        if head is not None:
            assert head.headers.pairs == whole.headers.pairs
            return
        scanned = max(len(have) - 3, 0)
    raise AssertionError("whole it is a head, and in pieces it is none")


def read_chunks(octets: bytes, chance: random.Random) -> None:
    """Chunked content, however it is cut, and however often decoding rests."""

    def decode(pieces: list[bytes]) -> object:
        content = ContentStream(decoder=ChunkDecoder(LIMITS), bound=10_000)
        rest = b""
        for piece in pieces:
            rest += piece if content.is_whole else content.feed(piece)
            while content.has_undecoded:
                rest += content.feed(b"")
        if content.error is not None:
            assert isinstance(content.error, RemoteProtocolError)
            return None  # what came before depends on the cut
        trailers = content.trailers and content.trailers.pairs
        taken = []
        while (part := content.take()) is not None:
            taken.append(part)
        assert content.queued_bytes == 0
        return b"".join(taken), content.is_whole, trailers, rest

    assert decode([octets]) == decode(runner.cut(octets, chance))


def read_form(octets: bytes, chance: random.Random) -> None:
    """A multipart form."""

    def decode(pieces: list[bytes]) -> object:
        decoder = MultipartDecoder("b", LIMITS)
        events: list[Any] = []
        try:
            for piece in pieces:
                events += decoder.feed(piece)
            decoder.end()
        except RemoteProtocolError:
            return None
        joined: list[Any] = []
        for event in events:
            if isinstance(event, bytes) and joined and isinstance(joined[-1], bytes):
                joined[-1] += event
            elif event != b"":
                joined.append(event)
        for event in joined:
            if isinstance(event, FileHead):
                assert "/" not in event.safe_filename
                assert event.safe_filename not in ("", ".", "..")
        return joined

    assert decode([octets]) == decode(runner.cut(octets, chance))


def read_proxy_header(octets: bytes, chance: random.Random) -> None:
    """A header of the PROXY protocol, both versions."""
    try:
        whole = parse_proxy_header(octets)
    except RemoteProtocolError:
        return
    if whole is None:
        assert len(octets) < V2_BYTES
        return
    have = b""
    for piece in runner.cut(octets[: whole.end], chance):
        have += piece
        found = parse_proxy_header(have)
        assert found is None or found == whole
        assert (found is None) == (len(have) < whole.end)


def read_texts(octets: bytes, chance: random.Random) -> None:
    """What a field or a query may hold."""
    text = octets.decode("latin-1")
    try:
        parse_boundary("multipart/form-data; boundary=" + text)
    except RemoteProtocolError:
        pass
    with contextlib.suppress(ValueError):  # too many fields
        parse_urlencoded(text, 50)
    for name in ("forwarded", "x-forwarded-for"):
        client = resolve_client(PEER, Headers([(name, text)]), PROXIES)
        assert 0 <= client.port <= 65_535


def read_frames(octets: bytes, chance: random.Random) -> None:
    """Frames of a WebSocket, with and without compression."""
    is_deflated = chance.random() < 0.5

    def decode(pieces: list[bytes]) -> object:
        extensions = []
        if is_deflated:
            _, extension = ServerPerMessageDeflateFactory().process_request_params(
                [], []
            )
            extensions = [extension]
        end = FrameEndpoint(Side.SERVER, message_bytes=5000, extensions=extensions)
        messages: list[str | bytes] = []
        for piece in pieces:
            message = end.receive(piece)
            if message is not None:
                messages.append(message)
            while end.has_unread:
                messages += end.read_on()
                assert end.read_count <= STEP_FRAMES
        end.end()
        assert end.close_code is not None
        return messages, end.close_code

    assert decode([octets]) == decode(runner.cut(octets, chance))


TARGETS: dict[str, tuple[Callable[[bytes, random.Random], None], tuple[bytes, ...]]] = {
    "heads": (
        read_head,
        (
            _GET + b"\r\n",
            _GET + b"Accept: */*\r\nConnection: close, upgrade\r\nUpgrade: x\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"\r\nGET http://b:80/x HTTP/1.1\r\nHost: a\r\n\r\n",
            b"OPTIONS * HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n",
            b"CONNECT [::1]:80 HTTP/1.0\r\n\r\n",
        ),
    ),
    "chunks": (
        read_chunks,
        (
            b"5\r\nhello\r\n0\r\n\r\n",
            b"1\r\na\r\n" * 300 + b"0\r\nA: b\r\n\r\nGET",
            b'5;a="b\\"c" ;d\r\nhello\r\n0\r\nA: b\r\nC: d\r\n\r\n',
        ),
    ),
    "forms": (
        read_form,
        (
            _DISPOSITION + b"\r\n\r\nx\r\n--b--\r\n",
            b"\r\n" + _DISPOSITION + b'; filename="x"\r\n\r\n\0\r\n--\r\n--b--',
            _DISPOSITION + b"; filename*=utf-8''%c3%a4\r\n"
            b"Content-Type: text/plain; charset=utf-16\r\n\r\nx\r\n--b--",
            b"preamble\r\n" + (_DISPOSITION + b"\r\n\r\nx\r\n") * 3 + b"--b--end",
        ),
    ),
    "PROXY headers": (
        read_proxy_header,
        (
            b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\nGET",
            b"PROXY TCP6 ::1 ::ffff:1.2.3.4 1 65535\r\n",
            b"PROXY UNKNOWN anything\r\n",
            _V2 + b"\x21\x11\x00\x0c" + bytes(12) + b"GET",
            _V2 + b"\x21\x21\x00\x28" + bytes(36) + b"\x01\x00\x01a",
            _V2 + b"\x20\x00\x00\x00",
        ),
    ),
    "texts": (
        read_texts,
        (
            b"b; charset=utf-8",
            b'"a\\"b"; x=y',
            b"a=1&b=%41+%C3%A4&&c",
            b'for="[::1]:80";proto=https;host=a, for=_x',
            b"192.0.2.1, 127.0.0.2, [::1]:1",
        ),
    ),
    "frames": (
        read_frames,
        (
            b"\x81\x81" + _MASK + b"a",
            b"\x01\x81" + _MASK + b"a\x00\x80" + _MASK + b"\x80\x80" + _MASK,
            b"\x89\x80"
            + _MASK
            + b"\x8a\x80"
            + _MASK
            + b"\x88\x82"
            + _MASK
            + b"\x02\xea",
            b"\x82\xfe\x00\x80" + _MASK + bytes(128),
            b"\xc1\x81" + _MASK + b"\x01",
            b"\xc1\x87" + _MASK + b"\xf3\x4a\xca\xce\xc8\x01\x00",
        ),
    ),
}


def fuzz(name: str, seconds: float, seed: int) -> int:
    """Give random inputs to one decoder: see ``runner.try_inputs``."""
    decode, seeds = TARGETS[name]
    return runner.try_inputs(
        name,
        decode,
        lambda chance: mutate(seeds, chance),
        seconds=seconds,
        seed=seed,
        slowest_s=SLOWEST_S,
    )


# Whole connections


async def handle(r: BlazeioServerProtocol) -> None:
    """Do what handlers do, by the path that was asked for."""
    if r.path == "/ws":
        async with WebSocket(r, compress=True, message_bytes=5000) as ws:
            async for message in ws:
                await ws.send(message)
        return
    try:
        content, status = await r.read(), 200
    except RemoteProtocolError as error:
        content, status = str(error).encode(), error.status_hint
    r.reply(b"" if r.method == "HEAD" else content, status)


async def converse(seconds: float, seed: int) -> int:
    """Feed connections what clients send; how many there were.

    Raises:
        AssertionError: A finding, with the seed and the octets.
    """
    chance = random.Random(seed)
    loop = asyncio.get_running_loop()
    found: list[str] = []
    loop.set_exception_handler(lambda _, facts: found.append(str(facts)))
    seeds = tuple(
        each for name in ("heads", "chunks", "frames") for each in TARGETS[name][1]
    )
    count = 0
    ends_at = time.monotonic() + seconds
    ours, theirs = socket.socketpair()
    with ours, theirs:
        while time.monotonic() < ends_at or not count:
            count += 1
            octets = chance.choice((b"", _UPGRADE)) + mutate(seeds, chance)
            context = ServerContext(handle, LIMITS, loop)
            r = Http1Connection(context)
            transport = FakeTransport(r, extra={"socket": ours})
            try:
                await _feed(transport, context, runner.cut(octets, chance))
            finally:
                context.close()
            assert not found, f"seed {seed}, {count}: {octets!r}: {found}"
    return count


async def _feed(
    transport: FakeTransport, context: ServerContext, pieces: list[bytes]
) -> None:
    for piece in pieces:
        transport.feed(piece)
        await asyncio.sleep(0)
    for _ in range(TURNS):
        await asyncio.sleep(0)
        if not context.in_flight and not transport.undelivered:
            break
    if not transport.is_lost:
        transport.lose(ConnectionResetError())
    for _ in range(20):
        await asyncio.sleep(0)
    assert context.in_flight == 0, "a handler is left"
    assert not context.connections, "a connection is left"


def main() -> None:
    """Fuzz each for its share of the time; the first finding ends it."""
    logging.getLogger("blazeio").addHandler(logging.NullHandler())
    runner.run("tests.fuzz.clients", TARGETS, fuzz, converse)


if __name__ == "__main__":
    main()
