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
from tests.supervisor.master.bench import DRAIN, Bench
from tests.support.clock import wait_until


async def test_a_worker_that_forks_and_gets_ready_is_told_of(bench: Bench) -> None:
    pid = bench.fork()
    assert bench.facts == [WorkerForked(1, pid)]
    assert not bench.workers.serving_slots
    send(bench.ends[0], Ready(is_tls=True))
    await wait_until(lambda: WorkerReady(1) in bench.facts)
    assert bench.workers.serving_slots == {0}
    assert bench.schemes == [True]


async def test_its_end_is_told_with_its_last_words(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.fork("raise SystemExit(3)")
    send(bench.ends[0], Failed(3, "no database", "Traceback ...\n"))
    exited = await bench.wait_exited()
    assert exited == WorkerExited(1, 3, "no database")
    assert caplog.messages[-1].endswith("\n  | Traceback ...")


async def test_what_it_has_counted_is_kept(bench: Bench) -> None:
    bench.fork("")
    bench.rows[0].count(0, 0, 5)
    await bench.wait_exited()
    assert bench.ledger.past[0].requests == 5


@pytest.mark.parametrize("is_ours", [False, True])
async def test_a_kill_of_the_kernel_is_told_from_any_other(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, is_ours: bool
) -> None:
    counter = tmp_path / "memory.events"
    counter.write_text("oom_kill 0\n")
    monkeypatch.setattr(
        bench.workers,
        "_child_context",
        replace(bench.child_context, oom_kills=OomKills(counter)),
    )
    pid = bench.fork()
    counter.write_text("oom_kill 1\n")
    if is_ours:
        bench.orders.end(1, StopMode.KILL, DRAIN)
    else:
        os.kill(pid, signal.SIGKILL)
    exited = await bench.wait_exited()
    assert exited == WorkerExited(1, -9, "" if is_ours else OOM_REASON)


async def test_a_fork_that_failed_is_an_end(bench: Bench) -> None:
    bench.prepare()
    assert bench.workers.is_forking
    bench.workers.note_fork_failed(1, "cannot fork")
    assert bench.facts == [WorkerExited(1, 1, "cannot fork")]
    assert not bench.workers.is_forking


async def test_a_fork_never_answered_ends_with_its_channel(bench: Bench) -> None:
    bench.prepare()
    bench.workers.forget_unanswered(1)
    assert receive(bench.ends[0]) is None
    assert not bench.workers.is_forking


async def test_a_script_that_says_its_address_gets_its_listeners(
    bench: Bench,
) -> None:
    bench.fork()
    send(bench.ends[0], Address("127.0.0.1", 8000))
    await wait_until(lambda: bench.addresses)
    received = receive(bench.ends[0])
    assert received is not None
    message, fds = received
    assert message == Listen((ListenerInfo(),))
    assert len(fds) == 1
    os.close(fds[0])
    assert bench.addresses == [("127.0.0.1", 8000)]


async def test_a_word_that_is_faster_than_its_pid_waits_for_it(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "blazeio")
    bench.prepare()
    send(bench.ends[0], Ready())
    await wait_until(lambda: bench.workers.serving_slots)
    assert not bench.facts
    bench.workers.note_forked(1, pid := bench.spawn(), 1)
    assert bench.facts == [WorkerForked(1, pid), WorkerReady(1)]
    assert f"event=worker_ready worker=1 slot=0 gen=1 pid={pid}" in caplog.text
