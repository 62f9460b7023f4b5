import gzip
from collections.abc import Mapping
from typing import Any

import msgspec
import pytest

from blazeio.app.app import App
from blazeio.app.deliver import Deliver
from blazeio.app.request import Request
from blazeio.protocol.request import BlazeioServerProtocol
from tests.support.response import Response
from tests.support.served import served

R = BlazeioServerProtocol
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/json; charset=utf-8"}


async def answer_of(
    method: Any,
    target: str = "/x",
    content: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    **limits: Any,
) -> Response:
    """What ``method`` makes of one request, as JSON."""
    web = App(**limits)

    @web.add_route
    async def _x(r: R) -> None:
        await Deliver.json(r, await method(r))

    async with served(web) as site:
        verb = "GET" if content is None else "POST"
        return await site.ask(verb, target, content, headers)


async def test_json_is_read_whatever_its_type() -> None:
    answer = await answer_of(Request.get_json, content=b' {"a": [1, "\xc3\xbc"]} ')
    assert answer.text == '{"a":[1,"ü"]}'


@pytest.mark.parametrize(
    "content", [b"", b"{", b"nonsense", b'"\xff"', b"[" * 100_000, b"NaN", b"1 2"]
)
async def test_what_is_no_json_is_400(content: bytes) -> None:
    answer = await answer_of(Request.get_json, content=content)
    assert answer.status == 400
    assert answer.text.startswith("The content is not valid JSON: ")


@pytest.mark.parametrize("read", [Request.get_json, Request.body_or_params])
async def test_json_that_is_compressed_is_415(read: Any) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
    answer = await answer_of(read, content=gzip.compress(b"{}"), headers=headers)
    assert answer.status == 415
    assert answer.field("accept-encoding") == "identity"
    answer = await answer_of(
        read, content=b"[1]", headers={**headers, "Content-Encoding": "Identity"}
    )
    assert answer.text == "[1]"


async def test_a_request_without_content_has_no_json() -> None:
    assert (await answer_of(Request.get_json)).status == 400


async def test_json_beyond_the_limit_is_413() -> None:
    answer = await answer_of(
        Request.get_json, content=b'"' + b"x" * 100 + b'"', collected_bytes=101
    )
    assert answer.status == 413


async def test_the_parameters_are_those_of_the_query() -> None:
    answer = await answer_of(Request.get_params, "/x?a=1&b=%C3%BC+%2B&c=&d&a=2")
    assert answer.text == '{"a":"2","b":"ü +","c":"","d":""}'


async def test_every_value_of_a_repeated_parameter_is_there() -> None:
    async def all_of_a(r: R) -> list[str]:
        return (await Request.get_params(r)).get_all("a")

    assert (await answer_of(all_of_a, "/x?a=1&b=0&a=2")).text == '["1","2"]'


async def test_a_request_without_query_has_no_parameters() -> None:
    assert (await answer_of(Request.get_params)).text == "{}"


async def test_too_many_parameters_are_400() -> None:
    answer = await answer_of(Request.get_params, "/x?a&b&c", form_field_count=2)
    assert answer.status == 400
    assert answer.text == "The query string has more than 2 fields"


@pytest.mark.parametrize(
    ("content", "headers", "expected"),
    [
        (None, {}, '{"q":"1"}'),
        (None, JSON, '{"q":"1"}'),
        (b"", JSON, '{"q":"1"}'),
        (b"[1]", JSON, "[1]"),
        (b"[1]", {"Content-Type": "Application/Problem+JSON"}, "[1]"),
        (b"a=%C3%BC&b=2", FORM, '{"a":"ü","b":"2"}'),
        (b"a=1", {"Content-Type": FORM["Content-Type"] + ";charset=x"}, '{"a":"1"}'),
        (b"a=\xff", FORM, '{"a":"\ufffd"}'),
        (b"[1]", {"Content-Type": "text/plain"}, '{"q":"1"}'),
        (b"[1]", {}, '{"q":"1"}'),
    ],
)
async def test_the_type_of_the_content_decides_body_or_params(
    content: bytes | None, headers: dict[str, str], expected: str
) -> None:
    answer = await answer_of(Request.body_or_params, "/x?q=1", content, headers)
    assert answer.text == expected


