import dataclasses
from typing import Any

import pytest

from blazeio.app.app import App
from blazeio.app.deliver import Deliver
from blazeio.protocol.server import BlazeioServerProtocol
from tests.support.clock import wait_until
from tests.support.response import Response
from tests.support.served import serialize_request, served

R = BlazeioServerProtocol


async def answer_of(method: Any, *args: Any, **kwargs: Any) -> Response:
    web = App()

    @web.add_route
    async def _x(r: R) -> None:
        await method(r, *args, **kwargs)

    async with served(web) as site:
        return await site.get("/x")


async def test_json_is_sent_with_its_length_and_type() -> None:
    answer = await answer_of(Deliver.json, {"ip": "ü", "n": [1, None]})
    assert answer.body == '{"ip":"ü","n":[1,null]}'.encode()
    assert answer.field("content-type") == "application/json"
    assert answer.field("content-length") == str(len(answer.body))


async def test_json_takes_dataclasses() -> None:
    @dataclasses.dataclass
    class Point:
        x: int

    assert (await answer_of(Deliver.json, Point(1))).body == b'{"x":1}'


async def test_what_json_cannot_say_is_500() -> None:
    assert (await answer_of(Deliver.json, object())).status == 500


@pytest.mark.parametrize(
    ("method", "media_type"),
    [(Deliver.text, "text/plain"), (Deliver.html, "text/html")],
)
@pytest.mark.parametrize("data", ["für", "für".encode()])
async def test_text_is_utf_8(method: Any, media_type: str, data: str | bytes) -> None:
    answer = await answer_of(method, data)
    assert answer.text == "für"
    assert answer.field("content-type") == f"{media_type}; charset=utf-8"


@pytest.mark.parametrize("method", [Deliver.json, Deliver.text, Deliver.html])
async def test_status_and_headers_are_sent(method: Any) -> None:
    answer = await answer_of(method, "x", 201, {"X-One": "1", "X-Two": ["a", "b"]})
    assert (answer.status, answer.field("x-one")) == (201, "1")
    assert answer.field_all("x-two") == ["a", "b"]


async def test_a_given_content_type_goes_before_the_usual_one() -> None:
    answer = await answer_of(
        Deliver.json, {}, headers={"content-type": "application/problem+json"}
    )
    assert answer.field("content-type") == "application/problem+json"


async def test_a_redirect_is_302_and_has_no_content() -> None:
    answer = await answer_of(Deliver.redirect, "/api/ip")
    assert (answer.status, answer.body) == (302, b"")
    assert answer.field("location") == "/api/ip"
    assert answer.field("content-length") == "0"
    assert answer.field("content-type") is None


@pytest.mark.parametrize("status", [301, 303, 307, 308])
async def test_a_redirect_has_the_status_that_is_asked_for(status: int) -> None:
    assert (await answer_of(Deliver.redirect, "/", status)).status == status


@pytest.mark.parametrize("status", [200, 300, 304, 305, 404])
async def test_a_redirect_with_another_status_is_500(status: int) -> None:
    assert (await answer_of(Deliver.redirect, "/", status)).status == 500


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/für dich?q=ä#ü", "/f%C3%BCr%20dich?q=%C3%A4#%C3%BC"),
        ("https://example.com/a%20b?x=[1]&y=~", "https://example.com/a%20b?x=[1]&y=~"),
        ("/\r\nX: 1", "/%0D%0AX:%201"),
        ("/\x00", "/%00"),
    ],
)
async def test_what_a_uri_cannot_hold_is_percent_encoded(
    path: str, location: str
) -> None:
    answer = await answer_of(Deliver.redirect, path)
    assert answer.field("location") == location
    assert answer.field("x") is None


@pytest.mark.parametrize("headers", [{"X-A": "1"}, [("X-A", "1")]])
async def test_a_redirect_takes_headers_as_mapping_or_pairs(headers: Any) -> None:
    answer = await answer_of(Deliver.redirect, "/", headers=headers)
    assert answer.field("x-a") == "1"


@pytest.mark.parametrize("method", [Deliver.json, Deliver.text, Deliver.html])
async def test_delivering_waits_for_a_client_that_does_not_read(method: Any) -> None:
    web = App()
    begun: list[str] = []
    ended: list[str] = []
    data = "x" * 1_000_000

    @web.add_route
    async def _x(r: R) -> None:
        begun.append("")
        await method(r, data)
        ended.append("")

    async with served(web) as site, await site.connect() as peer:
        await peer.send(serialize_request("GET", "/x") * 100)
        await wait_until(lambda: len(begun) > len(ended))
        assert len(begun) < 100
        for _ in range(100):
            assert len((await peer.read_response()).body) >= 1_000_000
        await wait_until(lambda: len(ended) == 100)
