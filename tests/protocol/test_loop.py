"""One loop per process, made late."""

import asyncio
import sys
import threading
from collections.abc import Callable
from contextvars import copy_context

import pytest
import uvloop

from blazeio.app.app import App
from blazeio.errors import ConfigurationError
from blazeio.protocol import process
from blazeio.testing import TestServer


@pytest.fixture(autouse=True)
def no_loop_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "_process_loop", [])
    monkeypatch.setattr(process, "_chosen", [process.DEFAULT_LOOP])


def aside(script: Callable[[], object]) -> None:
    """Run in a thread and a context of its own: both keep a loop in mind."""
    errors: list[BaseException] = []

    def run() -> None:
        try:
            copy_context().run(script)
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if errors:
        raise errors[0]


@pytest.mark.parametrize(
    ("name", "kind"),
    [("uvloop", uvloop.Loop), ("asyncio", asyncio.SelectorEventLoop)],
)
def test_the_loop_is_of_the_chosen_kind(
    name: process.LoopName, kind: type[asyncio.AbstractEventLoop]
) -> None:
    def script() -> None:
        process.use_loop(name)
        loop = process.new_loop()
        loop.close()
        assert isinstance(loop, kind)

    aside(script)


@pytest.mark.parametrize(
    ("name", "kind"),
    [("uvloop", uvloop.Loop), ("asyncio", asyncio.SelectorEventLoop)],
)
def test_it_holds_for_the_process_whatever_thread_or_context_asks(
    name: process.LoopName, kind: type[asyncio.AbstractEventLoop]
) -> None:
    kinds: list[type[asyncio.AbstractEventLoop]] = []
    web = App()

    @web.on_start
    async def note() -> None:
        kinds.append(type(asyncio.get_running_loop()))

    def script() -> None:
        with TestServer(web):
            pass

    copy_context().run(process.use_loop, name)
    script()
    aside(script)
    assert [issubclass(each, kind) for each in kinds] == [True, True]


def test_uvloop_is_the_default_where_it_is() -> None:
    def script() -> None:
        loop = process.new_loop()
        loop.close()
        assert isinstance(loop, uvloop.Loop)

    aside(script)


def test_without_uvloop_asyncio_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvloop", None)

    def script() -> None:
        loop = process.new_loop()
        loop.close()
        assert isinstance(loop, asyncio.SelectorEventLoop)

    aside(script)


def test_the_process_has_one_loop_and_it_is_current() -> None:
    def script() -> None:
        assert not process.has_loop()
        loop = process.get_loop()
        assert process.has_loop()
        assert process.get_loop() is loop
        assert asyncio.get_event_loop_policy().get_event_loop() is loop
        loop.close()
        asyncio.set_event_loop(None)

    aside(script)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="expected uvloop or asyncio"):
        process.use_loop("trio")  # type: ignore[arg-type]


def test_a_choice_after_the_loop_was_made_is_refused() -> None:
    def script() -> None:
        loop = process.get_loop()
        with pytest.raises(ConfigurationError, match="too late"):
            process.use_loop("asyncio")
        loop.close()
        asyncio.set_event_loop(None)

    aside(script)


@pytest.mark.parametrize("name", ["uvloop", "asyncio"])
def test_an_app_that_stops_the_loop_or_cancels_all_tasks_is_served_on(
    name: process.LoopName, caplog: pytest.LogCaptureFixture
) -> None:
    async def live() -> str:
        loop = asyncio.get_running_loop()
        for _ in range(2):
            loop.stop()
            await asyncio.sleep(0)
            for task in asyncio.all_tasks():
                task.cancel()
            await asyncio.sleep(0)
        return "lived on"

    def script() -> None:
        process.use_loop(name)
        loop = process.new_loop()
        try:
            assert process.run_through(loop, loop.create_task(live())) == "lived on"
        finally:
            loop.close()

    aside(script)
    stopped = [each for each in caplog.messages if "loop.stop()" in each]
    assert len(stopped) == 2


def test_a_loop_that_was_closed_is_an_error_still() -> None:
    def script() -> None:
        loop = process.new_loop()
        work = loop.create_future()
        loop.close()
        with pytest.raises(RuntimeError, match="closed"):
            process.run_through(loop, work)

    aside(script)