async def test_a_body_that_is_not_what_its_type_says_is_400() -> None:
    answer = await answer_of(Request.body_or_params, "/x", b"{", JSON)
    assert answer.status == 400


async def test_too_many_fields_are_413() -> None:
    answer = await answer_of(
        Request.body_or_params, "/x", b"a=1&b=2&c=3", FORM, form_field_count=2
    )
    assert (answer.status, answer.text) == (413, "The form has more than 2 fields")


async def test_chunked_json_is_read() -> None:
    web = App()

    @web.add_route
    async def _x(r: R) -> None:
        await Deliver.json(r, await Request.body_or_params(r))

    async with served(web) as site, await site.connect() as peer:
        await peer.send(
            b"POST /x HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n2\r\n[1\r\n1\r\n]\r\n0\r\n\r\n"
        )
        assert (await peer.read_response()).text == "[1]"


@pytest.mark.parametrize("first", [Request.body_or_params, Request.get_json])
async def test_a_middleware_and_the_handler_may_both_read(first: Any) -> None:
    async def twice(r: R) -> list[Any]:
        return [await first(r), await Request.get_json(r)]

    answer = await answer_of(twice, content=b'{"a":1}', headers=JSON)
    assert answer.text == '[{"a":1},{"a":1}]'


async def test_content_that_is_left_alone_can_be_streamed() -> None:
    async def stream(r: R) -> Any:
        params = await Request.body_or_params(r)
        return [params, b"".join([piece async for piece in r.pull()]).decode()]

    headers = {"Content-Type": "application/octet-stream"}
    assert (await answer_of(stream, "/x", b"octets", headers)).text == '[{},"octets"]'


class Greeting(msgspec.Struct):
    name: str
    times: int = 1


async def test_json_of_a_type_is_validated() -> None:
    async def greet(r: R) -> str:
        greeting = await Request.get_json(r, type=Greeting)
        return greeting.name * greeting.times

    answer = await answer_of(greet, content=b'{"name": "a", "times": 2}')
    assert answer.text == '"aa"'
    answer = await answer_of(greet, content=b'{"name": "a", "times": "2"}')
    assert answer.status == 422
    assert answer.text.endswith("Expected `int`, got `str` - at `$.times`")


@pytest.mark.parametrize(
    ("method", "content", "headers", "text"),
    [
        (Request.get_json, b"[1]", JSON, "[1]"),
        (Request.get_params, None, {}, '{"q":"1"}'),
        (Request.body_or_params, b"a=1", FORM, '{"a":"1"}'),
        (Request.form_data, b"a=1", FORM, '{"a":"1"}'),
        (Request.get_form_data, b"a=1", FORM, '{"a":"1"}'),
    ],
)
async def test_within_a_handler_r_may_be_left_out(
    method: Any, content: bytes | None, headers: dict[str, str], text: str
) -> None:
    async def without(r: R) -> Any:
        return await method()

    assert (await answer_of(without, "/x?q=1", content, headers)).text == text


async def test_uploads_and_cookies_too() -> None:
    async def without(r: R) -> list[Any]:
        return [
            Request.get_cookie(name="a"),
            (await Request.get_upload().read()).decode(),
            [upload async for upload in Request.get_uploads()],
        ]

    answer = await answer_of(without, content=b"octets", headers={"Cookie": "a=1"})
    assert answer.text == '["1","octets",[]]'


@pytest.mark.parametrize(
    ("headers", "text"),
    [({"Cookie": "b=2; a=1; a=3"}, '"1"'), ({"Cookie": "b=2"}, "null"), ({}, "null")],
)
async def test_a_cookie_is_found_by_its_name(
    headers: dict[str, str], text: str
) -> None:
    async def cookie(r: R) -> str | None:
        return Request.get_cookie(r, "a")

    assert (await answer_of(cookie, headers=headers)).text == text
