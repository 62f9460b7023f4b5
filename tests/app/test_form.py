import asyncio
import gzip
from typing import Any

import pytest

from blazeio.app.forms import read_form
from blazeio.app.request import Request
from blazeio.errors import Abort
from blazeio.protocol.request import BlazeioServerProtocol
from tests.app.asking import MULTIPART, URLENCODED, answer_of, app_of
from tests.content.bodies import form, part
from tests.support.served import serialize_request, served

R = BlazeioServerProtocol
TITLE = part('name="title"', "für")
FILE = part('name="f"; filename="a.txt"', "octets\r\n", "Content-Type: text/plain")
OTHER = part('name="g"; filename="b.txt"', "others")
AFTER = part('name="after"', "yes")


async def whole(r: R) -> Any:
    """The form as it is now, and what ``pull`` gives then."""
    read = await read_form(r)
    fields = dict(read)
    return [fields, b"".join([chunk async for chunk in r.pull()]).decode()]


@pytest.mark.parametrize(
    ("content", "headers", "expected"),
    [
        (b"a=%C3%BC&b=2", URLENCODED, '[{"a":"ü","b":"2"},""]'),
        (form(TITLE, AFTER), MULTIPART, '[{"title":"für","after":"yes"},""]'),
        (form(TITLE, FILE, AFTER), MULTIPART, '[{"title":"für"},"octets\\r\\n"]'),
        (form(FILE), MULTIPART, '[{},"octets\\r\\n"]'),
        (form(), MULTIPART, '[{},""]'),
        (None, {}, '[{},""]'),
        (b"", MULTIPART, '[{},""]'),
    ],
)
async def test_the_fields_up_to_the_first_file_are_read(
    content: bytes | None, headers: dict[str, str], expected: str
) -> None:
    assert (await answer_of(whole, content, headers)).text == expected


async def test_fields_are_there_while_the_file_still_arrives() -> None:
    seen: list[str] = []
    fields_are_read = asyncio.Event()

    async def ask(r: R) -> int:
        read = await read_form(r)
        seen.append(read["title"])
        fields_are_read.set()
        return sum([len(chunk) async for chunk in r.pull()])

    body = form(TITLE, part('name="f"; filename="a"', "x" * 100_000))
    octets = serialize_request("POST", "/x", body, MULTIPART)
    async with served(app_of(ask)) as site, await site.connect() as peer:
        await peer.send(octets[:-60_000])
        await fields_are_read.wait()
        await peer.send(octets[-60_000:])
        assert (await peer.read_response()).text == "100000"
    assert seen == ["für"]


async def test_an_abort_before_the_file_leaves_the_rest_unread() -> None:
    received: list[int] = []

    async def ask(r: R) -> None:
        await read_form(r)
        received.append(r.current_length)
        raise Abort("Invalid metadata", 400)

    head = serialize_request(
        "POST", "/x", None, {**MULTIPART, "Content-Length": "9" * 10}
    )
    begun = TITLE + FILE[:-10]
    async with served(app_of(ask)) as site, await site.connect() as peer:
        await peer.send(head + begun)
        answer = await peer.read_response()
        assert (answer.status, answer.text) == (400, "Invalid metadata")
        assert answer.field("connection") == "close"
        await peer.send(b"more")  # is read past, so that the answer is not lost
    assert received == [len(begun)]


async def test_the_connection_goes_on_where_little_is_left() -> None:
    async def ask(r: R) -> None:
        await read_form(r)
        raise Abort("No", 400)

    octets = serialize_request("POST", "/x", form(TITLE, FILE), MULTIPART)
    async with served(app_of(ask)) as site, await site.connect() as peer:
        for _ in range(2):
            await peer.send(octets)
            assert (await peer.read_response()).status == 400


async def test_a_middleware_and_the_handler_see_one_form() -> None:
    async def ask(r: R) -> list[Any]:
        first = await read_form(r)
        second = await Request.get_form_data(r)
        return [first is second, await whole(r)]

    answer = await answer_of(ask, form(TITLE, FILE), MULTIPART)
    assert answer.text == '[true,[{"title":"für"},"octets\\r\\n"]]'


