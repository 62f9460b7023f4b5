import asyncio
import io
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from blazeio.client.content import FileBody, FormBody, make_form_body
from blazeio.content.parsers import (
    Event,
    Field,
    FileHead,
    MultipartDecoder,
    parse_boundary,
)
from blazeio.errors import LocalProtocolError
from blazeio.limits import Limits
from tests.content.bodies import joined

OCTETS = bytes(range(256)) * 1000


async def read(body: FormBody | FileBody) -> bytes:
    return b"".join([piece async for piece in body])


async def events(body: FormBody) -> list[Event]:
    decoder = MultipartDecoder(parse_boundary(body.content_type), Limits())
    given = decoder.feed(await read(body))
    decoder.end()
    return joined(given)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "data.bin"
    file.write_bytes(OCTETS)
    return file


def closed_file() -> io.BytesIO:
    file = io.BytesIO()
    file.close()
    return file


async def pieces() -> AsyncIterator[bytes]:
    yield OCTETS[:10]
    yield OCTETS[10:]


async def test_a_file_may_be_given_in_many_ways(path: Path) -> None:
    with path.open("rb") as opened:
        files: dict[str, Any] = {
            "octets": OCTETS,
            "path": path,
            "open": opened,
            "memory": io.BytesIO(OCTETS),
            "stream": ("s.txt", pieces()),
            "told": ("t.txt", OCTETS, "a/b"),
        }
        given = await events(make_form_body({"a": "1"}, files))
    heads = [each for each in given if isinstance(each, FileHead)]
    assert given[0] == Field("a", "1")
    assert [each for each in given if isinstance(each, bytes)] == [OCTETS] * 6
    assert [(head.name, head.filename, head.content_type) for head in heads] == [
        ("octets", "upload", "application/octet-stream"),
        ("path", "data.bin", "application/octet-stream"),
        ("open", "data.bin", "application/octet-stream"),
        ("memory", "upload", "application/octet-stream"),
        ("stream", "s.txt", "text/plain"),
        ("told", "t.txt", "a/b"),
    ]


async def test_its_size_is_known_and_it_can_be_sent_again(path: Path) -> None:
    with path.open("rb") as opened:
        opened.seek(100)
        body = make_form_body({}, [("f", opened), ("f", path), ("f", b"")])
        first = await read(body)
        assert body.can_repeat
        assert await read(body) == first
    assert body.size_bytes == len(first)


async def test_a_stream_has_no_size_and_is_sent_once() -> None:
    body = make_form_body({}, {"f": pieces()})
    assert (body.size_bytes, body.can_repeat) == (None, False)


@pytest.mark.parametrize(
    ("file", "message"),
    [
        (Path("/nowhere/x"), "file 'f': No such file or directory: /nowhere/x"),
        (5, "file 'f': expected bytes, a path or an open file, not int"),
        ("text", "not str"),
        (("n", 5), "not int"),
        (Path("/"), "file 'f': Is a directory: /"),
        (Path("a\0b"), "embedded null"),
        (closed_file(), "file 'f': I/O operation on closed file"),
        (io.StringIO("text"), "file 'f': it is open for text: open it with mode"),
    ],
)
def test_what_is_no_file_is_the_callers_fault(file: Any, message: str) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        make_form_body({}, {"f": file})
    assert message in str(caught.value)


async def test_what_cannot_be_measured_is_sent_in_chunks(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for content in (make_form_body({}, {"f": pipe}), FileBody(pipe)):
        assert (content.size_bytes, content.can_repeat) == (None, False)
    body = FileBody(pipe)
    writing = asyncio.to_thread(pipe.write_bytes, b"octets")
    assert (await asyncio.gather(read(body), writing))[0] == b"octets"


def test_a_folder_as_the_content_is_the_callers_fault() -> None:
    with pytest.raises(LocalProtocolError, match="Is a directory"):
        FileBody(Path("/"))


def test_each_form_has_a_boundary_of_its_own() -> None:
    types = {make_form_body({}, {"f": b""}).content_type for _ in range(10)}
    assert len(types) == 10
