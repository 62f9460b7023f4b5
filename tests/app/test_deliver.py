import asyncio
import dataclasses
import gzip
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from blazeio.app.app import App
from blazeio.app.deliver import Deliver, Prepare
from blazeio.protocol.request import BlazeioServerProtocol
from tests.support.clock import wait_until
from tests.support.response import Response
from tests.support.served import serialize_request, served

R = BlazeioServerProtocol


async def answer_of(method: Any, *args: Any, **kwargs: Any) -> Response:
    web = App()

    @web.add_route
    async def _x(r: R) -> None:
        await method(r, *args, **kwargs)

    async with served(web) as site:
        return await site.get("/x")


async def test_json_is_sent_with_its_length_and_type() -> None:
    answer = await answer_of(Deliver.json, {"ip": "ü", "n": [1, None]})
    assert answer.body == '{"ip":"ü","n":[1,null]}'.encode()
    assert answer.field("content-type") == "application/json"
    assert answer.field("content-length") == str(len(answer.body))


async def test_json_takes_dataclasses() -> None:
    @dataclasses.dataclass
    class Point:
        x: int

    assert (await answer_of(Deliver.json, Point(1))).body == b'{"x":1}'


async def test_what_json_cannot_say_is_500() -> None:
    assert (await answer_of(Deliver.json, object())).status == 500


@pytest.mark.parametrize(
    ("method", "media_type"),
    [(Deliver.text, "text/plain"), (Deliver.html, "text/html")],
)
@pytest.mark.parametrize("data", ["für", "für".encode()])
async def test_text_is_utf_8(method: Any, media_type: str, data: str | bytes) -> None:
    answer = await answer_of(method, data)
    assert answer.text == "für"
    assert answer.field("content-type") == f"{media_type}; charset=utf-8"


@pytest.mark.parametrize("method", [Deliver.json, Deliver.text, Deliver.html])
async def test_status_and_headers_are_sent(method: Any) -> None:
    answer = await answer_of(method, "x", 201, {"X-One": "1", "X-Two": ["a", "b"]})
    assert (answer.status, answer.field("x-one")) == (201, "1")
    assert answer.field_all("x-two") == ["a", "b"]


async def test_a_given_content_type_goes_before_the_usual_one() -> None:
    answer = await answer_of(
        Deliver.json, {}, headers={"content-type": "application/problem+json"}
    )
    assert answer.field("content-type") == "application/problem+json"


async def test_a_redirect_is_302_and_has_no_content() -> None:
    answer = await answer_of(Deliver.redirect, "/api/ip")
    assert (answer.status, answer.body) == (302, b"")
    assert answer.field("location") == "/api/ip"
    assert answer.field("content-length") == "0"
    assert answer.field("content-type") is None


@pytest.mark.parametrize("status", [301, 303, 307, 308])
async def test_a_redirect_has_the_status_that_is_asked_for(status: int) -> None:
    assert (await answer_of(Deliver.redirect, "/", status)).status == status


@pytest.mark.parametrize("status", [200, 300, 304, 305, 404])
async def test_a_redirect_with_another_status_is_500(status: int) -> None:
    assert (await answer_of(Deliver.redirect, "/", status)).status == 500


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/für dich?q=ä#ü", "/f%C3%BCr%20dich?q=%C3%A4#%C3%BC"),
        ("https://example.com/a%20b?x=[1]&y=~", "https://example.com/a%20b?x=[1]&y=~"),
        ("/\r\nX: 1", "/%0D%0AX:%201"),
        ("/\x00", "/%00"),
    ],
)
async def test_what_a_uri_cannot_hold_is_percent_encoded(
    path: str, location: str
) -> None:
    answer = await answer_of(Deliver.redirect, path)
    assert answer.field("location") == location
    assert answer.field("x") is None


@pytest.mark.parametrize("headers", [{"X-A": "1"}, [("X-A", "1")]])
async def test_a_redirect_takes_headers_as_mapping_or_pairs(headers: Any) -> None:
    answer = await answer_of(Deliver.redirect, "/", headers=headers)
    assert answer.field("x-a") == "1"


@pytest.mark.parametrize(
    "method", [Deliver.json, Deliver.text, Deliver.html, Deliver.bytes]
)
async def test_delivering_waits_for_a_client_that_does_not_read(method: Any) -> None:
    web = App()
    begun: list[str] = []
    ended: list[str] = []
    data: Any = "x" * 1_000_000
    if method is Deliver.bytes:
        data = data.encode()

    @web.add_route
    async def _x(r: R) -> None:
        begun.append("")
        await method(r, data)
        ended.append("")

    async with served(web) as site, await site.connect() as peer:
        await peer.send(serialize_request("GET", "/x") * 100)
        await wait_until(lambda: len(begun) > len(ended))
        assert len(begun) < 100
        for _ in range(100):
            assert len((await peer.read_response()).body) >= 1_000_000
        await wait_until(lambda: len(ended) == 100)


