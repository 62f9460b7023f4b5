"""RFC 6455, sections 5 to 7, and RFC 7692: the groups of Autobahn|Testsuite.

Each case is sent to an echo over a socket; when what is expected is back, a close
with 1000. All that comes back is compared, but for the reasons of closes.
"""

import zlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, NamedTuple

import pytest
from websockets.frames import Frame, Opcode

from blazeio.app.app import App
from blazeio.gateways.asgi import LifespanMode
from blazeio.gateways.interfaces import Interface
from blazeio.protocol.request import BlazeioServerProtocol
from blazeio.websocket.websocket import WebSocket
from tests.gateways.apps import Receive, Send, make_foreign
from tests.support.peer import RawPeer
from tests.support.response import Response
from tests.support.served import served
from tests.websocket.test_handshake import GOOD

TEXT, BINARY, CONT = Opcode.TEXT, Opcode.BINARY, Opcode.CONT
PING, PONG, CLOSE = Opcode.PING, Opcode.PONG, Opcode.CLOSE
MASK = b"\x37\xfa\x21\x3d"
MESSAGE_BYTES = 70_000
SNOWMAN = "☃".encode()
KOSME = "κόσμε".encode()


class Case(NamedTuple):
    """Octets, and what they are answered by.

    Attributes:
        name: The group of Autobahn, and what it is about.
        sent: Frames.
        echoed: Opcode and data of what comes back before the close.
        code: Of the close that comes back; None: one without a code.
    """

    name: str
    sent: bytes
    echoed: tuple[tuple[Opcode, bytes], ...] = ()
    code: int | None = 1000


def frame(
    opcode: int, data: bytes = b"", *, fin: bool = True, reserved: int = 0
) -> bytes:
    """Masked, and as wrong as it is asked for."""
    first = (0x80 if fin else 0) | reserved | opcode
    size = len(data)
    if size < 126:
        head = bytes((first, 0x80 | size))
    elif size < 65536:
        head = bytes((first, 0x80 | 126)) + size.to_bytes(2)
    else:
        head = bytes((first, 0x80 | 127)) + size.to_bytes(8)
    masked = bytes(octet ^ MASK[at % 4] for at, octet in enumerate(data))
    return head + MASK + masked


def begin(opcode: int, data: bytes) -> bytes:
    return frame(opcode, data, fin=False)


def close(code: int, reason: bytes = b"") -> bytes:
    return frame(CLOSE, code.to_bytes(2) + reason)


