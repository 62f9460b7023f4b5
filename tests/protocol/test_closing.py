"""server.py: refusals, deadlines, and closes that the client survives."""

import asyncio
import time

import pytest

from blazeio.errors import RemoteProtocolError
from blazeio.limits import MIB
from tests.protocol.serving import (
    GET,
    CallLog,
    Connect,
    R,
    Serve,
    chunks,
    forever,
    hello,
    post,
    request,
)
from tests.support.clock import scaled, wait_until
from tests.support.peer import RawPeer

SOON_S = scaled(0.06)
CHUNKED = request("POST", "/", "Transfer-Encoding: chunked")

REFUSED = [
    (b"nonsense\r\n\r\n", 400),
    (b"GET / HTTP/1.1\r\n\r\n", 400),
    (request("GET", "/" + "x" * 300), 414),
    (request("GET", "/", "X: " + "x" * 500), 431),
    (request("GET", "/", *("X: y" for _ in range(20))), 431),
    (request("POST", "/", "Content-Length: " + "9" * 30), 413),
    (request("POST", "/", "Transfer-Encoding: gzip, chunked"), 501),
    (request("GET", version="2.0"), 505),
]
SMALL = {"target_bytes": 200, "field_bytes": 400, "field_count": 10}


async def assert_closed_in_peace(peer: RawPeer) -> None:
    """The server sends FIN and no RST, whatever still comes from us."""
    await peer.send(b"x" * 10_000)
    assert await peer.read_until_end() == b""


class TestRefusedHeads:
    @pytest.mark.parametrize(("octets", "status"), REFUSED)
    async def test_are_answered_and_not_reset(
        self, serve: Serve, calls: CallLog, octets: bytes, status: int
    ) -> None:
        served = serve(calls.watching(hello), **SMALL)
        peer = await served.connect()
        await peer.send(octets + b"unread" * 1000)
        response = await peer.read_response()
        assert (response.status, response.field("connection")) == (status, "close")
        assert response.field("date")
        assert response.body
        await assert_closed_in_peace(peer)
        assert calls.entries == []

    async def test_are_refused_before_they_are_whole(self, serve: Serve) -> None:
        peer = await serve(hello).connect()
        await peer.send(b"GET /a b HTTP/1.1\r\n")
        assert (await peer.read_response()).status == 400

    async def test_come_after_the_answers_before_them(self, serve: Serve) -> None:
        async def handler(r: R) -> None:
            await asyncio.sleep(0.001)
            r.reply(b"good")

        peer = await serve(handler).connect()
        await peer.send(GET + GET + b"nonsense\r\n\r\n" + GET)
        statuses = [(await peer.read_response()).status for _ in range(3)]
        assert statuses == [200, 200, 400]
        assert await peer.read_until_end() == b""

    async def test_of_a_half_closed_client_are_closed_at_once(
        self, connect: Connect
    ) -> None:
        wire = connect(hello)
        wire.peer.feed(GET + b"nonsense\r\n\r\n")
        wire.peer.feed_eof()
        await wait_until(lambda: wire.peer.is_lost)
        assert [each.status for each in wire.responses()] == [200, 400]


