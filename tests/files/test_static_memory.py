"""What a folder's server keeps in memory is what the folder has."""

import asyncio
import gzip
import os
from collections.abc import Mapping
from pathlib import Path

import pytest

import blazeio as io
from blazeio.files import delivery
from blazeio.files.static_cache import LOOK_AGAIN_S
from tests.support.response import Response
from tests.support.served import Site, served

GZIP = {"Accept-Encoding": "gzip"}


def app_of(home: Path, **options: object) -> io.App:
    web = io.App()
    web.add_static("/assets", home, **options)  # type: ignore[arg-type]
    return web


async def ask(
    site: Site,
    name: str,
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
) -> Response:
    return await site.ask(method, f"/assets/{name}", headers=headers)


def forbid_opening(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise AssertionError("a file was opened")

    monkeypatch.setattr(delivery, "_open", refuse)


async def test_a_small_file_is_read_once(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (home / "x.bin").write_bytes(b"content")
    async with served(app_of(home)) as site:
        assert (await ask(site, "x.bin")).body == b"content"
        await asyncio.sleep(LOOK_AGAIN_S)
        forbid_opening(monkeypatch)
        again = await ask(site, "x.bin")
        assert again.body == b"content"
        etag = {"If-None-Match": again.field("etag") or ""}
        assert (await ask(site, "x.bin", headers=etag)).status == 304
        part = await ask(site, "x.bin", headers={"Range": "bytes=2-4"})
        assert (part.status, part.body) == (206, b"nte")
        head = await ask(site, "x.bin", "HEAD")
        assert (head.body, head.field("content-length")) == (b"", "7")
        assert (await ask(site, "x.bin", "POST")).status == 405


@pytest.mark.parametrize("size", [0, 1, 64 * 1024, 64 * 1024 + 1])
async def test_the_answer_from_memory_is_that_from_the_folder(
    home: Path, size: int
) -> None:
    (home / "x.bin").write_bytes(os.urandom(size))
    async with served(app_of(home, headers={"Cache-Control": "max-age=60"})) as site:
        first = await ask(site, "x.bin")
        second = await ask(site, "x.bin")
        assert first.body == second.body == (home / "x.bin").read_bytes()
        assert second.field("cache-control") == "max-age=60"
        assert [name for name, _ in first.fields] == [name for name, _ in second.fields]


async def test_a_changed_file_is_seen_soon(home: Path, tmp_path: Path) -> None:
    file = home / "x.bin"
    file.write_bytes(b"first")
    async with served(app_of(home)) as site:
        assert (await ask(site, "x.bin")).body == b"first"
        file.write_bytes(b"second, longer")
        await asyncio.sleep(LOOK_AGAIN_S)
        assert (await ask(site, "x.bin")).body == b"second, longer"
        file.unlink()
        file.symlink_to(tmp_path / "secret.txt")
        await asyncio.sleep(LOOK_AGAIN_S)
        assert (await ask(site, "x.bin")).status == 404


async def test_a_sibling_that_comes_or_goes_is_seen_soon(home: Path) -> None:
    file, sibling = home / "x.txt", home / "x.txt.gz"
    file.write_bytes(b"text")
    async with served(app_of(home)) as site:
        assert (await ask(site, "x.txt", headers=GZIP)).body == b"text"
        sibling.write_bytes(gzip.compress(b"text"))
        await asyncio.sleep(LOOK_AGAIN_S)
        encoded = await ask(site, "x.txt", headers=GZIP)
        assert encoded.field("content-encoding") == "gzip"
        assert (await ask(site, "x.txt")).body == b"text"
        sibling.unlink()
        await asyncio.sleep(LOOK_AGAIN_S)
        plain = await ask(site, "x.txt", headers=GZIP)
        assert (plain.body, plain.field("vary")) == (b"text", "Accept-Encoding")


async def test_memory_is_bounded_and_can_be_none(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        (home / f"{number}.bin").write_bytes(bytes(10_000))
    web = io.App()
    static = web.add_static("/assets", home, memory_bytes=50_000)
    async with served(web) as site:
        for number in range(20):
            await ask(site, f"{number}.bin")
        assert 0 < static._cache.cached_bytes <= 50_000
    async with served(app_of(home, memory_bytes=0)) as site:
        assert (await ask(site, "1.bin")).body == bytes(10_000)
        forbid_opening(monkeypatch)
        assert (await ask(site, "1.bin")).status == 500
