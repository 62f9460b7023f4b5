"""Content that is collected: decoded, as text, as JSON, within its bound."""

import gzip
from dataclasses import dataclass

import pytest

import blazeio as io
from blazeio.errors import ContentDecodingError
from tests.client.scripts import OK, answer, reply
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
