"""One connection, request after request."""

import asyncio
import contextvars
import gc
from email.utils import parsedate_to_datetime

import pytest

from blazeio.errors import ClientDisconnected, LocalProtocolError
from tests.protocol.serving import (
    GET,
    Connect,
    Diary,
    R,
    Serve,
    Wire,
    chunks,
    echo,
    forever,
    hello,
    post,
    request,
)
from tests.support.clock import scaled, wait_until, within


class TestPersistence:
    async def test_one_connection_serves_request_after_request(
        self, serve: Serve
    ) -> None:
        served = serve(hello)
        peer = await served.connect()
        for _ in range(3):
            await peer.send(GET)
            response = await peer.read_response()
            assert (response.status, response.body) == (200, b"hello")
            assert response.field("connection") is None
        assert served.server.request_count == 3

    async def test_http_1_0_is_closed_after_its_answer(self, serve: Serve) -> None:
        peer = await serve(hello).connect()
        await peer.send(request("GET", version="1.0"))
        octets = await peer.read_until_end()
        assert b"\r\nConnection: close\r\n" in octets
        assert octets.endswith(b"\r\n\r\nhello")

    async def test_http_1_0_that_asks_is_kept(self, serve: Serve) -> None:
        peer = await serve(hello).connect()
        for _ in range(2):
            await peer.send(
                request("GET", "/", "Connection: keep-alive", version="1.0")
            )
            response = await peer.read_response()
            assert response.field("connection") == "keep-alive"

    async def test_the_client_may_ask_to_close(self, serve: Serve) -> None:
        peer = await serve(hello).connect()
        await peer.send(request("GET", "/", "Connection: close"))
        assert (await peer.read_response()).field("connection") == "close"
        assert await peer.read_until_end() == b""

    async def test_the_handler_may_ask_to_close(self, serve: Serve) -> None:
        async def handler(r: R) -> None:
            r.reply(b"bye", headers={"Connection": "close"})

        peer = await serve(handler).connect()
        await peer.send(GET)
        assert (await peer.read_response()).field("connection") == "close"
        assert await peer.read_until_end() == b""

    async def test_empty_lines_between_requests_are_skipped(
        self, connect: Connect
    ) -> None:
        wire = connect(hello)
        assert (await wire.ask(GET)).status == 200
        assert (await wire.ask(b"\r\n" + GET)).status == 200

    async def test_head_in_single_octets(self, connect: Connect) -> None:
        wire = connect(echo)
        for octet in post(b"abc"):
            wire.peer.feed(bytes([octet]))
        assert (await wire.answered())[0].body == b"abc"

    async def test_r_is_blank_for_the_next_request(self, connect: Connect) -> None:
        seen: list[tuple[object, ...]] = []

        async def handler(r: R) -> None:
            seen.append(
                (
                    dict(r.store),
                    dict(r.path_params),
                    r.status,
                    r.content_length,
                    r.current_length,
                    r.transfer_encoding,
                    dict(r.trailers),
                )
            )
            r.store["user"] = "one"
            r.path_params = {"id": 7}
            r.set_cookie("a", "1")
            async for _ in r.pull():
                pass
            r.reply(b"", 201)

        wire = connect(handler)
        first = await wire.ask(
            request("POST", "/", "Transfer-Encoding: chunked")
            + b"1\r\na\r\n0\r\nSum: 1\r\n\r\n"
        )
        assert first.field("set-cookie") is not None
        second = await wire.ask(GET)
        assert len(second.field_all("set-cookie")) == 1
        assert seen[1] == ({}, {}, 0, None, 0, None, {})

    async def test_what_r_says_of_a_request(self, connect: Connect) -> None:
        seen: list[object] = []

        async def handler(r: R) -> None:
            content = await r.read()
            seen.extend([r.method, r.path, r.query, r.tail, r.headers["HOST"]])
            seen.extend([r.content_length, r.current_length, content, r.is_alive])
            r.reply(b"")

        await connect(handler).ask(post(b"abc", path="/a%20b?c=d"))
        assert seen == [
            "POST",
            "/a b",
            "c=d",
            "/a%20b?c=d",
            "a",
            3,
            3,
            b"abc",
            True,
        ]

    async def test_trailers_are_there_once_the_content_is_whole(
        self, connect: Connect
    ) -> None:
        async def handler(r: R) -> None:
            await r.read()
            r.reply(r.trailers["sum"].encode())

        octets = request("POST", "/", "Transfer-Encoding: chunked")
        response = await connect(handler).ask(octets + b"0\r\nSum: 7\r\n\r\n")
        assert response.body == b"7"

    async def test_the_representation_shows_where_it_is(self, connect: Connect) -> None:
        wire = connect(forever)
        assert repr(wire.r) == "<BlazeioServerProtocol HEAD  >"
        wire.peer.feed(request("GET", "/a"))
        assert repr(wire.r) == "<BlazeioServerProtocol WHOLE GET /a>"
        await asyncio.sleep(0)
        wire.peer.lose()
        assert repr(wire.r) == "<BlazeioServerProtocol CLOSED GET /a>"


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
        self, serve: Serve, diary: Diary
    ) -> None:
        served = serve(diary.watching(hello))
        peer = await served.connect()
        await peer.send(request("GET", "/", "Connection: close") + GET + GET)
        assert (await peer.read_response()).field("connection") == "close"
        assert await peer.read_until_end() == b""
        assert diary.entries == ["begin", "end"]

    async def test_octets_of_waiting_requests_are_bounded(self, serve: Serve) -> None:
        may_go_on = asyncio.Event()

        async def handler(r: R) -> None:
            await may_go_on.wait()
            r.reply(b"")

        served = serve(handler, pipeline_bytes=1000)
        peer = await served.connect()
        sending = asyncio.create_task(peer.send(GET * 400_000))
        await wait_until(lambda: any(not r.intake.is_open for r in served.connections))
        (r,) = served.connections
        assert len(r._remainder) < 300 * 1024  # the bound, and one read
        may_go_on.set()
        most = 0
        async with asyncio.timeout(scaled(5)):
            while served.server.request_count <= 500:
                await asyncio.sleep(0)
                most = max(most, len(r._remainder))
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


