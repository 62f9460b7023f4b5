import asyncio
from collections.abc import AsyncIterator

import pytest

from blazeio_supervisor.worker.stack_dump import (
    FRAME_COUNT,
    NAME_COUNT,
    STACK_COUNT,
    describe_tasks,
    trace,
)


async def inner(event: asyncio.Event) -> None:
    await event.wait()


async def generate(event: asyncio.Event) -> AsyncIterator[int]:
    await inner(event)
    yield 1


async def outer(event: asyncio.Event) -> None:
    async for _ in generate(event):
        pass


async def deep(event: asyncio.Event, left: int) -> None:
    if left:
        await deep(event, left - 1)
    await event.wait()


class Tasks:
    """Tasks that wait, until it is over."""

    def __init__(self) -> None:
        self.event = asyncio.Event()
        self.all: list[asyncio.Task[None]] = []

    async def add(
        self, name: str = "one", is_shallow: bool = False
    ) -> asyncio.Task[None]:
        waits = inner if is_shallow else outer
        task = asyncio.create_task(waits(self.event), name=name)
        self.all.append(task)
        await asyncio.sleep(0)
        return task

    def describe(self, names: dict[asyncio.Task[None], str] | None = None) -> str:
        return describe_tasks(self.all, asyncio.current_task(), names or {})


@pytest.fixture
async def tasks() -> AsyncIterator[Tasks]:
    made = Tasks()
    yield made
    made.event.set()
    await asyncio.gather(*made.all)


async def test_the_chain_of_awaits_is_followed_to_its_end(tasks: Tasks) -> None:
    await tasks.add()
    text = tasks.describe()
    names = [line.rpartition(" in ")[2] for line in text.splitlines() if "File" in line]
    assert names == ["Event.wait", "inner", "generate", "outer"]
    assert "await event.wait()" in text


async def test_those_that_wait_at_the_same_place_are_one(tasks: Tasks) -> None:
    for number in range(NAME_COUNT + 2):
        await tasks.add(f"t{number}", is_shallow=True)
    text = tasks.describe()
    assert text.count("in inner") == 1
    assert "7 tasks (most recent call first): t0, t1, t2, t3, t4, ..." in text


async def test_a_task_is_called_by_what_it_is_for(tasks: Tasks) -> None:
    task = await tasks.add()
    assert "Task (most recent call first): GET /" in tasks.describe({task: "GET /"})


async def test_the_task_that_runs_is_in_the_stack_of_its_thread(tasks: Tasks) -> None:
    current = asyncio.current_task()
    assert current is not None
    assert describe_tasks([current], current, {}) == ""


async def test_a_deep_stack_is_cut() -> None:
    event = asyncio.Event()
    task = asyncio.create_task(deep(event, FRAME_COUNT + 20))
    await asyncio.sleep(0)
    assert len(trace(task.get_coro())) == FRAME_COUNT
    event.set()
    await task


async def test_many_different_stacks_are_counted(tasks: Tasks) -> None:
    event = asyncio.Event()
    spread = [asyncio.create_task(deep(event, left)) for left in range(STACK_COUNT + 3)]
    await asyncio.sleep(0)
    text = describe_tasks(spread, None, {})
    # Those that are cut look alike.
    assert text.count("(most recent call first)") == STACK_COUNT
    event.set()
    await asyncio.gather(*spread)


async def test_what_waits_in_c_code_is_said_to() -> None:
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    assert trace(future) == ()
    future.cancel()
