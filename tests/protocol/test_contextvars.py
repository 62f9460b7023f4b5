"""What a handler sets in contextvars ends with its request.

asyncio's transports read, write and end in the context of whoever has asked them
to: a handler that lets reading go on, or whose write did not leave at once, would
hand its contextvars to the next requests of its connection, and to whoever is
accepted when it ends. Each way into the protocol is tried; then the handler of
the next request, of another client's, and the recorder of a head that is refused
before any handler say what they see.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar

import pytest

from tests.protocol.serving import (
    GET,
    R,
    Serve,
    Served,
    chunks,
    post,
    request,
)
from tests.support.clock import wait_until
from tests.support.peer import RawPeer

NOBODY = "nobody"
user: ContextVar[str] = ContextVar("user", default=NOBODY)
UPLOAD = post(b"a" * 1_500_000, path="/upload")
CHUNKED = request("POST", "/upload", "Transfer-Encoding: chunked")
WHO = request("GET", "/who")
UPGRADE = request("GET", "/raw", "Connection: upgrade", "Upgrade: x")

Way = Callable[[Served, RawPeer], Awaitable[bool]]
"""Drives one connection; whether it is still to be used afterwards."""


class Witness:
    """Handlers, and a recorder: who they find, before they set it themselves."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str]] = []

    async def handle(self, r: R) -> None:
        self.seen.append((r.path, user.get()))
        user.set("alice")
        await getattr(self, "handle_" + r.path[1:])(r)

    async def handle_who(self, r: R) -> None:
        r.reply(b"")

    async def handle_upload(self, r: R) -> None:
        await wait_until(
            lambda: not r.carrier.read_control.is_open
        )  # until it was paused
        r.reply(b"%d" % len(await r.read()))

    async def handle_download(self, r: R) -> None:
        await r.prepare()
        for _ in range(128):  # more than the kernel holds: it waits
            await r.write(b"x" * 65536)
        await r.write(b"end")

    async def handle_forever(self, r: R) -> None:
        await r.prepare()
        while True:
            await r.write(b"x" * 65536)

    async def handle_late(self, r: R) -> None:
        await asyncio.get_running_loop().create_future()

    async def handle_unread(self, r: R) -> None:
        r.reply(b"not read")

    async def handle_raw(self, r: R) -> None:
        r.take_over(b"Connection: upgrade\r\nUpgrade: x\r\n")
        async for octets in r.request():
            await r.writer(octets)

    def record(self, r: R) -> None:
        if r.status == 400:
            self.seen.append(("refused", user.get()))

    def close(self) -> None:
        pass

    def note_end(self, served: Served) -> None:
        """Have the end of each connection say what it sees."""
        context = served.server.context
        before = context.when_closed
        assert before is not None

        def closed() -> None:
            self.seen.append(("closed", user.get()))
            before()

        context.when_closed = closed


async def upload(served: Served, peer: RawPeer) -> bool:
    sending = asyncio.ensure_future(peer.send(UPLOAD))
    assert (await peer.read_response()).body == b"1500000"
    await sending
    return True


async def upload_in_chunks(served: Served, peer: RawPeer) -> bool:
    octets = CHUNKED + chunks(*[b"a" * 30_000] * 50)
    sending = asyncio.ensure_future(peer.send(octets))
    assert (await peer.read_response()).body == b"1500000"
    await sending
    return True


async def download(served: Served, peer: RawPeer) -> bool:
    await peer.send(request("GET", "/download"))
    r = await only_connection(served)
    await wait_until(lambda: not r.response.gate.is_open)
    await read_until(peer, b"end\r\n0\r\n\r\n")
    return True


async def leave_unread(served: Served, peer: RawPeer) -> bool:
    await peer.send(post(b"a" * 300_000, path="/unread"))
    await peer.read_response()
    return True


async def pipeline(served: Served, peer: RawPeer) -> bool:
    await peer.send(WHO * 3 + UPLOAD + WHO * 3)
    for _ in range(7):
        await peer.read_response()
    return True


async def come_in_pieces(served: Served, peer: RawPeer) -> bool:
    for octet in WHO:
        await peer.send(bytes([octet]))
    await peer.read_response()
    return True