async def test_octets_are_sent_as_they_are() -> None:
    answer = await answer_of(Deliver.bytes, b"\x00\xff")
    assert answer.body == b"\x00\xff"
    assert answer.field("content-type") == "application/octet-stream"
    assert answer.field("content-length") == "2"


@pytest.mark.parametrize(
    "given",
    [{"content_type": "image/png"}, {"headers": [(b"content-type", "image/png")]}],
)
async def test_octets_may_have_a_type(given: Any) -> None:
    answer = await answer_of(Deliver.bytes, b"x", **given)
    assert answer.field("content-type") == "image/png"


async def test_no_content_is_204_without_a_body() -> None:
    answer = await answer_of(Deliver.no_content, {"X-A": "1"})
    assert (answer.status, answer.body, answer.field("x-a")) == (204, b"", "1")
    assert answer.field("content-length") is None
    assert answer.field("content-type") is None


async def numbers() -> AsyncIterator[str | bytes]:
    yield "one "
    yield b"two"


@pytest.mark.parametrize("make", [numbers, lambda: ["one ", b"two"]])
@pytest.mark.http1  # its chunks
async def test_a_stream_is_sent_piece_by_piece(make: Any) -> None:
    answer = await answer_of(Deliver.stream, make(), 201, content_type="text/plain")
    assert (answer.status, answer.text) == (201, "one two")
    assert answer.field("transfer-encoding") == "chunked"
    assert answer.field("content-type") == "text/plain"


async def test_a_stream_with_a_length_is_not_chunked() -> None:
    answer = await answer_of(Deliver.stream, numbers(), headers={"Content-Length": 7})
    assert answer.field("content-length") == "7"
    assert answer.text == "one two"


async def test_a_stream_may_be_compressed() -> None:
    web = App()

    @web.add_route
    async def _x(r: R) -> None:
        await Deliver.stream(r, numbers(), compress=True)

    async with served(web) as site:
        answer = await site.ask("GET", "/x", headers={"Accept-Encoding": "gzip"})
    assert gzip.decompress(answer.body) == b"one two"


@pytest.mark.parametrize("method", [Deliver.stream, Deliver.sse])
async def test_to_head_nothing_of_a_stream_is_made(method: Any) -> None:
    asked: list[str] = []

    async def endless() -> AsyncIterator[str]:
        while True:
            asked.append("")
            yield "x"

    web = App()

    @web.add_route
    async def _x(r: R) -> None:
        await method(r, endless())

    async with served(web) as site:
        assert (await site.ask("HEAD", "/x")).status == 200
    assert asked == []


@pytest.mark.parametrize("method", [Deliver.stream, Deliver.sse])
async def test_a_stream_is_closed_when_the_client_goes_away(method: Any) -> None:
    closed: list[str] = []

    async def endless() -> AsyncIterator[str]:
        try:
            while True:
                yield "x"
                await asyncio.sleep(0)
        finally:
            closed.append("")

    web = App()

    @web.add_route
    async def _x(r: R) -> None:
        await method(r, endless())

    async with served(web) as site:
        async with await site.connect() as peer:
            await peer.send(serialize_request("GET", "/x"))
        await wait_until(lambda: closed)


async def events() -> AsyncIterator[Any]:
    yield "one\ntwo"
    yield {"n": 3}


async def test_events_are_sent_as_browsers_read_them() -> None:
    answer = await answer_of(Deliver.sse, events())
    assert answer.text == 'data: one\ndata: two\n\ndata: {"n":3}\n\n'
    assert answer.field("content-type") == "text/event-stream"
    assert answer.field("cache-control") == "no-cache"


@pytest.mark.parametrize(
    ("prepare", "media_type"),
    [(Prepare.text, "text/plain; charset=utf-8"), (Prepare.json, "application/json")],
)
async def test_a_head_is_prepared_and_content_written(
    prepare: Any, media_type: str
) -> None:
    async def handler(r: R) -> None:
        await prepare(r, {"X-A": "1"}, 201)
        await r.write("[")
        await r.write("]")

    answer = await answer_of(handler)
    assert (answer.status, answer.text) == (201, "[]")
    assert answer.field("content-type") == media_type
    assert answer.field("x-a") == "1"


@pytest.mark.parametrize(
    "given",
    [{"headers": {"Content-Type": "text/csv"}}, {"content_type": "text/csv"}],
)
async def test_a_prepared_head_may_have_another_type(given: Any) -> None:
    answer = await answer_of(Prepare.text, **given)
    assert answer.field("content-type") == "text/csv"


async def test_a_file_is_sent(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("für")
    answer = await answer_of(Deliver.file, tmp_path / "a.txt", {"X-A": "1"})
    assert (answer.text, answer.field("x-a")) == ("für", "1")
    assert answer.field("content-type") == "text/plain; charset=utf-8"


async def test_a_file_that_is_not_there_is_404(tmp_path: Path) -> None:
    assert (await answer_of(Deliver.file, tmp_path / "a.txt")).status == 404
