import os
import signal
import socket
import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from blazeio_supervisor.config.environment import ControlGroup
from blazeio_supervisor.fleet.actions import StopMode
from blazeio_supervisor.fleet.facts import (
    Beat,
    WorkerExited,
    WorkerForked,
    WorkerReady,
)
from blazeio_supervisor.ipc.channel import receive, send
from blazeio_supervisor.ipc.messages import (
    Address,
    Adopt,
    Failed,
    Listen,
    ListenerInfo,
    Ready,
    Release,
    ReopenLogs,
    ServeConnection,
)
from blazeio_supervisor.master.resources import (
    AT_REST_EVERY_S,
    OOM_REASON,
    Memory,
    OomKills,
)
from blazeio_supervisor.sockets.reuseport import list_sockets
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
        replace(harness.child_context, oom_kills=OomKills(ControlGroup(tmp_path, 2))),
    )
    pid = harness.fork()
    counter.write_text("oom_kill 1\n")
    if is_ours:
        harness.orders.end(1, StopMode.KILL, DRAIN)
    else:
        os.kill(pid, signal.SIGKILL)
    exited = await harness.wait_exited()
    reason = "" if is_ours else OOM_REASON
    assert exited == WorkerExited(1, -9, reason, is_oom=not is_ours)


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


async def test_what_happens_to_it_is_noted_with_all_that_it_is(
    harness: WorkersHarness, caplog: pytest.LogCaptureFixture
) -> None:
    pid = harness.fork()
    harness.workers.records[1].note("odd", "it hums", "WARNING")
    assert f"event=odd worker=1 slot=0 gen=1 pid={pid}: it hums" in caplog.text


async def test_each_row_is_a_fact_also_before_its_first_beat(
    harness: WorkersHarness,
) -> None:
    harness.prepare()
    assert harness.readings.read_beats() == [Beat(1, 0.0)]
    row = harness.rows[0]
    row.count(1, 2, 3, True)
    row.beat(99.0, 1.0)
    assert harness.readings.read_beats() == [Beat(1, 99.0, 0.5, 1, 2, True, None, 3)]


async def test_what_was_measured_is_in_the_beats(harness: WorkersHarness) -> None:
    assert harness.readings.list_pids() == {}
    harness.prepare()
    assert harness.readings.list_pids() == {}
    harness.workers.note_forked(1, pid := harness.spawn(), 1)
    assert harness.readings.list_pids() == {1: pid}
    harness.readings.note_memory(9, Memory(1, 2))  # is gone
    harness.readings.note_memory(1, Memory(300, 400))
    assert harness.readings.read_beats() == [Beat(1, 0.0, memory_bytes=300)]


async def test_who_rests_is_seen_to_wake_and_measured_once_a_minute(
    harness: WorkersHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    pids = {1: harness.fork(), 2: harness.fork()}
    readings, rows = harness.readings, harness.rows
    assert readings.has_woken()
    for row in rows:
        row.rest(True)
    assert not readings.has_woken()
    assert readings.list_pids() == pids
    for worker in pids:
        readings.note_memory(worker, Memory(300, 400))
    assert readings.list_pids() == {}
    rows[0].rest(False)
    assert readings.has_woken()
    assert readings.list_pids() == {1: pids[1]}
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + AT_REST_EVERY_S)
    assert readings.list_pids() == pids


async def test_who_may_have_grown_before_it_rests_is_measured_once_more(
    harness: WorkersHarness,
) -> None:
    pids = {1: harness.fork(), 2: harness.fork()}
    readings, rows = harness.readings, harness.rows
    assert readings.list_pids() == pids
    for row in rows:
        row.rest(True)  # while it is measured
    readings.note_memory(1, Memory(300, 400))
    assert readings.list_pids() == pids
    readings.note_memory(1, Memory(300, 400))
    assert readings.list_pids() == {2: pids[2]}
    rows[0].rest(False)
    assert readings.list_pids() == pids
    rows[0].rest(True)
    assert readings.list_pids() == pids


