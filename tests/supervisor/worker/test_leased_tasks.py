"""The tasks that run once, as a worker runs them and tells of them."""

import asyncio
import time

import pytest

from blazeio.app.service import OnceTask, OnceTasks, Schedule
from blazeio_supervisor.ipc.messages import (
    Message,
    ReturnLease,
    TaskBegan,
    TaskEnded,
    TaskInfo,
)
from blazeio_supervisor.ipc.packing import parse_from_worker, serialize_message
from blazeio_supervisor.worker.overrides import LeasedTasks
from tests.support.clock import wait_until


@pytest.fixture
def sent() -> list[Message]:
    return []


@pytest.fixture
def tasks() -> OnceTasks:
    return OnceTasks()


@pytest.fixture
def leased(tasks: OnceTasks, sent: list[Message]) -> LeasedTasks:
    return LeasedTasks(tasks, sent.append)


async def wait_for_ever() -> None:
    await asyncio.Event().wait()


def test_the_master_is_told_of_each(leased: LeasedTasks, tasks: OnceTasks) -> None:
    tasks.add(OnceTask("a", int, Schedule(every_s=5)))
    tasks.add(OnceTask("b", int, Schedule(at=(3, 0))))
    tasks.add(OnceTask("c", int))
    told = TaskInfo("a", 5.0), TaskInfo("b", None, (3, 0)), TaskInfo("c")
    assert leased.describe() == told


async def test_each_run_is_told_and_the_lease_is_given_back_at_the_end(
    leased: LeasedTasks, tasks: OnceTasks, sent: list[Message]
) -> None:
    tasks.add(OnceTask("a", wait_for_ever))
    leased.begin({"a": time.time()})
    await wait_until(lambda: sent == [TaskBegan("a")])
    await leased.end()
    assert sent == [TaskBegan("a"), TaskEnded("a", ""), ReturnLease()]
    for message in sent:
        assert parse_from_worker(serialize_message(message)) == message


async def test_without_a_lease_nothing_is_given_back(
    leased: LeasedTasks, sent: list[Message]
) -> None:
    await leased.end()
    assert sent == []


async def test_a_lease_that_comes_while_it_drains_is_given_back_at_once(
    leased: LeasedTasks, tasks: OnceTasks, sent: list[Message]
) -> None:
    tasks.add(OnceTask("a", wait_for_ever))
    await leased.end()
    leased.begin({})
    assert sent == [ReturnLease()]
    assert not tasks.running