SIZES = (0, 1, 125, 126, 127, 128, 65535, 65536)
FRAMING = [
    Case(
        f"1 {opcode.name} {size}", frame(opcode, b"*" * size), ((opcode, b"*" * size),)
    )
    for opcode in (TEXT, BINARY)
    for size in SIZES
    for data in (b"*" * size,)
]
PINGS = [
    Case("2 empty", frame(PING), ((PONG, b""),)),
    Case("2 with text", frame(PING, b"hi"), ((PONG, b"hi"),)),
    Case("2 with octets", frame(PING, b"\0\xff"), ((PONG, b"\0\xff"),)),
    Case("2 of 125", frame(PING, b"x" * 125), ((PONG, b"x" * 125),)),
    Case("2 of 126", frame(PING, b"x" * 126), code=1002),
    Case("2 unasked pong", frame(PONG) + frame(PONG, b"x")),
    Case("2 ten", b"".join(frame(PING, b"%d" % n) for n in range(10)),
         tuple((PONG, b"%d" % n) for n in range(10))),
]  # fmt: skip
RESERVED = [
    Case(f"3 {bits:#x} of {opcode.name}", frame(opcode, reserved=bits), code=1002)
    for bits in (0x10, 0x20, 0x40, 0x70)
    for opcode in (TEXT, BINARY, PING, CLOSE)
] + [
    Case("3 behind a message", frame(TEXT, b"a") + frame(TEXT, b"b", reserved=0x40),
         code=1002),  # at once: there is no more of an echo
]  # fmt: skip
OPCODES = [
    Case(f"4 opcode {opcode}", frame(TEXT, b"a") + frame(opcode), code=1002)
    for opcode in (3, 4, 5, 6, 7, 11, 12, 13, 14, 15)
]
FRAGMENTS = [
    Case("5 ping in two", begin(PING, b"a") + frame(CONT, b"b"), code=1002),
    Case("5 pong in two", begin(PONG, b"a") + frame(CONT, b"b"), code=1002),
    Case("5 text in two", begin(TEXT, b"a") + frame(CONT, b"b"), ((TEXT, b"ab"),)),
    Case("5 ping between", begin(TEXT, b"a") + frame(PING, b"p") + frame(CONT, b"b"),
         ((PONG, b"p"), (TEXT, b"ab"))),
    Case("5 many and pings",
         begin(BINARY, b"") + (frame(PING, b"p") + begin(CONT, b"x")) * 5 + frame(CONT),
         ((PONG, b"p"),) * 5 + ((BINARY, b"xxxxx"),)),
    Case("5 continues nothing", frame(CONT, b"a") + frame(TEXT, b"b"), code=1002),
    Case("5 begins and continues nothing", begin(CONT, b"a"), code=1002),
    Case("5 text within text", begin(TEXT, b"a") + frame(TEXT, b"b"), code=1002),
    Case("5 binary within text", begin(TEXT, b"a") + begin(BINARY, b"b"), code=1002),
    Case("5 behind a whole one", frame(TEXT, b"a") + frame(CONT, b"b"), code=1002),
]  # fmt: skip
VALID_UTF_8 = [
    b"", b"Hello-\xc2\xb5@\xc3\x9f", KOSME, b"\0", b"\x7f", b"\xc2\x80", b"\xdf\xbf",
    b"\xe0\xa0\x80", b"\xed\x9f\xbf", b"\xee\x80\x80", b"\xef\xbf\xbd", b"\xef\xbf\xbf",
    b"\xf0\x90\x80\x80", b"\xf4\x8f\xbf\xbf",
]  # fmt: skip
BROKEN_UTF_8 = {
    "a continuation alone": b"\x80",
    "two continuations": b"\x80\xbf",
    "a start alone": b"\xc0 ",
    "a start of three alone": b"\xe2\x98",
    "FE and FF": b"\xfe\xfe\xff\xff",
    "a start of five": b"\xf8\x88\x80\x80\x80",
    "an overlong slash": b"\xc0\xaf",
    "an overlong slash in three": b"\xe0\x80\xaf",
    "an overlong NUL": b"\xc0\x80",
    "a surrogate": b"\xed\xa0\x80",
    "a pair of surrogates": b"\xed\xa0\x80\xed\xb0\x80",
    "beyond U+10FFFF": b"\xf4\x90\x80\x80",
    "within good text": KOSME + b"\xed\xa0\x80edited",
}
TEXTS = [
    *(Case(f"6 {data!r}", frame(TEXT, data), ((TEXT, data),)) for data in VALID_UTF_8),
    *(Case(f"6 {name}", frame(TEXT, data), code=1007)
      for name, data in BROKEN_UTF_8.items()),
    *(Case(f"6 {name}, in fragments",
           begin(TEXT, data[:1]) + begin(CONT, data[1:]) + frame(CONT), code=1007)
      for name, data in BROKEN_UTF_8.items()),
    Case("6 cut within a character", begin(TEXT, KOSME[:3]) + frame(CONT, KOSME[3:]),
         ((TEXT, KOSME),)),
    Case("6 octet by octet",
         begin(TEXT, b"") + b"".join(begin(CONT, KOSME[n:n + 1]) for n in range(11))
         + frame(CONT), ((TEXT, KOSME),)),
    Case("6 fails before its end", begin(TEXT, KOSME + b"\xf4\x90"), code=1007),
]  # fmt: skip
CLOSES = [
    Case("7 behind a message", frame(TEXT, b"a") + close(1000)),
    Case("7 two", close(1000) + close(1000)),
    Case("7 before a ping", close(1000) + frame(PING)),
    Case("7 before a message", close(1000) + frame(TEXT, b"a")),
    Case("7 within a message", begin(TEXT, b"a") + close(1000) + frame(CONT, b"b")),
    Case("7 without a code", frame(CLOSE), code=None),
    Case("7 with half a code", frame(CLOSE, b"\x03"), code=1002),
    Case("7 with the longest reason", close(1000, b"*" * 123)),
    Case("7 with a longer reason", close(1000, b"*" * 124), code=1002),
    Case("7 with a reason that is not UTF-8", close(1000, b"\xed\xa0"), code=1007),
    *(Case(f"7 with {code}", close(code), code=code)
      for code in (1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 4999)),
    *(Case(f"7 with {code}", close(code), code=1002)
      for code in (0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999, 5000, 65535)),
]  # fmt: skip
LIMITS = [
    Case("9 as large as may be", frame(BINARY, b"*" * MESSAGE_BYTES),
         ((BINARY, b"*" * MESSAGE_BYTES),)),
    Case("9 larger", frame(BINARY, b"*" * (MESSAGE_BYTES + 1)), code=1009),
    Case("9 larger, by its head alone",
         frame(BINARY, b"*" * (MESSAGE_BYTES + 1))[:14], code=1009),
    Case("9 larger, in fragments",
         begin(BINARY, b"*" * MESSAGE_BYTES) + begin(CONT, b"*"), code=1009),
    Case("9 in 1,000 fragments",
         begin(TEXT, b"") + begin(CONT, b"*") * 999 + frame(CONT),
         ((TEXT, b"*" * 999),)),
    Case("10 all of it in one write", frame(TEXT, b"*" * 65536) + frame(TEXT, b"a"),
         ((TEXT, b"*" * 65536), (TEXT, b"a"))),
]  # fmt: skip
CASES = FRAMING + PINGS + RESERVED + OPCODES + FRAGMENTS + TEXTS + CLOSES + LIMITS


