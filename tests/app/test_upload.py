from typing import Any

import pytest

from blazeio.app.forms import NoFile, Upload
from blazeio.app.request import Request
from blazeio.content.parsers import FileHead
from blazeio.errors import LocalProtocolError
from blazeio.protocol.request import BlazeioServerProtocol
from tests.app.asking import MULTIPART, answer_of
from tests.content.bodies import form, part

R = BlazeioServerProtocol
FILE = part('name="f"; filename="../a.txt"', "octets", "Content-Type: Text/X; a=b")


async def test_what_it_is_called_is_known_once_it_was_awaited() -> None:
    async def ask(r: R) -> list[str]:
        upload = Request.get_upload(r)
        with pytest.raises(LocalProtocolError, match="await the upload first"):
            str(upload.filename)
        assert await upload is upload
        return [upload.name, upload.filename, upload.safe_filename, upload.content_type]

    answer = await answer_of(ask, form(FILE), MULTIPART)
    assert answer.text == '["f","../a.txt","a.txt","text/x"]'


async def test_it_counts_what_it_has_given() -> None:
    async def ask(r: R) -> list[int]:
        upload = Request.get_upload(r)
        before = upload.received_bytes
        seen = [upload.received_bytes async for _ in upload]
        return [before, seen[-1]]

    assert (await answer_of(ask, form(FILE), MULTIPART)).text == "[0,6]"


async def test_it_can_be_collected() -> None:
    async def ask(r: R) -> list[str]:
        upload = Request.get_upload(r)
        return [(await upload.read()).decode(), (await upload.read()).decode()]

    assert (await answer_of(ask, form(FILE), MULTIPART)).text == '["octets",""]'


@pytest.mark.parametrize(
    ("limit", "limits", "status"),
    [(6, {}, 200), (5, {}, 413), (None, {"collected_bytes": 5}, 413)],
)
async def test_what_is_collected_is_bounded(
    limit: int | None, limits: dict[str, Any], status: int
) -> None:
    async def ask(r: R) -> str:
        return (await Request.get_upload(r).read(limit)).decode()

    assert (await answer_of(ask, form(FILE), MULTIPART, **limits)).status == status


def test_its_repr_says_how_far_it_is() -> None:
    assert repr(Upload(NoFile())) == "<Upload not begun, 0 octets so far>"
    upload = Upload(NoFile(), FileHead("f", "a.txt", ""))
    assert repr(upload) == "<Upload 'a.txt', 0 octets so far>"
