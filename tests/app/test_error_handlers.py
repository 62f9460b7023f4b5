"""``web.on_error``: an app's own answers to errors."""

import asyncio
import logging

import pytest

from blazeio.app.app import App
from blazeio.app.deliver import Deliver
from blazeio.errors import (
    Abort,
    ClientDisconnected,
    ConfigurationError,
    ConnectError,
    RequestTimeout,
)
from blazeio.protocol.request import BlazeioServerProtocol
from tests.support.served import served

R = BlazeioServerProtocol


class NotFound(Abort):
    pass


class BrokenError(ValueError):
    pass


class WorseError(BrokenError):
    pass


ERRORS: dict[str, BaseException] = {
    "value": ValueError("v"),
    "broken": BrokenError("b"),
    "worse": WorseError("w"),
    "key": KeyError("k"),
    "gone": Abort("gone", 410),
    "teapot": Abort("teapot", 418),
    "own": NotFound("own", 404),
    "connect": ConnectError("refused"),
    "late": RequestTimeout("late"),
    "one": ExceptionGroup("of one", [BrokenError("b")]),
    "two": ExceptionGroup("of two", [BrokenError("b"), KeyError("k")]),
    "exit": SystemExit(3),
    "client": ClientDisconnected("of another"),
}


@pytest.fixture
def web() -> App:
    web = App()

    @web.route.get("/raise/{name}")
    async def failing(r: R, name: str) -> None:
        raise ERRORS[name]

    return web


def told_by(web: App, *kinds: type[BaseException] | int, name: str) -> None:
    """Have a handler that answers its own name and the class of the error."""

    @web.on_error(*kinds)
    async def handle(r: R, error: BaseException) -> None:
        await Deliver.text(r, f"{name} {type(error).__name__}", 422)


def bugs_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        each.getMessage() for each in caplog.records if each.levelno >= logging.ERROR
    ]


@pytest.mark.parametrize(
    ("name", "told", "bug_count"),
    [
        ("value", "by-value ValueError", 0),
        ("broken", "by-broken BrokenError", 0),
        ("worse", "by-broken WorseError", 0),
        ("key", "by-exception KeyError", 1),
        ("gone", "by-410 Abort", 0),
        ("own", "by-own NotFound", 0),
        ("one", "by-broken BrokenError", 0),
        ("two", "by-exception ExceptionGroup", 1),
        ("late", "by-504 RequestTimeout", 1),
        ("connect", "by-exception ConnectError", 1),
    ],
)
async def test_the_nearest_class_counts_then_the_status(
    web: App, caplog: pytest.LogCaptureFixture, name: str, told: str, bug_count: int
) -> None:
    told_by(web, ValueError, name="by-value")
    told_by(web, BrokenError, name="by-broken")
    told_by(web, Exception, name="by-exception")
    told_by(web, NotFound, name="by-own")
    told_by(web, 410, 404, name="by-410")
    told_by(web, 504, name="by-504")
    async with served(web) as site:
        answer = await site.get(f"/raise/{name}")
    assert (answer.status, answer.text) == (422, told)
    assert len(bugs_of(caplog)) == bug_count


async def test_exception_does_not_mean_an_abort(web: App) -> None:
    told_by(web, Exception, name="any")
    async with served(web) as site:
        answer = await site.get("/raise/teapot")
    assert (answer.status, answer.text) == (418, "teapot")


async def test_500_is_any_bug_and_it_is_logged(
    web: App, caplog: pytest.LogCaptureFixture
) -> None:
    told_by(web, 500, name="page")
    async with served(web) as site:
        assert (await site.get("/raise/key")).text == "page KeyError"
        assert (await site.get("/raise/exit")).text == "page SystemExit"
    assert len(bugs_of(caplog)) == 2


async def test_no_route_and_no_method_have_their_statuses(web: App) -> None:
    told_by(web, 404, 405, name="none")
    async with served(web) as site:
        assert (await site.get("/nowhere")).text == "none Abort"
        assert (await site.ask("DELETE", "/raise/key")).text == "none Abort"
        assert (await site.ask("HEAD", "/nowhere")).status == 422


async def test_a_handler_may_raise_it_again_or_answer_nothing(web: App) -> None:
    @web.on_error(Abort)
    async def handle(r: R, error: Abort) -> None:
        if error.status == 410:
            raise error

    async with served(web) as site:
        assert (await site.get("/raise/gone")).text == "gone"
        assert (await site.get("/raise/teapot")).text == "teapot"


