"""WebSockets on a stream: extended CONNECT, RFC 8441."""

import blazeio as io
from blazeio.protocol.request import BlazeioServerProtocol as R
from tests.support.clock import wait_until
from tests.support.http2 import (
    DATA,
    END_STREAM,
    GET,
    NO_ERROR,
    Fields,
    data,
    headers,
    reset,
)
from tests.support.http2_peer import Http2Peer
from tests.support.served import served

CONNECT: Fields = [
    (":method", "CONNECT"),
    (":protocol", "websocket"),
    (":scheme", "https"),
    (":path", "/chat"),
    (":authority", "a.example"),
    ("sec-websocket-version", "13"),
    ("origin", "https://a.example"),
]


def masked(payload: bytes, opcode: int = 1) -> bytes:
    """A frame of a client; its mask changes nothing."""
    if len(payload) < 126:
        size = bytes((0x80 | len(payload),))
    else:
        size = bytes((0x80 | 126,)) + len(payload).to_bytes(2, "big")
    return bytes((0x80 | opcode,)) + size + bytes(4) + payload


def make_app() -> io.App:
    web = io.App()

    @web.route.get("/chat")
    async def chat(r: R) -> None:
        async with io.WebSocket(r, subprotocols=["chat"]) as ws:
            async for message in ws:
                await ws.send(message)

    @web.route.get("/")
    async def plain(r: R) -> None:
        await io.Deliver.text(r, "beside it")

    return web


async def test_messages_go_both_ways_beside_requests() -> None:
    async with served(make_app()) as site, await Http2Peer.connect(site.port) as peer:
        more = [("sec-websocket-protocol", "chat")]
        peer.send(headers(1, CONNECT, ends=False, more=more))
        await peer.until(lambda: peer.at(1).heads)
        fields = peer.at(1).fields
        assert fields[":status"] == "200"
        assert fields["sec-websocket-protocol"] == "chat"
        assert not fields.keys() & {"sec-websocket-accept", "upgrade", "connection"}
        peer.send(data(1, masked(b"hello")))
        await peer.until(lambda: peer.at(1).body)
        assert peer.at(1).body == b"\x81\x05hello"
        assert (await peer.get("/", 3)).body == b"beside it"
        large = bytes(60_000)
        frame = masked(large, 2)
        peer.send(*[data(1, frame[at : at + 9000]) for at in range(0, 60_100, 9000)])
        await peer.until(lambda: len(peer.at(1).body) >= 7 + 4 + 60_000)
        peer.send(data(1, masked(b"\x03\xe8", 8), ends=True))
        answer = await peer.answer(1)
        assert answer.body.endswith(b"\x88\x02\x03\xe8")
        assert answer.is_ended
        await wait_until(lambda: not site.server.in_flight)


async def test_a_client_that_resets_its_stream() -> None:
    async with served(make_app()) as site, await Http2Peer.connect(site.port) as peer:
        peer.send(headers(1, CONNECT, ends=False))
        await peer.until(lambda: peer.at(1).heads)
        peer.send(reset(1))
        await wait_until(lambda: not site.server.in_flight)
        assert (await peer.get("/", 3)).status == 200


async def test_a_client_that_ends_its_stream() -> None:
    async with served(make_app()) as site, await Http2Peer.connect(site.port) as peer:
        peer.send(headers(1, CONNECT, ends=False))
        await peer.until(lambda: peer.at(1).heads)
        peer.send(data(1, ends=True))
        assert (await peer.answer(1)).is_ended
        await wait_until(lambda: not site.server.in_flight)


async def test_the_drain_closes_it_with_1012() -> None:
    async with served(make_app()) as site, await Http2Peer.connect(site.port) as peer:
        peer.send(headers(1, CONNECT, ends=False))
        await peer.until(lambda: peer.at(1).heads)
        site.server.start_draining(0.1)
        await peer.until(lambda: b"\x03\xf4" in peer.at(1).body)
        peer.send(data(1, masked(b"\x03\xf4", 8)))
        await peer.until(lambda: peer.at(1).is_ended)
        await wait_until(lambda: not site.server.in_flight)


async def test_a_route_that_is_none_of_a_websocket() -> None:
    async with served(make_app()) as site, await Http2Peer.connect(site.port) as peer:
        fields = [(n, "/" if n == ":path" else v) for n, v in CONNECT]
        peer.send(headers(1, fields, ends=False))
        await peer.until(lambda: peer.at(1).is_ended)
        assert peer.at(1).body == b"beside it"
        await peer.until(lambda: peer.at(1).reset_code == NO_ERROR)
        last = [each for each in peer.frames if each.kind == DATA][-1]
        assert last.flags & END_STREAM


async def test_a_get_is_no_websocket() -> None:
    async with served(make_app()) as site, await Http2Peer.connect(site.port) as peer:
        fields = [(n, "/chat" if n == ":path" else v) for n, v in GET]
        peer.ask(1, fields)
        assert (await peer.answer(1)).status == 426


async def test_connect_to_somewhere_is_refused() -> None:
    async with served(make_app()) as site, await Http2Peer.connect(site.port) as peer:
        peer.ask(1, [(":method", "CONNECT"), (":authority", "b.example:443")])
        assert (await peer.answer(1)).status in (400, 404, 405, 501)
        unknown = [(n, "mystery" if n == ":protocol" else v) for n, v in CONNECT]
        peer.ask(3, unknown)
        assert (await peer.answer(3)).status == 501
