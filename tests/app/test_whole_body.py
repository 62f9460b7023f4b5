from typing import Any

import pytest

from blazeio.app.forms import media_type_of
from blazeio.app.request import Request
from blazeio.protocol.request import BlazeioServerProtocol
from tests.app.asking import answer_of

R = BlazeioServerProtocol
PNG = {"Content-Type": "Image/PNG; a=b"}


async def collect(r: R) -> list[Any]:
    upload = await Request.get_upload(r)
    names = [upload.name, upload.filename, upload.safe_filename, upload.content_type]
    return [*names, (await upload.read()).decode()]


@pytest.mark.parametrize(
    ("content", "headers", "expected"),
    [
        (b"octets", PNG, '["","","upload","image/png","octets"]'),
        (b"octets", {}, '["","","upload","","octets"]'),
    ],
)
async def test_content_that_is_no_form_is_the_file(
    content: bytes, headers: dict[str, str], expected: str
) -> None:
    assert (await answer_of(collect, content, headers)).text == expected


@pytest.mark.parametrize(
    "headers", [PNG, {}, {"Content-Type": "multipart/form-data; boundary=b"}]
)
async def test_a_content_length_of_0_is_no_file(headers: dict[str, str]) -> None:
    async def count(r: R) -> int:
        return len([upload async for upload in Request.get_uploads(r)])

    assert (await answer_of(collect, b"", headers)).status == 400
    assert (await answer_of(count, b"", headers)).text == "0"


async def test_it_is_one_file() -> None:
    async def ask(r: R) -> list[str]:
        return [
            (await upload.read()).decode() async for upload in Request.get_uploads(r)
        ]

    assert (await answer_of(ask, b"octets", PNG)).text == '["octets"]'


async def test_content_that_was_collected_before_is_the_file_too() -> None:
    async def ask(r: R) -> list[Any]:
        await r.read()
        return await collect(r)

    answer = await answer_of(ask, b"octets", PNG)
    assert answer.text == '["","","upload","image/png","octets"]'


async def test_pull_gives_what_is_left_of_it() -> None:
    async def ask(r: R) -> str:
        await Request.get_upload(r)
        return b"".join([chunk async for chunk in r.pull()]).decode()

    assert (await answer_of(ask, b"octets", PNG)).text == '"octets"'


@pytest.mark.parametrize(
    ("value", "media_type"),
    [("Text/X ; a=b", "text/x"), ("text/x; malformed", "text/x"), ("", "")],
)
async def test_the_media_type_has_no_parameters(value: str, media_type: str) -> None:
    async def ask(r: R) -> str:
        return media_type_of(r)

    answer = await answer_of(ask, b"", {"Content-Type": value})
    assert answer.text == f'"{media_type}"'
