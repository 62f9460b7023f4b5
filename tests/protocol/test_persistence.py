"""serving.py: the handler, its answer, its deadline, and how many at once."""

import asyncio
from email.utils import parsedate_to_datetime

import pytest

from blazeio.errors import ClientDisconnected, LocalProtocolError
from tests.protocol.serving import (
    GET,
    CallLog,
    Connect,
    R,
    Serve,
    forever,
    hello,
    request,
)
from tests.support.clock import scaled, wait_until


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

    @pytest.mark.parametrize("kind", [ZeroDivisionError, SystemExit, GeneratorExit])
    async def test_a_handler_that_fails_cuts_the_connection(
        self, serve: Serve, caplog: pytest.LogCaptureFixture, kind: type[BaseException]
    ) -> None:
        async def handler(r: R) -> None:
            await r.write(b"half")
            await asyncio.sleep(0)
            raise kind

        peer = await serve(handler).connect()
        await peer.send(GET)
        with pytest.raises(ConnectionResetError):
            await peer.read_until_end()
        (record,) = caplog.records
        said = f"GET /: {kind.__name__} in the handler: the connection is cut"
        assert (record.levelname, record.getMessage()) == ("ERROR", said)

    async def test_a_reply_to_nobody_raises(
        self, connect: Connect, calls: CallLog
    ) -> None:
        async def handler(r: R) -> None:
            try:
                await forever(r)
            except asyncio.CancelledError:
                for body in (b"whole",):
                    try:
                        r.reply(body)
                    except ClientDisconnected:
                        calls.note("nobody")
                raise

        wire = connect(handler)
        wire.peer.feed(GET)
        await asyncio.sleep(0)
        wire.peer.lose()
        await calls.has("nobody")

    async def test_a_second_response_raises_and_changes_nothing(
        self, connect: Connect, calls: CallLog
    ) -> None:
        async def handler(r: R) -> None:
            r.reply(b"first")
            for second in (r.prepare(), r.write(b"x"), r.eof()):
                with pytest.raises(LocalProtocolError, match="already"):
                    await second
            with pytest.raises(LocalProtocolError, match="already"):
                r.reply(b"second")
            calls.note("refused")

        wire = connect(handler)
        assert (await wire.ask(GET)).body == b"first"
        await calls.has("refused")
        assert len(wire.responses()) == 1


class TestHandlerDeadline:
    async def test_a_handler_beyond_it_is_cancelled_and_503_answered(
        self, serve: Serve, calls: CallLog
    ) -> None:
        served = serve(calls.watching(forever), handler_timeout_s=scaled(0.05))
        peer = await served.connect()
        await peer.send(GET)
        response = await peer.read_response()
        assert (response.status, response.field("connection")) == (503, "close")
        assert await peer.read_until_end() == b""
        assert calls.entries == ["begin", "CancelledError"]

    async def test_the_head_of_it_answers_a_head_request(self, serve: Serve) -> None:
        served = serve(forever, handler_timeout_s=scaled(0.05))
        peer = await served.connect()
        await peer.send(request("HEAD"))
        octets = await peer.read_until_end()
        assert octets.startswith(b"HTTP/1.1 503 ")
        assert octets.endswith(b"\r\n\r\n")

    async def test_a_begun_response_is_cut(self, serve: Serve, calls: CallLog) -> None:
        async def handler(r: R) -> None:
            await r.write(b"half")
            await forever(r)

        served = serve(calls.watching(handler), handler_timeout_s=scaled(0.05))
        peer = await served.connect()
        await peer.send(GET)
        with pytest.raises(ConnectionResetError):
            await peer.read_until_end()
        assert calls.entries == ["begin", "CancelledError"]

    async def test_it_does_not_outlive_the_request(self, serve: Serve) -> None:
        peer = await serve(hello, handler_timeout_s=scaled(0.05)).connect()
        for _ in range(4):
            await peer.send(GET)
            assert (await peer.read_response()).status == 200
            await asyncio.sleep(scaled(0.04))

    async def test_it_holds_on_when_the_answer_is_complete(
        self, serve: Serve, calls: CallLog
    ) -> None:
        async def handler(r: R) -> None:
            r.reply(b"done")
            await forever(r)

        served = serve(calls.watching(handler), handler_timeout_s=scaled(0.05))
        peer = await served.connect()
        for _ in range(2):  # the connection goes on
            await peer.send(GET)
            assert (await peer.read_response()).body == b"done"
        await calls.has("begin", "CancelledError", "begin", "CancelledError")

    async def test_it_holds_on_when_the_client_is_gone(
        self, serve: Serve, calls: CallLog
    ) -> None:
        async def handler(r: R) -> None:
            r.reply(b"done")
            await forever(r)

        served = serve(calls.watching(handler), handler_timeout_s=scaled(0.1))
        peer = await served.connect()
        await peer.send(GET)
        await peer.read_response()
        peer.reset()
        await calls.has("begin", "CancelledError")

    async def test_a_half_closed_client_is_told_as_well(
        self, serve: Serve, calls: CallLog
    ) -> None:
        limits = {"handler_timeout_s": scaled(0.05), "half_close_grace_s": scaled(5)}
        peer = await serve(calls.watching(forever), **limits).connect()
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
