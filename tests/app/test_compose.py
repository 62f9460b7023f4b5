import asyncio
import logging
import math

import pytest

from blazeio.app.app import App
from blazeio.app.deliver import Deliver
from blazeio.errors import (
    Abort,
    ConfigurationError,
    RemoteProtocolError,
)
from blazeio.protocol.context import Handler
from blazeio.protocol.request import BlazeioServerProtocol
from tests.support.clock import scaled, wait_until
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


async def test_a_route_added_while_serving_is_found(web: App) -> None:
    async def late(r: R) -> None:
        await Deliver.text(r, "late")

    async with served(web) as site:
        assert (await site.get("/late")).status == 404
        web.add_route(late)
        assert (await site.get("/late")).text == "late"


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


@pytest.mark.parametrize("usual_s", [None, 0.05])
async def test_a_route_may_have_another_deadline_than_the_others(
    usual_s: float | None,
) -> None:
    web = App(handler_timeout_s=usual_s and scaled(usual_s))

    async def linger(r: R) -> None:
        await asyncio.sleep(scaled(0.15))
        await Deliver.text(r, "done")

    web.add_route(linger, "/usual")
    web.add_route(linger, "/short", handler_timeout_s=scaled(0.05))
    inner = App()
    inner.add_route(linger, "/{file:path}", handler_timeout_s=math.inf)
    web.mount("/long", inner)
    async with served(web) as site:
        statuses = [
            (await site.get(f"/{n}")).status for n in ("usual", "short", "long/x")
        ]
    assert statuses == [503 if usual_s else 200, 503, 200]


# Several of each kind, and those of sub-apps


def trace(web: App, seen: list[str], name: str) -> None:
    """Give an app two middlewares before and two after that say they ran."""

    def add(kind: str, text: str) -> None:
        async def middleware(r: R) -> None:
            seen.append(f"{text} {r.status}" if "after" in text else text)

        middleware.__name__ = kind
        web.add_route(middleware)

    for number in (1, 2):
        add("before_middleware", f"{name} before {number}")
        add("after_middleware", f"{name} after {number}")


async def test_all_middlewares_run_in_the_order_they_were_added(web: App) -> None:
    seen: list[str] = []
    trace(web, seen, "web")
    async with served(web) as site:
        await site.get("/nowhere")
        await wait_until(lambda: len(seen) == 4)
    assert seen == [
        "web before 1",
        "web before 2",
        "web after 1 404",
        "web after 2 404",
    ]


