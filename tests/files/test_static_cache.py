import asyncio
import os
import zlib
from pathlib import Path
from typing import Any

import pytest

from blazeio.app.app import App
from blazeio.content.representation import make_etag
from blazeio.errors import ConfigurationError
from blazeio.files.static_cache import (
    IN_MEMORY_STATIC_CACHE,
    LARGEST_KEPT_BYTES,
    LOOK_AGAIN_S,
)
from blazeio.protocol.request import BlazeioServerProtocol
from tests.files.conftest import PAGE
from tests.support.clock import wait_until
from tests.support.response import Response
from tests.support.served import Site, serialize_request, served


def app_of(cache: IN_MEMORY_STATIC_CACHE, override: str | None = None) -> App:
    web = App()

    @web.add_route
    async def handle_all_middleware(r: BlazeioServerProtocol) -> None:
        await cache.handler(r, override=override)

    return web


async def answer_of(
    home: Path, target: str, method: str = "GET", **options: Any
) -> Response:
    override = options.pop("override", None)
    cache = await IN_MEMORY_STATIC_CACHE.init(home_dir=home, **options)
    async with served(app_of(cache, override)) as site:
        return await site.ask(method, target)


async def test_a_file_is_served_with_its_type_and_length(home: Path) -> None:
    answer = await answer_of(home, "/page/index.html")
    assert (answer.status, answer.text) == (200, PAGE)
    assert answer.field("content-type") == "text/html; charset=utf-8"
    assert answer.field("content-length") == str(len(PAGE.encode()))


async def test_head_has_the_length_and_no_content(home: Path) -> None:
    answer = await answer_of(home, "/page/index.html", "HEAD")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.field("content-length") == str(len(PAGE.encode()))


async def test_a_path_is_percent_decoded_once(home: Path) -> None:
    assert (await answer_of(home, "/a%20b.txt?v=1")).text == "text"
    assert (await answer_of(home, "/a%2520b.txt")).status == 404


@pytest.mark.parametrize(
    "target",
    [
        "/nowhere.html",
        "/page",
        "/page/",
        "/",
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/page/%2e%2e/%2e%2e/secret.txt",
        "/page/index.html%00",
        "/%ff",
        "/" + "x" * 300,
    ],
)
async def test_what_is_not_there_is_404(home: Path, target: str) -> None:
    answer = await answer_of(home, target)
    assert answer.status in (400, 404)
    assert b"secret" not in answer.body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_another_method_is_405_where_a_file_is(home: Path, method: str) -> None:
    answer = await answer_of(home, "/page/index.html", method)
    assert (answer.status, answer.field("allow")) == (405, "GET, HEAD")
    assert (await answer_of(home, "/nowhere", method)).status == 404


async def test_the_override_answers_the_root_only(home: Path) -> None:
    override = "/page/index.html"
    assert (await answer_of(home, "/", override=override)).text == PAGE
    assert (await answer_of(home, "/other", override=override)).status == 404


async def test_a_route_answers_for_its_file(home: Path) -> None:
    cache = {"/page/index.html": {"route": "/start"}}
    assert (await answer_of(home, "/start", run_time_cache=cache)).text == PAGE
    own = await answer_of(home, "/page/index.html", run_time_cache=cache)
    assert own.text == PAGE


async def test_the_override_goes_before_a_route_of_the_root(home: Path) -> None:
    answer = await answer_of(
        home,
        "/",
        run_time_cache={"/page/index.html": {"route": "/"}},
        override="/a b.txt",
    )
    assert answer.text == "text"


async def test_a_named_file_is_read_at_the_start(home: Path) -> None:
    cache = await IN_MEMORY_STATIC_CACHE.init(
        home_dir=home, run_time_cache={"/page/index.html": {}}
    )
    assert " 1 files" in repr(cache)