async def test_a_handler_that_fails_is_a_500_and_an_abort_of_it_an_answer(
    web: App, caplog: pytest.LogCaptureFixture
) -> None:
    @web.on_error(KeyError)
    async def fail(r: R, error: KeyError) -> None:
        raise RuntimeError("of the handler")

    @web.on_error(ValueError)
    async def refuse(r: R, error: ValueError) -> None:
        raise Abort("no such value", 404)

    async with served(web) as site:
        assert (await site.get("/raise/key")).status == 500
        answer = await site.get("/raise/value")
    assert (answer.status, answer.text) == (404, "no such value")
    (bug,) = bugs_of(caplog)
    assert "RuntimeError" in bug


async def test_after_sees_the_status_and_a_held_head_is_taken_back(web: App) -> None:
    told_by(web, ValueError, name="handled")
    seen: list[int] = []

    @web.add_route
    async def after_middleware(r: R) -> None:
        seen.append(r.status)

    @web.add_route
    async def _held(r: R) -> None:
        await r.prepare({"X-Mine": "1"})
        raise ValueError

    async with served(web) as site:
        answer = await site.get("/held")
    assert (answer.status, answer.text) == (422, "handled ValueError")
    assert not answer.field_all("x-mine")
    assert seen == [422]


async def test_what_has_begun_is_cut(web: App) -> None:
    told_by(web, ValueError, name="handled")

    @web.add_route
    async def _begun(r: R) -> None:
        await r.write(b"part")
        raise ValueError

    async with served(web) as site, await site.connect() as peer:
        await peer.send(b"GET /begun HTTP/1.1\r\nHost: x\r\n\r\n")
        with pytest.raises((ConnectionError, AssertionError, EOFError)):
            await peer.read_response()


@pytest.mark.http1  # its chunks
async def test_content_that_breaks_http_is_handled_and_the_connection_closed(
    web: App,
) -> None:
    told_by(web, 413, name="large")

    @web.route.post("/take", content_bytes=10)
    async def take(r: R) -> None:
        await r.read()

    async with served(web) as site:
        answer = await site.ask("POST", "/take", b"x" * 100)
    assert answer.text == "large RemoteProtocolError"
    assert answer.field("connection") == "close"


async def test_a_sub_app_goes_first_and_the_outer_one_is_asked_then(web: App) -> None:
    told_by(web, KeyError, 404, name="outer")
    sub = App()
    told_by(sub, ValueError, name="inner")

    @sub.add_route
    async def after_middleware(r: R) -> None:
        assert r.status == 422

    @sub.route.get("/raise/{name}")
    async def failing(r: R, name: str) -> None:
        raise ERRORS[name]

    web.mount("/sub", sub)
    async with served(web) as site:
        assert (await site.get("/sub/raise/value")).text == "inner ValueError"
        assert (await site.get("/sub/raise/key")).text == "outer KeyError"
        assert (await site.get("/sub/nowhere")).text == "outer Abort"
        assert (await site.get("/raise/value")).status == 500


async def test_a_cancellation_ends_the_handler_of_an_error_too(web: App) -> None:
    began, ended = asyncio.Event(), asyncio.Event()

    @web.on_error(KeyError)
    async def wait(r: R, error: KeyError) -> None:
        began.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    async with served(web) as site:
        async with await site.connect() as peer:
            await peer.send(b"GET /raise/key HTTP/1.1\r\nHost: x\r\n\r\n")
            async with asyncio.timeout(10):
                await began.wait()
        async with asyncio.timeout(10):
            await ended.wait()


async def test_debug_shows_what_is_a_bug() -> None:
    web = App(debug=True)
    told_by(web, Exception, name="page")
    told_by(web, ValueError, name="own")

    @web.add_route
    async def _key(r: R) -> None:
        raise KeyError("k")

    @web.add_route
    async def _value(r: R) -> None:
        raise ValueError("v")

    async with served(web) as site:
        assert "Traceback" in (await site.get("/key")).text
        assert (await site.get("/value")).text == "own ValueError"


async def handler(r: R, error: object) -> None:
    pass


async def other(r: R, error: object) -> None:
    pass


def test_what_cannot_be_is_told_when_it_is_added(web: App) -> None:
    web.on_error(404)(handler)
    for kinds, target, told in [
        ((404,), other, "collides with"),
        ((200,), other, "a status, 400 to 599"),
        ((), other, "write @web.on_error"),
        ((ClientDisconnected,), other, "nobody is left"),
        ((405,), lambda r, error: None, "async def"),
        ((405,), Deliver.no_content.__class__, "class"),
    ]:
        with pytest.raises(ConfigurationError, match=told):
            web.on_error(*kinds)(target)  # type: ignore[arg-type,type-var]

    async def alone(r: R) -> None:
        pass

    with pytest.raises(ConfigurationError, match="called with r, error"):
        web.on_error(405)(alone)  # type: ignore[type-var]
    _ = web.dispatch
    with pytest.raises(ConfigurationError, match="too late"):
        web.on_error(406)(handler)
