"""Tasks that run once, in a process of its own, and as a supervisor runs them."""

import asyncio
import threading
import time
from typing import Any

import pytest

from blazeio.app.app import App
from blazeio.app.service import (
    NAME_CHARS,
    TASK_COUNT,
    OnceObserver,
    OnceTask,
    OnceTasks,
    Schedule,
    in_thread,
)
from blazeio.errors import ConfigurationError
from tests.support.clock import wait_until


class Notes(OnceObserver):
    def __init__(self) -> None:
        self.said: list[str] = []

    def note_began(self, name: str, at: float) -> None:
        assert abs(at - time.time()) < 60
        self.said.append(f"{name} began")

    def note_ended(self, name: str, failure: str) -> None:
        self.said.append(f"{name} ended {failure}".strip())


@pytest.fixture
def notes() -> Notes:
    return Notes()


@pytest.fixture
def tasks(notes: Notes) -> OnceTasks:
    tasks = OnceTasks()
    tasks.observer = notes
    return tasks


async def test_alone_it_runs_while_the_app_is_served() -> None:
    web, said = App[Any](), []

    @web.add_task(once=True)
    async def listen() -> None:
        said.append("began")
        try:
            await asyncio.sleep(60)
        finally:
            said.append("ended")

    assert web.once_tasks.tasks[0].name.endswith("<locals>.listen")
    await web.init()
    await wait_until(lambda: said == ["began"])
    await web.stop_hooks()
    assert said == ["began", "ended"]


async def test_where_it_is_leased_it_waits_for_the_lease() -> None:
    web, said = App[Any](), []
    web.once_tasks.is_leased = True

    async def listen() -> None:
        said.append("began")

    web.add_task(listen, once=True, name="listen")
    await web.init()
    await asyncio.sleep(0)
    assert not web.once_tasks.running
    web.once_tasks.start({})
    await wait_until(lambda: said == ["began"])
    await web.stop_hooks()


async def test_those_of_a_mounted_app_run_with_the_outer_ones() -> None:
    web, inner, innermost, said = App[Any](), App[Any](), App[Any](), []

    async def note() -> None:
        said.append("one")

    inner.add_task(note, once=True, name="a")
    inner.mount("/i", innermost)
    web.mount("/b", inner)
    innermost.add_task(note, once=True, name="b")
    assert [task.name for task in web.once_tasks.tasks] == ["a", "b"]
    await web.init()
    await wait_until(lambda: said == ["one", "one"])
    await web.stop_hooks()


async def test_a_schedule_goes_on_from_the_last_run(
    tasks: OnceTasks, notes: Notes
) -> None:
    ran = asyncio.Event()
    tasks.add(OnceTask("due", ran.set, Schedule(every_s=3600)))
    tasks.add(OnceTask("not due", lambda: 1 / 0, Schedule(every_s=3600)))
    tasks.add(OnceTask("new", lambda: 1 / 0, Schedule(every_s=3600)))
    now = time.time()
    tasks.start({"due": now - 3601, "not due": now - 3000})
    await ran.wait()
    await tasks.stop()
    assert notes.said == ["due began", "due ended"]


async def test_runs_repeat_and_failures_end_only_their_own(
    tasks: OnceTasks, notes: Notes, caplog: pytest.LogCaptureFixture
) -> None:
    tasks.add(OnceTask("bad", lambda: dict[str, int]()["x"], Schedule(every_s=0.001)))
    tasks.start({})
    await wait_until(lambda: len(notes.said) >= 4)
    await tasks.stop()
    assert notes.said[:3] == ["bad began", "bad ended KeyError: 'x'", "bad began"]
    assert caplog.records[0].message == "task bad failed"


async def test_stop_waits_until_a_task_has_cleaned_up(
    tasks: OnceTasks, notes: Notes
) -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()

    async def run() -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            await may_end.wait()

    tasks.add(OnceTask("slow", run))
    tasks.start()
    await begun.wait()
    stopping = asyncio.ensure_future(tasks.stop())
    again = asyncio.ensure_future(tasks.stop())  # must not cut the clean-up
    await asyncio.sleep(0.01)
    assert not stopping.done()
    assert tasks.running
    may_end.set()
    await asyncio.gather(stopping, again)
    assert notes.said == ["slow began", "slow ended"]  # the next process goes on


async def test_a_run_of_a_schedule_that_is_cut_has_failed(
    tasks: OnceTasks, notes: Notes
) -> None:
    begun = asyncio.Event()

    async def run() -> None:
        begun.set()
        await asyncio.sleep(60)

    tasks.add(OnceTask("report", run, Schedule(every_s=0.001)))
    tasks.start()
    await begun.wait()
    await tasks.stop()
    assert notes.said == ["report began", "report ended it was cancelled"]


async def test_a_thread_is_waited_for(tasks: OnceTasks, notes: Notes) -> None:
    begun, may_end = threading.Event(), threading.Event()

    def work() -> None:
        begun.set()
        may_end.wait(30)

    tasks.add(OnceTask("thread", in_thread(work)))
    tasks.start()
    await wait_until(begun.is_set)
    stopping = asyncio.ensure_future(tasks.stop())
    await asyncio.sleep(0.01)
    assert not stopping.done()
    may_end.set()
    await stopping
    assert not tasks.running


@pytest.mark.parametrize("options", [{"every": "5m"}, {"at": "03:00"}, {"name": "x"}])
def test_schedules_are_for_tasks_that_run_once(options: dict[str, Any]) -> None:
    async def run() -> None: ...

    with pytest.raises(ConfigurationError, match="once=True"):
        App[Any]().add_task(run, **options)


@pytest.mark.parametrize("name", ["", "x" * (NAME_CHARS + 1), "a\nb"])
def test_a_name_is_short_and_printable(tasks: OnceTasks, name: str) -> None:
    with pytest.raises(ConfigurationError, match="printable"):
        tasks.add(OnceTask(name, int))


def test_a_name_is_given_once_and_there_are_so_many(tasks: OnceTasks) -> None:
    for number in range(TASK_COUNT):
        tasks.add(OnceTask(str(number), int))
    with pytest.raises(ConfigurationError, match="is there already"):
        tasks.add(OnceTask("0", int))
    with pytest.raises(ConfigurationError, match="more than 64"):
        tasks.add(OnceTask("more", int))


def test_only_coroutine_functions_are_tasks_of_an_app() -> None:
    with pytest.raises(ConfigurationError, match="async def"):
        App[Any]().add_task(int, once=True)  # type: ignore[type-var]
