import os
import signal
from pathlib import Path

import pytest
from msgspec.structs import replace

from blazeio_supervisor.fleet.actions import StopMode
from blazeio_supervisor.fleet.facts import (
    WorkerExited,
    WorkerForked,
    WorkerReady,
)
from blazeio_supervisor.ipc.channel import receive, send
from blazeio_supervisor.ipc.messages import (
    Address,
    Failed,
    Listen,
    ListenerInfo,
    Ready,
)
from blazeio_supervisor.master.memory import OOM_REASON, OomKills
from tests.supervisor.master.workers_harness import DRAIN, WorkersHarness
from tests.support.clock import wait_until


async def test_a_worker_that_forks_and_gets_ready_is_told_of(
    harness: WorkersHarness,
) -> None:
    pid = harness.fork()
    assert harness.facts == [WorkerForked(1, pid)]
    assert not harness.workers.serving_slots
    send(harness.ends[0], Ready(is_tls=True))
    await wait_until(lambda: WorkerReady(1) in harness.facts)
    assert harness.workers.serving_slots == {0}
    assert harness.schemes == [True]


async def test_its_end_is_told_with_its_last_words(
    harness: WorkersHarness, caplog: pytest.LogCaptureFixture
) -> None:
    harness.fork("raise SystemExit(3)")
    send(harness.ends[0], Failed(3, "no database", "Traceback ...\n"))
    exited = await harness.wait_exited()
    assert exited == WorkerExited(1, 3, "no database")
    assert caplog.messages[-1].endswith("\n  | Traceback ...")


async def test_what_it_has_counted_is_kept(harness: WorkersHarness) -> None:
    harness.fork("")
    harness.rows[0].count(0, 0, 5)
    await harness.wait_exited()
    assert harness.ledger.past[0].requests == 5


@pytest.mark.parametrize("is_ours", [False, True])
async def test_a_kill_of_the_kernel_is_told_from_any_other(
    harness: WorkersHarness,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    is_ours: bool,
) -> None:
    counter = tmp_path / "memory.events"
    counter.write_text("oom_kill 0\n")
    monkeypatch.setattr(
        harness.workers,
        "_child_context",
        replace(harness.child_context, oom_kills=OomKills(counter)),
    )
    pid = harness.fork()
    counter.write_text("oom_kill 1\n")
    if is_ours:
        harness.orders.end(1, StopMode.KILL, DRAIN)
    else:
        os.kill(pid, signal.SIGKILL)
    exited = await harness.wait_exited()
    assert exited == WorkerExited(1, -9, "" if is_ours else OOM_REASON)


async def test_a_fork_that_failed_is_an_end(harness: WorkersHarness) -> None:
    harness.prepare()
    assert harness.workers.is_forking
    harness.workers.note_fork_failed(1, "cannot fork")
    assert harness.facts == [WorkerExited(1, 1, "cannot fork")]
    assert not harness.workers.is_forking


async def test_a_fork_never_answered_ends_with_its_channel(
    harness: WorkersHarness,
) -> None:
    harness.prepare()
    harness.workers.forget_unanswered(1)
    assert receive(harness.ends[0]) is None
    assert not harness.workers.is_forking


async def test_a_script_that_says_its_address_gets_its_listeners(
    harness: WorkersHarness,
) -> None:
    harness.fork()
    send(harness.ends[0], Address("127.0.0.1", 8000))
    await wait_until(lambda: harness.addresses)
    received = receive(harness.ends[0])
    assert received is not None
    message, fds = received
    assert message == Listen((ListenerInfo(),))
    assert len(fds) == 1
    os.close(fds[0])
    assert harness.addresses == [("127.0.0.1", 8000)]


async def test_a_word_that_is_faster_than_its_pid_waits_for_it(
    harness: WorkersHarness, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "blazeio")
    harness.prepare()
    send(harness.ends[0], Ready())
    await wait_until(lambda: harness.workers.serving_slots)
    assert not harness.facts
    harness.workers.note_forked(1, pid := harness.spawn(), 1)
    assert harness.facts == [WorkerForked(1, pid), WorkerReady(1)]
    assert f"event=worker_ready worker=1 slot=0 gen=1 pid={pid}" in caplog.text