async def test_a_row_can_be_read_while_its_worker_lives(
    harness: WorkersHarness,
) -> None:
    harness.prepare()
    harness.rows[0].count(1, 2, 3)
    reading = harness.readings.read_row(1)
    assert reading is not None
    assert (reading.in_flight, reading.connections, reading.requests) == (1, 2, 3)
    assert harness.readings.read_row(2) is None


async def test_requests_of_a_slot_are_those_of_the_living_and_the_dead(
    harness: WorkersHarness,
) -> None:
    row = harness.ledger.take()
    row.count(0, 0, 5)
    harness.ledger.fold(row, 0)
    harness.prepare()
    harness.rows[0].count(0, 0, 2)
    assert {s: t.requests for s, t in harness.readings.read_tallies().items()} == {0: 7}


async def test_a_connection_is_handed_to_a_worker_that_accepts_none(
    harness: WorkersHarness,
) -> None:
    harness.fork()
    own = harness.orders.connect(1)
    assert own is not None
    with own:
        received = receive(harness.ends[0])
        assert received is not None
        message, (fd,) = received
        assert message == ServeConnection()
        with socket.socket(fileno=fd) as theirs:
            theirs.sendall(b"hello")
            assert own.recv(9) == b"hello"
    assert harness.orders.connect(9) is None


@pytest.mark.parametrize(
    ("mode", "number"),
    [(StopMode.TERM, signal.SIGTERM), (StopMode.KILL, signal.SIGKILL)],
)
async def test_a_worker_is_ended_by_signal(
    harness: WorkersHarness, mode: StopMode, number: int
) -> None:
    harness.fork()
    harness.orders.end(1, mode, DRAIN)
    assert (await harness.wait_exited()).status == -number


async def test_a_worker_is_asked_to_drain_over_its_channel(
    harness: WorkersHarness,
) -> None:
    harness.fork()
    send(harness.ends[0], Ready())
    await wait_until(lambda: harness.workers.serving_slots)
    harness.orders.end(1, StopMode.DRAIN, DRAIN)
    assert receive(harness.ends[0]) == (DRAIN, [])
    assert not harness.workers.serving_slots


async def test_one_that_was_ready_before_its_pid_is_known_is_asked_too(
    harness: WorkersHarness,
) -> None:
    harness.prepare()
    harness.orders.end(1, StopMode.DRAIN, DRAIN)
    assert receive(harness.ends[0]) == (DRAIN, [])


async def test_an_adopter_gets_the_queue_of_the_other_slot(
    harness: WorkersHarness,
) -> None:
    harness.fork()
    harness.orders.adopt(slot=1, by=1)
    received = receive(harness.ends[0])
    assert received is not None
    message, fds = received
    assert message == Adopt(1, (ListenerInfo(),))
    (wanted,) = list_sockets(harness.listeners.own_of(1))
    assert [os.readlink(f"/proc/self/fd/{fd}") for fd in fds] == [
        os.readlink(f"/proc/self/fd/{wanted.fileno()}")
    ]
    os.close(fds[0])
    harness.orders.release(slot=1, by=1)
    assert receive(harness.ends[0]) == (Release(1), [])


async def test_every_worker_is_told_to_reopen_its_logs(harness: WorkersHarness) -> None:
    harness.prepare(1, slot=0)
    harness.prepare(2, slot=1)
    harness.orders.reopen_logs([])
    assert harness.orders.list_unread() == ["worker=1", "worker=2"]
    assert receive(harness.ends[0]) == (ReopenLogs(), [])
    assert harness.orders.list_unread() == ["worker=2"]
    assert receive(harness.ends[1]) == (ReopenLogs(), [])
    assert harness.orders.list_unread() == []


async def test_orders_to_a_worker_that_is_gone_are_ignored(
    harness: WorkersHarness,
) -> None:
    harness.orders.end(9, StopMode.KILL, DRAIN)
    harness.orders.admit(9)