async def test_a_named_file_that_is_not_there_is_a_warning(
    home: Path, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await answer_of(
        home, "/", run_time_cache={"/page/none.html": {"route": "/"}}
    )
    assert answer.status == 404
    assert f"there is no file /page/none.html below {home}" in caplog.text


async def test_a_home_that_is_no_folder_is_refused(home: Path) -> None:
    with pytest.raises(ConfigurationError, match="is not a folder"):
        await IN_MEMORY_STATIC_CACHE.init(home_dir=home / "a b.txt")


async def test_a_home_may_be_relative_or_a_link(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "link").symlink_to(home)
    monkeypatch.chdir(tmp_path)
    cache = await IN_MEMORY_STATIC_CACHE.init(home_dir="link")
    async with served(app_of(cache)) as site:
        assert (await site.get("/page/index.html")).text == PAGE


async def pass_look_again() -> None:
    """Let the span pass in which a file is taken to be the same."""
    await asyncio.sleep(LOOK_AGAIN_S)


async def test_a_change_is_seen(home: Path) -> None:
    page = home / "page" / "index.html"
    cache = await IN_MEMORY_STATIC_CACHE.init(home_dir=home)
    async with served(app_of(cache)) as site:
        assert (await site.get("/page/index.html")).text == PAGE
        page.write_text("new and longer than before, much longer")
        await pass_look_again()
        assert (await site.get("/page/index.html")).text.startswith("new")
        os.replace(home / "a b.txt", page)
        await pass_look_again()
        assert (await site.get("/page/index.html")).text == "text"
        page.unlink()
        await pass_look_again()
        assert (await site.get("/page/index.html")).status == 404


async def test_a_file_that_became_a_link_out_is_gone(
    home: Path, tmp_path: Path
) -> None:
    page = home / "page" / "index.html"
    cache = await IN_MEMORY_STATIC_CACHE.init(home_dir=home)
    async with served(app_of(cache)) as site:
        assert (await site.get("/page/index.html")).status == 200
        page.unlink()
        page.symlink_to(tmp_path / "secret.txt")
        await pass_look_again()
        assert (await site.get("/page/index.html")).status == 404


async def test_an_unchanged_file_is_read_once(home: Path) -> None:
    cache = await IN_MEMORY_STATIC_CACHE.init(home_dir=home)
    page = home / "page" / "index.html"
    status = page.stat()
    async with served(app_of(cache)) as site:
        await site.get("/page/index.html")
        # the same inode, size and time, so it cannot be told apart: from memory
        page.write_text("X" * status.st_size)
        os.utime(page, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert (await site.get("/page/index.html")).text == PAGE


async def test_what_was_not_asked_for_the_longest_makes_room(home: Path) -> None:
    for name in ("a", "b", "c"):
        (home / name).write_bytes(name.encode() * 1000)
    cache = await IN_MEMORY_STATIC_CACHE.init(home_dir=home, memory_bytes=3100)
    async with served(app_of(cache)) as site:
        for target in ("/a", "/b", "/a", "/c"):
            assert (await site.get(target)).status == 200
        assert " 2 files, 3032 of 3100 octets" in repr(cache)
        assert "/b" not in cache._cache


async def test_memory_of_nothing_keeps_nothing_and_serves(home: Path) -> None:
    cache = await IN_MEMORY_STATIC_CACHE.init(home_dir=home, memory_bytes=0)
    async with served(app_of(cache)) as site:
        assert (await site.get("/page/index.html")).text == PAGE
        assert " 0 files, 0 of 0 octets" in repr(cache)


async def test_an_empty_file_is_served(home: Path) -> None:
    (home / "empty.txt").touch()
    answer = await answer_of(home, "/empty.txt")
    assert (answer.status, answer.field("content-length")) == (200, "0")


@pytest.mark.parametrize("size", [64 * 1024 + 1, LARGEST_KEPT_BYTES])
async def test_a_file_of_some_size_is_kept_and_written_in_pieces(
    home: Path, size: int
) -> None:
    octets = os.urandom(size)
    (home / "big").write_bytes(octets)
    cache = await IN_MEMORY_STATIC_CACHE.init(home_dir=home)
    async with served(app_of(cache)) as site:
        assert (await site.get("/big")).body == octets
        head = await site.ask("HEAD", "/big")
        assert head.field("content-length") == str(size)
        assert (await site.get("/big")).body == octets


@pytest.mark.parametrize("chunk_size", [1024, 1_000_000])
async def test_a_large_file_is_streamed_and_not_kept(
    home: Path, chunk_size: int
) -> None:
    octets = os.urandom(LARGEST_KEPT_BYTES + 1)
    (home / "large.bin").write_bytes(octets)
    cache = await IN_MEMORY_STATIC_CACHE.init(home_dir=home, chunk_size=chunk_size)
    async with served(app_of(cache)) as site:
        answer = await site.get("/large.bin")
        assert answer.body == octets
        assert answer.field("content-type") == "application/octet-stream"
        assert cache._cache.cached_bytes < 1000
        head = await site.ask("HEAD", "/large.bin")
        assert head.field("content-length") == str(len(octets))


async def test_a_large_file_that_shrinks_cuts_the_connection(home: Path) -> None:
    large = home / "large.bin"
    large.write_bytes(bytes(50_000_000))
    cache = await IN_MEMORY_STATIC_CACHE.init(home_dir=home)
    async with served(app_of(cache)) as site, await site.connect() as peer:
        await peer.send(serialize_request("GET", "/large.bin"))
        await peer.read_some()
        os.truncate(large, 1000)
        with pytest.raises((ConnectionError, AssertionError)):
            await peer.read_response()


async def test_cold_requests_for_one_file_read_it_once(home: Path) -> None:
    cache = await IN_MEMORY_STATIC_CACHE.init(home_dir=home)
    async with served(app_of(cache)) as site:
        answers = await asyncio.gather(
            *(site.get("/page/index.html") for _ in range(20))
        )
        assert [answer.text for answer in answers] == [PAGE] * 20
        assert " 1 files" in repr(cache)


async def test_serving_waits_for_a_client_that_does_not_read(home: Path) -> None:
    (home / "some.bin").write_bytes(bytes(64 * 1024))
    cache = await IN_MEMORY_STATIC_CACHE.init(home_dir=home)
    web = app_of(cache)
    async with served(web) as site, await site.connect() as peer:
        await peer.send(serialize_request("GET", "/some.bin") * 300)
        await wait_until(lambda: site.server.request_count)
        for _ in range(300):
            assert len((await peer.read_response()).body) == 64 * 1024


TEXT = b"<p>again and again</p>" * 1000


@pytest.fixture
def text(home: Path) -> Path:
    (home / "text.html").write_bytes(TEXT)
    return home / "text.html"


async def ask(site: Site, target: str, **fields: str) -> Response:
    headers = {name.replace("_", "-"): value for name, value in fields.items()}
    return await site.ask("GET", target, headers=headers)


async def test_a_hit_has_validators_and_can_be_asked_for_in_parts(home: Path) -> None:
    octets = os.urandom(100_000)
    (home / "some.bin").write_bytes(octets)
    cache = await IN_MEMORY_STATIC_CACHE.init(home_dir=home)
    async with served(app_of(cache)) as site:
        whole = await site.get("/some.bin")
        etag = whole.field("etag") or ""
        assert whole.field("last-modified")
        assert (await ask(site, "/some.bin", if_none_match=etag)).status == 304
        assert (await ask(site, "/some.bin", if_match='"other"')).status == 412
        part = await ask(site, "/some.bin", range="bytes=99990-", if_range=etag)
        assert (part.status, part.body) == (206, octets[99_990:])
        parts = await ask(site, "/some.bin", range="bytes=0-1,5-6")
        assert octets[:2] in parts.body
        assert octets[5:7] in parts.body
        beyond = await ask(site, "/some.bin", range="bytes=100000-")
        assert beyond.status == 416
        assert beyond.field("content-range") == "bytes */100000"


@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
async def test_a_variant_is_made_once_and_kept(
    home: Path, text: Path, coding: str
) -> None:
    cache = await IN_MEMORY_STATIC_CACHE.init(home_dir=home)
    async with served(app_of(cache)) as site:
        first, *others = await asyncio.gather(
            *(ask(site, "/text.html", accept_encoding=coding) for _ in range(5))
        )
        known = cache._cache.get("/text.html")
        assert known is not None
        variant = known.encoded[coding]
        again = await ask(site, "/text.html", accept_encoding=coding)
        assert {each.body for each in [first, *others, again]} == {variant.content}
        assert cache._cache.get("/text.html").encoded[coding] is variant  # type: ignore[union-attr]
        assert again.field("content-encoding") == coding
        assert again.field("vary") == "Accept-Encoding"
        assert len(again.body) < len(TEXT) / 10
        plain = await site.get("/text.html")
        assert (plain.body, plain.field("content-encoding")) == (TEXT, None)
        assert plain.field("vary") == "Accept-Encoding"
        assert plain.field("etag") != again.field("etag")


async def test_variants_count_and_leave_with_their_file(home: Path, text: Path) -> None:
    cache = await IN_MEMORY_STATIC_CACHE.init(home_dir=home)
    async with served(app_of(cache)) as site:
        await site.get("/text.html")
        before = cache._cache.cached_bytes
        await ask(site, "/text.html", accept_encoding="gzip")
        assert cache._cache.cached_bytes > before
        text.write_bytes(b"<p>other</p>" * 1000)
        await pass_look_again()
        changed = await ask(site, "/text.html", accept_encoding="gzip")
        assert zlib.decompress(changed.body, wbits=31) == b"<p>other</p>" * 1000
        text.unlink()
        await pass_look_again()
        assert (await site.get("/text.html")).status == 404
        assert cache._cache.cached_bytes == 0


async def test_a_fresh_sibling_is_the_variant(home: Path, text: Path) -> None:
    sibling = home / "text.html.gz"
    sibling.write_bytes(zlib.compress(TEXT, 1, wbits=31))
    cache = await IN_MEMORY_STATIC_CACHE.init(home_dir=home)
    async with served(app_of(cache)) as site:
        answer = await ask(site, "/text.html", accept_encoding="gzip")
        assert answer.body == sibling.read_bytes()
        status = sibling.stat()
        etag = make_etag(status.st_mtime_ns, status.st_size, "gzip")
        assert answer.field("etag") == etag  # as it is where nothing is kept


async def test_a_sibling_that_is_older_is_none(home: Path, text: Path) -> None:
    sibling = home / "text.html.gz"
    sibling.write_bytes(zlib.compress(b"old", 1, wbits=31))
    os.utime(sibling, (1, 1))
    cache = await IN_MEMORY_STATIC_CACHE.init(home_dir=home)
    async with served(app_of(cache)) as site:
        answer = await ask(site, "/text.html", accept_encoding="gzip")
        assert zlib.decompress(answer.body, wbits=31) == TEXT


async def test_what_does_not_shrink_is_sent_as_it_is(home: Path) -> None:
    (home / "noise.txt").write_bytes(noise := os.urandom(5000))
    cache = await IN_MEMORY_STATIC_CACHE.init(home_dir=home)
    async with served(app_of(cache)) as site:
        answer = await ask(site, "/noise.txt", accept_encoding="gzip")
        assert (answer.body, answer.field("content-encoding")) == (noise, None)


async def test_who_goes_away_while_a_file_is_read_takes_nothing_along(
    home: Path, text: Path
) -> None:
    cache = await IN_MEMORY_STATIC_CACHE.init(home_dir=home)
    first = asyncio.create_task(cache._find("/text.html"))
    second = asyncio.create_task(cache._find("/text.html"))
    await asyncio.sleep(0)
    first.cancel()
    known = await second
    assert known is not None
    assert known.plain is not None
    assert known.plain.content == TEXT
    assert first.cancelled()


@pytest.mark.parametrize("name", ["app.py", "__pycache__/x.txt"])
async def test_the_apps_own_sources_are_not_there(home: Path, name: str) -> None:
    (home / name).parent.mkdir(exist_ok=True)
    (home / name).write_text("secret")
    assert (await answer_of(home, f"/{name}")).status == 404
