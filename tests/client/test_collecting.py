"""Content that is collected: decoded, as text, as JSON, within its bound."""

import asyncio
import gzip
from dataclasses import dataclass

import pytest

import blazeio as io
from blazeio.errors import ContentDecodingError
from tests.client.scripts import CHUNKED, OK, answer, reply
from tests.support.clock import wait_until
from tests.support.raw_server import RawServer, Visitor


async def test_content_is_given_as_it_was_sent_and_decoded_where_it_is_collected() -> (
    None
):
    encoded = gzip.compress(b"hello " * 1000)
    octets = reply(encoded, "Content-Encoding: gzip")
    async with RawServer(answer(octets, octets)) as server, io.Session() as session:
        async with session.get(server.url) as resp:
            assert b"".join([piece async for piece in resp.pull()]) == encoded
        async with session.get(server.url) as resp:
            assert await resp.aread() == b"hello " * 1000
            assert await resp.text() == "hello " * 1000
            assert await resp.read() == encoded


@pytest.mark.parametrize(
    ("kind", "content", "text"),
    [
        ("text/plain", "ü".encode(), "ü"),
        ("text/plain; charset=iso-8859-1", b"\xfc", "ü"),
        ("text/plain; charset=klingon", "ü".encode(), "ü"),
        ("text/plain; charset", "ü".encode(), "ü"),
        ("text/plain", b"\xfc", "�"),
    ],
)
async def test_text_is_read_by_its_charset(
    kind: str, content: bytes, text: str
) -> None:
    octets = reply(content, f"Content-Type: {kind}")
    async with RawServer(answer(octets)) as server, io.Session(server.url) as resp:
        assert await resp.text() == text


@dataclass
class Point:
    x: int


async def test_json_is_read_and_checked() -> None:
    octets = reply(b'{"x": 1}')
    async with RawServer(answer(*[octets] * 3)) as server, io.Session() as session:
        async with session.get(server.url) as resp:
            assert await resp.json() == {"x": 1}
        async with session.get(server.url) as resp:
            assert await resp.json(Point) == Point(1)
        async with session.get(server.url) as resp:
            with pytest.raises(io.InvalidResponse, match="Expected `array`, got"):
                await resp.json(list[int])


async def test_content_beyond_the_bound_is_not_collected() -> None:
    bomb = reply(gzip.compress(bytes(100_000)), "Content-Encoding: gzip")
    async with RawServer(answer(OK, bomb)) as server, io.Session() as session:
        async with session.get(server.url) as resp:
            with pytest.raises(io.InvalidResponse, match="larger than the 1 octets"):
                await resp.aread(1)
        async with session.get(server.url) as resp:
            with pytest.raises(io.InvalidResponse, match="larger than the 9999"):
                await resp.aread(9999)


# As it arrives

HEAD = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n"
ENCODED = gzip.compress(b"hello " * 1000)


async def test_content_is_decoded_as_it_arrives() -> None:
    async def script(visitor: Visitor) -> None:
        await visitor.read_request()
        for piece in (HEAD + b"\r\n", ENCODED[:20], ENCODED[20:]):
            await visitor.send(piece)

    async with RawServer(script) as server, io.Session(server.url) as resp:
        assert b"".join([each async for each in resp.decoded()]) == b"hello " * 1000


async def test_content_without_a_coding_stays_as_it_is() -> None:
    octets = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nplain"
    async with RawServer(octets) as server, io.Session(server.url) as resp:
        assert [each async for each in resp.decoded()] == [b"plain"]


async def test_content_that_ends_before_its_coding_is_an_error() -> None:
    octets = HEAD + b"Content-Length: 9\r\n\r\n" + ENCODED[:9]
    async with RawServer(octets) as server, io.Session(server.url) as resp:
        with pytest.raises(ContentDecodingError, match="ends before"):
            _ = [each async for each in resp.decoded()]


HEADS = [b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", CHUNKED + b"\r\n"]


def as_sent(head: bytes, content: bytes) -> bytes:
    is_chunked = head.startswith(CHUNKED)
    return b"%x\r\n%s\r\n" % (len(content), content) if is_chunked else content


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("how", ["aread", "pull"])
async def test_nothing_is_lost_where_collecting_is_cancelled(
    head: bytes, how: str
) -> None:
    go_on = asyncio.Event()

    async def script(visitor: Visitor) -> None:
        await visitor.read_request()
        await visitor.send(head + as_sent(head, b"ab"))
        await go_on.wait()
        await visitor.send(as_sent(head, b"cd"))
        if head.startswith(CHUNKED):
            await visitor.send(b"0\r\n\r\n")

    async with (
        RawServer(script) as server,
        io.Session() as session,
        session.get(server.url) as resp,
    ):
        for _ in range(2):
            reading = asyncio.create_task(resp.aread())
            await wait_until(lambda: resp.current_length == 2)
            await wait_until(lambda: resp.content.is_awaited)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
        go_on.set()
        if how == "aread":
            assert await resp.aread() == b"abcd"
        else:
            assert b"".join([piece async for piece in resp.pull()]) == b"abcd"


async def test_nothing_is_lost_where_there_is_more_than_the_limit() -> None:
    go_on = asyncio.Event()

    async def script(visitor: Visitor) -> None:
        await visitor.read_request()
        await visitor.send(CHUNKED + b"\r\n2\r\nab\r\n")
        await go_on.wait()
        await visitor.send(b"2\r\ncd\r\n0\r\n\r\n")

    async with (
        RawServer(script) as server,
        io.Session() as session,
        session.get(server.url) as resp,
    ):
        reading = asyncio.create_task(resp.aread(3))
        await wait_until(lambda: resp.current_length == 2)
        await wait_until(lambda: resp.content.is_awaited)
        go_on.set()
        with pytest.raises(io.InvalidResponse, match="larger than the 3 octets"):
            await reading
        assert await resp.aread() == b"abcd"
