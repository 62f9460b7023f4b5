"""Records of an octet each: deciphered some in a turn of the loop, all in the end."""

import asyncio
import itertools

import pytest

from blazeio.protocol.tls import RECORDS_PER_TURN
from tests.protocol.serving import GET, R, post, request
from tests.protocol.tls_serving import Serve
from tests.support.tls_peer import TlsPeer

COUNT = 3000


async def send_one_by_one(peer: TlsPeer, octets: bytes) -> None:
    """Each octet in a record of its own, all at once."""
    for octet in octets:
        peer.tls.write(bytes([octet]))
    await peer._send_enciphered(peer._outgoing.read())


@pytest.mark.parametrize("ending", ["", "next", "alert"])
async def test_content_in_records_of_one_octet_is_read(
    serve: Serve, ending: str
) -> None:
    async def handler(r: R) -> None:
        r.reply(b"%d" % len(await r.read()))

    peer = await serve(handler).connect()
    await send_one_by_one(peer, post(b"a" * COUNT) + GET * (ending == "next"))
    if ending == "alert":
        await peer.send_closure_alert()
    assert (await peer.read_response()).body == b"%d" % COUNT
    if ending == "next":
        assert (await peer.read_response()).body == b"0"


async def test_others_are_served_between_records(serve: Serve) -> None:
    sizes: list[int] = []

    async def handler(r: R) -> None:
        if r.method == "POST":
            while not r.content.is_whole:
                sizes.append(r.content.received_bytes)
                await asyncio.sleep(0)
        r.reply(b"")

    served = serve(handler)
    peer = await served.connect()
    await send_one_by_one(peer, post(b"a" * COUNT))
    await peer.read_response()
    steps = [b - a for a, b in itertools.pairwise(sizes)]
    # a slice of 16 KiB has some 700 of them, and is deciphered whole
    assert max(steps) < 4 * RECORDS_PER_TURN
    assert sizes[-1] > COUNT // 2


async def test_a_handler_that_is_slow_gets_all_of_it(serve: Serve) -> None:
    async def handler(r: R) -> None:
        size = 0
        async for piece in r.pull():
            size += len(piece)
            await asyncio.sleep(0.001)
        r.reply(b"%d" % size)

    peer = await serve(handler, receive_bytes=100).connect()
    await peer.send(request("POST", "/", f"Content-Length: {3 * COUNT}"))
    for _ in range(3):
        await send_one_by_one(peer, b"a" * COUNT)
    assert (await peer.read_response()).body == b"%d" % (3 * COUNT)