@asynccontextmanager
async def handshaken(
    *fields: str, compress: bool = False
) -> AsyncIterator[tuple[Response, RawPeer]]:
    """The answer to a handshake with an echo, and the connection."""
    web = App()

    @web.add_route
    async def echo(r: BlazeioServerProtocol, route: str = "/") -> None:
        options = {"compress": compress, "message_bytes": MESSAGE_BYTES}
        async with WebSocket(r, **options) as ws:  # type: ignore[arg-type]
            async for message in ws:
                await ws.send(message)

    async with greeted(web, *fields) as answered:
        yield answered


async def echo_by_asgi(scope: Any, receive: Receive, send: Send) -> None:
    assert scope["type"] == "websocket"
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})


@asynccontextmanager
async def greeted(web: App, *fields: str) -> AsyncIterator[tuple[Response, RawPeer]]:
    """The answer of an app to a handshake, and the connection."""
    async with served(web) as site, await site.connect() as peer:
        lines = [f"{name}: {value}" for name, value in GOOD.items()]
        head = ["GET / HTTP/1.1", "Host: a", *lines, *fields, "", ""]
        await peer.send("\r\n".join(head).encode())
        response = await peer.read_response()
        assert response.status == 101
        yield response, peer


@asynccontextmanager
async def echoing(*fields: str, compress: bool = False) -> AsyncIterator[RawPeer]:
    """The same, for who knows how it was answered."""
    async with handshaken(*fields, compress=compress) as (_, peer):
        yield peer


@asynccontextmanager
async def echoing_by_asgi() -> AsyncIterator[RawPeer]:
    """An ASGI app that echoes."""
    web = make_foreign(echo_by_asgi, Interface.ASGI, lifespan=LifespanMode.OFF)
    async with greeted(web) as (_, peer):
        yield peer


async def exchange(peer: RawPeer, sent: bytes, expected_bytes: int) -> bytes:
    """What comes back; closed only then, since a close is agreed to at once."""
    await peer.send(sent)
    octets = b""
    while len(octets) < expected_bytes:
        octets += await peer.read_some()
    await peer.send(close(1000))
    return octets + await peer.read_until_end()


