import asyncio
import json
import logging

import pytest

from blazeio.app.app import App
from blazeio.protocol.request import BlazeioServerProtocol
from tests.support.response import Response, bug_text
from tests.support.served import served

R = BlazeioServerProtocol
HTML = {"Accept": "text/html,application/xml;q=0.9,*/*;q=0.8"}
EVIL = "<script>alert('&')</script>"


@pytest.fixture
def web() -> App:
    web = App(debug=True)

    @web.add_route
    async def _bug(r: R) -> None:
        raise ValueError(EVIL)

    @web.add_route
    async def _chain(r: R) -> None:
        try:
            raise KeyError("first")
        except KeyError as error:
            raise ValueError("second") from error

    @web.add_route
    async def _context(r: R) -> None:
        try:
            raise KeyError("first")
        except KeyError:
            raise ValueError("second")  # noqa: B904 - what is tested

    @web.add_route
    async def _hidden(r: R) -> None:
        try:
            raise KeyError("first")
        except KeyError:
            raise ValueError("second") from None

    @web.add_route
    async def _odd(r: R) -> None:
        raise ValueError("\udcff")

    return web


async def ask(web: App, target: str, headers: dict[str, str]) -> Response:
    async with served(web) as site:
        return await site.ask("GET", target, headers=headers)


async def test_a_browser_gets_a_page_with_the_lines_of_the_code(web: App) -> None:
    answer = await ask(web, "/bug", HTML)
    assert answer.status == 500
    assert answer.field("content-type") == "text/html; charset=utf-8"
    assert answer.field("cache-control") == "no-store"
    assert "default-src 'none'" in (answer.field("content-security-policy") or "")
    assert "<mark>" in answer.text
    assert "raise ValueError(EVIL)" in answer.text


async def test_all_that_comes_from_elsewhere_is_escaped(web: App) -> None:
    headers = {**HTML, "X-Evil": EVIL}
    answer = await ask(web, "/bug?<script>&x", headers)
    assert "<script" not in answer.text
    assert "&lt;script&gt;alert(&#x27;&amp;&#x27;)" in answer.text
    assert "GET /bug?&lt;script&gt;&amp;x" in answer.text


async def test_credentials_are_not_shown(web: App) -> None:
    headers = {**HTML, "Authorization": "Basic c2VjcmV0", "Cookie": "session=c2VjcmV0"}
    answer = await ask(web, "/bug", headers)
    assert "c2VjcmV0" not in answer.text
    assert answer.text.count("(not shown)") == 2


@pytest.mark.parametrize(
    ("target", "how"),
    [("/chain", "Caused by KeyError"), ("/context", "While handling KeyError")],
)
async def test_what_it_came_of_is_shown_too(web: App, target: str, how: str) -> None:
    answer = await ask(web, target, HTML)
    assert "<h1>ValueError: second</h1>" in answer.text
    assert how in answer.text


async def test_each_exception_of_a_group_is_shown(web: App) -> None:
    async def fails(number: int) -> None:
        raise ValueError(f"fault {number}")

    @web.add_route
    async def _group(r: R) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(fails(1))
            group.create_task(fails(2))

    answer = await ask(web, "/group", HTML)
    assert "<h1>ExceptionGroup: unhandled errors in a TaskGroup" in answer.text
    assert "In it ValueError: fault 1" in answer.text
    assert "In it ValueError: fault 2" in answer.text


async def test_what_was_hidden_stays_hidden(web: App) -> None:
    assert "<h2>While" not in (await ask(web, "/hidden", HTML)).text


async def test_who_wants_json_gets_it(web: App) -> None:
    answer = await ask(web, "/bug", {"Accept": "application/json"})
    told = json.loads(answer.body)
    assert told["error"] == f"ValueError: {EVIL}"
    assert told["traceback"].startswith("Traceback (most recent call last):")


async def test_others_get_plain_text(web: App) -> None:
    answer = await ask(web, "/bug", {"Accept": "*/*"})
    assert answer.field("content-type") == "text/plain; charset=utf-8"
    assert answer.field("x-content-type-options") == "nosniff"
    assert answer.text.endswith(f"ValueError: {EVIL}\n")


@pytest.mark.parametrize("accept", ["text/html", "application/json", "*/*"])
async def test_what_is_no_utf_8_is_shown_all_the_same(
    web: App, accept: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)  # reports between processes are UTF-8
    answer = await ask(web, "/odd", {"Accept": accept})
    assert answer.status == 500
    assert "ValueError: \\" in answer.text


async def test_it_is_not_shown_by_default(web: App) -> None:
    web.debug = False
    answer = await ask(web, "/bug", HTML)
    assert answer.text == bug_text(answer)
