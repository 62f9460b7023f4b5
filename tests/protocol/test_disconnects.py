"""server.py: the client goes away, wholly or half."""

import asyncio
import gc
import weakref

import pytest

from blazeio.errors import ClientDisconnected
from blazeio.protocol.context import Handler
from blazeio.protocol.options import RouteOptions
from blazeio.protocol.toolset import ServedApp
from tests.protocol.serving import (
    GET,
    CallLog,
    Connect,
    R,
    Serve,
    Served,
    chunks,
    forever,
    hello,
    post,
    request,
    stream_forever,
)
from tests.support.clock import scaled, wait_until
from tests.support.live import iterate_open_files
from tests.support.peer import RawPeer

CHUNKED = request("POST", "/", "Transfer-Encoding: chunked")
UNDUE = post(b"x" * 10)[:-5]
"""A request with content that is still due."""


async def pull_all(r: R) -> None:
    async for _ in r.pull():
        pass
    r.reply(b"got all")


class Held:
    """Something large."""


def is_paused(served: Served) -> bool:
    return any(not each.read_control.is_open for each in served.connections)


class TestReset:
    async def test_cancels_a_handler_that_waits(
        self, serve: Serve, calls: CallLog
    ) -> None:
        peer = await serve(calls.watching(forever)).connect()
        await peer.send(GET)
        await calls.has("begin")
        peer.reset()
        await calls.has("begin", "CancelledError")

    async def test_cancels_a_handler_that_streams(
        self, serve: Serve, calls: CallLog
    ) -> None:
        peer = await serve(calls.watching(stream_forever)).connect()
        await peer.send(GET)
        await peer.read_some()
        peer.reset()
        await wait_until(lambda: len(calls.entries) == 2)
        assert calls.entries[1] in ("CancelledError", "ClientDisconnected")

    async def test_cancels_a_handler_that_reads(
        self, serve: Serve, calls: CallLog
    ) -> None:
        peer = await serve(calls.watching(pull_all)).connect()
        await peer.send(UNDUE)
        await calls.has("begin")
        peer.reset()
        await calls.has("begin", "CancelledError")

    async def test_is_seen_while_reading_is_paused_by_content(
        self, serve: Serve, calls: CallLog
    ) -> None:
        served = serve(calls.watching(forever), receive_bytes=1000)
        peer = await served.connect()
        await peer.send(post(b"x" * 500_000)[:400_000])
        await wait_until(lambda: is_paused(served))
        peer.reset()
        await calls.has("begin", "CancelledError")

    async def test_is_seen_while_reading_is_paused_by_pipelining(
        self, serve: Serve, calls: CallLog
    ) -> None:
        served = serve(calls.watching(forever), pipeline_bytes=100)
        peer = await served.connect()
        await peer.send(GET)
        await calls.has("begin")
        await peer.send(GET * 10)
        await wait_until(lambda: is_paused(served))
        peer.reset()
        await calls.has("begin", "CancelledError")

    @pytest.mark.parametrize("handler", [forever, stream_forever, pull_all])
    async def test_frees_what_the_handler_holds(
        self, serve: Serve, handler: Handler
    ) -> None:
        """At once, and not when Python's collector comes."""
        held: list[weakref.ref[Held]] = []

        async def hold(r: R) -> None:
            own = Held()
            held.append(weakref.ref(own))
            await handler(r)

        peer = await serve(hold).connect()
        gc.disable()
        try:
            await peer.send(UNDUE if handler is pull_all else GET)
            await wait_until(lambda: bool(held))
            if handler is stream_forever:
                await peer.read_some()
            peer.reset()
            await wait_until(lambda: held[0]() is None)
        finally:
            gc.enable()

    async def test_of_an_idle_connection_is_quiet(
        self, serve: Serve, caplog: pytest.LogCaptureFixture
    ) -> None:
        served = serve(hello)
        peer = await served.connect()
        await peer.exchange(GET)
        peer.reset()
        await wait_until(lambda: not served.server.connection_count)
        assert not caplog.records

    @pytest.mark.parametrize("fields", [[("Connection", "close")], []])
    async def test_between_the_response_and_our_fin_is_no_fault(
        self,
        serve: Serve,
        caplog: pytest.LogCaptureFixture,
        fields: list[tuple[str, str]],
    ) -> None:
        """The kernel knows of it before the loop does."""
        peers: list[RawPeer] = []

        async def handler(r: R) -> None:
            r.reply(b"the last", headers=fields)
            peers[0].reset()

        served = serve(handler)
        peers.append(await served.connect())
        if not fields:
            served.server.start_draining(1.0)
        await peers[0].send(GET)
        await wait_until(lambda: served.server.request_count)
        await wait_until(lambda: not served.connections)
        await asyncio.sleep(0)
        gc.collect()  # of a task that has failed
        assert not served.server.in_flight
        assert not caplog.records


