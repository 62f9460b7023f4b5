"""When the tasks that run once have run, over the lives of workers."""

import time

import pytest

from blazeio_supervisor.fleet.actions import Spawn
from blazeio_supervisor.ipc.channel import ChildFault
from blazeio_supervisor.ipc.messages import (
    Ready,
    ReturnLease,
    TaskBegan,
    TaskEnded,
    TaskInfo,
)
from blazeio_supervisor.ipc.packing import (
    pack,
    unpack,
)
from blazeio_supervisor.master.worker_record import NAME_COUNT, TaskRuns
from tests.supervisor.master.workers_harness import WorkersHarness

CLEAN = TaskInfo("clean", 900.0)


@pytest.fixture
def runs() -> TaskRuns:
    return TaskRuns()


def test_the_next_worker_is_told_when_the_last_run_began(runs: TaskRuns) -> None:
    first = runs.begin_lease([CLEAN])
    assert abs(first["clean"] - time.time()) < 60
    runs.by_name["clean"].began_at -= 100.0
    assert runs.begin_lease([CLEAN])["clean"] == first["clean"] - 100.0
    runs.note_began(7, 1, "clean")
    assert runs.begin_lease([CLEAN])["clean"] > first["clean"] - 100.0


def test_a_run_whose_worker_is_gone_does_not_run(runs: TaskRuns) -> None:
    runs.begin_lease([CLEAN])
    run = runs.by_name["clean"]
    assert not run.is_running({7})
    runs.note_began(7, 1, "clean")
    assert run.is_running({7})
    assert run.next_at({7}) is None
    assert not run.is_running({8})
    assert run.next_at({8}) == run.began_at + 900.0
    runs.note_ended("clean", "OSError: no room")
    assert not run.is_running({7})
    assert (run.count, run.failures, run.failure) == (1, 1, "OSError: no room")


def test_a_schedule_is_that_of_the_newest_worker(runs: TaskRuns) -> None:
    runs.begin_lease([CLEAN])
    runs.begin_lease([TaskInfo("clean", None, (3, 0))])
    assert str(runs.by_name["clean"].schedule) == "at 03:00"


def test_a_time_that_is_to_come_is_now(runs: TaskRuns) -> None:
    runs.begin_lease([CLEAN])
    runs.by_name["clean"].began_at += 10_000.0  # then the clock was set back
    assert runs.begin_lease([CLEAN])["clean"] <= time.time()


def test_so_many_names_are_remembered(runs: TaskRuns) -> None:
    for number in range(NAME_COUNT):
        runs.begin_lease([TaskInfo(str(number))])
    runs.begin_lease([CLEAN, TaskInfo("5")])
    assert len(runs.by_name) == NAME_COUNT
    assert {"clean", "5"} <= runs.by_name.keys()
    assert "0" not in runs.by_name


def test_the_next_image_reads_them(runs: TaskRuns) -> None:
    runs.begin_lease([CLEAN, TaskInfo("report", None, (3, 0))])
    runs.note_began(7, 1, "clean")
    assert unpack(pack(runs), TaskRuns) == runs


async def test_a_worker_tells_of_its_own_tasks_while_it_has_the_lease() -> None:
    harness = WorkersHarness()
    _, ends = harness.workers.prepare(Spawn(1, 0, 1))
    record = harness.workers.records[1]
    record.check(Ready(tasks=(CLEAN,)))
    early = (TaskBegan("clean"), TaskEnded("clean"), ReturnLease())
    for message in early:
        with pytest.raises(ChildFault, match="when none does"):
            record.check(message)
    harness.orders.grant_lease(1, harness.workers.task_runs)
    record.check(TaskBegan("clean"))
    with pytest.raises(ChildFault, match="TaskBegan"):
        record.check(TaskBegan("other"))
    record.check(TaskEnded("clean", ""))
    record.check(ReturnLease())
    with pytest.raises(ChildFault, match="ReturnLease"):
        record.check(ReturnLease())
    with pytest.raises(ChildFault, match="TaskBegan"):
        record.check(TaskBegan("clean"))
    for end in ends[:3]:
        end.close()
    harness.workers.forget_unanswered(1)
    await harness.close()
