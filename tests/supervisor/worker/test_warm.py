"""What is made once, before the fork."""

import asyncio
import os
import threading

import pytest

from blazeio.app.app import App
from blazeio.errors import Abort, ConfigurationError
from blazeio.protocol.process import get_loop, has_loop, temporary_loop
from blazeio.protocol.request import BlazeioServerProtocol
from blazeio_supervisor.worker.__main__ import warm

R = BlazeioServerProtocol


def make_app() -> tuple[App, list[str]]:
    web, made = App(), list[str]()

    @web.add_route
    async def page(r: R, route: str = "/page") -> None:
        made.append(f"page {r.query}")
        r.reply(b"x" * 200_000)

    @web.add_route
    async def missing(r: R, route: str = "/missing") -> None:
        raise Abort("no", 404)

    @web.on_start
    def start() -> None:
        made.append("started")

    return web, made


def test_hooks_run_first_then_each_path_is_answered_and_nothing_is_left() -> None:
    web, made = make_app()
    inner = App()

    @web.on_warm
    async def fill() -> None:
        made.append("hook")
        assert asyncio.get_running_loop() is get_loop()
        await asyncio.to_thread(made.append, "thread")
        asyncio.get_running_loop().create_task(asyncio.sleep(60))

    @inner.on_warm
    def fill_inner() -> None:
        made.append("inner")

    web.mount("/inner", inner)
    threads, fds = threading.active_count(), os.listdir("/proc/self/fd")
    assert warm(web, ["/page?a=1", "/page"]) == (4, ())
    assert made == ["hook", "thread", "inner", "page a=1", "page "]
    assert not has_loop()
    assert threading.active_count() == threads
    assert len(os.listdir("/proc/self/fd")) == len(fds)


def test_what_fails_is_told_and_the_rest_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    web, made = make_app()

    @web.on_warm
    def fail() -> None:
        raise LookupError("no template")

    count, cold = warm(web, ["/missing", "/page"])
    assert count == 1
    assert cold[0].startswith("on_warm ")
    assert "no template" in cold[0]
    assert cold[1] == "GET /missing: status 404"
    assert made == ["page "]


def test_the_app_is_served_as_ever_afterwards() -> None:
    web, made = make_app()
    warm(web, ["/page"])
    assert warm(web, ["/page"]) == (1, ())
    assert made == ["page ", "page "]


def test_a_process_that_has_a_loop_makes_no_other_one() -> None:
    with temporary_loop() as loop:
        assert get_loop() is loop
        with (
            pytest.raises(ConfigurationError, match="has been made"),
            temporary_loop(),
        ):
            pass
    assert loop.is_closed()