class TestFin:
    async def test_with_content_due_cancels(self, serve: Serve, calls: CallLog) -> None:
        peer = await serve(calls.watching(forever)).connect()
        await peer.send(UNDUE)
        await calls.has("begin")
        peer.half_close()
        await calls.has("begin", "CancelledError")

    async def test_right_behind_its_request_leaves_nothing_in_flight(
        self, serve: Serve
    ) -> None:
        # uvloop reads both in one turn, before the handler's task has begun
        served = serve(forever)
        for _ in range(20):
            peer = await served.connect()
            await peer.send(UNDUE)
            peer.half_close()
        await wait_until(lambda: served.server.request_count == 20)
        await wait_until(lambda: not served.server.in_flight)

    async def test_within_chunks_cancels(self, serve: Serve, calls: CallLog) -> None:
        peer = await serve(calls.watching(pull_all)).connect()
        await peer.send(CHUNKED + b"5\r\nab")
        await calls.has("begin")
        peer.half_close()
        await calls.has("begin", "CancelledError")

    async def test_with_content_due_is_seen_while_reading_is_paused(
        self, serve: Serve, calls: CallLog
    ) -> None:
        served = serve(calls.watching(forever), receive_bytes=1000)
        peer = await served.connect()
        await peer.send(post(b"x" * 5000)[:4000])
        await wait_until(lambda: is_paused(served))
        peer.half_close()
        await calls.has("begin", "CancelledError")

    async def test_of_chunks_is_seen_while_reading_is_paused_and_none_is_left(
        self, serve: Serve, calls: CallLog
    ) -> None:
        served = serve(calls.watching(forever), receive_bytes=1000)
        peer = await served.connect()
        await peer.send(CHUNKED + b"%x\r\n" % 5000 + b"x" * 2000)
        await wait_until(lambda: is_paused(served))
        peer.half_close()
        await calls.has("begin", "CancelledError")

    async def test_behind_whole_content_in_the_kernel_waits_for_the_handler(
        self, serve: Serve, calls: CallLog
    ) -> None:
        may_pull = asyncio.Event()

        async def handler(r: R) -> None:
            await may_pull.wait()
            await pull_all(r)

        served = serve(calls.watching(handler), receive_bytes=1000)
        peer = await served.connect()
        await peer.send(request("POST", "/", "Content-Length: 20000"))
        await calls.has("begin")
        await peer.send(b"x" * 10_000)
        await wait_until(lambda: is_paused(served))
        await peer.send(b"x" * 10_000)
        peer.half_close()
        (connection,) = served.connections
        due_bytes = connection.request.content.due_bytes
        await wait_until(lambda: connection.read_control.unread_bytes() >= due_bytes)
        await asyncio.sleep(scaled(0.05))
        may_pull.set()
        assert (await peer.read_response()).body == b"got all"
        await calls.has("begin", "end")

    async def test_while_the_response_is_streamed_cancels(
        self, serve: Serve, calls: CallLog
    ) -> None:
        async def handler(r: R) -> None:
            await r.write(b"a")
            await forever(r)

        peer = await serve(calls.watching(handler)).connect()
        await peer.send(GET)
        await peer.read_some()
        peer.half_close()
        await calls.has("begin", "CancelledError")

    async def test_of_an_idle_connection_is_answered_by_fin(self, serve: Serve) -> None:
        peer = await serve(hello).connect()
        await peer.exchange(GET)
        peer.half_close()
        assert await peer.read_until_end() == b""

    async def test_within_a_head_closes(self, serve: Serve) -> None:
        peer = await serve(hello).connect()
        await peer.send(GET[:10])
        peer.half_close()
        assert await peer.read_until_end() == b""

    async def test_within_content_that_nobody_reads_any_more_closes(
        self, serve: Serve
    ) -> None:
        peer = await serve(hello).connect()
        await peer.send(UNDUE)
        await peer.read_response()
        peer.half_close()
        assert await peer.read_until_end() == b""


