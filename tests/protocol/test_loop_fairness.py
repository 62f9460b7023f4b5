"""No handler keeps the loop to itself by giving and taking octets alone.

A peer that reads as fast as it is written to, a response whose content is
dropped, a client that has gone away: in each case none of the calls has to wait.
So the loop turns after a share of work, and before each error but the first.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from blazeio.app.deliver import Deliver, EventStream
from blazeio.errors import ClientDisconnected, LocalProtocolError
from blazeio.files.static_server import Simpleserve
from blazeio.protocol.flow import CALL_BYTES, TURN_BYTES
from blazeio.protocol.options import RouteOptions
from blazeio.protocol.toolset import ServedApp
from tests.protocol.serving import GET, Connect, R, Serve, Served, post, request
from tests.support.clock import wait_until

CALLS = 400
A_SHARE = TURN_BYTES // CALL_BYTES

Call = Callable[[R], Awaitable[object]]


class Turns:
    """Counts the turns of the loop, for as long as the block lasts."""

    def __init__(self) -> None:
        self.count = 0

    async def _count(self) -> None:
        while True:
            await asyncio.sleep(0)
            self.count += 1

    async def __aenter__(self) -> "Turns":
        self._task = asyncio.ensure_future(self._count())
        return self

    async def __aexit__(self, *error: object) -> None:
        self._task.cancel()


async def pieces() -> AsyncIterator[bytes]:
    yield b"x"
    yield b""


async def pull(r: R) -> None:
    async for _ in r.pull():
        pass


async def ayield(r: R) -> None:
    async for _ in r.ayield():
        pass


async def comment(r: R) -> None:
    await EventStream(r).comment("x")


async def send_event(r: R) -> None:
    await EventStream(r).send("x")


WRITES: dict[str, Call] = {
    "write": lambda r: r.write(b"x"),
    "write nothing": lambda r: r.write(b""),
    "write text": lambda r: r.write("x"),
    "write pieces": lambda r: r.write([b"x", b"y"]),
    "write a generator": lambda r: r.write(pieces()),
    "write_chunked": lambda r: r.write_chunked(b"x"),
    "writer": lambda r: r.writer(b"1\r\nx\r\n"),
    "send": send_event,
    "comment": comment,
    "buffer_overflow_manager": lambda r: r.buffer_overflow_manager(),
    "give_way": lambda r: r.give_way(),
}
READS: dict[str, Call] = {
    "read": lambda r: r.read(),
    "pull": pull,
    "ayield": ayield,
    "ensure_reading": lambda r: r.ensure_reading(),
}
ANSWERS: dict[str, Call] = {
    "prepare": lambda r: r.prepare(),
    "eof": lambda r: r.eof(),
    "json": lambda r: Deliver.json(r, {}),
    "text": lambda r: Deliver.text(r, ""),
    "html": lambda r: Deliver.html(r, ""),
    "bytes": lambda r: Deliver.bytes(r, b""),
    "redirect": lambda r: Deliver.redirect(r, "/"),
    "no_content": lambda r: Deliver.no_content(r),
    "stream": lambda r: Deliver.stream(r, pieces()),
    "sse": lambda r: Deliver.sse(r, pieces()),
    "file": lambda r: Simpleserve.serve(r, __file__),
}


async def many(call: Call, r: R) -> int:
    """Call again and again; the turns that the loop has had meanwhile."""
    async with Turns() as turns:
        await asyncio.sleep(0)
        before = turns.count
        for _ in range(CALLS):
            await call(r)
        return turns.count - before


@pytest.mark.parametrize("name", WRITES)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("status", [200, 204, 304])
async def test_the_loop_turns_while_nothing_has_to_wait(
    connect: Connect, name: str, method: str, status: int
) -> None:
    counts: list[int] = []

    async def handler(r: R) -> None:
        await r.prepare(status=status)
        counts.append(await many(WRITES[name], r))

    wire = connect(handler)
    wire.peer.feed(request(method))
    await wait_until(lambda: counts)
    assert counts[0] >= CALLS // A_SHARE - 1


@pytest.mark.parametrize("name", READS)
async def test_the_loop_turns_for_who_reads_again_and_again(
    connect: Connect, name: str
) -> None:
    counts: list[int] = []

    async def handler(r: R) -> None:
        if name == "read":
            await r.read()
        counts.append(await many(READS[name], r))
        r.reply(b"")

    wire = connect(handler)
    await wire.ask(post(b"abc"))
    assert counts[0] >= CALLS // A_SHARE - 1


@pytest.mark.parametrize("name", READS)
async def test_the_loop_turns_for_who_reads_again_what_is_nothing(
    connect: Connect, name: str
) -> None:
    counts: list[int] = []

    async def handler(r: R) -> None:
        counts.append(await many(READS[name], r))
        r.reply(b"")

    wire = connect(handler)
    await wire.ask(GET)
    assert counts[0] >= CALLS // A_SHARE - 1


@pytest.mark.parametrize("name", [*ANSWERS, "write", "write pieces", "write_chunked"])
async def test_the_loop_turns_for_who_repeats_a_mistake(
    connect: Connect, name: str
) -> None:
    """There has been an answer already; the handler catches that and tries again."""
    call = {**WRITES, **ANSWERS}[name]
    counts: list[int] = []

    async def refused(r: R) -> None:
        with pytest.raises(LocalProtocolError):
            await call(r)

    async def handler(r: R) -> None:
        r.reply(b"")
        counts.append(await many(refused, r))

    wire = connect(handler)
    wire.peer.feed(GET)
    await wait_until(lambda: counts)
    assert counts[0] >= CALLS // A_SHARE - 1


async def test_one_large_write_turns_too(connect: Connect) -> None:
    counts: list[int] = []

    async def handler(r: R) -> None:
        async with Turns() as turns:
            await asyncio.sleep(0)
            await r.write(bytes(20 * TURN_BYTES))
            counts.append(turns.count)

    wire = connect(handler)
    wire.peer.feed(GET)
    await wait_until(lambda: counts)
    assert counts[0] >= 19


class TestGone:
    @pytest.mark.parametrize("name", [*WRITES, *ANSWERS])
    async def test_who_goes_on_writing_to_nobody_holds_up_nobody(
        self, serve: Serve, name: str
    ) -> None:
        call = {**WRITES, **ANSWERS}[name]
        seen: list[tuple[int, int]] = []
        is_set = asyncio.Event()

        async def handler(r: R) -> None:
            if name in WRITES:
                await r.prepare()
            is_set.set()
            await wait_until(lambda: r.transport.is_closing(), 10)
            count = 0
            async with Turns() as turns:
                for _ in range(CALLS):
                    try:
                        await call(r)
                    except ClientDisconnected:
                        count += 1
                seen.append((count, turns.count))

        served = serve(handler)
        finish_in_any_case(served)
        peer = await served.connect()
        await peer.send(request("GET", "/"))
        await is_set.wait()
        peer.reset()
        await wait_until(lambda: seen, 10)
        errors, turns = seen[0]
        assert errors == CALLS
        assert turns >= CALLS // 2

    async def test_who_waits_for_content_is_told(self, serve: Serve) -> None:
        told: list[int] = []

        async def handler(r: R) -> None:
            r.transport.close()
            for reader in (pull, ayield, R.read, R.ensure_reading):
                try:
                    await reader(r)
                except ClientDisconnected:
                    told.append(1)

        served = serve(handler)
        finish_in_any_case(served)
        peer = await served.connect()
        await peer.send(request("POST", "/", "Content-Length: 5"))
        await wait_until(lambda: len(told) == 4)

    async def test_what_has_arrived_can_be_read_though_nobody_is_there(
        self, serve: Serve
    ) -> None:
        read: list[bytes] = []

        async def handler(r: R) -> None:
            await wait_until(lambda: not r.is_alive, 10)
            for _ in range(100):
                read.append(b"".join([piece async for piece in r.pull()]))
                await r.ensure_reading()

        served = serve(handler)
        finish_in_any_case(served)
        peer = await served.connect()
        await peer.send(post(b"order"))
        await wait_until(lambda: served.server.in_flight)
        peer.reset()
        await wait_until(lambda: len(read) == 100, 10)
        assert read[0] == b"order"

    async def test_a_tight_loop_ends_by_the_cancellation(self, serve: Serve) -> None:
        ended = asyncio.Event()

        async def handler(r: R) -> None:
            try:
                while True:
                    try:
                        await r.write(b"x" * 20_000)
                    except ClientDisconnected:
                        continue
            finally:
                ended.set()

        served = serve(handler)
        peer = await served.connect()
        await peer.send(GET)
        await peer.read_some()
        peer.reset()
        await asyncio.wait_for(ended.wait(), 10)


def finish_in_any_case(served: Served) -> None:
    """A client that leaves cancels no handler."""
    options = RouteOptions(on_disconnect="finish")
    served.server.context.app = ServedApp(lambda method, path: options)
