"""permessage-deflate (RFC 7692) for ASGI apps, with a foreign client."""

import zlib
from typing import Any

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

from blazeio.gateways.websocket import MESSAGE_BYTES
from tests.gateways.apps import asgi
from tests.gateways.test_asgi_websockets import HANDSHAKE, connected, echo

OFFER = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n"


def deflate(octets: bytes) -> bytes:
    """Compress a message as section 7.2.1 says, in a context of its own."""
    compressor = zlib.compressobj(wbits=-12)
    whole = compressor.compress(octets) + compressor.flush(zlib.Z_SYNC_FLUSH)
    return whole.removesuffix(b"\x00\x00\xff\xff")


def frame(opcode: Opcode, octets: bytes) -> bytes:
    """Write a compressed frame; ``websockets`` would check the bit, and refuse it."""
    whole = bytearray(Frame(opcode, octets).serialize(mask=True))
    whole[0] |= 0x40
    return bytes(whole)


def list_extensions(socket: Any) -> list[str]:
    return [each.name for each in socket.protocol.extensions]


@pytest.mark.parametrize(
    "message", ["", "text", b"octets" * 10_000, "\u20ac" * 50_000, "{}"]
)
async def test_messages_come_and_go_compressed(message: str | bytes) -> None:
    async with asgi(echo) as site, connected(site) as socket:
        assert list_extensions(socket) == ["permessage-deflate"]
        for _ in range(3):
            await socket.send(message)
            assert await socket.recv() == message


async def test_fragments_may_be_compressed_too() -> None:
    async with asgi(echo) as site, connected(site) as socket:
        await socket.send(["one" * 100, "two" * 100])
        assert await socket.recv() == "one" * 100 + "two" * 100


@pytest.mark.parametrize("is_offered", [False, True])
async def test_it_is_agreed_to_where_both_want_it(is_offered: bool) -> None:
    compression = "deflate" if is_offered else None
    async with (
        asgi(echo, compresses_websockets=not is_offered) as site,
        connected(site, compression=compression) as socket,
    ):
        assert list_extensions(socket) == []
        await socket.send("plain")
        assert await socket.recv() == "plain"


async def test_the_windows_are_small() -> None:
    """Section 7.1.2: 4 KiB both ways, as with handlers of ours."""
    async with asgi(echo) as site, await site.connect() as peer:
        await peer.send(f"{HANDSHAKE}{OFFER}".encode("ascii"))
        agreed = (await peer.read_response()).field("sec-websocket-extensions")
        assert agreed is not None
        assert "server_max_window_bits=12" in agreed
        assert "client_max_window_bits=12" in agreed


async def test_a_message_that_is_too_large_when_inflated_is_refused() -> None:
    """RFC 6455 section 7.4.1: 1009. The octets on the wire are a thousandth of it."""
    bomb = deflate(bytes(MESSAGE_BYTES + 1))
    assert len(bomb) < MESSAGE_BYTES // 500
    async with asgi(echo) as site, connected(site, max_size=None) as socket:
        socket.transport.write(frame(Opcode.BINARY, bomb))
        with pytest.raises(ConnectionClosed) as caught:
            await socket.recv()
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code == 1009


@pytest.mark.parametrize("octets", [b"\xff\xff\xff", deflate(b"\xff" * 10)[:-2] + b"?"])
async def test_what_cannot_be_inflated_ends_the_connection(octets: bytes) -> None:
    async with asgi(echo) as site, connected(site) as socket:
        socket.transport.write(frame(Opcode.TEXT, octets))
        with pytest.raises(ConnectionClosed) as caught:
            await socket.recv()
    assert caught.value.rcvd is not None
    assert caught.value.rcvd.code in (1002, 1007)
