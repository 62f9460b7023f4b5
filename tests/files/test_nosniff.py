"""Whatever a file is answered with, no browser guesses what it is."""

import gzip
from pathlib import Path

import pytest

from blazeio.app.app import App
from blazeio.app.deliver import Deliver
from blazeio.files.static_cache import IN_MEMORY_STATIC_CACHE, LARGEST_KEPT_BYTES
from blazeio.files.static_server import Simpleserve
from blazeio.protocol.request import BlazeioServerProtocol
from tests.support.served import served

FIELD = "x-content-type-options"


async def make_app(home: Path) -> App:
    """Each way by which files are served, at a prefix of its own."""
    (home / "large.txt").write_bytes(b"x" * (LARGEST_KEPT_BYTES + 1))
    (home / "long.txt").write_bytes(b"words " * 1000)
    (home / "long.txt.gz").write_bytes(gzip.compress(b"words " * 1000))
    (home / "empty.txt").write_bytes(b"")
    web = App()
    cache = await IN_MEMORY_STATIC_CACHE.init(home_dir=home)

    @web.add_route
    async def deliver(
        r: BlazeioServerProtocol, name: str, route: str = "/deliver/{name}"
    ) -> None:
        await Deliver.file(r, home / name)

    @web.add_route
    async def serve(
        r: BlazeioServerProtocol, name: str, route: str = "/serve/{name}"
    ) -> None:
        own = {"Cache-Control": "no-cache"}
        await Simpleserve.serve(r, home / name, headers=own)

    @web.add_route
    async def own(
        r: BlazeioServerProtocol, name: str, route: str = "/own/{name}"
    ) -> None:
        said = {"x-content-type-options": "said"}
        await Simpleserve.serve(r, home / name, headers=said)

    web.add_static("/static", home, listing=True)

    @web.add_route
    async def handle_all_middleware(r: BlazeioServerProtocol) -> None:
        await cache.handler(r)

    return web


ASKED: list[tuple[str, str, dict[str, str], int]] = [
    ("GET", "a%20b.txt", {}, 200),
    ("HEAD", "a%20b.txt", {}, 200),
    ("GET", "empty.txt", {}, 200),
    ("GET", "large.txt", {}, 200),
    ("GET", "long.txt", {"Accept-Encoding": "gzip"}, 200),
    ("GET", "a%20b.txt", {"Range": "bytes=0-1"}, 206),
    ("GET", "a%20b.txt", {"Range": "bytes=0-0,2-2"}, 206),
    ("GET", "a%20b.txt", {"If-None-Match": "*"}, 304),
    ("GET", "a%20b.txt", {"If-Match": '"other"'}, 412),
    ("GET", "a%20b.txt", {"Range": "bytes=9-"}, 416),
]


@pytest.mark.parametrize("way", ["/deliver", "/serve", "/static", ""])
async def test_every_answer_with_a_file_says_so(home: Path, way: str) -> None:
    async with served(await make_app(home)) as site:
        for method, name, fields, status in ASKED:
            answer = await site.ask(method, f"{way}/{name}", headers=fields)
            assert (answer.status, answer.field(FIELD)) == (status, "nosniff"), name


async def test_a_list_of_files_and_the_way_to_it_say_so(home: Path) -> None:
    async with served(await make_app(home)) as site:
        for target, status in (("/static/", 200), ("/static/page", 308)):
            answer = await site.ask("GET", target)
            assert (answer.status, answer.field(FIELD)) == (status, "nosniff")


async def test_a_caller_may_say_something_else(home: Path) -> None:
    async with served(await make_app(home)) as site:
        answer = await site.ask("GET", "/own/a%20b.txt")
        assert answer.field(FIELD) == "said"
        refused = await site.ask("GET", "/own/a%20b.txt", headers={"Range": "bytes=9-"})
        assert (refused.status, refused.field(FIELD)) == (416, "nosniff")
