"""What handlers write, as it is on the wire."""

import asyncio
import gzip
import zlib
from collections.abc import AsyncIterator
from typing import Any

import brotlicffi
import pytest

from blazeio.errors import ClientDisconnected, LocalProtocolError
from blazeio.protocol.payload import LARGEST_STEP
from blazeio.protocol.response_writer import OFF_LOOP_BYTES
from blazeio.wire.headers import Headers
from tests.protocol.serving import GET, CallLog, Connect, R, Serve, forever, request
from tests.support.clock import wait_until
from tests.support.response import Response, parse_response


async def streamed(r: R) -> None:
    await r.prepare({"Content-Type": "text/plain"})
    await r.write(b"one")
    await r.write("zwölf")
    await r.eof()


class TestWriting:
    async def test_http_1_1_gets_chunks(self, serve: Serve) -> None:
        peer = await serve(streamed).connect()
        octets = await peer.exchange(GET)
        assert octets.endswith(b"\r\n\r\n3\r\none\r\n6\r\nzw\xc3\xb6lf\r\n0\r\n\r\n")
        assert (await peer.exchange(GET))[:15] == b"HTTP/1.1 200 OK"

    async def test_http_1_0_gets_content_until_close(self, serve: Serve) -> None:
        peer = await serve(streamed).connect()
        fields = "Connection: keep-alive"
        await peer.send(request("GET", "/", fields, version="1.0"))
        response = await peer.read_response()
        assert response.text == "onezwölf"
        assert response.field("connection") == "close"
        assert response.field("transfer-encoding") is None

    async def test_a_declared_length_is_the_framing(self, serve: Serve) -> None:
        async def handler(r: R) -> None:
            await r.prepare({"Content-Length": 6})
            await r.write(b"abc")
            await asyncio.sleep(0)
            await r.write(b"def")

        peer = await serve(handler).connect()
        for version in ("1.1", "1.0"):
            response = await serve(handler).exchange(request("GET", version=version))
            assert response.field("content-length") == "6"
            assert response.field("transfer-encoding") is None
            assert response.body == b"abcdef"
        assert (await peer.exchange(GET)).endswith(b"\r\n\r\nabcdef")

    @pytest.mark.parametrize(
        ("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)]
    )
    @pytest.mark.parametrize("is_streamed", [True, False])
    async def test_no_body_follows(
        self, serve: Serve, method: str, status: int, is_streamed: bool
    ) -> None:
        async def handler(r: R) -> None:
            if is_streamed:
                await r.prepare({"X": "y"}, status)
                await r.write(b"body")
                await r.write_chunked(b"more")
                await r.eof(b"end")
            else:
                r.reply(b"body", status)

        peer = await serve(handler).connect()
        for _ in range(2):
            await peer.send(request(method))
            response = await peer.read_response(method=method)
            assert response.status == status
            assert response.octets.endswith(b"\r\n\r\n")
            assert peer.octets == b""
            assert response.field("transfer-encoding") is None

    async def test_head_tells_the_length_of_the_body(self, connect: Connect) -> None:
        async def handler(r: R) -> None:
            r.reply(b"12345")

        wire = connect(handler)
        wire.peer.feed(request("HEAD"))
        await wait_until(lambda: wire.written)
        assert b"\r\nContent-Length: 5\r\n" in wire.written

    async def test_write_before_prepare_sends_a_default_head(
        self, connect: Connect
    ) -> None:
        async def handler(r: R) -> None:
            await r.write("a")

        response = await connect(handler).ask(GET)
        assert response.status == 200
        assert response.field("content-type") == "text/plain; charset=utf-8"

    async def test_eof_alone_is_a_whole_response(self, connect: Connect) -> None:
        async def handler(r: R) -> None:
            await r.eof("äh")

        wire = connect(handler)
        response = await wire.ask(GET)
        assert (response.text, response.field("content-length")) == ("äh", "3")
        assert len(wire.peer.writes) == 1

    async def test_eof_without_anything_is_empty(self, connect: Connect) -> None:
        async def handler(r: R) -> None:
            await r.eof()

        assert (await connect(handler).ask(GET)).field("content-length") == "0"

    async def test_prepared_fields_of_all_kinds(self, connect: Connect) -> None:
        async def handler(r: R) -> None:
            await r.prepare(
                [("A", "str"), ("B", b"bytes"), (b"C", 3), ("D", ["x", b"y", 4])], 201
            )

        response = await connect(handler).ask(GET)
        assert response.status == 201
        assert [
            response.field("a"),
            response.field("b"),
            response.field("c"),
            response.field_all("d"),
        ] == ["str", "bytes", "3", ["x", "y", "4"]]

    async def test_headers_of_a_message_can_be_prepared(self, connect: Connect) -> None:
        async def handler(r: R) -> None:
            await r.prepare(Headers([("set-cookie", "a=1"), ("set-cookie", "b=2")]))

        response = await connect(handler).ask(GET)
        assert response.field_all("set-cookie") == ["a=1", "b=2"]

    async def test_hop_by_hop_fields_are_ours(self, connect: Connect) -> None:
        async def handler(r: R) -> None:
            await r.prepare({"Transfer-Encoding": "gzip", "Keep-Alive": "1", "TE": "x"})
            await r.write(b"a")

        response = await connect(handler).ask(GET)
        assert response.field("transfer-encoding") == "chunked"
        assert response.field("keep-alive") is None
        assert response.field("te") is None

    @pytest.mark.parametrize(
        "fields", [{"A": "b\r\nc: d"}, {"A b": "c"}, {"Content-Length": "x"}]
    )
    async def test_a_malformed_field_sends_nothing(
        self, connect: Connect, fields: dict[str, str]
    ) -> None:
        async def handler(r: R) -> None:
            with pytest.raises(LocalProtocolError):
                await r.prepare(fields)
            r.reply(b"still here")

        assert (await connect(handler).ask(GET)).body == b"still here"

    async def test_a_length_is_never_told_in_204(self, connect: Connect) -> None:
        async def handler(r: R) -> None:
            await r.prepare({"Content-Length": 0}, 204)

        assert (await connect(handler).ask(GET)).field("content-length") is None

    async def test_a_length_may_be_told_in_304(self, connect: Connect) -> None:
        async def handler(r: R) -> None:
            await r.prepare({"Content-Length": 5}, 304)

        assert (await connect(handler).ask(GET)).field("content-length") == "5"

    async def test_an_empty_write_writes_nothing(self, connect: Connect) -> None:
        async def handler(r: R) -> None:
            await r.prepare()
            await r.write(b"")
            await asyncio.sleep(0)
            await r.write("")
            await r.write(b"a")

        wire = connect(handler)
        assert (await wire.ask(GET)).body == b"a"
        head, *rest = wire.peer.writes
        assert head.endswith(b"chunked\r\n\r\n")
        assert rest == [b"1\r\na\r\n", b"0\r\n\r\n"]

    async def test_write_chunked_is_one_chunk(self, connect: Connect) -> None:
        async def handler(r: R) -> None:
            await r.write_chunked(b"abc")
            await r.write_chunked("d")

        wire = connect(handler)
        assert (await wire.ask(GET)).octets.endswith(
            b"\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n"
        )

    async def test_write_chunked_serves_http_1_0_and_head_too(
        self, serve: Serve
    ) -> None:
        async def handler(r: R) -> None:
            await r.write_chunked(b"abc")

        served = serve(handler)
        response = await served.exchange(request("GET", version="1.0"))
        assert (response.status, response.body) == (200, b"abc")
        response = await served.exchange(request("HEAD"), method="HEAD")
        assert (response.status, response.body) == (200, b"")

    async def test_write_chunked_with_a_declared_length_is_refused(
        self, connect: Connect
    ) -> None:
        async def handler(r: R) -> None:
            await r.prepare({"Content-Length": 3})
            with pytest.raises(LocalProtocolError, match="not chunked"):
                await r.write_chunked(b"abc")
            await r.write(b"abc")

        assert (await connect(handler).ask(GET)).body == b"abc"

    async def test_more_than_declared_is_refused_and_not_sent(
        self, connect: Connect
    ) -> None:
        async def handler(r: R) -> None:
            await r.prepare({"Content-Length": 3})
            with pytest.raises(LocalProtocolError, match="1 octets more"):
                await r.write(b"abcd")
            await r.write(b"abc")
            with pytest.raises(LocalProtocolError, match="1 octets more"):
                await r.eof(b"d")

        assert (await connect(handler).ask(GET)).body == b"abc"

    async def test_less_than_declared_at_eof_raises_and_is_a_500(
        self, serve: Serve, calls: CallLog, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def handler(r: R) -> None:
            await r.prepare({"Content-Length": 3})
            try:
                await r.eof(b"a")
            except LocalProtocolError as error:
                calls.note(str(error)[:30])

        peer = await serve(handler).connect()
        await peer.send(GET)
        assert (await peer.read_response()).status == 500
        assert calls.entries == ["the message ended 2 octets sho"]

    async def test_less_than_declared_at_eof_raises_and_cuts(
        self, serve: Serve, calls: CallLog, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def handler(r: R) -> None:
            await r.prepare({"Content-Length": 4})
            await r.write(b"b")
            try:
                await r.eof(b"a")
            except LocalProtocolError as error:
                calls.note(str(error)[:30])

        peer = await serve(handler).connect()
        await peer.send(GET)
        with pytest.raises(ConnectionResetError):
            await peer.read_until_end()
        assert calls.entries == ["the message ended 2 octets sho"]

    async def test_the_handler_goes_on_after_eof(
        self, connect: Connect, calls: CallLog
    ) -> None:
        may_go_on = asyncio.Event()

        async def handler(r: R) -> None:
            await r.eof(b"first")
            await may_go_on.wait()
            calls.note(r.path)

        wire = connect(handler)
        wire.peer.feed(request("GET", "/a") + request("GET", "/b"))
        assert len(await wire.answered(1)) == 1
        may_go_on.set()
        await calls.has("/a", "/b")
        assert len(wire.responses()) == 2

    async def test_nothing_can_be_written_after_eof(self, connect: Connect) -> None:
        async def handler(r: R) -> None:
            await r.eof(b"end")
            for late in (r.write(b"x"), r.eof(b"x"), r.write_chunked(b"x")):
                with pytest.raises(LocalProtocolError, match="already ended"):
                    await late

        assert (await connect(handler).ask(GET)).body == b"end"

    @pytest.mark.parametrize("size", [0, 1, 999, 1000, 1001, 5000])
    async def test_large_writes_are_cut_and_arrive_whole(
        self, serve: Serve, size: int
    ) -> None:
        content = bytes(n % 251 for n in range(size))

        async def handler(r: R) -> None:
            await r.write(content)

        served = serve(handler, high_water_bytes=1000)
        assert (await served.exchange(GET)).body == content

    async def test_a_large_write_beyond_the_declared_length_sends_nothing_of_it(
        self, serve: Serve
    ) -> None:
        async def handler(r: R) -> None:
            await r.prepare({"Content-Length": 3000})
            with pytest.raises(LocalProtocolError, match="1 octets more"):
                await r.write(b"x" * 3001)
            await r.write(b"y" * 3000)

        response = await serve(handler, high_water_bytes=1000).exchange(GET)
        assert response.body == b"y" * 3000

    @pytest.mark.parametrize("declared", [None, 5000])
    async def test_a_large_eof_is_cut_once_the_framing_is_known(
        self, connect: Connect, declared: int | None
    ) -> None:
        async def handler(r: R) -> None:
            await r.prepare(
                {} if declared is None else {"Content-Length": declared + 1}
            )
            await r.write(b"a")
            await r.eof(b"x" * 5000)

        wire = connect(handler, high_water_bytes=1000)
        assert (await wire.ask(GET)).body == b"a" + b"x" * 5000
        assert max(map(len, wire.peer.writes)) <= LARGEST_STEP * 1000 + len(
            "fa0\r\n\r\n"
        )

    async def test_a_large_eof_alone_has_its_length(self, serve: Serve) -> None:
        async def handler(r: R) -> None:
            await r.eof(b"x" * 5000)

        response = await serve(handler, high_water_bytes=1000).exchange(GET)
        assert response.field("content-length") == "5000"
        assert response.body == b"x" * 5000

    async def test_writer_writes_octets_as_they_are(self, serve: Serve) -> None:
        async def handler(r: R) -> None:
            await r.prepare()
            await r.writer(b"3\r\nabc\r\n")
            await r.writer(b"%x\r\n%b\r\n" % (5000, b"x" * 5000))

        response = await serve(handler, high_water_bytes=1000).exchange(GET)
        assert response.body == b"abc" + b"x" * 5000

    async def test_writer_to_nobody_raises(
        self, connect: Connect, calls: CallLog
    ) -> None:
        async def handler(r: R) -> None:
            await r.prepare()
            r.transport.close()
            try:
                await r.writer(b"abc")
            except ClientDisconnected:
                calls.note("nobody")
            await forever(r)

        wire = connect(handler)
        wire.peer.feed(GET)
        await calls.has("nobody")


async def test_bytes_like_content_is_taken(connect: Connect) -> None:
    async def handler(r: R) -> None:
        await r.write(bytearray(b"ab"))
        await r.write(memoryview(b"cd"))

    response: Response = await connect(handler).ask(GET)
    assert response.body == b"abcd"


async def test_an_async_iterable_is_written_piece_by_piece(connect: Connect) -> None:
    async def pieces() -> AsyncIterator[bytes | str]:
        yield b"ab"
        yield ""
        yield "ü"

    async def handler(r: R) -> None:
        await r.write(pieces())

    wire = connect(handler)
    assert (await wire.ask(GET)).text == "abü"
    assert wire.peer.writes[1] == b"2\r\n\xc3\xbc\r\n"


class TestCompression:
    CODINGS: tuple[tuple[str, Any], ...] = (
        ("br", brotlicffi.decompress),
        ("gzip", gzip.decompress),
    )
    PIECES = (b"first ", b"", "zw\u00f6lf ".encode() * 5000, b"last")

    @pytest.mark.parametrize(("coding", "decompress"), CODINGS)
    async def test_each_write_is_encoded_as_the_client_likes(
        self, connect: Connect, coding: str, decompress: Any
    ) -> None:
        assert len(self.PIECES[2]) > OFF_LOOP_BYTES

        async def handler(r: R) -> None:
            await r.prepare({"Content-Type": "text/plain"}, compress=True)
            for piece in self.PIECES:
                await r.write(piece)
            await r.eof()

        wire = connect(handler)
        request_octets = request("GET", "/", f"Accept-Encoding: {coding}")
        wire.peer.feed(request_octets)
        await wait_until(lambda: wire.written.endswith(b"\r\n0\r\n\r\n"))
        (response,) = wire.responses()
        assert response.field("content-encoding") == coding
        assert response.field("vary") == "Accept-Encoding"
        assert decompress(response.body) == b"".join(self.PIECES)

    @pytest.mark.parametrize("how", ["write", "eof"])
    async def test_a_declared_length_gives_way_to_the_coding(
        self, connect: Connect, how: str
    ) -> None:
        async def handler(r: R) -> None:
            await r.prepare({"Content-Length": 4}, compress=True)
            await getattr(r, how)(b"data")

        octets = request("GET", "/", "Accept-Encoding: gzip")
        response = await connect(handler).ask(octets)
        assert gzip.decompress(response.body) == b"data"

    async def test_a_write_can_be_decoded_before_the_next(
        self, connect: Connect
    ) -> None:
        async def handler(r: R) -> None:
            await r.prepare(None, compress=True)
            await r.write(b"event")
            await forever(r)

        wire = connect(handler)
        wire.peer.feed(request("GET", "/", "Accept-Encoding: gzip"))
        await wait_until(lambda: wire.written)
        response = parse_response(wire.written + b"0\r\n\r\n")
        assert response is not None
        assert zlib.decompressobj(wbits=31).decompress(response.body) == b"event"

    async def test_a_client_that_likes_none_gets_it_as_it_is(
        self, connect: Connect
    ) -> None:
        async def handler(r: R) -> None:
            await r.prepare({"Content-Length": 4}, compress=True)
            await r.write(b"data")

        response = await connect(handler).ask(GET)
        assert (response.body, response.field("content-encoding")) == (b"data", None)
        assert response.field("content-length") == "4"
        assert response.field("vary") == "Accept-Encoding"

    async def test_encoded_content_is_not_encoded_again(self, connect: Connect) -> None:
        async def handler(r: R) -> None:
            await r.prepare({"Content-Encoding": "br"}, compress=True)
            await r.write(b"data")

        octets = request("GET", "/", "Accept-Encoding: gzip")
        response = await connect(handler).ask(octets)
        assert (response.body, response.field("content-encoding")) == (b"data", "br")

    async def test_a_response_without_content_is_told_the_same_head(
        self, serve: Serve
    ) -> None:
        async def handler(r: R) -> None:
            await r.prepare(None, compress=True)
            await r.write(b"data")
            await r.eof()

        octets = request("HEAD", "/", "Accept-Encoding: gzip")
        response = await serve(handler).exchange(octets, method="HEAD")
        assert response.field("content-encoding") == "gzip"

    async def test_the_next_response_is_not_encoded(self, connect: Connect) -> None:
        async def handler(r: R) -> None:
            if r.path == "/coded":
                await r.prepare(None, compress=True)
            await r.write(b"data")

        wire = connect(handler)
        await wire.ask(request("GET", "/coded", "Accept-Encoding: gzip"))
        assert (await wire.ask(GET)).body == b"data"
