"""receiving.py: requests in a row, and content that waits for a 100."""

import asyncio
import contextvars

from tests.protocol.serving import (
    GET,
    CallLog,
    Connect,
    R,
    Serve,
    chunks,
    echo,
    hello,
    post,
    request,
)
from tests.support.clock import scaled, wait_until


class TestPipelining:
    async def test_answers_come_in_order_also_of_slow_handlers(
        self, serve: Serve
    ) -> None:
        running = 0

        async def handler(r: R) -> None:
            nonlocal running
            running += 1
            assert running == 1, "one request of a connection at a time"
            for _ in range(int(r.query)):
                await asyncio.sleep(0)
            running -= 1
            r.reply(r.query.encode())

        peer = await serve(handler).connect()
        spans = [50, 0, 20, 0, 1]
        await peer.send(b"".join(request("GET", f"/?{span}") for span in spans))
        answers = [(await peer.read_response()).text for _ in spans]
        assert answers == [str(span) for span in spans]

    async def test_requests_with_content_follow_each_other(
        self, connect: Connect
    ) -> None:
        wire = connect(echo)
        chunked = request("POST", "/", "Transfer-Encoding: chunked")
        wire.peer.feed(post(b"one") + chunked + chunks(b"two") + post(b"three") + GET)
        bodies = [response.body for response in await wire.answered(4)]
        assert bodies == [b"one", b"two", b"three", b""]

    async def test_a_request_cut_by_the_end_of_a_read_goes_on(
        self, connect: Connect
    ) -> None:
        wire = connect(echo)
        stream = post(b"one") + post(b"two") + post(b"three")
        for cut in range(1, len(stream)):
            wire.peer.take_written()
            wire.peer.feed(stream[:cut])
            await asyncio.sleep(0)
            wire.peer.feed(stream[cut:])
            bodies = [response.body for response in await wire.answered(3)]
            assert bodies == [b"one", b"two", b"three"], cut

    async def test_what_follows_a_last_request_is_not_served(
        self, serve: Serve, calls: CallLog
    ) -> None:
        served = serve(calls.watching(hello))
        peer = await served.connect()
        await peer.send(request("GET", "/", "Connection: close") + GET + GET)
        assert (await peer.read_response()).field("connection") == "close"
        assert await peer.read_until_end() == b""
        assert calls.entries == ["begin", "end"]

    async def test_octets_of_waiting_requests_are_bounded(self, serve: Serve) -> None:
        may_go_on = asyncio.Event()

        async def handler(r: R) -> None:
            await may_go_on.wait()
            r.reply(b"")

        served = serve(handler, pipeline_bytes=1000)
        peer = await served.connect()
        sending = asyncio.create_task(peer.send(GET * 400_000))
        await wait_until(
            lambda: any(not each.read_control.is_open for each in served.connections)
        )
        (connection,) = served.connections
        assert connection._pending.size < 300 * 1024  # the bound, and one read
        may_go_on.set()
        most = 0
        async with asyncio.timeout(scaled(5)):
            while served.server.request_count <= 500:
                await asyncio.sleep(0)
                most = max(most, connection._pending.size)
        assert most < 300 * 1024, "each request let in more than it took"
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)

    async def test_all_waiting_requests_are_answered_after_a_pause(
        self, serve: Serve
    ) -> None:
        served = serve(echo, pipeline_bytes=100, receive_bytes=100)
        peer = await served.connect()
        count = 600
        sending = asyncio.create_task(
            peer.send(b"".join(post(b"%d" % n * 50) for n in range(count)))
        )
        for number in range(count):
            assert (await peer.read_response()).body == b"%d" % number * 50
        await sending

    async def test_a_long_head_behind_a_full_pipeline_still_comes(
        self, connect: Connect
    ) -> None:
        may_go_on = asyncio.Event()

        async def handler(r: R) -> None:
            await may_go_on.wait()
            r.reply(b"")

        wire = connect(handler, pipeline_bytes=100)
        head = request("GET", "/", "X: " + "x" * 500)
        wire.peer.feed(GET)
        wire.peer.feed(head[:300])
        assert not wire.peer.is_reading()
        may_go_on.set()
        await wire.answered(1)
        wire.peer.feed(head[300:])
        await wire.answered(2)

    async def test_contextvars_of_a_handler_do_not_reach_the_next_request(
        self, connect: Connect
    ) -> None:
        user: contextvars.ContextVar[str] = contextvars.ContextVar("user", default="-")

        async def handler(r: R) -> None:
            seen = user.get()
            user.set("somebody")
            r.reply(seen.encode())

        wire = connect(handler)
        wire.peer.feed(GET * 3)
        assert [each.body for each in await wire.answered(3)] == [b"-"] * 3


