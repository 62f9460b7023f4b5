import asyncio
import threading
from collections.abc import Callable
from contextvars import copy_context
from functools import partial

from blazeio.gateways.wsgi import ThreadPool
from tests.support.clock import wait_until


class Job:
    def __init__(self, work: Callable[[], object]) -> None:
        self._work = work
        self.context = copy_context()

    def run(self) -> None:
        self._work()

    def describe(self) -> str:
        return "GET /"


async def test_results_come_back_to_the_loop_in_few_wake_ups() -> None:
    loop = asyncio.get_running_loop()
    wakes = 0
    real = loop.call_soon_threadsafe

    def count(*arguments: object, **named: object) -> asyncio.Handle:
        nonlocal wakes
        wakes += 1
        return real(*arguments, **named)  # type: ignore[arg-type]

    loop.call_soon_threadsafe = count  # type: ignore[method-assign]
    pool = ThreadPool(2, loop)
    results: list[tuple[int, str]] = []
    own = threading.current_thread().name

    def work(number: int) -> None:
        name = threading.current_thread().name
        assert name != own
        pool.post(lambda: results.append((number, name)))

    for number in range(500):
        pool.submit(Job(partial(work, number)))
    await wait_until(lambda: len(results) == 500)
    assert sorted(number for number, _ in results) == list(range(500))
    assert {name for _, name in results} <= {"wsgi-0", "wsgi-1"}
    assert wakes < 500
    assert await pool.stop(5) == []


async def test_no_more_run_at_once_than_there_are_threads() -> None:
    pool = ThreadPool(2, asyncio.get_running_loop())
    gate = threading.Event()
    running: list[int] = []

    def work(number: int) -> None:
        running.append(number)
        gate.wait(5)

    for number in range(5):
        pool.submit(Job(partial(work, number)))
    await wait_until(lambda: len(running) == 2)
    assert (pool.busy, pool.waiting) == (2, 3)
    gate.set()
    assert await pool.stop(5) == []
    assert sorted(running) == [0, 1, 2, 3, 4]  # what is queued is run before the end
    assert pool.busy == 0


async def test_what_is_withdrawn_before_a_thread_takes_it_is_not_run() -> None:
    pool = ThreadPool(1, asyncio.get_running_loop())
    gate = threading.Event()
    jobs = [Job(lambda: gate.wait(5)), Job(lambda: 1 / 0)]
    for job in jobs:
        pool.submit(job)
    await wait_until(lambda: pool.busy)
    assert [pool.withdraw(job) for job in jobs] == [False, True]
    assert not pool.withdraw(jobs[1])
    assert pool.waiting == 0
    gate.set()
    assert await pool.stop(5) == []


async def test_a_thread_that_does_not_come_back_is_named_with_its_stack() -> None:
    pool = ThreadPool(1, asyncio.get_running_loop())
    gate = threading.Event()

    def sleeps_for_ever() -> None:
        gate.wait(5)

    job = Job(sleeps_for_ever)
    pool.submit(job)
    await wait_until(lambda: pool.find_stack(job))
    ((what, stack),) = await pool.stop(0.01)
    assert what == "GET /"
    assert "in sleeps_for_ever" in stack
    assert "threading.py" not in stack.splitlines()[0]
    gate.set()
    await wait_until(lambda: not pool.find_stack(job))


async def test_no_thread_is_there_before_the_first_work() -> None:
    before = threading.active_count()
    pool = ThreadPool(4, asyncio.get_running_loop())
    assert threading.active_count() == before
    assert await pool.stop(0) == []
