"""``web.middleware``: what is put around all that serves a request."""

import logging
from collections.abc import Awaitable, Callable

import pytest

from blazeio.app.app import App
from blazeio.app.deliver import Deliver
from blazeio.errors import Abort, ConfigurationError
from blazeio.protocol.request import BlazeioServerProtocol
from tests.support.served import served

R = BlazeioServerProtocol
Next = Callable[[R], Awaitable[None]]


@pytest.fixture
def web() -> App:
    return App()


@pytest.fixture
def seen(web: App) -> list[str]:
    """What ran, in its order."""
    seen: list[str] = []

    def note(name: str) -> None:
        @web.middleware
        async def around(r: R, call_next: Next) -> None:
            seen.append(f"{name} in")
            try:
                await call_next(r)
            finally:
                seen.append(f"{name} out {r.status}")

    note("first")
    note("second")

    @web.add_route
    async def before_middleware(r: R) -> None:
        seen.append("before")

    @web.add_route
    async def after_middleware(r: R) -> None:
        seen.append(f"after {r.status}")

    @web.add_route
    async def _x(r: R) -> None:
        seen.append("route")
        await Deliver.text(r, "hi")

    return seen


async def test_the_first_is_outermost_and_after_comes_last(
    web: App, seen: list[str]
) -> None:
    async with served(web) as site:
        assert (await site.get("/x")).text == "hi"
    assert seen == [
        "first in", "second in", "before", "route", "second out 200", "first out 200",
        "after 200",
    ]  # fmt: skip


async def test_errors_come_through_and_are_answered_outside(
    web: App, seen: list[str]
) -> None:
    async with served(web) as site:
        assert (await site.get("/none")).status == 404
    assert seen == [
        "first in", "second in", "before", "second out 0", "first out 0", "after 404",
    ]  # fmt: skip


async def test_one_may_answer_alone_or_instead_of_an_error(web: App) -> None:
    @web.middleware
    async def guard(r: R, call_next: Next) -> None:
        if r.path == "/shut":
            raise Abort("shut", 423)
        if r.path == "/short":
            await Deliver.text(r, "short")
            return
        try:
            await call_next(r)
        except KeyError:
            await Deliver.text(r, "instead", 409)

    @web.add_route
    async def _x(r: R) -> None:
        raise KeyError

    async with served(web) as site:
        assert (await site.get("/shut")).status == 423
        assert (await site.get("/short")).text == "short"
        assert (await site.get("/x")).text == "instead"


async def test_what_a_handler_returns_is_its_mistake_here_too(
    web: App, seen: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    @web.add_route  # type: ignore[type-var]
    async def _y(r: R) -> dict[str, int]:
        return {}

    async with served(web) as site:
        assert (await site.get("/y")).status == 500
    errors = [each for each in caplog.records if each.levelno >= logging.ERROR]
    assert "it returned dict and answered nothing" in errors[0].getMessage()
    assert len(errors) == 1


async def test_one_that_forgets_to_await_is_told(
    web: App, caplog: pytest.LogCaptureFixture
) -> None:
    @web.middleware
    async def forgets(r: R, call_next: Next) -> object:
        return call_next(r)

    async with served(web) as site:
        assert (await site.get("/x")).status == 500
    assert "without await" in caplog.text


async def test_a_bug_is_where_it_happened_not_in_what_is_around(
    web: App, caplog: pytest.LogCaptureFixture
) -> None:
    web.middleware(wrap)

    @web.middleware
    async def fails(r: R, call_next: Next) -> None:
        await call_next(r)
        raise ValueError

    @web.add_route
    async def _x(r: R) -> None:
        raise KeyError

    @web.add_route
    async def _y(r: R) -> None:
        await r.prepare()

    async with served(web) as site:
        await site.get("/x")
        await site.get("/y")
    told = [each.getMessage() for each in caplog.records if each.levelno >= 40]
    assert "._x (" in told[0]
    assert ".fails (" in told[1]


async def test_one_that_calls_and_does_not_wait_is_told(
    web: App, caplog: pytest.LogCaptureFixture
) -> None:
    @web.middleware
    async def forgets(r: R, call_next: Next) -> None:
        call_next(r)

    @web.add_route
    async def _x(r: R) -> None:
        await Deliver.text(r, "hi")

    async with served(web) as site:
        assert (await site.get("/x")).status == 500
    assert "call_next was called without await in" in caplog.text
    assert "`await call_next(...)`" in caplog.text


async def test_of_a_sub_app_it_is_around_what_is_below(web: App) -> None:
    sub, seen = App(), []

    @sub.middleware
    async def around(r: R, call_next: Next) -> None:
        seen.append(r.path)
        await call_next(r)

    @sub.add_route
    async def _x(r: R) -> None:
        await Deliver.text(r, "sub")

    web.mount("/sub", sub)
    async with served(web) as site:
        assert (await site.get("/sub/x")).text == "sub"
        assert (await site.get("/sub/none")).status == 404
        assert (await site.get("/none")).status == 404
    assert seen == ["/sub/x", "/sub/none"]


async def wrap(r: R, call_next: Next) -> None:
    await call_next(r)


def test_what_cannot_be_is_told_when_it_is_added(web: App) -> None:
    async def alone(r: R) -> None:
        pass

    with pytest.raises(ConfigurationError, match="called with r, call_next"):
        web.middleware(alone)  # type: ignore[type-var]
    with pytest.raises(ConfigurationError, match="async def"):
        web.middleware(lambda r, call_next: None)  # type: ignore[type-var]
    _ = web.dispatch
    with pytest.raises(ConfigurationError, match="too late"):
        web.middleware(wrap)
