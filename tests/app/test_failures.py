import asyncio
import inspect
import logging
import re
from typing import Any

import msgspec
import pytest

from blazeio.app.app import App
from blazeio.app.deliver import Deliver
from blazeio.errors import (
    Abort,
    ClientDisconnected,
    ConnectError,
    ConnectTimeout,
    HeadTimeout,
    InvalidResponse,
    LocalProtocolError,
    ServerDisconnected,
    StatusError,
)
from blazeio.protocol.request import BlazeioServerProtocol
from tests.support.clock import wait_until, within
from tests.support.response import bug_text
from tests.support.served import serialize_request, served

R = BlazeioServerProtocol


@pytest.fixture
def web() -> App:
    return App()


def raised_at(test: Any) -> int:
    """The line of the first ``raise`` in a test."""
    lines, first = inspect.getsourcelines(test)
    return first + next(n for n, line in enumerate(lines) if " raise " in line)


def errors_of(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [each for each in caplog.records if each.levelno >= logging.WARNING]


async def test_an_abort_is_answered_with_its_status_text_and_headers(
    web: App, caplog: pytest.LogCaptureFixture
) -> None:
    @web.add_route
    async def _x(r: R) -> None:
        raise Abort("slow down, für dich", 429, {"Retry-After": 5})

    async with served(web) as site:
        answer = await site.get("/x")
    assert (answer.status, answer.text) == (429, "slow down, für dich")
    assert answer.field("retry-after") == "5"
    assert answer.field("content-type") == "text/plain; charset=utf-8"
    assert not errors_of(caplog)


async def test_an_abort_of_nonsense_is_a_logged_500(
    web: App, caplog: pytest.LogCaptureFixture
) -> None:
    @web.add_route
    async def _status(r: R) -> None:
        raise Abort("what", 99)

    @web.add_route
    async def _header(r: R) -> None:
        raise Abort("what", 400, {"X": "a\r\nb"})

    async with served(web) as site:
        assert (await site.get("/status")).status == 500
        assert (await site.get("/header")).status == 500
    assert len(errors_of(caplog)) == 2


async def test_a_bug_is_500_logged_once_and_tells_the_client_nothing(
    web: App, caplog: pytest.LogCaptureFixture
) -> None:
    @web.add_route
    async def _bug(r: R) -> None:
        raise ValueError("secret")

    async with served(web) as site:
        answer = await site.get("/bug?a=1")
    assert (answer.status, answer.text) == (500, bug_text(answer))
    assert b"secret" not in answer.octets
    (record,) = errors_of(caplog)
    assert record.name == "blazeio.app"
    line = raised_at(test_a_bug_is_500_logged_once_and_tells_the_client_nothing)
    assert record.getMessage() == (
        "GET /bug?a=1: ValueError in tests.app.test_failures."
        "test_a_bug_is_500_logged_once_and_tells_the_client_nothing.<locals>._bug "
        f"({__file__}:{line}): secret (id {answer.field('x-request-id')})"
    )
    assert "secret" in caplog.text


async def test_the_logged_traceback_begins_in_the_users_code(
    web: App, caplog: pytest.LogCaptureFixture
) -> None:
    @web.add_route
    async def _bug(r: R) -> None:
        raise ValueError("secret")

    async with served(web) as site:
        await site.get("/bug")
    (record,) = errors_of(caplog)
    assert record.exc_info is not None
    traceback = record.exc_info[2]
    assert traceback is not None
    assert traceback.tb_frame.f_code.co_name == "_bug"


async def test_the_connection_is_kept_after_a_bug(web: App) -> None:
    @web.add_route
    async def _bug(r: R) -> None:
        raise ValueError

    async with served(web) as site, await site.connect() as peer:
        await peer.send(serialize_request("GET", "/bug") * 2)
        assert (await peer.read_response()).status == 500
        assert (await peer.read_response()).status == 500


async def test_a_bug_after_the_head_cuts_the_connection(
    web: App, caplog: pytest.LogCaptureFixture
) -> None:
    @web.add_route
    async def _bug(r: R) -> None:
        await r.prepare({"Content-Type": "text/plain"}, 200)
        await r.write("some")
        raise ValueError("secret")

    async with served(web) as site, await site.connect() as peer:
        await peer.send(serialize_request("GET", "/bug"))
        with pytest.raises((ConnectionError, AssertionError)):
            await peer.read_response()
    assert len(errors_of(caplog)) == 1


async def test_a_bug_after_the_whole_answer_leaves_the_answer_whole(
    web: App, caplog: pytest.LogCaptureFixture
) -> None:
    @web.add_route
    async def _early(r: R) -> None:
        await Deliver.text(r, "all of it")
        raise ValueError("late")

    @web.add_route
    async def _ended(r: R) -> None:
        await r.write("all ")
        await r.eof("of it")
        raise Abort("late")

    async with served(web) as site, await site.connect() as peer:
        for target in ("/early", "/ended"):
            await peer.send(serialize_request("GET", target))
            assert (await peer.read_response()).text == "all of it"
    assert len(errors_of(caplog)) == 2


async def test_content_that_breaks_its_framing_is_answered_and_closed(
    web: App, caplog: pytest.LogCaptureFixture
) -> None:
    @web.add_route
    async def _read(r: R) -> None:
        await r.read()

    head = b"POST /read HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with served(web) as site, await site.connect() as peer:
        await peer.send(head + b"nonsense\r\n")
        answer = await peer.read_response()
        assert (answer.status, answer.field("connection")) == (400, "close")
        await peer.read_until_end()
    assert not errors_of(caplog)


async def test_broken_content_after_the_head_cuts_the_connection_quietly(
    web: App, caplog: pytest.LogCaptureFixture
) -> None:
    @web.add_route
    async def _echo(r: R) -> None:
        await r.write("begun")
        async for _ in r.pull():
            pass

    head = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    async with served(web) as site, await site.connect() as peer:
        await peer.send(head + b"nonsense\r\n")
        with pytest.raises((ConnectionError, AssertionError)):
            await peer.read_response()
    assert not errors_of(caplog)


async def test_what_the_handler_itself_got_wrong_about_http_is_a_logged_500(
    web: App, caplog: pytest.LogCaptureFixture
) -> None:
    @web.add_route
    async def _x(r: R) -> None:
        raise LocalProtocolError("a bad field")

    async with served(web) as site:
        assert (await site.get("/x")).status == 500
    assert len(errors_of(caplog)) == 1


async def test_a_client_that_went_away_is_not_reported(
    web: App, caplog: pytest.LogCaptureFixture
) -> None:
    over = asyncio.Event()

    @web.add_route
    async def _x(r: R) -> None:
        raise ClientDisconnected("gone")

    @web.add_route
    async def after_middleware(r: R) -> None:
        over.set()

    async with served(web) as site, await site.connect() as peer:
        await peer.send(serialize_request("GET", "/x"))
        await within(over.wait())
        with pytest.raises((ConnectionError, AssertionError)):
            await peer.read_response()
    assert not errors_of(caplog)


async def test_awaiting_a_cancelled_task_is_a_bug_and_no_disconnect(
    web: App, caplog: pytest.LogCaptureFixture
) -> None:
    @web.add_route
    async def _x(r: R) -> None:
        other = asyncio.ensure_future(asyncio.Event().wait())
        other.cancel()
        await other

    async with served(web) as site:
        assert (await site.get("/x")).status == 500
    assert len(errors_of(caplog)) == 1


async def test_a_bug_in_a_cancelled_request_is_reported_and_ends_there(
    web: App, caplog: pytest.LogCaptureFixture
) -> None:
    ran: list[Any] = []

    @web.add_route
    async def _wait(r: R) -> None:
        ran.append(r)
        try:
            await asyncio.Event().wait()
        finally:
            raise ValueError("while cleaning up")

    async with served(web) as site:
        async with await site.connect() as peer:
            await peer.send(serialize_request("GET", "/wait"))
            await wait_until(lambda: ran)
            peer.reset()
        await wait_until(lambda: errors_of(caplog))
    assert len(errors_of(caplog)) == 1


# As the client likes it


@pytest.mark.parametrize(
    ("accept", "content_type", "text"),
    [
        (None, "text/plain; charset=utf-8", 'no "x"'),
        ("*/*", "text/plain; charset=utf-8", 'no "x"'),
        ("application/json", "application/json", r'{"error":"no \"x\""}'),
        ("text/html,*/*;q=0.8", "text/plain; charset=utf-8", 'no "x"'),
    ],
)
async def test_an_abort_is_text_or_json_by_accept(
    web: App, accept: str | None, content_type: str, text: str
) -> None:
    @web.add_route
    async def _x(r: R) -> None:
        raise Abort('no "x"', 404, [("X-Why", "because")])

    headers = {} if accept is None else {"Accept": accept}
    async with served(web) as site:
        answer = await site.ask("GET", "/x", headers=headers)
    assert (answer.status, answer.text) == (404, text)
    assert answer.field("content-type") == content_type
    assert (answer.field("x-why"), answer.field("vary")) == ("because", "Accept")


async def test_an_abort_with_a_type_of_its_own_is_sent_as_it_is(web: App) -> None:
    problem = '{"title":"no"}'

    @web.add_route
    async def _x(r: R) -> None:
        raise Abort(problem, 409, {"content-type": "application/problem+json"})

    async with served(web) as site:
        answer = await site.ask("GET", "/x", headers={"Accept": "application/json"})
    assert answer.text == problem
    assert answer.field_all("content-type") == ["application/problem+json"]


async def test_every_error_is_json_for_who_wants_it(web: App) -> None:
    @web.add_route
    async def _bug(r: R) -> None:
        raise ValueError("secret")

    @web.add_route
    async def _odd(r: R) -> None:
        raise Abort("\udcff", 400)

    headers = {"Accept": "application/json"}
    async with served(web) as site:
        bug = await site.ask("GET", "/bug", headers=headers)
        nowhere = await site.ask("GET", "/nowhere", headers=headers)
        odd = await site.ask("GET", "/odd", headers=headers)
    assert msgspec.json.decode(bug.body) == {
        "error": "Internal Server Error",
        "request_id": bug.field("x-request-id"),
    }
    assert (nowhere.status, nowhere.text) == (404, '{"error":"Not Found"}')
    assert (odd.status, odd.text) == (400, '{"error":"?"}')


# In development


async def test_debug_shows_a_bug_and_logs_it_all_the_same(
    caplog: pytest.LogCaptureFixture,
) -> None:
    web = App(debug=True)

    @web.add_route
    async def _bug(r: R) -> None:
        raise ValueError("what it is")

    async with served(web) as site:
        answer = await site.get("/bug")
    assert answer.status == 500
    assert "ValueError: what it is" in answer.text
    assert "blazeio/app" not in answer.text
    shown, bug = errors_of(caplog)
    assert shown.getMessage() == "debug=True: clients are shown tracebacks"
    assert bug.getMessage().startswith("GET /bug: ValueError in tests.app.")


async def test_debug_changes_nothing_of_an_abort() -> None:
    web = App(debug=True)

    @web.add_route
    async def _x(r: R) -> None:
        raise Abort("not you", 403)

    async with served(web) as site:
        assert (await site.get("/x")).text == "not you"


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (ConnectError("http://behind.test:80: refused"), 502, "Bad Gateway"),
        (ServerDisconnected("closed"), 502, "Bad Gateway"),
        (InvalidResponse("this is not HTTP"), 502, "Bad Gateway"),
        (StatusError("GET http://behind.test/: 404", 404, None), 502, "Bad Gateway"),
        (HeadTimeout("no answer for 60 s"), 504, "Gateway Timeout"),
        (ConnectTimeout("no connection within 10 s"), 504, "Gateway Timeout"),
    ],
)
async def test_a_server_behind_that_fails_is_a_gateway_error(
    web: App,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    status: int,
    text: str,
) -> None:
    @web.add_route
    async def _x(r: R) -> None:
        raise error

    async with served(web) as site:
        answer = await site.get("/x")
    assert (answer.status, answer.text) == (status, text)
    (record,) = errors_of(caplog)
    line = re.escape(f"GET /x: {type(error).__name__}: {error}")
    assert re.fullmatch(rf"{line} \(id [0-9a-f]{{32}}\)", record.getMessage())
    assert record.exc_info is None
