import asyncio
import logging
from typing import Any

import pytest

from blazeio.app.app import App
from blazeio.app.deliver import Deliver
from blazeio.errors import (
    Abort,
    ClientDisconnected,
    LocalProtocolError,
    RemoteProtocolError,
)
from blazeio.protocol.server import BlazeioServerProtocol
from tests.support.clock import wait_until, within
from tests.support.served import serialize_request, served

R = BlazeioServerProtocol


@pytest.fixture
def web() -> App:
    return App()


@pytest.fixture
def seen(web: App) -> list[str]:
    """What ran, in order, with the path and the status by then."""
    seen: list[str] = []

    @web.add_route
    async def before_middleware(request: R) -> None:
        seen.append(f"before {request.path} {request.status}")

    @web.add_route
    async def after_middleware(anything: R) -> None:
        seen.append(f"after {anything.path} {anything.status}")

    return seen


def errors_of(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [each for each in caplog.records if each.levelno >= logging.WARNING]


async def test_a_route_is_served(web: App) -> None:
    @web.add_route
    async def _hello(r: R) -> None:
        await Deliver.text(r, "hi")

    async with served(web) as site:
        answer = await site.get("/hello?x=1")
    assert (answer.status, answer.text) == (200, "hi")


async def test_head_is_served_by_the_handler_of_get(web: App) -> None:
    @web.route.get("/x")
    async def handler(r: R) -> None:
        await Deliver.text(r, "hi")

    async with served(web) as site:
        answer = await site.ask("HEAD", "/x")
    assert (answer.status, answer.field("content-length")) == (200, "2")


async def test_an_unknown_path_is_404(web: App) -> None:
    async with served(web) as site:
        answer = await site.get("/nowhere")
    assert (answer.status, answer.text) == (404, "Not Found")


async def test_another_method_is_405_and_says_which_are_allowed(web: App) -> None:
    @web.route.get("/x")
    async def get(r: R) -> None: ...

    @web.route.delete("/x")
    async def delete(r: R) -> None: ...

    @web.add_route
    async def handle_all_middleware(r: R) -> None: ...

    async with served(web) as site:
        answer = await site.ask("POST", "/x", b"content")
    assert answer.status == 405
    assert answer.field("allow") == "DELETE, GET, HEAD"


async def test_a_route_added_while_serving_is_found(web: App) -> None:
    async def late(r: R) -> None:
        await Deliver.text(r, "late")

    async with served(web) as site:
        assert (await site.get("/late")).status == 404
        web.add_route(late)
        assert (await site.get("/late")).text == "late"


async def test_the_fallback_answers_instead_of_404(web: App) -> None:
    @web.add_route
    async def handle_all_middleware(r: R) -> None:
        raise Abort("Route not found, but handled.", 404)

    async with served(web) as site:
        answer = await site.get("/nowhere")
    assert (answer.status, answer.text) == (404, "Route not found, but handled.")


async def test_the_middlewares_run_around_the_route(web: App, seen: list[str]) -> None:
    @web.add_route
    async def _x(r: R) -> None:
        seen.append("route")
        await Deliver.text(r, "")

    async with served(web) as site:
        await site.get("/x")
        await wait_until(lambda: len(seen) == 3)
    assert seen == ["before /x 0", "route", "after /x 200"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (Abort("no", 418), 418),
        (RemoteProtocolError("bad", 413), 413),
        (ValueError("bug"), 500),
    ],
)
async def test_after_runs_after_errors_too_and_sees_their_status(
    web: App, seen: list[str], error: Exception, status: int
) -> None:
    @web.add_route
    async def _x(r: R) -> None:
        raise error

    async with served(web) as site:
        assert (await site.get("/x")).status == status
        await wait_until(lambda: len(seen) == 2)
    assert seen[-1] == f"after /x {status}"


async def test_before_and_after_run_where_no_route_is(
    web: App, seen: list[str]
) -> None:
    async with served(web) as site:
        await site.get("/nowhere")
        await wait_until(lambda: len(seen) == 2)
    assert seen == ["before /nowhere 0", "after /nowhere 404"]


async def test_an_abort_before_the_route_answers_and_the_route_never_runs(
    web: App,
) -> None:
    ran: list[str] = []

    @web.add_route
    async def before_middleware(r: R) -> None:
        raise Abort("not you", 403)

    @web.add_route
    async def _x(r: R) -> None:
        ran.append("route")

    async with served(web) as site:
        answer = await site.get("/x")
    assert (answer.status, answer.text, ran) == (403, "not you", [])


async def test_after_runs_when_the_client_goes_away(web: App, seen: list[str]) -> None:
    @web.add_route
    async def _wait(r: R) -> None:
        seen.append("route")
        await asyncio.Event().wait()

    async with served(web) as site:
        async with await site.connect() as peer:
            await peer.send(serialize_request("GET", "/wait"))
            await wait_until(lambda: "route" in seen)
            peer.reset()
        await wait_until(lambda: len(seen) == 3)
    assert seen[-1] == "after /wait 0"


async def test_after_may_await_when_the_client_went_away(web: App) -> None:
    done: list[str] = []

    @web.add_route
    async def after_middleware(r: R) -> None:
        await asyncio.sleep(0)
        done.append("after")

    @web.add_route
    async def _wait(r: R) -> None:
        done.append("route")
        await asyncio.Event().wait()

    async with served(web) as site:
        async with await site.connect() as peer:
            await peer.send(serialize_request("GET", "/wait"))
            await wait_until(lambda: done)
            peer.reset()
        await wait_until(lambda: len(done) == 2)


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
    assert (answer.status, answer.text) == (500, "Internal Server Error")
    assert b"secret" not in answer.octets
    (record,) = errors_of(caplog)
    assert record.name == "blazeio.app"
    assert record.getMessage() == "GET /bug?a=1: ValueError in the handler"
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


async def test_a_bug_in_after_does_not_harm_the_answer(
    web: App, caplog: pytest.LogCaptureFixture
) -> None:
    @web.add_route
    async def after_middleware(r: R) -> None:
        raise ValueError("late")

    @web.add_route
    async def _x(r: R) -> None:
        await Deliver.text(r, "hi")

    async with served(web) as site:
        answer = await site.get("/x")
    assert (answer.status, answer.text) == (200, "hi")
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


async def test_serve_route_does_all_of_it(web: App) -> None:
    other = App()

    @web.add_route
    async def _x(r: R) -> None:
        await Deliver.text(r, "hi")

    @other.add_route
    async def handle_all_middleware(r: R) -> None:
        await web.serve_route(r)

    async with served(other) as site:
        assert (await site.get("/x")).text == "hi"
        assert (await site.get("/y")).status == 404


@pytest.mark.parametrize(
    ("path", "size", "status"),
    [("/usual", 4, 200), ("/usual", 5, 413), ("/large", 8, 200), ("/large", 9, 413)],
)
async def test_a_route_may_take_more_content_than_the_others(
    path: str, size: int, status: int
) -> None:
    web = App(content_bytes=4)

    async def take(r: R) -> None:
        await Deliver.text(r, await r.read())

    web.add_route(take, "/usual")
    web.add_route(take, "/large", methods=["POST"], content_bytes=8)
    async with served(web) as site:
        assert (await site.ask("POST", path, b"x" * size)).status == status