async def test_content_that_was_collected_before_is_read_as_a_form() -> None:
    async def ask(r: R) -> Any:
        await r.read()
        return await whole(r)

    answer = await answer_of(ask, form(TITLE, FILE), MULTIPART)
    assert answer.text == '[{"title":"für"},"octets\\r\\n"]'


async def test_read_gives_the_file_of_a_form_that_was_begun() -> None:
    async def ask(r: R) -> list[str]:
        await read_form(r)
        return [(await r.read()).decode(), (await r.read()).decode()]

    answer = await answer_of(ask, form(TITLE, FILE), MULTIPART)
    assert answer.text == '["octets\\r\\n","octets\\r\\n"]'


async def test_several_files_are_read_and_the_fields_between_them() -> None:
    async def ask(r: R) -> list[Any]:
        read = await read_form(r)
        files = [
            [each.name, each.filename, each.content_type, (await each.read()).decode()]
            async for each in Request.get_uploads(r)
        ]
        return [files, read]

    answer = await answer_of(ask, form(FILE, TITLE, OTHER, AFTER), MULTIPART)
    assert answer.text == (
        '[[["f","a.txt","text/plain","octets\\r\\n"],["g","b.txt","","others"]],'
        '{"title":"für","after":"yes"}]'
    )


async def test_a_file_that_is_not_read_is_read_past() -> None:
    async def ask(r: R) -> list[str]:
        return [upload.filename async for upload in Request.get_uploads(r)]

    assert (await answer_of(ask, form(FILE, OTHER), MULTIPART)).text == (
        '["a.txt","b.txt"]'
    )


async def test_each_get_upload_is_the_next_file() -> None:
    async def ask(r: R) -> list[str]:
        first = [chunk.decode() async for chunk in Request.get_upload(r)]
        second = await Request.get_upload(r)
        return ["".join(first), second.filename, (await second.read()).decode()]

    answer = await answer_of(ask, form(TITLE, FILE, OTHER), MULTIPART)
    assert answer.text == '["octets\\r\\n","b.txt","others"]'


@pytest.mark.parametrize("read_first", [True, False])
async def test_after_the_form_get_upload_is_its_first_file(read_first: bool) -> None:
    async def ask(r: R) -> list[Any]:
        read = await read_form(r)
        upload = Request.get_upload(r)
        text = (await upload.read()).decode()
        return [upload is read.upload, upload.filename, text]

    answer = await answer_of(ask, form(TITLE, FILE, OTHER), MULTIPART)
    assert answer.text == '[true,"a.txt","octets\\r\\n"]'


async def test_a_file_that_was_pulled_is_not_given_again() -> None:
    async def ask(r: R) -> Any:
        await whole(r)
        return (await Request.get_upload(r)).filename

    assert (await answer_of(ask, form(FILE, OTHER), MULTIPART)).text == '"b.txt"'


@pytest.mark.parametrize(
    ("content", "headers"),
    [
        (form(TITLE), MULTIPART),
        (form(), MULTIPART),
        (b"a=1", URLENCODED),
        (None, {}),
    ],
)
async def test_a_file_that_is_not_there_is_400(
    content: bytes | None, headers: dict[str, str]
) -> None:
    async def ask(r: R) -> list[str]:
        return [chunk.decode() async for chunk in Request.get_upload(r)]

    answer = await answer_of(ask, content, headers)
    assert (answer.status, answer.text) == (
        400,
        "A file was expected, and there is none",
    )


@pytest.mark.parametrize(
    ("content", "headers"),
    [(form(TITLE), MULTIPART), (b"a=1", URLENCODED), (None, {})],
)
async def test_of_no_files_there_are_none(
    content: bytes | None, headers: dict[str, str]
) -> None:
    async def ask(r: R) -> list[str]:
        return [upload.filename async for upload in Request.get_uploads(r)]

    assert (await answer_of(ask, content, headers)).text == "[]"


async def test_a_file_that_was_left_for_the_next_cannot_be_read() -> None:
    async def ask(r: R) -> list[str]:
        first = await Request.get_upload(r)
        await Request.get_upload(r)
        return [chunk.decode() async for chunk in first]

    assert (await answer_of(ask, form(FILE, OTHER), MULTIPART)).status == 500