class TestClosingInStages:
    async def test_the_rest_is_read_for_a_while_only(self, serve: Serve) -> None:
        served = serve(hello, linger_timeout_s=SOON_S)
        peer = await served.connect()
        await peer.send(b"nonsense\r\n\r\n")
        await peer.read_until_end()
        assert served.server.connection_count == 1
        await wait_until(lambda: not served.server.connection_count)

    async def test_the_rest_is_read_up_to_a_bound_only(self, serve: Serve) -> None:
        served = serve(hello, linger_bytes=1000)
        peer = await served.connect()
        await peer.send(b"nonsense\r\n\r\n")
        await peer.read_until_end()
        await peer.send(b"x" * 2000)
        await wait_until(lambda: not served.server.connection_count)

    async def test_who_looks_for_the_answer_last_sees_it(self, serve: Serve) -> None:
        peer = await serve(hello).connect()
        content = b"x" * (8 * MIB)
        await peer.send(request("POST", "/", f"Content-Length: {len(content)}"))
        await peer.send(content)
        assert (await peer.read_response()).body == b"hello"

    async def test_it_ends_with_the_fin_of_the_client(self, serve: Serve) -> None:
        served = serve(hello)
        peer = await served.connect()
        await peer.send(b"nonsense\r\n\r\n")
        await peer.read_until_end()
        peer.close()
        await wait_until(lambda: not served.server.connection_count)

    async def test_a_transport_that_cannot_half_close_is_closed(
        self, connect: Connect, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wire = connect(hello)
        monkeypatch.setattr(wire.peer, "can_write_eof", lambda: False)
        wire.peer.feed(b"nonsense\r\n\r\n")
        assert wire.peer.is_closing()
        assert not wire.peer.has_written_eof


class TestUnreadContent:
    async def test_that_has_arrived_is_dropped(self, serve: Serve) -> None:
        peer = await serve(hello).connect()
        for octets in (post(b"x" * 1000), CHUNKED + chunks(b"x" * 1000), GET):
            await peer.send(octets)
            response = await peer.read_response()
            assert (response.body, response.field("connection")) == (b"hello", None)

    async def test_that_is_due_is_read_past(self, serve: Serve) -> None:
        peer = await serve(hello).connect()
        content = b"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n" * 3
        await peer.send(post(content)[: -len(content)])
        response = await peer.read_response()
        assert response.field("connection") is None
        await peer.send(content)
        await peer.send(GET)
        assert (await peer.read_response()).status == 200
        assert peer.octets == b""

    async def test_of_chunks_is_read_past(self, serve: Serve) -> None:
        peer = await serve(hello).connect()
        await peer.send(CHUNKED + b"5\r\nab")
        await peer.read_response()
        await peer.send(b"cde\r\n" + chunks(b"f") + GET)
        assert (await peer.read_response()).status == 200

    async def test_that_was_queued_and_paused_is_read_past(self, serve: Serve) -> None:
        may_answer = asyncio.Event()

        async def handler(r: R) -> None:
            await may_answer.wait()
            r.reply(b"hello")

        served = serve(handler, receive_bytes=1000)
        peer = await served.connect()
        sending = asyncio.create_task(peer.send(post(b"x" * 600_000) + GET))
        await wait_until(
            lambda: any(not each.read_control.is_open for each in served.connections)
        )
        may_answer.set()
        await peer.read_response()
        assert (await peer.read_response()).body == b"hello"
        await sending

    async def test_far_from_its_end_closes_and_the_answer_says_so(
        self, serve: Serve
    ) -> None:
        peer = await serve(hello, linger_bytes=1000).connect()
        await peer.send(request("POST", "/", "Content-Length: 1001"))
        response = await peer.read_response()
        assert (response.body, response.field("connection")) == (b"hello", "close")
        await peer.send(b"x" * 500)
        assert await peer.read_until_end() == b""

    async def test_after_content_that_was_read_counts_for_itself(
        self, serve: Serve
    ) -> None:
        async def handler(r: R) -> None:
            async for _ in r.pull():
                if r.current_length >= 5000:
                    break
            r.reply(b"enough")

        peer = await serve(handler, linger_bytes=1000).connect()
        await peer.send(post(b"x" * 5900)[:-900])
        assert (await peer.read_response()).field("connection") is None
        await peer.send(b"x" * 400)
        await peer.send(b"x" * 500 + GET)
        assert (await peer.read_response()).status == 200

    async def test_of_chunks_without_end_closes_at_the_bound(
        self, serve: Serve
    ) -> None:
        peer = await serve(hello, linger_bytes=1000).connect()
        await peer.send(CHUNKED)
        await peer.read_response()
        await peer.send(b"400\r\n" + b"x" * 1024 + b"\r\n")
        assert await peer.read_until_end() == b""

    async def test_of_broken_chunks_closes(self, serve: Serve) -> None:
        peer = await serve(hello).connect()
        await peer.send(CHUNKED)
        await peer.read_response()
        await peer.send(b"nonsense\r\n")
        assert await peer.read_until_end() == b""

    async def test_that_does_not_come_closes(self, serve: Serve) -> None:
        peer = await serve(hello, linger_timeout_s=SOON_S).connect()
        await peer.send(post(b"abc")[:-1])
        await peer.read_response()
        assert await peer.read_until_end() == b""

    async def test_behind_an_answer_that_closes_is_not_reset(
        self, serve: Serve
    ) -> None:
        async def handler(r: R) -> None:
            r.reply(b"x" * 100_000, headers={"Connection": "close"})

        peer = await serve(handler).connect()
        await peer.send(post(b"y" * 300_000)[:200_000])
        assert len((await peer.read_response()).body) == 100_000
        await assert_closed_in_peace(peer)

    async def test_behind_a_streamed_answer_is_read_past(self, serve: Serve) -> None:
        async def handler(r: R) -> None:
            await r.write(b"streamed")

        peer = await serve(handler).connect()
        await peer.send(post(b"abc")[:-1])
        assert (await peer.read_response()).body == b"streamed"
        await peer.send(b"c" + GET)
        assert (await peer.read_response()).status == 200


class TestTooLargeContent:
    @pytest.mark.parametrize("octets", [post(b"x" * 11), CHUNKED + chunks(b"x" * 11)])
    @pytest.mark.parametrize("is_whole", [True, False])
    async def test_is_told_the_handler_and_never_given_out(
        self, serve: Serve, octets: bytes, is_whole: bool
    ) -> None:
        async def handler(r: R) -> None:
            try:
                async for piece in r.pull():
                    assert not piece
            except RemoteProtocolError as error:
                r.reply(b"too large", error.status_hint)

        peer = await serve(handler, content_bytes=10).connect()
        head, content = octets.split(b"\r\n\r\n", 1)
        if is_whole:
            await peer.send(octets)
        else:
            await peer.send(head + b"\r\n\r\n")
            await asyncio.sleep(0.01)
            await peer.send(content)
        response = await peer.read_response()
        assert (response.status, response.field("connection")) == (413, "close")
        assert await peer.read_until_end() == b""

    async def test_is_not_waited_for_where_it_is_announced(self, serve: Serve) -> None:
        async def handler(r: R) -> None:
            with pytest.raises(RemoteProtocolError):
                await r.read()
            r.reply(b"", 413)

        peer = await serve(handler, content_bytes=10).connect()
        expect = "Expect: 100-continue"
        await peer.send(request("POST", "/", "Content-Length: 11", expect))
        assert (await peer.read_response()).status == 413

    async def test_whose_sender_half_closes_is_still_answered(
        self, serve: Serve
    ) -> None:
        may_answer = asyncio.Event()

        async def handler(r: R) -> None:
            await may_answer.wait()
            r.reply(b"", 413)

        served = serve(handler, content_bytes=10)
        peer = await served.connect()
        await peer.send(request("POST", "/", "Content-Length: 11") + b"x" * 5)
        await wait_until(
            lambda: any(not each.read_control.is_open for each in served.connections)
        )
        peer.half_close()
        await asyncio.sleep(scaled(0.02))
        may_answer.set()
        assert (await peer.read_response()).status == 413


class TestDeadlines:
    async def test_an_idle_connection_is_closed(self, serve: Serve) -> None:
        peer = await serve(hello, keep_alive_timeout_s=SOON_S).connect()
        await peer.exchange(GET)
        assert await peer.read_until_end() == b""

    @pytest.mark.slow
    async def test_a_used_connection_is_not_idle(self, serve: Serve) -> None:
        span_s = scaled(0.5)
        peer = await serve(hello, keep_alive_timeout_s=span_s).connect()
        began_at = time.monotonic()
        while time.monotonic() < began_at + 1.3 * span_s:
            await peer.exchange(GET)
            await asyncio.sleep(span_s / 10)
        await peer.exchange(GET)

    async def test_half_a_head_gets_408(self, serve: Serve) -> None:
        peer = await serve(hello, head_timeout_s=SOON_S).connect()
        await peer.send(GET[:-2])
        response = await peer.read_response()
        assert (response.status, response.field("connection")) == (408, "close")
        assert await peer.read_until_end() == b""

    async def test_half_a_head_on_a_kept_connection_gets_408(
        self, serve: Serve
    ) -> None:
        peer = await serve(hello, head_timeout_s=SOON_S).connect()
        await peer.exchange(GET)
        await peer.send(GET[:5])
        assert (await peer.read_response()).status == 408

    @pytest.mark.slow
    async def test_a_trickled_head_gets_no_more_time(self, serve: Serve) -> None:
        peer = await serve(hello, head_timeout_s=scaled(0.1)).connect()
        started_at = asyncio.get_running_loop().time()
        for octet in GET[:-1]:
            await peer.send(bytes([octet]))
            await asyncio.sleep(scaled(0.02))
            if asyncio.get_running_loop().time() > started_at + scaled(0.3):
                break
        assert (await peer.read_response()).status == 408

    async def test_a_silent_connection_is_closed_without_a_word(
        self, serve: Serve
    ) -> None:
        peer = await serve(hello, head_timeout_s=SOON_S).connect()
        assert await peer.read_until_end() == b""

    async def test_a_handler_may_take_longer_than_all_of_them(
        self, serve: Serve
    ) -> None:
        async def handler(r: R) -> None:
            await asyncio.sleep(scaled(0.2))
            r.reply(b"late")

        served = serve(handler, head_timeout_s=SOON_S, keep_alive_timeout_s=SOON_S)
        assert (await served.exchange(GET)).body == b"late"


class TestProgress:
    async def test_content_that_stops_gets_408(self, serve: Serve) -> None:
        async def handler(r: R) -> None:
            try:
                await r.read()
            except RemoteProtocolError as error:
                r.reply(str(error).encode(), error.status_hint)

        peer = await serve(handler, progress_window_s=SOON_S).connect()
        await peer.send(post(b"x" * 1000)[:-500])
        response = await peer.read_response()
        assert (response.status, response.field("connection")) == (408, "close")
        assert response.text == "the content came too slowly"
        assert await peer.read_until_end() == b""

    @pytest.mark.slow
    async def test_content_that_keeps_coming_is_waited_for(self, serve: Serve) -> None:
        async def handler(r: R) -> None:
            r.reply(b"%d" % len(await r.read()))

        served = serve(handler, progress_window_s=scaled(0.1), progress_bytes_per_s=100)
        peer = await served.connect()
        await peer.send(request("POST", "/", "Content-Length: 500"))
        for _ in range(5):
            await peer.send(b"x" * 100)
            await asyncio.sleep(scaled(0.06))
        assert (await peer.read_response()).body == b"500"

    @pytest.mark.slow
    async def test_content_is_not_due_while_the_handler_does_not_read(
        self, serve: Serve
    ) -> None:
        async def handler(r: R) -> None:
            await asyncio.sleep(scaled(0.25))
            r.reply(b"%d" % len(await r.read()))

        served = serve(handler, progress_window_s=SOON_S, receive_bytes=10)
        assert (await served.exchange(post(b"x" * 1000))).body == b"1000"

    async def test_content_is_not_due_before_100_continue(self, serve: Serve) -> None:
        async def handler(r: R) -> None:
            await asyncio.sleep(scaled(0.2))
            r.reply(await r.read())

        served = serve(handler, progress_window_s=SOON_S)
        peer = await served.connect()
        expect = "Expect: 100-continue"
        await peer.send(request("POST", "/", "Content-Length: 3", expect))
        assert (await peer.read_response()).status == 100
        await peer.send(b"abc")
        assert (await peer.read_response()).body == b"abc"

    async def test_content_that_stops_behind_the_answer_closes(
        self, serve: Serve
    ) -> None:
        served = serve(hello, progress_window_s=SOON_S, linger_timeout_s=10)
        peer = await served.connect()
        await peer.send(post(b"abc")[:-1])
        await peer.read_response()
        assert await peer.read_until_end() == b""

    async def test_a_client_that_does_not_read_is_reset(
        self, serve: Serve, calls: CallLog
    ) -> None:
        async def handler(r: R) -> None:
            await r.write(b"x" * 20_000_000)

        served = serve(calls.watching(handler), progress_window_s=SOON_S)
        peer = await served.connect(receive_buffer_bytes=4096)
        await peer.send(GET)
        await calls.has("begin", "CancelledError")
        await wait_until(lambda: not served.server.connection_count)
        with pytest.raises(ConnectionResetError):
            await peer.read_until_end()

    async def test_a_client_that_does_not_read_the_end_is_reset(
        self, serve: Serve
    ) -> None:
        async def handler(r: R) -> None:
            r.reply(b"x" * 20_000_000, headers={"Connection": "close"})

        served = serve(handler, progress_window_s=SOON_S, linger_timeout_s=SOON_S)
        peer = await served.connect(receive_buffer_bytes=4096)
        await peer.send(GET)
        await wait_until(lambda: served.server.request_count)
        await wait_until(lambda: not served.server.connection_count)
        with pytest.raises(ConnectionResetError):
            await peer.read_until_end()

    @pytest.mark.slow
    async def test_a_client_that_reads_slowly_but_steadily_gets_all(
        self, serve: Serve
    ) -> None:
        async def handler(r: R) -> None:
            await r.write(b"x" * 1_000_000)

        served = serve(handler, progress_window_s=scaled(0.1))
        peer = await served.connect(receive_buffer_bytes=4096)
        await peer.send(GET)
        received = b""
        while len(received) < 1_000_000:
            received += await peer.read_some()
            await asyncio.sleep(0.002)


async def test_a_cut_connection_tells_its_handler(connect: Connect) -> None:
    wire = connect(forever)
    wire.peer.feed(GET)
    await asyncio.sleep(0)
    wire.r.carrier.abort()
    wire.r.carrier.abort()
    assert not wire.r.is_alive
    assert wire.peer.was_aborted
    await wait_until(lambda: not wire.context.in_flight)