class TestHalfClose:
    async def test_the_answer_still_comes(self, serve: Serve, calls: CallLog) -> None:
        may_answer = asyncio.Event()

        async def handler(r: R) -> None:
            await may_answer.wait()
            assert r.peer_closed
            r.reply(b"late")

        served = serve(calls.watching(handler))
        peer = await served.connect()
        await peer.send(post(b"abc"))
        peer.half_close()
        await wait_until(lambda: any(r.peer_closed for r in served.requests))
        may_answer.set()
        assert (await peer.read_response()).body == b"late"
        assert await peer.read_until_end() == b""
        assert calls.entries == ["begin", "end"]

    async def test_after_the_grace_the_handler_is_cancelled(
        self, serve: Serve, calls: CallLog
    ) -> None:
        served = serve(calls.watching(forever), half_close_grace_s=scaled(0.05))
        peer = await served.connect()
        await peer.send(GET)
        peer.half_close()
        await calls.has("begin", "CancelledError")

    @pytest.mark.slow
    async def test_an_answer_begun_within_the_grace_may_take_longer(
        self, serve: Serve, calls: CallLog
    ) -> None:
        async def handler(r: R) -> None:
            await wait_until(lambda: r.peer_closed)
            await r.write(b"begun")
            await asyncio.sleep(scaled(0.25))
            await r.write(b", ended")

        served = serve(calls.watching(handler), half_close_grace_s=scaled(0.1))
        peer = await served.connect()
        await peer.send(GET)
        peer.half_close()
        assert (await peer.read_response()).body == b"begun, ended"

    async def test_requests_in_a_row_are_all_answered(self, serve: Serve) -> None:
        async def handler(r: R) -> None:
            await asyncio.sleep(0.001)
            r.reply(r.query.encode())

        peer = await serve(handler).connect()
        await peer.send(b"".join(request("GET", f"/?{n}") for n in range(5)))
        peer.half_close()
        answers = [(await peer.read_response()).text for _ in range(5)]
        assert answers == ["0", "1", "2", "3", "4"]
        assert await peer.read_until_end() == b""

    async def test_the_grace_holds_for_each_request_in_a_row(
        self, connect: Connect, calls: CallLog
    ) -> None:
        async def handler(r: R) -> None:
            if r.path == "/slow":
                await forever(r)
            r.reply(b"")

        wire = connect(calls.watching(handler), half_close_grace_s=scaled(0.1))
        wire.peer.feed(GET + request("GET", "/slow"))
        wire.peer.feed_eof()
        await calls.has("begin", "end", "begin", "CancelledError")

    async def test_a_request_in_a_row_that_cannot_become_whole_is_given_up(
        self, connect: Connect, calls: CallLog
    ) -> None:
        wire = connect(calls.watching(pull_all))
        wire.peer.feed(GET + UNDUE)
        wire.peer.feed_eof()
        await calls.has("begin", "end", "begin", "CancelledError")
        assert len(wire.responses()) == 1

    async def test_a_head_in_a_row_that_cannot_become_whole_is_given_up(
        self, connect: Connect, calls: CallLog
    ) -> None:
        wire = connect(calls.watching(hello))
        wire.peer.feed(GET + GET[:5])
        wire.peer.feed_eof()
        await wait_until(lambda: wire.peer.is_lost)
        assert len(wire.responses()) == 1

    async def test_the_handler_can_see_it_and_sleep_until_it(
        self, serve: Serve
    ) -> None:
        async def handler(r: R) -> None:
            before = bool(r.peer_closed)
            await r.peer_closed
            r.reply(f"{before} {bool(r.peer_closed)}".encode())

        peer = await serve(handler, half_close_grace_s=scaled(5)).connect()
        await peer.send(GET)
        peer.half_close()
        assert (await peer.read_response()).body == b"False True"


class TestAfterTheAnswer:
    @pytest.mark.parametrize("how", ["reset", "close", "half_close"])
    async def test_a_disconnect_does_not_cancel(
        self, serve: Serve, calls: CallLog, how: str
    ) -> None:
        may_go_on = asyncio.Event()

        async def handler(r: R) -> None:
            await r.prepare({"Content-Length": 2})
            await r.eof(b"ok")
            await may_go_on.wait()
            calls.note("afterwork")

        served = serve(calls.watching(handler))
        peer = await served.connect()
        await peer.send(GET)
        await peer.read_response()
        getattr(peer, how)()
        if how == "reset":
            await wait_until(lambda: not served.server.connection_count)
        else:
            await wait_until(lambda: any(r.peer_closed for r in served.requests))
        assert served.server.in_flight == 1
        may_go_on.set()
        await calls.has("begin", "afterwork", "end")
        await wait_until(lambda: served.server.in_flight == 0)

    async def test_the_same_of_a_reply(self, serve: Serve, calls: CallLog) -> None:
        may_go_on = asyncio.Event()

        async def handler(r: R) -> None:
            r.reply(b"ok")
            await may_go_on.wait()

        served = serve(calls.watching(handler))
        peer = await served.connect()
        await peer.exchange(GET)
        peer.reset()
        await wait_until(lambda: not served.server.connection_count)
        assert calls.entries == ["begin"]
        may_go_on.set()
        await calls.has("begin", "end")


