"""payload.py: what handlers read, in any cut, once and bounded."""

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from blazeio.errors import LocalProtocolError, RemoteProtocolError
from tests.protocol.serving import (
    GET,
    CallLog,
    Connect,
    R,
    Serve,
    chunks,
    post,
    request,
)
from tests.support.clock import scaled, wait_until

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

    async def test_nothing_is_lost_where_reading_is_given_up(
        self, connect: Connect
    ) -> None:
        """By a timeout, or since there is more than the limit."""

        async def handler(r: R) -> None:
            for limit in (None, 3):
                reading = asyncio.create_task(r.read(limit))
                await wait_until(lambda: r.content.is_awaited)
                if limit is None:
                    reading.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await reading
                else:
                    wire.peer.feed(chunks(b"cd"))
                    with pytest.raises(RemoteProtocolError, match="larger than the 3"):
                        await reading
            r.reply(await r.read())

        wire = connect(handler)
        wire.peer.feed(CHUNKED + chunks(b"ab").removesuffix(b"0\r\n\r\n"))
        assert (await wire.answered())[0].body == b"abcd"

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
        self, connect: Connect, calls: CallLog
    ) -> None:
        async def handler(r: R) -> None:
            await r.ensure_reading()
            calls.note(r.current_length)
            r.reply(await r.read())

        wire = connect(handler)
        wire.peer.feed(post(b"abc")[:-3])
        await asyncio.sleep(0)
        assert not calls.entries
        wire.peer.feed(b"ab")
        await calls.has(2)
        wire.peer.feed(b"c")
        assert (await wire.answered())[0].body == b"abc"

    async def test_two_readers_are_refused(
        self, connect: Connect, calls: CallLog
    ) -> None:
        async def handler(r: R) -> None:
            first = asyncio.create_task(r.read())
            await asyncio.sleep(0)
            try:
                await r.read()
            except RuntimeError as error:
                calls.note(str(error))
            r.reply(await first)

        wire = connect(handler)
        wire.peer.feed(post(b"abc")[:-3])
        await calls.has("two tasks read the content of one message")
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
