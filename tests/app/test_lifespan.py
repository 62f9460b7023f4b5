import asyncio
import functools
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from blazeio.app import lifespan as lifespan_module
from blazeio.app.lifespan import Lifespan
from blazeio.errors import ConfigurationError
from tests.support.clock import wait_until


@pytest.fixture
async def life() -> AsyncIterator[Lifespan]:
    """Stopped when the test is over."""
    life = Lifespan()
    yield life
    await life.stop()


def note(life: Lifespan, seen: list[str], name: str) -> None:
    """Have each hook of a life say that it ran."""
    kinds = {
        "start": life.start_hooks,
        "drain": life.drain_hooks,
        "stop": life.stop_hooks,
    }
    for kind, hooks in kinds.items():
        for number in (1, 2):
            hooks.append(functools.partial(seen.append, f"{name} {kind} {number}"))


async def test_an_inner_life_is_lived_within_the_outer_one() -> None:
    seen: list[str] = []
    outer, inner = Lifespan(), Lifespan()
    outer.include(inner)
    outer.include(inner)  # mounted twice, it is started once all the same
    note(outer, seen, "outer")
    note(inner, seen, "inner")
    await outer.start()
    await outer.drain()
    await outer.stop()
    assert seen == [
        *("outer start 1", "outer start 2", "inner start 1", "inner start 2"),
        *("outer drain 1", "outer drain 2", "inner drain 1", "inner drain 2"),
        *("inner stop 2", "inner stop 1", "outer stop 2", "outer stop 1"),
    ]


async def test_tasks_begin_after_the_start_hooks_and_end_before_the_stop_hooks(
    life: Lifespan,
) -> None:
    seen: list[str] = []
    note(life, seen, "life")

    async def background() -> None:
        seen.append("task begins")
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            seen.append("task ends")

    life.add_task(background)
    await life.start()
    await wait_until(lambda: "task begins" in seen)
    await life.stop()
    assert seen == [
        *("life start 1", "life start 2", "task begins"),
        *("task ends", "life stop 2", "life stop 1"),
    ]


async def test_a_task_begins_anew_at_each_start(life: Lifespan) -> None:
    seen: list[str] = []

    async def background() -> None:
        seen.append("begun")

    life.add_task(background)
    for count in (1, 2):
        await life.start()
        await wait_until(functools.partial(_has, seen, count))
        await life.stop()


def _has(seen: list[str], count: int) -> bool:
    return len(seen) == count


async def test_a_task_added_later_begins_at_once_and_is_not_kept(
    life: Lifespan,
) -> None:
    seen: list[str] = []

    async def background() -> None:
        seen.append("begun")

    await life.start()
    life.add_task(background)
    await wait_until(lambda: seen)
    await life.stop()
    await life.start()
    await life.stop()
    assert seen == ["begun"]


async def test_a_task_that_dies_is_logged_with_its_traceback_and_the_others_go_on(
    life: Lifespan, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[str] = []

    async def dies() -> None:
        raise ValueError("no more")

    async def lives() -> None:
        await wait_until(lambda: caplog.records)
        seen.append("alive")

    life.add_task(dies)
    life.add_task(lives)
    await life.start()
    await wait_until(lambda: seen)
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "dies (" in record.getMessage()
    assert "died" in record.getMessage()
    assert 'raise ValueError("no more")' in caplog.text


@pytest.mark.parametrize("error", [SystemExit(1), asyncio.CancelledError()])
async def test_a_task_that_gives_up_takes_nothing_with_it(
    life: Lifespan, caplog: pytest.LogCaptureFixture, error: BaseException
) -> None:
    async def gives_up() -> None:
        raise error

    life.add_task(gives_up)
    await life.start()
    await wait_until(lambda: caplog.records)
    assert "gives_up (" in caplog.text


async def test_a_task_that_will_not_end_does_not_keep_the_stop_hooks_from_running(
    life: Lifespan, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lifespan_module, "TASK_END_S", 0.01)
    seen: list[str] = []
    may_end = asyncio.Event()

    async def stubborn() -> None:
        seen.append("begun")
        try:
            await asyncio.Event().wait()
        finally:
            await may_end.wait()

    life.add_task(stubborn)
    note(life, seen, "life")
    await life.start()
    await wait_until(lambda: "begun" in seen)
    await life.stop()
    assert seen[-1] == "life stop 1"
    assert "stubborn" in caplog.text
    assert "goes on 0.01 s after it was cancelled" in caplog.text
    may_end.set()


async def test_where_a_start_hook_fails_no_task_begins(life: Lifespan) -> None:
    seen: list[str] = []

    async def background() -> None:
        seen.append("begun")

    def fails() -> None:
        raise ValueError("no database")

    life.start_hooks.append(fails)
    life.add_task(background)
    with pytest.raises(ValueError, match="no database"):
        await life.start()
    await life.stop()
    assert seen == []


async def test_a_coroutine_is_refused_with_the_remedy(life: Lifespan) -> None:
    async def background() -> None: ...

    given: Any = background()
    with pytest.raises(ConfigurationError, match="give the function itself, without"):
        life.add_task(given)


async def test_what_is_no_background_is_refused(life: Lifespan) -> None:
    async def takes(something: Any) -> None: ...

    wrong: list[tuple[Any, str]] = [
        (print, "must be defined with `async def`"),
        (takes, "is called without arguments: "),
    ]
    for function, reason in wrong:
        with pytest.raises(ConfigurationError, match=reason):
            life.add_task(function)