def written(*frames: tuple[Opcode, bytes]) -> bytes:
    return b"".join(Frame(*each).serialize(mask=False) for each in frames)


OF_EACH = [case for case in CASES if case not in LIMITS or case.code != 1009]
"""Those that do not depend on the bound of a message, which an ASGI app cannot set."""


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
async def test_frames_are_answered(case: Case) -> None:
    await check(case, echoing())


@pytest.mark.parametrize("case", OF_EACH, ids=[case.name for case in OF_EACH])
async def test_frames_are_answered_for_an_asgi_app(case: Case) -> None:
    await check(case, echoing_by_asgi())


async def check(case: Case, echo: AbstractAsyncContextManager[RawPeer]) -> None:
    expected = written(*case.echoed)
    async with echo as peer:
        octets = await exchange(peer, case.sent, len(expected))
    assert octets[: len(expected)] == expected
    (opcode, size), data = octets[len(expected) :][:2], octets[len(expected) + 2 :]
    assert (opcode, size) == (0x80 | CLOSE, len(data))
    assert data[:2] == (b"" if case.code is None else case.code.to_bytes(2))


async def test_frames_without_a_mask_are_refused() -> None:
    async with echoing() as peer:
        await peer.send(written((TEXT, b"a")))
        assert (await peer.read_until_end())[2:4] == (1002).to_bytes(2)


@pytest.mark.parametrize("step", [1, 7])
async def test_frames_may_come_in_pieces(step: int) -> None:
    sent = frame(TEXT, KOSME) + begin(TEXT, b"a") + frame(CONT, b"b")
    expected = written((TEXT, KOSME), (TEXT, b"ab"))
    async with echoing() as peer:
        for start in range(0, len(sent), step):
            await peer.send(sent[start : start + step])
        octets = await exchange(peer, b"", len(expected))
    assert octets.startswith(expected)


OFFER = "Sec-WebSocket-Extensions: permessage-deflate"


def deflated(data: bytes) -> bytes:
    coder = zlib.compressobj(wbits=-12)
    return (coder.compress(data) + coder.flush(zlib.Z_SYNC_FLUSH))[:-4]


@pytest.mark.parametrize("size", [0, 16, 1024, 65536])
async def test_compressed_messages_are_echoed_compressed(size: int) -> None:
    data = b"a" * size
    async with echoing(OFFER, compress=True) as peer:
        sent = frame(TEXT, deflated(data), reserved=0x40)
        octets = await exchange(peer, sent, 1)
    assert octets[0] == 0xC1
    assert octets[1] < 126
    packed = octets[2 : 2 + octets[1]]
    assert zlib.decompressobj(wbits=-15).decompress(packed + b"\0\0\xff\xff") == data


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (frame(TEXT, deflated(b"\xff"), reserved=0x40), 1007),
        (frame(TEXT, deflated(b"a" * (MESSAGE_BYTES + 1)), reserved=0x40), 1009),
        (frame(TEXT, b"\xff\xff\xff", reserved=0x40), 1002),
        (frame(PING, deflated(b"a"), reserved=0x40), 1002),
        (frame(TEXT, b"plain") + close(1000), 1000),
    ],
    ids=[
        "no UTF-8",
        "too large when inflated",
        "no deflate",
        "a ping",
        "not compressed",
    ],
)
async def test_breaches_of_compression_are_told(sent: bytes, code: int) -> None:
    async with echoing(OFFER, compress=True) as peer:
        await peer.send(sent)
        octets = await peer.read_until_end()
    assert code.to_bytes(2) in octets


@pytest.mark.parametrize(
    ("offer", "answer"),
    [
        ("; server_no_context_takeover", "server_no_context_takeover"),
        ("; client_max_window_bits", "client_max_window_bits=12"),
        ("; server_max_window_bits=9", "server_max_window_bits=9"),
        (", x-unknown", "permessage-deflate"),
    ],
)
async def test_what_is_offered_is_agreed_to(offer: str, answer: str) -> None:
    async with handshaken(OFFER + offer, compress=True) as (
        response,
        _,
    ):
        assert answer in (response.field("sec-websocket-extensions") or "")
