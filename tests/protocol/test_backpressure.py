"""server.py: who is faster waits, asleep, and memory stays bounded."""

import asyncio
import time

import pytest

from blazeio.errors import ClientDisconnected
from blazeio.protocol.context import RECEIVE_BUFFER_BYTES
from blazeio.protocol.payload import LARGEST_STEP
from tests.protocol.serving import (
    GET,
    CallLog,
    Connect,
    R,
    Serve,
    Served,
    chunks,
    forever,
    post,
    request,
)
from tests.support.clock import scaled, wait_until, within
from tests.support.response import parse_response

CHUNKED = request("POST", "/", "Transfer-Encoding: chunked")
BODY = bytes(range(256)) * 8000  # 2 MB


def is_paused(served: Served) -> bool:
    return any(not each.read_control.is_open for each in served.connections)


def is_stalled(served: Served) -> bool:
    return any(not r.response.gate.is_open for r in served.requests)


class TestReceiving:
    @pytest.mark.parametrize(
        ("octets", "size"),
        [
            (post(BODY), len(BODY)),
            (CHUNKED + chunks(*[BODY[:5000]] * 200), 1_000_000),
        ],
        ids=["length", "chunked"],
    )
    async def test_a_handler_that_does_not_pull_pauses_the_client(
        self, serve: Serve, octets: bytes, size: int
    ) -> None:
        may_pull = asyncio.Event()
        most = 0

        async def handler(r: R) -> None:
            nonlocal most
            await may_pull.wait()
            pulled = 0
            async for piece in r.pull():
                most = max(most, r.content.queued_bytes + len(piece))
                pulled += len(piece)
                await asyncio.sleep(0)
            r.reply(b"%d" % pulled)

        served = serve(handler, receive_bytes=10_000)
        peer = await served.connect()
        sending = asyncio.create_task(peer.send(octets))
        await wait_until(lambda: is_paused(served))
        (r,) = served.requests
        received = r.current_length
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert r.current_length == received
        may_pull.set()
        response = await peer.read_response()
        await sending
        assert int(response.body) == size
        # at most one read beyond the bound
        assert most <= 10_000 + RECEIVE_BUFFER_BYTES

    async def test_an_upload_pauses_again_and_again_and_arrives_whole(
        self, serve: Serve
    ) -> None:
        async def handler(r: R) -> None:
            pieces = []
            async for piece in r.pull():
                pieces.append(piece)
                await asyncio.sleep(0.0001)
            assert b"".join(pieces) == BODY
            r.reply(b"the same")

        served = serve(handler, receive_bytes=1)
        assert (await served.exchange(post(BODY))).body == b"the same"

    async def test_what_was_received_survives_the_next_read(self, serve: Serve) -> None:
        """All connections of a loop share one receive buffer."""
        kept: dict[str, list[bytes]] = {}

        async def handler(r: R) -> None:
            kept[r.query] = [piece async for piece in r.pull()]
            r.reply(b"")

        served = serve(handler)
        peers = [await served.connect() for _ in range(10)]
        for number, peer in enumerate(peers):
            await peer.send(post(b"%d" % number * 3000, path=f"/?{number}")[:-1000])
        for number, peer in enumerate(peers):
            await peer.send(b"%d" % number * 1000)
            await peer.read_response()
        for number in range(10):
            assert b"".join(kept[str(number)]) == b"%d" % number * 3000


