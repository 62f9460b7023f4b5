"""What real servers send, and what a caller then gets."""

import os
from pathlib import Path

import pytest

import blazeio as io
from blazeio.content.codings import gzip
from tests.client.scripts import CHUNKED, OK, answer, reply
from tests.support.raw_server import RawServer


@pytest.mark.parametrize("status", [199, 299, 444, 599, 600, 777, 999])
async def test_every_status_of_three_digits_is_read(status: int) -> None:
    octets = b"HTTP/1.1 %d Odd\r\nContent-Length: 2\r\n\r\nok" % status
    if status < 200:
        octets = b"HTTP/1.1 %d Odd\r\n\r\n" % status + OK
    async with RawServer(octets) as server, io.Session() as session:
        for _ in range(2):
            async with session.get(server.url) as resp:
                assert await resp.aread() == b"ok"
                expected = max(status, 200)
                assert resp.status_code == expected
    assert server.connections == 1


async def test_fields_over_several_lines() -> None:
    octets = CHUNKED + b"X: a\r\n b\r\n\tc\r\n\r\n2\r\nok\r\n0\r\nT: a\r\n b\r\n\r\n"
    async with RawServer(answer(octets)) as server, io.Session(server.url) as resp:
        assert resp.headers["x"] == "a b c"
        assert await resp.aread() == b"ok"
        assert resp.trailers["t"] == "a b"


async def test_a_location_in_utf_8() -> None:
    location = "Location: http://stra\xdfe.test/\xe9\r\n".encode()
    octets = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n" + location + b"\r\n"
    async with RawServer(octets) as server:
        with pytest.raises(io.ConnectError, match=r"^http://xn--strae-oqa\.test:80: "):
            async with io.Session(server.url, follow_redirects=True):
                pass


async def test_a_location_below_a_name_that_is_not_ascii(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    found = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: %b\r\n\r\n"
    wanted = [b"/x", "//STRA\xdfE.test/y".encode(), b"http://xn--strae-oqa.test/z"]
    script = answer(*(found % each for each in wanted), OK)
    async with RawServer(script, path=path) as server:
        url = "http://stra\xdfe.test/"
        async with io.Session(
            url, unix=path, follow_redirects=True, auth=("me", "x")
        ) as resp:
            assert str(resp.url) == "http://xn--strae-oqa.test/z"
    for request in server.requests:  # it has been one origin all the time
        assert b"\r\nHost: xn--strae-oqa.test\r\n" in request
        assert b"\r\nAuthorization: Basic " in request


# Content


@pytest.mark.parametrize(
    ("field", "coding"),
    [
        ("zzz", "zzz"),
        ("UTF-8", "utf-8"),
        ("compress", "compress"),
        ("aws-chunked", "aws-chunked"),
        ("gzip, zzz", "gzip, zzz"),
        ("zzz, gzip", "zzz, gzip"),
    ],
)
async def test_an_unknown_coding_is_left_as_it_is(field: str, coding: str) -> None:
    encoded = gzip(b"{}")
    octets = reply(encoded, f"Content-Encoding: {field}")
    async with RawServer(octets) as server, io.Session() as session:
        async with session.get(server.url, compress=True) as resp:
            assert resp.content_coding == coding
            assert await resp.aread() == encoded
            assert await resp.text() == encoded.decode(errors="replace")
        async with session.get(server.url) as resp:
            assert b"".join([each async for each in resp.decoded()]) == encoded


async def test_an_unknown_coding_is_saved_as_it_is(tmp_path: Path) -> None:
    octets = reply(b"as it is", "Content-Encoding: zzz")
    async with RawServer(octets) as server, io.Session(server.url) as resp:
        assert await resp.save(tmp_path / "x") == 8
    assert (tmp_path / "x").read_bytes() == b"as it is"


@pytest.mark.parametrize("field", ["identity", "", "IDENTITY, identity"])
async def test_no_coding_at_all(field: str) -> None:
    octets = reply(b"x", f"Content-Encoding: {field}")
    async with RawServer(octets) as server, io.Session(server.url) as resp:
        assert resp.content_coding is None
        assert await resp.aread() == b"x"


async def test_a_coding_that_is_known_is_named_and_undone() -> None:
    octets = reply(gzip(b"x"), "Content-Encoding: GZIP")
    async with RawServer(octets) as server, io.Session(server.url) as resp:
        assert resp.content_coding == "gzip"
        assert await resp.aread() == b"x"


async def test_events_in_an_unknown_coding_are_an_error() -> None:
    stream = ("Content-Type: text/event-stream", "Content-Encoding: zzz")
    octets = reply(b"data: x\n\n", *stream)
    async with RawServer(octets) as server, io.Session(server.url) as resp:
        with pytest.raises(io.ContentDecodingError, match="zzz"):
            await anext(resp.events())


@pytest.mark.parametrize("size", [1, 100_000])
async def test_octets_after_gzip(size: int) -> None:
    plain = os.urandom(size)
    for rest, is_error in ((bytes(100), False), (b"\0<!-- x -->", True)):
        octets = reply(gzip(plain) + rest, "Content-Encoding: gzip")
        async with RawServer(octets) as server, io.Session() as session:
            url = server.url
            async with session.get(url, allow_trailing_octets=True) as resp:
                assert await resp.aread() == plain
            async with session.get(url, allow_trailing_octets=True) as resp:
                assert b"".join([each async for each in resp.decoded()]) == plain
            async with session.get(url) as resp:
                if is_error:
                    with pytest.raises(io.ContentDecodingError, match="follow its end"):
                        await resp.aread()
                else:
                    assert await resp.aread() == plain
            async with (
                io.Session(allow_trailing_octets=True) as other,
                other.get(url) as resp,
            ):
                assert await resp.aread() == plain


async def test_json_with_a_byte_order_mark() -> None:
    octets = reply(b"\xef\xbb\xbf{}", "Content-Type: application/json")
    async with RawServer(octets) as server, io.Session(server.url) as resp:
        assert await resp.json() == {}
        assert await resp.json(dict[str, int]) == {}


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"a":' * 100_000])
async def test_json_that_is_nested_too_deeply(content: bytes) -> None:
    octets = reply(content)
    async with RawServer(octets) as server, io.Session(server.url) as resp:
        for kind in (dict[str, object], list[object]):
            with pytest.raises(io.InvalidResponse):
                await resp.json(kind)
        with pytest.raises(io.InvalidResponse, match="nested too deeply"):
            await resp.json()


async def test_what_a_server_says_does_not_fill_an_error_text() -> None:
    long = b"x" * 8000
    head = b"HTTP/1.1 500 " + long + b"\r\nContent-Type: " + long + b"\r\n"
    head += b"Content-Length: 2\r\n\r\nno"
    async with RawServer(head) as server, io.Session(server.url) as resp:
        with pytest.raises(io.StatusError) as refused:
            resp.raise_for_status()
        with pytest.raises(io.InvalidResponse) as no_stream:
            await anext(resp.events())
    assert max(len(str(refused.value)), len(str(no_stream.value))) < 300