class TestAnswers:
    async def test_head_and_first_content_leave_in_one_write(
        self, connect: Connect
    ) -> None:
        async def handler(r: R) -> None:
            await r.prepare({"Content-Type": "text/css"})
            await r.write(b"a")
            await r.write(b"b")
            await r.eof()

        wire = connect(handler)
        await wire.ask(GET)
        first, *rest = wire.peer.writes
        assert first.endswith(b"\r\n\r\n1\r\na\r\n")
        assert rest == [b"1\r\nb\r\n", b"0\r\n\r\n"]

    async def test_a_whole_response_leaves_in_one_write(self, connect: Connect) -> None:
        wire = connect(hello)
        await wire.ask(GET)
        assert len(wire.peer.writes) == 1

    async def test_a_head_without_content_leaves_on_the_next_turn(
        self, connect: Connect
    ) -> None:
        async def handler(r: R) -> None:
            await r.prepare(None, 202)
            await forever(r)

        wire = connect(handler)
        wire.peer.feed(GET)
        await asyncio.sleep(0)  # the handler
        assert wire.written == b""
        await asyncio.sleep(0)
        assert wire.written.startswith(b"HTTP/1.1 202 Accepted\r\n")
        assert wire.written.endswith(b"Transfer-Encoding: chunked\r\n\r\n")

    async def test_a_handler_that_answers_nothing_answers_204(
        self, connect: Connect
    ) -> None:
        async def handler(r: R) -> None:
            pass

        response = await connect(handler).ask(GET)
        assert (response.status, response.body) == (204, b"")
        assert response.field("content-length") is None

    async def test_a_response_without_an_end_is_ended(self, connect: Connect) -> None:
        async def handler(r: R) -> None:
            await r.write(b"a")

        response = await connect(handler).ask(GET)
        assert (response.field("transfer-encoding"), response.body) == ("chunked", b"a")

    async def test_an_answer_has_date_and_server(self, connect: Connect) -> None:
        response = await connect(hello).ask(GET)
        assert response.field("server") == "blazeio"
        parsedate_to_datetime(response.field("date") or "")

    async def test_less_than_declared_is_seen_by_the_client(
        self, serve: Serve, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def handler(r: R) -> None:
            await r.prepare({"Content-Length": 10})
            await r.write(b"short")

        peer = await serve(handler).connect()
        await peer.send(GET)
        with pytest.raises(ConnectionResetError):
            await peer.read_until_end()
        assert "5 octets short" in caplog.text

    async def test_a_handler_that_fails_cuts_the_connection(self, serve: Serve) -> None:
        errors: list[BaseException] = []
        asyncio.get_running_loop().set_exception_handler(
            lambda _, context: errors.append(context["exception"])
        )

        async def handler(r: R) -> None:
            await r.write(b"half")
            await asyncio.sleep(0)
            raise ZeroDivisionError

        peer = await serve(handler).connect()
        await peer.send(GET)
        with pytest.raises(ConnectionResetError):
            await peer.read_until_end()
        gc.collect()  # it is the task that tells the loop
        assert [type(error) for error in errors] == [ZeroDivisionError]

    async def test_a_reply_to_nobody_raises(
        self, connect: Connect, diary: Diary
    ) -> None:
        async def handler(r: R) -> None:
            try:
                await forever(r)
            except asyncio.CancelledError:
                for body in (b"whole",):
                    try:
                        r.reply(body)
                    except ClientDisconnected:
                        diary.note("nobody")
                raise

        wire = connect(handler)
        wire.peer.feed(GET)
        await asyncio.sleep(0)
        wire.peer.lose()
        await diary.has("nobody")

    async def test_a_second_response_raises_and_changes_nothing(
        self, connect: Connect, diary: Diary
    ) -> None:
        async def handler(r: R) -> None:
            r.reply(b"first")
            for second in (r.prepare(), r.write(b"x"), r.eof()):
                with pytest.raises(LocalProtocolError, match="already"):
                    await second
            with pytest.raises(LocalProtocolError, match="already"):
                r.reply(b"second")
            diary.note("refused")

        wire = connect(handler)
        assert (await wire.ask(GET)).body == b"first"
        await diary.has("refused")
        assert len(wire.responses()) == 1


class TestHandlerDeadline:
    async def test_a_handler_beyond_it_is_cancelled_and_503_answered(
        self, serve: Serve, diary: Diary
    ) -> None:
        served = serve(diary.watching(forever), handler_timeout_s=scaled(0.05))
        peer = await served.connect()
        await peer.send(GET)
        response = await peer.read_response()
        assert (response.status, response.field("connection")) == (503, "close")
        assert await peer.read_until_end() == b""
        assert diary.entries == ["begin", "CancelledError"]

    async def test_a_begun_response_is_cut(self, serve: Serve, diary: Diary) -> None:
        async def handler(r: R) -> None:
            await r.write(b"half")
            await forever(r)

        served = serve(diary.watching(handler), handler_timeout_s=scaled(0.05))
        peer = await served.connect()
        await peer.send(GET)
        with pytest.raises(ConnectionResetError):
            await peer.read_until_end()
        assert diary.entries == ["begin", "CancelledError"]

    async def test_it_does_not_outlive_the_request(self, serve: Serve) -> None:
        peer = await serve(hello, handler_timeout_s=scaled(0.05)).connect()
        for _ in range(4):
            await peer.send(GET)
            assert (await peer.read_response()).status == 200
            await asyncio.sleep(scaled(0.04))

    async def test_it_holds_on_when_the_answer_is_complete(
        self, serve: Serve, diary: Diary
    ) -> None:
        async def handler(r: R) -> None:
            r.reply(b"done")
            await forever(r)

        served = serve(diary.watching(handler), handler_timeout_s=scaled(0.05))
        peer = await served.connect()
        for _ in range(2):  # the connection goes on
            await peer.send(GET)
            assert (await peer.read_response()).body == b"done"
        await diary.has("begin", "CancelledError", "begin", "CancelledError")

    async def test_it_holds_on_when_the_client_is_gone(
        self, serve: Serve, diary: Diary
    ) -> None:
        async def handler(r: R) -> None:
            r.reply(b"done")
            await forever(r)

        served = serve(diary.watching(handler), handler_timeout_s=scaled(0.1))
        peer = await served.connect()
        await peer.send(GET)
        await peer.read_response()
        peer.reset()
        await diary.has("begin", "CancelledError")

    async def test_a_half_closed_client_is_told_as_well(
        self, serve: Serve, diary: Diary
    ) -> None:
        limits = {"handler_timeout_s": scaled(0.05), "half_close_grace_s": scaled(5)}
        peer = await serve(diary.watching(forever), **limits).connect()
        await peer.send(GET)
        peer.half_close()
        assert (await peer.read_response()).status == 503


class TestInFlight:
    async def test_more_than_the_most_are_turned_away(self, serve: Serve) -> None:
        may_go_on = asyncio.Event()

        async def handler(r: R) -> None:
            await may_go_on.wait()
            r.reply(b"")

        served = serve(handler, in_flight=2)
        waiting = [await served.connect() for _ in range(2)]
        for peer in waiting:
            await peer.send(GET)
        await wait_until(lambda: served.server.in_flight == 2)
        response = await served.exchange(GET)
        assert response.status == 503
        assert response.field("retry-after") == "1"
        may_go_on.set()
        for peer in waiting:
            assert (await peer.read_response()).status == 200
        assert (await served.exchange(GET)).status == 200


class TestRawHandler:
    async def test_octets_come_and_go_as_they_are(self, serve: Serve) -> None:
        async def raw(r: R) -> None:
            async for octets in r.request():
                await r.writer(octets.upper())

        peer = await serve(hello, raw_handler=raw).connect()
        await peer.send(b"not http\x00")
        assert await peer.read_some() == b"NOT HTTP\x00"
        peer.half_close()
        assert await peer.read_until_end() == b""

    async def test_what_came_before_the_end_is_given_out(
        self, connect: Connect
    ) -> None:
        got: list[bytes] = []

        async def raw(r: R) -> None:
            got.extend([octets async for octets in r.request()])

        wire = connect(hello, raw_handler=raw)
        wire.peer.feed(b"ab")
        wire.peer.feed_eof()
        await wait_until(lambda: wire.peer.is_lost)
        assert b"".join(got) == b"ab"

    async def test_a_reset_cancels_it(self, serve: Serve, diary: Diary) -> None:
        served = serve(hello, raw_handler=diary.watching(forever))
        peer = await served.connect()
        await diary.has("begin")
        peer.reset()
        await diary.has("begin", "CancelledError")

    async def test_reading_pauses_while_it_does_not_read(self, serve: Serve) -> None:
        may_read = asyncio.Event()
        got = 0

        async def raw(r: R) -> None:
            nonlocal got
            await may_read.wait()
            async for octets in r.request():
                got += len(octets)

        served = serve(hello, raw_handler=raw, receive_bytes=1000)
        peer = await served.connect()
        sending = asyncio.create_task(peer.send(b"x" * 10_000_000))
        await wait_until(lambda: any(not r.intake.is_open for r in served.connections))
        (r,) = served.connections
        assert r.content.queued_bytes < 300 * 1024
        may_read.set()
        await sending
        await wait_until(lambda: got == 10_000_000)


async def test_a_background_task_finds_r_serving_somebody_else(
    connect: Connect,
) -> None:
    """Why a background task must not keep r."""
    kept: list[R] = []

    async def handler(r: R) -> None:
        kept.append(r)
        r.reply(b"")

    wire: Wire = connect(handler)
    await wire.ask(request("GET", "/one"))
    await wire.ask(request("GET", "/two"))
    assert kept[0] is kept[1]
    assert kept[0].path == "/two"


async def test_idle_means_kept_alive_and_waiting(connect: Connect) -> None:
    wire = connect(hello)
    assert not wire.r.is_idle  # its first request is under way
    wire.r.close_idle()
    assert not wire.peer.is_closing()
    await wire.ask(GET)
    await wait_until(lambda: wire.r.is_idle)
    wire.r.close_idle()
    assert wire.peer.is_closing()
    await within(asyncio.sleep(0))