class TestSending:
    @pytest.mark.slow
    async def test_a_writer_sleeps_while_the_client_does_not_read(
        self, serve: Serve
    ) -> None:
        writes = 0

        async def handler(r: R) -> None:
            nonlocal writes
            await r.prepare({"Content-Length": 5_000_000})
            while writes < 500:
                await r.write(b"x" * 10_000)
                writes += 1

        served = serve(handler, high_water_bytes=100_000)
        peer = await served.connect(receive_buffer_bytes=4096)
        await peer.send(GET)
        await wait_until(lambda: is_stalled(served))
        (r,) = served.requests
        await asyncio.sleep(0.01)
        before, cpu_s = writes, time.process_time()
        await asyncio.sleep(0.2)
        assert writes == before
        assert time.process_time() - cpu_s < 0.1, "a sleeping writer costs no CPU"
        assert r.transport.get_write_buffer_size() < 250_000
        received = 0
        while received < 5_000_000:
            received += len(await peer.read_some())
        assert writes == 500

    async def test_a_large_write_is_given_to_the_transport_bit_by_bit(
        self, serve: Serve
    ) -> None:
        async def handler(r: R) -> None:
            await r.write(b"x" * 20_000_000)

        served = serve(handler, high_water_bytes=50_000)
        peer = await served.connect(receive_buffer_bytes=4096)
        await peer.send(GET)
        await wait_until(lambda: is_stalled(served))
        (r,) = served.requests
        assert r.transport.get_write_buffer_size() <= 50_000 * LARGEST_STEP
        peer.reset()

    @pytest.mark.parametrize("size", [60, 100])
    @pytest.mark.parametrize("is_declared", [True, False])
    async def test_the_rest_of_a_cut_write_follows_whatever_room_there_is_then(
        self, connect: Connect, size: int, is_declared: bool
    ) -> None:
        pieces = [bytes([number]) * size for number in range(6)]

        async def handler(r: R) -> None:
            await r.prepare({"Content-Length": 6 * size} if is_declared else None)
            for piece in pieces:
                await r.write(piece)

        wire = connect(handler, high_water_bytes=100)
        wire.peer.is_stalled = True
        wire.peer.feed(GET)
        while wire.context.in_flight:
            await asyncio.sleep(0)
            if not wire.r.response.gate.is_open:
                wire.peer.drain()
        wire.peer.drain()
        response = parse_response(bytes(wire.written))
        assert response
        assert response.body == b"".join(pieces)

    async def test_sleepers_wake_when_the_client_reads(self, connect: Connect) -> None:
        async def handler(r: R) -> None:
            await r.prepare({"Content-Length": 60})
            for number in range(6):
                await r.write(b"%d" % number * 10)

        wire = connect(handler, high_water_bytes=100)
        wire.peer.is_stalled = True
        wire.peer.feed(GET)
        await wait_until(lambda: not wire.r.response.gate.is_open)
        assert wire.written == b""
        wire.peer.is_stalled = False
        wire.peer.drain()
        body = (await wire.answered())[0].body
        assert body == b"".join(b"%d" % number * 10 for number in range(6))

    async def test_several_writers_of_one_response_all_wait(
        self, connect: Connect
    ) -> None:
        async def handler(r: R) -> None:
            await r.prepare()
            await r.write(b"x" * 300)
            await asyncio.gather(*(r.write(b"%d" % number) for number in range(5)))

        wire = connect(handler, high_water_bytes=100)
        wire.peer.is_stalled = True
        wire.peer.feed(GET)
        await wait_until(lambda: not wire.r.response.gate.is_open)
        wire.peer.is_stalled = False
        wire.peer.drain()
        assert (await wire.answered())[0].body.endswith(b"01234")

    @pytest.mark.parametrize("how", ["write", "writer", "eof", "write_chunked"])
    async def test_a_disconnect_wakes_every_sleeper(
        self, connect: Connect, calls: CallLog, how: str
    ) -> None:
        async def handler(r: R) -> None:
            await r.write(b"x" * 90)  # with its head, more than may wait
            sleeper = asyncio.create_task(getattr(r, how)(b"y"))
            try:
                await forever(r)
            finally:
                try:
                    await sleeper
                except ClientDisconnected:
                    calls.note("told")

        wire = connect(handler, high_water_bytes=100)
        wire.peer.is_stalled = True
        wire.peer.feed(GET)
        await wait_until(lambda: not wire.r.response.gate.is_open)
        await asyncio.sleep(0)
        wire.peer.lose(BrokenPipeError())
        await calls.has("told")

    async def test_buffer_overflow_manager_returns_when_there_is_room(
        self, connect: Connect, calls: CallLog
    ) -> None:
        async def handler(r: R) -> None:
            await r.buffer_overflow_manager()
            calls.note("room")
            r.reply(b"x" * 1000)
            await r.buffer_overflow_manager()
            calls.note("room again")

        wire = connect(handler, high_water_bytes=100)
        wire.peer.is_stalled = True
        wire.peer.feed(GET)
        await calls.has("room")
        wire.peer.is_stalled = False
        wire.peer.drain()
        await calls.has("room", "room again")

    async def test_it_raises_when_nobody_is_there(
        self, connect: Connect, calls: CallLog
    ) -> None:
        async def handler(r: R) -> None:
            try:
                await forever(r)
            finally:
                with pytest.raises(ClientDisconnected):
                    await r.buffer_overflow_manager()
                calls.note("told")

        wire = connect(handler)
        wire.peer.feed(GET)
        await asyncio.sleep(0)
        wire.peer.lose()
        await calls.has("told")

    async def test_a_slow_client_hinders_no_other(self, serve: Serve) -> None:
        async def handler(r: R) -> None:
            await r.write(b"x" * (int(r.query or 0)))

        served = serve(handler)
        slow = await served.connect(receive_buffer_bytes=4096)
        await slow.send(request("GET", "/?20000000"))
        await wait_until(lambda: is_stalled(served))
        quick = await served.connect()
        async with asyncio.timeout(scaled(2)):
            for _ in range(50):
                await quick.exchange(request("GET", "/?10"))
        slow.reset()


async def test_an_echo_with_small_bounds_neither_stops_nor_loses(
    serve: Serve,
) -> None:
    async def handler(r: R) -> None:
        await r.prepare()
        async for piece in r.pull():
            await r.write(piece)

    served = serve(handler, receive_bytes=5000, high_water_bytes=5000)
    peer = await served.connect(receive_buffer_bytes=8192)
    sending = asyncio.create_task(peer.send(post(BODY)))
    octets = b""
    while not octets.endswith(b"\r\n0\r\n\r\n"):
        octets += await peer.read_some()
    await within(sending)
    response = parse_response(octets)
    assert response is not None
    assert response.body == BODY