class TestCancellation:
    async def test_comes_once_so_that_cleanup_can_wait(
        self, serve: Serve, calls: CallLog
    ) -> None:
        async def handler(r: R) -> None:
            try:
                await forever(r)
            finally:
                for _ in range(20):
                    await asyncio.sleep(0.001)
                calls.note("cleaned up")

        peer = await serve(handler).connect()
        await peer.send(UNDUE)
        await asyncio.sleep(scaled(0.02))
        peer.half_close()  # seen as a broken request, then as a lost connection
        await calls.has("cleaned up")

    async def test_that_is_swallowed_does_no_harm(
        self, serve: Serve, calls: CallLog
    ) -> None:
        async def handler(r: R) -> None:
            try:
                await forever(r)
            except asyncio.CancelledError:
                calls.note("swallowed")
            try:
                await r.write(b"x")
            except ClientDisconnected:
                calls.note("nobody there")

        served = serve(handler)
        peer = await served.connect()
        await peer.send(UNDUE)
        await wait_until(lambda: served.server.in_flight)
        peer.half_close()
        await calls.has("swallowed", "nobody there")

    async def test_finds_a_handler_that_ends_at_the_same_time(
        self, connect: Connect
    ) -> None:
        wires = [connect(hello) for _ in range(3)]
        for turns, wire in enumerate(wires):
            wire.peer.feed(GET)
            for _ in range(turns):
                await asyncio.sleep(0)
            wire.peer.lose()


@pytest.mark.slow
async def test_nothing_is_left_of_1000_aborted_connections(serve: Serve) -> None:
    async def handler(r: R) -> None:
        if r.method == "POST":
            await pull_all(r)
        elif r.path == "/stream":
            await stream_forever(r)
        elif r.path == "/hello":
            await hello(r)
        else:
            await forever(r)

    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    served = serve(handler, receive_bytes=1000, high_water_bytes=1000)
    scripts = [
        GET,
        GET[:7],
        b"",
        UNDUE,
        post(b"x" * 100_000)[:50_000],
        CHUNKED + b"5\r\nab",
        CHUNKED + chunks(b"x" * 5000),
        request("GET", "/stream"),
        GET * 50,
        b"no http at all\r\n\r\n",
    ]
    # libuv opens a descriptor of its own with its first stream
    await served.exchange(request("GET", "/hello", "Connection: close"))
    tasks_before = len(asyncio.all_tasks())
    files_before = list(iterate_open_files())
    for number in range(100):
        peers = [await served.connect() for _ in scripts]
        for peer, octets in zip(peers, scripts, strict=True):
            await peer.send(octets)
        if number % 3:
            await asyncio.sleep(0)
        for peer in peers:
            peer.reset()
    await wait_until(lambda: not served.server.connection_count, 5)
    await wait_until(lambda: not served.server.in_flight, 5)
    await wait_until(lambda: len(asyncio.all_tasks()) <= tasks_before)
    assert not served.server.context.detached
    # the side epoll stays: one for the loop
    files = list(iterate_open_files())
    assert len(files) <= len(files_before) + 1, set(files) - set(files_before)


async def test_a_route_that_finishes_alone_is_not_cancelled(
    serve: Serve, calls: CallLog
) -> None:
    gone = asyncio.Event()

    async def handler(r: R) -> None:
        await gone.wait()
        with pytest.raises(ClientDisconnected):
            await r.write(b"to nobody")

    served = serve(calls.watching(handler))
    options = RouteOptions(on_disconnect="finish")
    served.server.context.app = ServedApp(lambda method, path: options)
    peer = await served.connect()
    await peer.send(GET)
    await calls.has("begin")
    peer.reset()
    await wait_until(lambda: not served.connections)
    gone.set()
    await calls.has("begin", "end")