async def test_an_upload_that_outlives_its_request_gives_nothing_of_the_next() -> None:
    kept: list[Any] = []

    async def ask(r: R) -> str:
        if not kept:
            kept.append(await Request.get_upload(r))
            return ""
        try:
            return "".join([chunk.decode() async for chunk in kept[0]])
        except Exception as error:
            return str(error)

    head = part('name="f"; filename="a"', "x" * 100)
    octets = serialize_request("POST", "/x", form(head), MULTIPART)
    async with served(app_of(ask)) as site, await site.connect() as peer:
        cut = octets.index(b"xxx")
        await peer.send(octets[:cut])
        assert (await peer.read_response()).text == '""'
        await peer.send(octets[cut:] + octets)
        answer = await peer.read_response()
    assert answer.text == '"the request of this content is over"'


@pytest.mark.parametrize("kind", [URLENCODED, MULTIPART])
async def test_a_form_that_is_compressed_is_415(kind: dict[str, str]) -> None:
    headers = {**kind, "Content-Encoding": "gzip"}
    answer = await answer_of(whole, gzip.compress(b"a=1"), headers)
    assert answer.status == 415
    assert answer.field("accept-encoding") == "identity"


@pytest.mark.parametrize(
    ("content", "headers"),
    [(b"{}", {"Content-Type": "application/json"}), (b"x", {})],
)
async def test_content_that_is_no_form_is_415(
    content: bytes, headers: dict[str, str]
) -> None:
    answer = await answer_of(whole, content, headers)
    assert answer.status == 415
    assert answer.field("accept") == (
        "multipart/form-data, application/x-www-form-urlencoded"
    )


@pytest.mark.parametrize(
    ("content", "headers", "limits", "status"),
    [
        (b"a=1&b=2", URLENCODED, {"form_field_count": 1}, 413),
        (form(TITLE, AFTER), MULTIPART, {"form_field_count": 1}, 413),
        (form(TITLE), MULTIPART, {"form_field_bytes": 1}, 413),
        (form(TITLE)[:-9], MULTIPART, {}, 400),
        (form(FILE)[:-30], MULTIPART, {}, 400),
        (b"x", {"Content-Type": "multipart/form-data"}, {}, 400),
    ],
)
async def test_a_form_beyond_a_bound_or_malformed_is_refused(
    content: bytes, headers: dict[str, str], limits: dict[str, Any], status: int
) -> None:
    assert (await answer_of(whole, content, headers, **limits)).status == status


async def test_a_chunked_form_is_read() -> None:
    body = form(TITLE, FILE)
    async with served(app_of(whole)) as site, await site.connect() as peer:
        head = {**MULTIPART, "Transfer-Encoding": "chunked"}
        await peer.send(serialize_request("POST", "/x", None, head))
        for start in range(0, len(body), 10):
            piece = body[start : start + 10]
            await peer.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        await peer.send(b"0\r\n\r\n")
        answer = await peer.read_response()
    assert answer.text == '[{"title":"für"},"octets\\r\\n"]'


async def test_a_client_that_waits_for_100_is_told_to_go_on() -> None:
    body = form(TITLE, FILE)
    fields = {**MULTIPART, "Expect": "100-continue", "Content-Length": str(len(body))}
    async with served(app_of(whole)) as site, await site.connect() as peer:
        await peer.send(serialize_request("POST", "/x", None, fields))
        assert (await peer.read_response()).status == 100
        await peer.send(body)
        assert (await peer.read_response()).text == '[{"title":"für"},"octets\\r\\n"]'


async def test_the_next_request_has_a_form_of_its_own() -> None:
    octets = serialize_request("POST", "/x", form(TITLE, FILE), MULTIPART)
    plain = serialize_request("POST", "/x", b"a=1", URLENCODED)
    async with served(app_of(whole)) as site, await site.connect() as peer:
        await peer.send(octets + plain + octets)
        texts = [(await peer.read_response()).text for _ in range(3)]
    assert texts == [
        '[{"title":"für"},"octets\\r\\n"]',
        '[{"a":"1"},""]',
        '[{"title":"für"},"octets\\r\\n"]',
    ]


async def test_a_form_is_delivered_as_json() -> None:
    assert (await answer_of(Request.form_data, b"a=1", URLENCODED)).text == '{"a":"1"}'