class TestContinue:
    HEAD = request("POST", "/", "Content-Length: 3", "Expect: 100-continue")

    async def test_comes_when_content_is_first_read(
        self, serve: Serve, calls: CallLog
    ) -> None:
        may_read = asyncio.Event()

        async def handler(r: R) -> None:
            calls.note("begin")
            await may_read.wait()
            r.reply(await r.read())

        peer = await serve(handler).connect()
        await peer.send(self.HEAD)
        await calls.has("begin")
        assert peer.octets == b""
        may_read.set()
        assert (await peer.read_response()).status == 100
        await peer.send(b"abc")
        assert (await peer.read_response()).body == b"abc"
        await peer.send(GET)
        assert (await peer.read_response()).status == 200

    async def test_comes_once(self, connect: Connect) -> None:
        async def handler(r: R) -> None:
            r.reply(b"".join([piece async for piece in r.pull()]))

        wire = connect(handler)
        wire.peer.feed(self.HEAD)
        await asyncio.sleep(0)
        for octet in (b"a", b"b", b"c"):
            wire.peer.feed(octet)
            await asyncio.sleep(0)
        assert [each.status for each in await wire.answered(2)] == [100, 200]

    async def test_never_comes_where_content_was_sent_without_it(
        self, connect: Connect
    ) -> None:
        async def handler(r: R) -> None:
            r.reply(await r.read())

        assert (await connect(handler).ask(self.HEAD + b"abc")).body == b"abc"

    async def test_never_comes_once_some_content_has_arrived(
        self, connect: Connect
    ) -> None:
        may_read = asyncio.Event()

        async def handler(r: R) -> None:
            await may_read.wait()
            r.reply(await r.read())

        wire = connect(handler)
        wire.peer.feed(self.HEAD)
        wire.peer.feed(b"a")
        may_read.set()
        await asyncio.sleep(0)
        wire.peer.feed(b"bc")
        assert (await wire.answered())[0].body == b"abc"

    async def test_never_comes_to_http_1_0(self, connect: Connect) -> None:
        async def handler(r: R) -> None:
            r.reply(await r.read())

        wire = connect(handler)
        wire.peer.feed(self.HEAD.replace(b"1.1", b"1.0"))
        await asyncio.sleep(0)
        assert wire.written == b""
        wire.peer.feed(b"abc")
        assert (await wire.answered())[0].body == b"abc"

    async def test_never_comes_after_the_answer_has_begun(
        self, connect: Connect
    ) -> None:
        async def handler(r: R) -> None:
            await r.prepare()
            await r.write(await r.read())

        wire = connect(handler)
        wire.peer.feed(self.HEAD)
        await wait_until(lambda: wire.written)
        assert wire.written.startswith(b"HTTP/1.1 200")
        wire.peer.feed(b"abc")
        assert (await wire.answered())[0].body == b"abc"

    async def test_an_answer_without_reading_closes_in_stages(
        self, serve: Serve
    ) -> None:
        async def handler(r: R) -> None:
            r.reply(b"no", 403)

        peer = await serve(handler).connect()
        await peer.send(self.HEAD)
        response = await peer.read_response()
        assert (response.status, response.field("connection")) == (403, "close")
        await peer.send(b"abc")  # a client that did not wait long enough
        assert await peer.read_until_end() == b""
