import os
from pathlib import Path
from typing import Any

import pytest

import blazeio as io
from tests.support.response import Response
from tests.support.served import served


async def answer_of(
    path: Path, method: str = "GET", asked: dict[str, str] | None = None, **options: Any
) -> Response:
    web = io.App()

    @web.add_route
    async def file(r: io.BlazeioServerProtocol) -> None:
        await io.Simpleserve.serve(r, path, **options)

    async with served(web) as site:
        return await site.ask(method, "/file", headers=asked)


@pytest.mark.parametrize("size", [0, 1, 65_536, 65_537, 3_000_000])
async def test_a_file_of_any_size_is_served(tmp_path: Path, size: int) -> None:
    (tmp_path / "file.bin").write_bytes(octets := os.urandom(size))
    answer = await answer_of(tmp_path / "file.bin")
    assert (answer.status, answer.body) == (200, octets)
    assert answer.field("content-length") == str(size)


@pytest.mark.parametrize("chunk_size", [0, 1, 1000, 10_000_000])
async def test_the_chunk_size_is_free(tmp_path: Path, chunk_size: int) -> None:
    (tmp_path / "file.bin").write_bytes(octets := os.urandom(5000))
    answer = await answer_of(tmp_path / "file.bin", chunk_size=chunk_size)
    assert answer.body == octets


async def test_headers_may_be_added(home: Path) -> None:
    headers = {"Content-Disposition": "attachment"}
    answer = await answer_of(home / "a b.txt", headers=headers)
    assert answer.field("content-disposition") == "attachment"


async def test_ranges_and_conditions_are_answered(home: Path) -> None:
    path = home / "a b.txt"
    part = await answer_of(path, asked={"Range": "bytes=1-2"})
    assert (part.status, part.text) == (206, "ex")
    assert (await answer_of(path, asked={"If-None-Match": "*"})).status == 304


async def test_a_compressed_sibling_is_sent_to_who_accepts_it(home: Path) -> None:
    (home / "a b.txt.br").write_text("br")
    answer = await answer_of(home / "a b.txt", asked={"Accept-Encoding": "br"})
    assert (answer.text, answer.field("content-encoding")) == ("br", "br")
    assert answer.field("content-type") == "text/plain; charset=utf-8"
    assert answer.field("vary") == "Accept-Encoding"


async def test_a_post_is_answered_with_the_whole_file(home: Path) -> None:
    answer = await answer_of(home / "a b.txt", "POST", {"Range": "bytes=1-2"})
    assert (answer.status, answer.text) == (200, "text")


@pytest.mark.parametrize("name", ["nowhere", "page", "a\0b"])
async def test_what_is_no_file_is_404(home: Path, name: str) -> None:
    assert (await answer_of(home / name)).status == 404
