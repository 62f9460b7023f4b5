import os
import time
from pathlib import Path
from typing import Any

import pytest

from blazeio.app.app import App
from blazeio.content.field_values import parse_http_date
from blazeio.files.delivery import (
    deliver_file,
    describe,
    open_file,
    require_get_or_head,
    serialize_lines,
)
from blazeio.protocol.request import BlazeioServerProtocol
from tests.support.peer import UnexpectedEndError
from tests.support.response import Response
from tests.support.served import serialize_request, served


def app_of(home: Path, name: str, headers: Any = None) -> App:
    web = App()

    @web.add_route
    async def file(r: BlazeioServerProtocol) -> None:
        require_get_or_head(r)
        opened = open_file(str(home), name)
        assert opened is not None
        with opened.file:
            await deliver_file(r, opened, describe(opened, name), 4096, headers)

    return web


async def answer_of(
    home: Path, name: str, method: str = "GET", headers: Any = None, **asked: str
) -> Response:
    fields = {key.replace("_", "-"): value for key, value in asked.items()}
    async with served(app_of(home, name, headers)) as site:
        return await site.ask(method, "/file", headers=fields)


async def test_a_file_has_type_length_and_validators(home: Path) -> None:
    answer = await answer_of(home, "/a b.txt")
    assert (answer.status, answer.text) == (200, "text")
    assert answer.field("content-type") == "text/plain; charset=utf-8"
    assert answer.field("content-length") == "4"
    assert answer.field("accept-ranges") == "bytes"
    assert answer.field("etag")
    assert answer.field("last-modified")


async def test_head_is_told_what_get_would_be(home: Path) -> None:
    answer = await answer_of(home, "/a b.txt", "HEAD")
    assert (answer.status, answer.body) == (200, b"")
    assert answer.field("content-length") == "4"
    part = await answer_of(home, "/a b.txt", "HEAD", range="bytes=1-2")
    assert (part.status, part.field("content-length")) == (206, "2")


async def test_several_parts_arrive_framed(home: Path) -> None:
    answer = await answer_of(home, "/a b.txt", range="bytes=0-0,-1")
    assert answer.status == 206
    boundary = (answer.field("content-type") or "").partition("boundary=")[2]
    assert answer.body.count(boundary.encode()) == 3
    assert answer.body.endswith(f"t\r\n--{boundary}--\r\n".encode())
    assert answer.field("content-length") == str(len(answer.body))


async def test_further_fields_are_sent_and_ours_stay_true(home: Path) -> None:
    headers = {
        "Cache-Control": "max-age=60",
        "content-type": "text/x-own",
        "ETag": '"not mine"',
        "Content-Length": 7,
    }
    answer = await answer_of(home, "/a b.txt", headers=headers)
    assert answer.field("cache-control") == "max-age=60"
    assert answer.field("content-type") == "text/x-own"
    assert answer.field("content-length") == "4"
    assert answer.field("etag") != '"not mine"'
    parts = await answer_of(home, "/a b.txt", headers=headers, range="bytes=0-0,2-2")
    assert parts.body.count(b"Content-Type: text/x-own") == 2
    assert (parts.field("content-type") or "").startswith("multipart/byteranges")


async def test_not_modified_has_the_further_fields_and_an_error_has_not(
    home: Path,
) -> None:
    headers = [("Cache-Control", "max-age=60"), (b"X-Own", "1")]
    kept = await answer_of(home, "/a b.txt", headers=headers, if_none_match="*")
    assert (kept.status, kept.field("cache-control")) == (304, "max-age=60")
    assert kept.field("x-own") == "1"
    assert kept.field("content-length") is None
    refused = await answer_of(home, "/a b.txt", headers=headers, range="bytes=9-")
    assert (refused.status, refused.field("cache-control")) == (416, None)
    assert refused.text == "Range Not Satisfiable"


async def test_another_method_is_405(home: Path) -> None:
    answer = await answer_of(home, "/a b.txt", "DELETE")
    assert (answer.status, answer.field("allow")) == (405, "GET, HEAD")


async def test_no_last_modified_is_later_than_its_date(home: Path) -> None:
    os.utime(home / "a b.txt", (4e9, 4e9))
    answer = await answer_of(home, "/a b.txt")
    now_s = time.time()
    told_s = parse_http_date(answer.field("last-modified") or "", now_s)
    sent_s = parse_http_date(answer.field("date") or "", now_s)
    assert told_s is not None
    assert sent_s is not None
    assert told_s <= sent_s + 1  # the Date is made once a second


async def test_a_time_before_1970_can_be_told(home: Path) -> None:
    os.utime(home / "a b.txt", (-1e9, -1e9))
    answer = await answer_of(home, "/a b.txt")
    assert answer.field("last-modified") == "Thu, 01 Jan 1970 00:00:00 GMT"


async def test_a_file_that_has_shrunk_since_cuts_the_connection(home: Path) -> None:
    web = App()

    @web.add_route
    async def file(r: BlazeioServerProtocol) -> None:
        opened = open_file(str(home), "/a b.txt")
        assert opened is not None
        with opened.file:
            os.truncate(home / "a b.txt", 1)
            await deliver_file(r, opened, describe(opened, "a b.txt"), 4096)

    async with served(web) as site, await site.connect() as peer:
        await peer.send(serialize_request("GET", "/file"))
        with pytest.raises((ConnectionError, UnexpectedEndError)):
            await peer.read_response()


async def test_fields_are_serialized_once_per_state(home: Path) -> None:
    opened = open_file(str(home), "/a b.txt")
    assert opened is not None
    opened.file.close()
    lines = serialize_lines(describe(opened, "a b.txt"))
    assert lines.startswith(b"Content-Type: text/plain; charset=utf-8\r\nETag: ")
    assert serialize_lines(describe(opened, "a b.txt")) is lines
