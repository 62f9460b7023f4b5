"""docs/coming-from/original-package.md: what users of that package write."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

import blazeio as io
from tests.support.response import Response
from tests.support.served import Site, served

R = io.BlazeioServerProtocol


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    web = io.App()
    add_answers(web)
    add_files(web, tmp_path / "a.txt")
    async with served(web) as site:
        yield site


def add_answers(web: io.App) -> None:

    @web.add_route
    async def _json(r: R) -> None:
        await io.Deliver.json(r, {"a": [1]}, indent=4)

    @web.add_route
    async def _text(r: R) -> None:
        await io.Deliver.text(r, "a,b", content_type="text/csv")

    @web.add_route
    async def _echo(r: R) -> None:
        told = {"method": r.method, "x": r.headers.get("x"), "body": None}
        told["body"] = (await r.read()).decode()
        await io.Deliver.json(r, told)

    @web.add_route
    async def _cookie(r: R) -> None:
        get: Any = io.Request.get_cookie
        name = "name"
        found = [
            await io.Request.get_cookie(r, "a"),  # type: ignore[misc]
            await get(r, name=name),
            await get(name="none"),
            await asyncio.wait_for(asyncio.ensure_future(later(r)), 5),
            io.Request.get_cookie(r, "a"),
            get(r, "none"),
        ]
        assert found[-1] is None
        plain = get(r, "a")
        await asyncio.sleep(0)
        await io.Deliver.json(r, [*found, plain])

    async def later(r: R) -> Any:
        return await io.Request.get_cookie(r, "a")  # type: ignore[misc]

    @web.add_route
    async def _chunked(r: R) -> None:
        await r.prepare()
        await r.write_chunked(b"one")
        await r.write_chunked_eof(b"two")

    @web.add_route
    async def _sized(r: R) -> None:
        await r.prepare({"Content-Length": "3"})
        with pytest.raises(io.LocalProtocolError, match="not chunked"):
            await r.write_chunked_eof(b"one")
        await r.write(b"one")


def add_files(web: io.App, path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 4)

    @web.add_route
    async def _by_hand(r: R) -> None:
        async with io.Simpleserve(r, str(path), 100) as file:
            await r.prepare(file.headers, file.status)
            async for chunk in file.pull():
                assert len(chunk) <= 200
                await r.write(chunk)

    @web.add_route
    async def _by_itself(r: R) -> None:
        async with io.Simpleserve(r, path, headers={"X-Own": "1"}) as file:
            assert file.status

    @web.add_route
    async def _missing(r: R) -> None:
        async with io.Simpleserve(r, path.with_name("none")):
            pass

    @web.add_route
    async def _fails(r: R) -> None:
        async with io.Simpleserve(r, path):
            raise io.Abort("no", 409)


def url(site: Site, path: str) -> str:
    return f"http://127.0.0.1:{site.port}{path}"


async def test_json_may_be_indented_and_text_have_a_type(site: Site) -> None:
    assert (await site.get("/json")).text == '{\n    "a": [\n        1\n    ]\n}'
    answer = await site.get("/text")
    assert (answer.field("content-type"), answer.text) == ("text/csv", "a,b")


async def test_a_cookie_is_there_with_await_and_without(site: Site) -> None:
    headers = {"Cookie": "a=1; name=2"}
    answer = await site.ask("GET", "/cookie", headers=headers)
    assert answer.text == '["1","2",null,"1","1",null,"1"]'


async def test_a_chunked_message_ends(site: Site) -> None:
    assert (await site.get("/chunked")).text == "onetwo"
    assert (await site.get("/sized")).text == "one"
    headers = {"Transfer-Encoding": "chunked"}
    async with io.Session(url(site, "/echo"), "post", headers) as resp:
        await resp.write_chunked(b"one")
        await resp.write_chunked_eof(b"two")
        assert (await resp.json())["body"] == "onetwo"


@pytest.mark.parametrize("verb", ["get", "post", "put", "patch", "delete", "options"])
async def test_the_class_has_the_verbs(site: Site, verb: str) -> None:
    ask: Any = getattr(io.Session, verb)
    async with ask(url(site, "/echo"), {"X": "1"}) as resp:
        assert await resp.data() == {"method": verb.upper(), "x": "1", "body": ""}
    async with (
        io.Session() as session,
        getattr(session, verb)(url(site, "/echo")) as resp,
    ):
        assert (await resp.json())["method"] == verb.upper()


async def test_the_class_asks_for_a_head(site: Site) -> None:
    ask: Any = io.Session.head
    async with ask(url(site, "/echo")) as resp:
        assert resp.status_code == 200
        assert await resp.data() is None


async def test_fetch_gives_json_or_text(site: Site) -> None:
    told = await io.Session.fetch(url(site, "/echo"), "post", {"X": "2"}, body=b"b")
    assert told == {"method": "POST", "x": "2", "body": "b"}
    assert await io.Session.fetch(url(site, "/text")) == "a,b"


async def test_a_response_is_iterated_over(site: Site) -> None:
    async with io.Session(url(site, "/chunked")) as resp:
        assert b"".join([chunk async for chunk in resp]) == b"onetwo"


CONTENT = bytes(range(256)) * 4


async def both(
    site: Site, method: str, headers: dict[str, str] | None = None
) -> list[Response]:
    return [
        await site.ask(method, target, headers=headers)
        for target in ("/by/hand", "/by/itself")
    ]


async def test_a_file_is_served_by_hand_or_by_the_block(site: Site) -> None:
    for answer in await both(site, "GET"):
        assert (answer.status, answer.body) == (200, CONTENT)
        assert answer.field("content-length") == "1024"
        etag = answer.field("etag") or ""
    for answer in await both(site, "HEAD"):
        assert (answer.status, answer.body) == (200, b"")
        assert answer.field("content-length") == "1024"
    for answer in await both(site, "GET", {"Range": "bytes=10-300"}):
        assert (answer.status, answer.body) == (206, CONTENT[10:301])
    for answer in await both(site, "GET", {"Range": "bytes=0-1,5-6"}):
        assert answer.status == 206
        assert answer.body.count(b"Content-Range: bytes") == 2
    for answer in await both(site, "GET", {"If-None-Match": etag}):
        assert (answer.status, answer.body) == (304, b"")
    for answer in await both(site, "GET", {"Range": "bytes=5000-"}):
        assert answer.status == 416
    assert (await site.get("/by/itself")).field("x-own") == "1"
    assert (await site.get("/missing")).status == 404
    assert (await site.get("/fails")).status == 409


def test_the_bases_are_at_the_top() -> None:
    assert issubclass(R, io.BlazeioPayloadUtils)
    assert issubclass(R, io.ExtraToolset)
