"""What handlers read and write, as it is on the wire."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from blazeio.errors import ClientDisconnected, LocalProtocolError, RemoteProtocolError
from blazeio.wire.headers import Headers
from tests.protocol.serving import (
    GET,
    Connect,
    Diary,
    R,
    Serve,
    chunks,
    forever,
    post,
    request,
)
from tests.support.clock import scaled, wait_until
from tests.support.response import Response

CHUNKED = request("POST", "/", "Transfer-Encoding: chunked")
Reader = Callable[[R], AsyncIterator[bytes]]

READERS: list[Reader] = [R.pull, R.request, R.ayield]


class TestReading:
    @pytest.mark.parametrize("reader", READERS)
    @pytest.mark.parametrize(
        "octets",
        [post(b"abcdef"), CHUNKED + chunks(b"ab", b"cdef")],
        ids=["length", "chunked"],
    )
    async def test_content_comes_in_any_cut(
        self, connect: Connect, reader: Reader, octets: bytes
    ) -> None:
        async def handler(r: R) -> None:
            pieces = [piece async for piece in reader(r)]
            assert all(type(piece) is bytes and piece for piece in pieces)
            r.reply(b"".join(pieces))

        wire = connect(handler)
        for octet in octets:
            wire.peer.feed(bytes([octet]))
            await asyncio.sleep(0)
        assert (await wire.answered())[0].body == b"abcdef"
        assert (await wire.ask(octets)).body == b"abcdef"

    @pytest.mark.parametrize("reader", READERS)
    async def test_no_content_is_an_empty_iteration(
        self, connect: Connect, reader: Reader
    ) -> None:
        async def handler(r: R) -> None:
            r.reply(b"%d" % len([piece async for piece in reader(r)]))

        assert (await connect(handler).ask(GET)).body == b"0"

    async def test_handle_chunked_gives_decoded_content(self, connect: Connect) -> None:
        async def handler(r: R) -> None:
            r.reply(b"|".join([piece async for piece in r.handle_chunked()]))

        octets = CHUNKED + chunks(b"ab", b"cde")
        assert (await connect(handler).ask(octets)).body == b"ab|cde"

    async def test_handle_chunked_of_another_framing_is_refused(
        self, connect: Connect
    ) -> None:
        async def handler(r: R) -> None:
            with pytest.raises(LocalProtocolError, match="not chunked"):
                r.handle_chunked()
            r.reply(await r.read())

        assert (await connect(handler).ask(post(b"abc"))).body == b"abc"

    async def test_ensure_reading_sleeps_until_content_waits(
        self, connect: Connect, diary: Diary
    ) -> None:
        async def handler(r: R) -> None:
            await r.ensure_reading()
            diary.note(r.current_length)
            r.reply(await r.read())

        wire = connect(handler)
        wire.peer.feed(post(b"abc")[:-3])
        await asyncio.sleep(0)
        assert not diary.entries
        wire.peer.feed(b"ab")
        await diary.has(2)
        wire.peer.feed(b"c")
        assert (await wire.answered())[0].body == b"abc"

    async def test_two_readers_are_refused(
        self, connect: Connect, diary: Diary
    ) -> None:
        async def handler(r: R) -> None:
            first = asyncio.create_task(r.read())
            await asyncio.sleep(0)
            try:
                await r.read()
            except RuntimeError as error:
                diary.note(str(error))
            r.reply(await first)

        wire = connect(handler)
        wire.peer.feed(post(b"abc")[:-3])
        await diary.has("two tasks read the content of one request")
        wire.peer.feed(b"abc")
        assert (await wire.answered())[0].body == b"abc"

    async def test_a_breach_of_the_framing_is_raised_and_costs_the_connection(
        self, serve: Serve
    ) -> None:
        async def handler(r: R) -> None:
            try:
                await r.read()
            except RemoteProtocolError as error:
                r.reply(str(error).encode(), error.status_hint)

        peer = await serve(handler).connect()
        await peer.send(CHUNKED + b"nonsense\r\n" + GET)
        response = await peer.read_response()
        assert (response.status, response.field("connection")) == (400, "close")
        assert await peer.read_until_end() == b""


class TestRead:
    async def test_collects_all(self, connect: Connect) -> None:
        async def handler(r: R) -> None:
            r.reply(await r.read())

        wire = connect(handler)
        wire.peer.feed(CHUNKED + b"1\r\na\r\n")
        await asyncio.sleep(0)
        wire.peer.feed(chunks(b"b"))
        assert (await wire.answered())[0].body == b"ab"

    async def test_gives_the_same_when_asked_again(self, connect: Connect) -> None:
        async def handler(r: R) -> None:
            assert await r.read() is await r.read()
            r.reply(await r.read())

        assert (await connect(handler).ask(post(b"abc"))).body == b"abc"

    async def test_gives_nothing_when_there_is_no_content(
        self, connect: Connect
    ) -> None:
        async def handler(r: R) -> None:
            r.reply(repr(await r.read()).encode())

        assert (await connect(handler).ask(GET)).body == b"b''"

    async def test_gives_what_pull_has_left(self, connect: Connect) -> None:
        async def handler(r: R) -> None:
            async for _ in r.pull():
                break
            r.reply(await r.read())

        octets = CHUNKED + chunks(b"a", b"b", b"c")
        assert (await connect(handler).ask(octets)).body == b"bc"

    @pytest.mark.parametrize(
        "octets",
        [post(b"x" * 11), CHUNKED + chunks(b"x" * 6, b"x" * 5)],
        ids=["length", "chunked"],
    )
    async def test_more_than_the_limit_is_413(
        self, connect: Connect, octets: bytes
    ) -> None:
        async def handler(r: R) -> None:
            with pytest.raises(RemoteProtocolError, match="the 10 octets") as caught:
                await r.read()
            r.reply(b"", caught.value.status_hint)

        assert (await connect(handler, collected_bytes=10).ask(octets)).status == 413

    async def test_chunks_beyond_the_limit_are_413_as_they_come(
        self, connect: Connect
    ) -> None:
        async def handler(r: R) -> None:
            with pytest.raises(RemoteProtocolError) as caught:
                await r.read(3)
            r.reply(b"", caught.value.status_hint)

        wire = connect(handler)
        wire.peer.feed(CHUNKED + b"2\r\nab\r\n")
        await asyncio.sleep(0)
        wire.peer.feed(chunks(b"cd"))
        assert (await wire.answered())[0].status == 413

    async def test_a_limit_given_wins(self, connect: Connect) -> None:
        async def handler(r: R) -> None:
            r.reply(await r.read(20))

        wire = connect(handler, collected_bytes=10)
        assert (await wire.ask(post(b"x" * 20))).body == b"x" * 20

    async def test_too_large_a_length_is_413_before_it_is_sent(
        self, connect: Connect
    ) -> None:
        async def handler(r: R) -> None:
            try:
                await r.read(10)
            except RemoteProtocolError as error:
                r.reply(b"", error.status_hint)

        head = request("POST", "/", "Content-Length: 11", "Expect: 100-continue")
        assert (await connect(handler).ask(head)).status == 413


class TestContinue:
    HEAD = request("POST", "/", "Content-Length: 3", "Expect: 100-continue")

    async def test_comes_when_content_is_first_read(
        self, serve: Serve, diary: Diary
    ) -> None:
        may_read = asyncio.Event()

        async def handler(r: R) -> None:
            diary.note("begin")
            await may_read.wait()
            r.reply(await r.read())

        peer = await serve(handler).connect()
        await peer.send(self.HEAD)
        await diary.has("begin")
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

    async def test_less_than_declared_at_eof_raises_and_cuts(
        self, serve: Serve, diary: Diary, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def handler(r: R) -> None:
            await r.prepare({"Content-Length": 3})
            try:
                await r.eof(b"a")
            except LocalProtocolError as error:
                diary.note(str(error)[:30])

        peer = await serve(handler).connect()
        await peer.send(GET)
        with pytest.raises(ConnectionResetError):
            await peer.read_until_end()
        assert diary.entries == ["the response ended 2 octets sh"]

    async def test_the_handler_goes_on_after_eof(
        self, connect: Connect, diary: Diary
    ) -> None:
        may_go_on = asyncio.Event()

        async def handler(r: R) -> None:
            await r.eof(b"first")
            await may_go_on.wait()
            diary.note(r.path)

        wire = connect(handler)
        wire.peer.feed(request("GET", "/a") + request("GET", "/b"))
        assert len(await wire.answered(1)) == 1
        may_go_on.set()
        await diary.has("/a", "/b")
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

    async def test_writer_writes_octets_as_they_are(self, serve: Serve) -> None:
        async def handler(r: R) -> None:
            await r.prepare()
            await r.writer(b"3\r\nabc\r\n")
            await r.writer(b"%x\r\n%b\r\n" % (5000, b"x" * 5000))

        response = await serve(handler, high_water_bytes=1000).exchange(GET)
        assert response.body == b"abc" + b"x" * 5000

    async def test_writer_to_nobody_raises(
        self, connect: Connect, diary: Diary
    ) -> None:
        async def handler(r: R) -> None:
            await r.prepare()
            r.transport.close()
            try:
                await r.writer(b"abc")
            except ClientDisconnected:
                diary.note("nobody")
            await forever(r)

        wire = connect(handler)
        wire.peer.feed(GET)
        await diary.has("nobody")


async def test_bytes_like_content_is_taken(connect: Connect) -> None:
    async def handler(r: R) -> None:
        await r.write(bytearray(b"ab"))  # type: ignore[arg-type]
        await r.write(memoryview(b"cd"))  # type: ignore[arg-type]

    response: Response = await connect(handler).ask(GET)
    assert response.body == b"abcd"


async def test_content_of_20_interleaved_uploads_never_mixes(serve: Serve) -> None:
    async def handler(r: R) -> None:
        kept: list[bytes] = []
        async for piece in r.pull():
            kept.append(piece)
            await asyncio.sleep(0)  # others are read into the buffer meanwhile
        r.reply(b"".join(kept))

    served = serve(handler, receive_bytes=2000)

    async def upload(number: int) -> None:
        peer = await served.connect()
        content = bytes([65 + number]) * 40_000
        octets = post(content)
        if number % 2:
            pieces = [content[at : at + 997] for at in range(0, len(content), 997)]
            octets = CHUNKED + chunks(*pieces)
        for at in range(0, len(octets), 1503):
            await peer.send(octets[at : at + 1503])
            await asyncio.sleep(0)
        assert (await peer.read_response()).body == content

    await asyncio.wait_for(
        asyncio.gather(*(upload(number) for number in range(20))), scaled(10)
    )
