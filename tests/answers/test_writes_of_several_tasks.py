"""Writes that tasks do at the same time, that are cancelled, and what is encoded."""

import asyncio
import random
import zlib
from collections.abc import Mapping

import brotlicffi
import pytest

from blazeio.app.app import App
from blazeio.protocol.request import BlazeioServerProtocol
from tests.support.clock import wait_until
from tests.support.response import Response
from tests.support.served import serialize_request, served

R = BlazeioServerProtocol

WORDS = (b"alpha ", b"beta ", b"gamma ")
rng = random.Random(1)
LARGE = [
    b"<%d:" % number + b"".join(rng.choices(WORDS, k=20_000)) + b">"
    for number in range(6)
]
"""Each is cut, and its pieces are encoded in threads."""


def decode(answer: Response) -> bytes:
    coding = answer.field("content-encoding")
    if coding == "gzip":
        stream = zlib.decompressobj(31)
        content = stream.decompress(answer.body)
        assert stream.eof
        return content
    if coding == "br":
        return bytes(brotlicffi.decompress(answer.body))
    return answer.body


CODINGS = ("identity", "gzip", "br")


@pytest.mark.parametrize("coding", CODINGS)
async def test_writes_leave_whole_and_in_the_order_of_their_calls(coding: str) -> None:
    web = App()

    @web.add_route
    async def _x(r: R) -> None:
        await r.prepare(compress=True)
        await asyncio.gather(
            r.write(LARGE[0]),
            r.write(b"<small>"),
            *(r.write(each) for each in LARGE[1:3]),
            r.eof(LARGE[3]),
        )

    async with served(web) as site:
        answer = await site.ask("GET", "/x", headers={"Accept-Encoding": coding})
    assert decode(answer) == b"".join([LARGE[0], b"<small>", *LARGE[1:4]])


@pytest.mark.parametrize("coding", CODINGS)
async def test_a_cancelled_write_has_happened_or_has_not(coding: str) -> None:
    web = App()

    @web.add_route
    async def _x(r: R) -> None:
        await r.prepare(compress=True)
        for turns, piece in enumerate(LARGE):
            task = asyncio.create_task(r.write(piece))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await r.write(b"|")

    async with served(web) as site:
        answer = await site.ask("GET", "/x", headers={"Accept-Encoding": coding})
    *parts, last = decode(answer).split(b"|")
    assert last == b""
    assert len(parts) == len(LARGE)
    for part, piece in zip(parts, LARGE, strict=True):
        assert part in (b"", piece)
    assert parts[-1] == LARGE[-1]


async def test_a_write_cancelled_before_its_turn_has_not_happened() -> None:
    web = App()

    @web.add_route
    async def _x(r: R) -> None:
        await r.prepare(compress=True)
        tasks = [asyncio.create_task(r.write(each)) for each in LARGE[:4]]
        await asyncio.sleep(0)
        tasks[1].cancel()
        tasks[2].cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async with served(web) as site:
        answer = await site.ask("GET", "/x", headers={"Accept-Encoding": "gzip"})
    assert decode(answer) == LARGE[0] + LARGE[3]


@pytest.mark.long
async def test_a_cancelled_write_with_much_left_cuts_the_connection() -> None:
    web = App()

    @web.add_route
    async def _x(r: R) -> None:
        await r.prepare()
        task = asyncio.create_task(r.write(b"x" * 20_000_000))
        await wait_until(lambda: not r.response.gate.is_open)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert r.transport.is_closing()

    async with served(web) as site, await site.connect() as peer:
        await peer.send(serialize_request("GET", "/x"))
        with pytest.raises((ConnectionError, AssertionError)):
            await peer.read_response()


async def test_a_handler_that_ends_while_its_task_writes_cuts_the_connection(
    caplog: pytest.LogCaptureFixture,
) -> None:
    web = App()
    tasks = []

    @web.add_route
    async def _x(r: R) -> None:
        await r.prepare(compress=True)
        tasks.append(asyncio.create_task(r.write(LARGE[0])))
        await asyncio.sleep(0)

    headers = {"Accept-Encoding": "gzip"}
    async with served(web) as site, await site.connect() as peer:
        await peer.send(serialize_request("GET", "/x", headers=headers))
        with pytest.raises((ConnectionError, AssertionError)):
            await peer.read_response()
        await asyncio.gather(*tasks, return_exceptions=True)
    assert "another task still writes" in caplog.text


ETAG: Mapping[str, str] = {"Content-Type": "text/plain", "ETag": '"v1"'}


@pytest.mark.parametrize(
    ("method", "status", "coding", "etag", "body_bytes"),
    [
        ("GET", 200, "gzip", 'W/"v1"', True),
        ("HEAD", 200, "gzip", 'W/"v1"', False),
        ("GET", 304, None, 'W/"v1"', False),
        ("GET", 204, None, 'W/"v1"', False),
        ("GET", 206, None, '"v1"', True),
    ],
)
async def test_what_is_encoded_on_the_way_has_a_weak_tag(
    method: str, status: int, coding: str | None, etag: str, body_bytes: bool
) -> None:
    web = App()

    @web.add_route
    async def _x(r: R) -> None:
        await r.prepare(ETAG, status, compress=True)
        await r.write(b"hello " * 50)

    headers = {"Accept-Encoding": "gzip"}
    async with served(web) as site:
        answer = await site.ask(method, "/x", headers=headers)
        plain = await site.ask("GET", "/x", headers={"Accept-Encoding": "identity"})
    assert answer.status == status
    assert answer.field("content-encoding") == coding
    assert answer.field("etag") == etag
    assert answer.field("vary") == plain.field("vary") == "Accept-Encoding"
    assert bool(answer.body) == body_bytes
    assert plain.field("etag") == '"v1"'
    if coding is not None and body_bytes:
        assert decode(answer) == b"hello " * 50


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Cache-Control", "max-age=5, no-transform"),
        ("Content-Encoding", "br"),
        ("Content-Digest", "sha-256=:AAAA:"),
        ("Content-Range", "bytes 0-4/9"),
    ],
)
async def test_content_that_must_stay_as_it_is_is_not_encoded(
    name: str, value: str
) -> None:
    web = App()

    @web.add_route
    async def _x(r: R) -> None:
        await r.prepare({**ETAG, name: value}, compress=True)
        await r.write(b"hello")

    async with served(web) as site:
        answer = await site.ask("GET", "/x", headers={"Accept-Encoding": "gzip"})
    assert (answer.body, answer.field("etag")) == (b"hello", '"v1"')
    assert answer.field("vary") == "Accept-Encoding"
    assert answer.field(name) == value


async def test_vary_is_said_once() -> None:
    web = App()

    @web.add_route
    async def _x(r: R) -> None:
        await r.prepare({"Vary": "Origin, Accept-Encoding"}, compress=True)

    async with served(web) as site:
        assert (await site.get("/x")).field_all("vary") == ["Origin, Accept-Encoding"]