async def reset_a_download(served: Served, peer: RawPeer) -> bool:
    await peer.send(request("GET", "/forever"))
    r = await only_connection(served)
    await wait_until(lambda: not r.response.gate.is_open)
    peer.reset()
    await wait_until(lambda: not served.server.context.connections)
    return False


async def reset_an_upload(served: Served, peer: RawPeer) -> bool:
    sending = asyncio.ensure_future(peer.send(UPLOAD[:1_200_000]))
    r = await only_connection(served)
    await wait_until(lambda: r.content.received_bytes > 300_000)  # it was paused
    sending.cancel()
    await asyncio.wait([sending])
    peer.reset()
    await wait_until(lambda: not served.server.context.connections)
    return False


async def be_late(served: Served, peer: RawPeer) -> bool:
    await peer.send(request("GET", "/late"))
    assert (await peer.read_response()).status == 503
    await wait_until(lambda: not served.server.context.in_flight)
    return False


async def upgrade(served: Served, peer: RawPeer) -> bool:
    await peer.send(UPGRADE + b"early")
    await read_until(peer, b"early")
    await peer.send(b"late")
    await read_until(peer, b"late")
    peer.reset()
    await wait_until(lambda: not served.server.context.connections)
    return False


WAYS: list[Way] = [
    *(upload, upload_in_chunks, download, leave_unread, pipeline, come_in_pieces),
    *(reset_a_download, reset_an_upload, be_late, upgrade),
]


async def only_connection(served: Served) -> R:
    await wait_until(lambda: len(served.server.context.connections) == 1)
    return served.requests[0]


async def read_until(peer: RawPeer, end: bytes) -> None:
    octets = b""
    while not octets.endswith(end):
        octets = octets[-len(end) :] + await peer.read_some()


async def ask_who(peer: RawPeer) -> None:
    await peer.send(WHO)
    await peer.read_response()
    await peer.send(b"GET / HTTP/1.1\r\nHost: a\r\nbad line\r\n\r\n")
    assert (await peer.read_response()).status == 400


@pytest.mark.slow
class TestContextvars:
    @pytest.mark.parametrize("way", WAYS)
    async def test_none_outlives_its_request(self, serve: Serve, way: Way) -> None:
        witness = Witness()
        # with room for one, the next is accepted when the first has ended
        served = serve(witness.handle, connections=1, handler_timeout_s=60.0)
        if way is be_late:
            served = serve(witness.handle, connections=1, handler_timeout_s=0.05)
        served.server.record_responses(witness)
        witness.note_end(served)
        peer = await served.connect()
        if await way(served, peer):
            await ask_who(peer)
        peer.close()
        other = await served.connect()
        await ask_who(other)
        other.close()
        await wait_until(lambda: not served.server.connection_count)
        assert {place for place, _ in witness.seen} >= {"/who", "refused", "closed"}
        assert [each for each in witness.seen if each[1] != NOBODY] == []


async def test_a_task_factory_begins_requests_apart_too(serve: Serve) -> None:
    witness = Witness()
    loop = asyncio.get_running_loop()
    loop.set_task_factory(
        lambda loop, work, **more: asyncio.Task(work, loop=loop, **more)
    )
    try:
        served = serve(witness.handle)
        peer = await served.connect()
        await pipeline(served, peer)
    finally:
        loop.set_task_factory(None)
    assert {name for _, name in witness.seen} == {NOBODY}


async def test_pipelined_requests_begin_apart(serve: Serve) -> None:
    contexts = []

    async def handler(r: R) -> None:
        contexts.append(user.get())
        user.set("alice")
        r.reply(b"")

    served = serve(handler)
    peer = await served.connect()
    await peer.send(GET * 50)
    for _ in range(50):
        await peer.read_response()
    assert contexts == [NOBODY] * 50


async def test_a_connection_that_its_handler_ends_is_lost_outside(serve: Serve) -> None:
    seen: list[str] = []

    async def handle(r: R) -> None:
        user.set("who has closed")
        r.reply(b"")

    served = serve(handle)
    context = served.server.context
    told = context.when_closed

    def note() -> None:
        seen.append(user.get())
        if told is not None:
            told()

    context.when_closed = note
    peer = await served.connect()
    await peer.send(request("GET", "/", "Connection: close"))
    assert b"Connection: close" in await peer.read_until_end()
    peer.close()
    await wait_until(lambda: bool(seen))
    assert seen == [NOBODY]