async def test_one_that_failed_does_not_keep_the_others_from_running_after(
    web: App, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []

    @web.add_route
    async def after_middleware(r: R) -> None:
        raise ValueError("late")

    trace(web, seen, "web")
    async with served(web) as site:
        await site.get("/nowhere")
        await wait_until(lambda: len(seen) == 4)
    assert len(errors_of(caplog)) == 1


async def test_one_that_answered_before_is_the_last(web: App) -> None:
    seen: list[str] = []

    @web.add_route
    async def before_middleware(r: R) -> None:
        await Deliver.text(r, "closed on Sundays")

    trace(web, seen, "web")
    async with served(web) as site:
        assert (await site.get("/x")).text == "closed on Sundays"
        await wait_until(lambda: len(seen) == 2)
    assert seen == ["web after 1 200", "web after 2 200"]


@pytest.mark.parametrize(
    ("path", "status"),
    [("/api/x", 200), ("/api/users/7", 200), ("/api/no", 403), ("/api/nowhere", 404)],
)
async def test_those_of_a_sub_app_run_within_those_of_the_outer_one(
    web: App, path: str, status: int
) -> None:
    seen: list[str] = []
    inner = App()
    web.mount("/api", inner)

    async def answer(r: R) -> None:
        seen.append("route")
        await Deliver.text(r, "")

    @inner.add_route
    async def _no(r: R) -> None:
        seen.append("route")
        raise Abort("no", 403)

    inner.add_route(answer, "/x")
    inner.add_route(answer, "/users/{id:int}")
    trace(inner, seen, "inner")
    trace(web, seen, "web")
    async with served(web) as site:
        assert (await site.get(path)).status == status
        await wait_until(lambda: f"web after 2 {status}" in seen)
    expected = [
        "web before 1",
        "web before 2",
        "inner before 1",
        "inner before 2",
        "route",
        f"inner after 1 {status}",
        f"inner after 2 {status}",
        f"web after 1 {status}",
        f"web after 2 {status}",
    ]
    assert seen == [each for each in expected if status != 404 or each != "route"]


async def test_those_of_a_sub_app_do_not_run_elsewhere(web: App) -> None:
    seen: list[str] = []
    inner = App()
    trace(inner, seen, "inner")
    web.mount("/api", inner)

    @web.add_route
    async def _x(r: R) -> None:
        await Deliver.text(r, "")

    async with served(web) as site:
        await site.get("/x")
        await site.get("/nowhere")
    assert seen == []


async def test_an_answer_of_an_inner_middleware_keeps_the_route_from_running(
    web: App,
) -> None:
    ran: list[str] = []
    inner = App()
    web.mount("/api", inner)

    @inner.add_route
    async def before_middleware(r: R) -> None:
        await Deliver.text(r, "not you", 403)

    @inner.add_route
    async def _x(r: R) -> None:
        ran.append("route")

    async with served(web) as site:
        assert (await site.get("/api/x")).text == "not you"
    assert ran == []


async def test_an_inner_after_runs_when_the_client_goes_away(web: App) -> None:
    seen: list[str] = []
    inner = App()
    web.mount("/api", inner)

    @inner.add_route
    async def after_middleware(r: R) -> None:
        seen.append("after")

    @inner.add_route
    async def _wait(r: R) -> None:
        seen.append("route")
        await asyncio.Event().wait()

    async with served(web) as site:
        async with await site.connect() as peer:
            await peer.send(serialize_request("GET", "/api/wait"))
            await wait_until(lambda: seen)
            peer.reset()
        await wait_until(lambda: len(seen) == 2)


async def test_a_sub_app_takes_no_middleware_once_the_outer_one_is_served(
    web: App,
) -> None:
    inner = App()
    web.mount("/api", inner)

    async def before_middleware(r: R) -> None: ...

    async with served(web) as site:
        with pytest.raises(ConfigurationError, match="it is too late"):
            inner.add_route(before_middleware)
        inner.add_route("/late")(_answer)
        assert (await site.get("/api/late")).text == "late"


async def _answer(r: R) -> None:
    await Deliver.text(r, "late")


async def test_a_mounted_route_keeps_its_terms() -> None:
    web, inner = App(content_bytes=4), App()

    async def take(r: R) -> None:
        await Deliver.text(r, await r.read())

    inner.add_route(take, "/{name}", content_bytes=8)
    web.mount("/api", inner)
    async with served(web) as site:
        assert (await site.ask("POST", "/api/large", b"x" * 8)).status == 200
        assert (await site.ask("POST", "/api/large", b"x" * 9)).status == 413


async def before_middleware(r: R) -> None:
    """Nothing to do."""


async def after_middleware(r: R) -> None:
    """Likewise."""


@pytest.mark.parametrize("outer", [(), (before_middleware,), (after_middleware,)])
@pytest.mark.parametrize("inner", [None, (), (before_middleware,), (after_middleware,)])
async def test_a_returned_value_is_no_answer_and_that_is_said(
    outer: tuple[Handler, ...],
    inner: tuple[Handler, ...] | None,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def give(r: R) -> dict[str, int]:
        return {"a": 1}

    web = App()
    for each in outer:
        web.add_route(each)
    if inner is None:
        web.add_route(give, "/in/x")  # type: ignore[type-var]
    else:
        sub = App()
        for each in inner:
            sub.add_route(each)
        sub.add_route(give, "/x")  # type: ignore[type-var]
        web.mount("/in", sub)
    async with served(web) as site:
        assert (await site.get("/in/x")).status == 500
    (record,) = errors_of(caplog)
    name = "test_a_returned_value_is_no_answer_and_that_is_said.<locals>.give ("
    assert name in record.getMessage()
    assert "it returned dict and answered nothing" in record.getMessage()


async def test_what_is_returned_after_the_answer_does_no_harm(
    web: App, caplog: pytest.LogCaptureFixture
) -> None:
    @web.add_route  # type: ignore[type-var]
    async def _x(r: R) -> str:
        await Deliver.text(r, "hi")
        return "it is done"

    async with served(web) as site:
        assert (await site.get("/x")).text == "hi"
    assert not errors_of(caplog)
