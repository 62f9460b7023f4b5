"""What a worker or forkserver may say, when, and of whom."""

import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence

import pytest

from blazeio_supervisor.fleet.facts import (
    Fact,
    WorkerExited,
    WorkerMisbehaved,
    WorkerReady,
)
from blazeio_supervisor.ipc.channel import ChildFault, receive, send
from blazeio_supervisor.ipc.messages import (
    Address,
    Failed,
    Forked,
    ForkFailed,
    FromForkserver,
    FromWorker,
    Loaded,
    Ready,
    Unsafe,
    WorkerEvent,
)
from blazeio_supervisor.master.children import ChildFaults
from blazeio_supervisor.master.forkservers import ForkserverRecord
from blazeio_supervisor.master.worker_record import MOST_SAID
from blazeio_supervisor.master.workers import Workers
from tests.supervisor.master.workers_harness import WorkersHarness
from tests.support.clock import wait_until

ADDRESS, FAILED = Address("127.0.0.1", 8000), Failed(3, "no database")
SAID = WorkerEvent("requests_cut", "one is cut")
FORKED = Forked(1, 4711)


def list_misbehaved(facts: Sequence[Fact]) -> list[str]:
    return [fact.reason for fact in facts if isinstance(fact, WorkerMisbehaved)]


@pytest.mark.parametrize(
    "said",
    [
        (Ready(), Ready()),
        (ADDRESS, ADDRESS),
        (Ready(), ADDRESS),
        (SAID,),
        (Ready(), *[SAID] * (MOST_SAID + 1)),
        (FAILED, Ready()),
        (FAILED, FAILED),
        (Ready(), FAILED, SAID),
    ],
)
async def test_what_a_worker_says_when_none_does_ends_it(
    harness: WorkersHarness,
    said: Sequence[FromWorker],
    caplog: pytest.LogCaptureFixture,
) -> None:
    pid = harness.fork()
    for message in said:
        send(harness.ends[0], message)
    await wait_until(lambda: list_misbehaved(harness.facts))
    (reason,) = list_misbehaved(harness.facts)
    assert reason == f"it said {type(said[-1]).__name__} when none does"
    assert f"event=misbehaved worker=1 slot=0 gen=1 pid={pid}: it is end" in caplog.text
    assert not harness.workers.serving_slots
    os.kill(pid, signal.SIGKILL)
    exited = await harness.wait_exited()
    assert exited == WorkerExited(1, -9, f"it misbehaved: {reason}")


@pytest.mark.parametrize(
    "said",
    [
        (ADDRESS, Ready(), SAID, SAID),
        (Ready(), SAID, FAILED),
        (ADDRESS, FAILED),
    ],
)
async def test_an_honest_life_is_no_fault(
    harness: WorkersHarness, said: Sequence[FromWorker]
) -> None:
    harness.fork("")
    for message in said:
        send(harness.ends[0], message)
    harness.ends[0].shutdown(socket.SHUT_WR)
    await harness.wait_exited()
    assert not list_misbehaved(harness.facts)


async def test_junk_in_the_channel_of_one_that_died_does_not_stop_its_burial(
    harness: WorkersHarness,
) -> None:
    pid = harness.fork()
    os.kill(pid, signal.SIGKILL)
    harness.ends[0].setblocking(False)
    try:
        while True:
            harness.ends[0].send(b"\xc1junk")
    except BlockingIOError:
        pass
    exited = await harness.wait_exited()
    assert exited.worker == 1
    assert not harness.workers.records


async def test_a_worker_that_keeps_its_channel_closed_is_ended(
    harness: WorkersHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blazeio_supervisor.master.children.CLOSED_S", 0.1)
    harness.fork()
    send(harness.ends[0], Ready())
    harness.ends[0].shutdown(socket.SHUT_WR)
    await wait_until(lambda: list_misbehaved(harness.facts))
    assert "after it has closed its channel" in list_misbehaved(harness.facts)[0]


async def test_a_row_that_holds_what_none_means_ends_its_worker(
    harness: WorkersHarness,
) -> None:
    harness.fork()
    harness.fork()
    harness.rows[1].cells[2] = float("nan")
    beats = harness.readings.read_beats()
    assert [beat.worker for beat in beats if hasattr(beat, "worker")] == [1, 2]
    harness.readings.read_beats()
    assert harness.facts[-1] == WorkerMisbehaved(
        2, "its row of the scoreboard holds nan"
    )
    assert len(list_misbehaved(harness.facts)) == 1


# What a forkserver says of workers


@pytest.mark.parametrize(
    "name",
    [
        lambda _: os.getppid(),
        lambda _: os.getpid(),
        lambda _: 1,
        lambda _: 2**31 - 1,
        lambda harness: harness.pids[0],
    ],
    ids=["parent", "master", "init", "none", "sibling"],
)
async def test_a_worker_is_a_child_of_ours_and_nobody_elses(
    harness: WorkersHarness, name: Callable[[WorkersHarness], int]
) -> None:
    harness.fork()
    harness.prepare(2)
    with pytest.raises(ChildFault, match="named a worker that it is not"):
        harness.workers.note_forked(2, name(harness), 1)
    assert harness.workers.records[2].pid is None
    assert len(harness.child_context.reaper) == 1
    os.kill(harness.pids[0], signal.SIGKILL)
    await harness.wait_exited()  # it is still watched


async def test_a_worker_runs_as_its_user(harness: WorkersHarness) -> None:
    harness.prepare()
    pid = harness.spawn()
    with pytest.raises(ChildFault, match="does not run as uid 4711"):
        harness.workers.note_forked(1, pid, 1, 4711)
    harness.workers.note_forked(1, pid, 1, os.getuid())


@pytest.mark.parametrize(("worker", "generation"), [(2, 1), (1, 2), (0, 1)])
async def test_a_forkserver_speaks_of_workers_that_it_was_asked_for(
    harness: WorkersHarness, worker: int, generation: int
) -> None:
    harness.prepare()
    pid = harness.spawn()
    with pytest.raises(ChildFault, match="which it does not fork"):
        harness.workers.note_forked(worker, pid, generation)
    with pytest.raises(ChildFault, match="which it does not fork"):
        harness.workers.note_refused(worker, "no", generation)
    assert harness.workers.is_forking
    harness.workers.note_forked(1, pid, 1)


async def test_a_worker_that_lives_cannot_be_forked_again_nor_refused(
    harness: WorkersHarness,
) -> None:
    pid = harness.fork()
    with pytest.raises(ChildFault):
        harness.workers.note_forked(1, pid, 1)
    with pytest.raises(ChildFault):
        harness.workers.note_refused(1, "no", 1)
    assert harness.workers.records[1].pid == pid


def make_record(*, is_preload: bool = True) -> ForkserverRecord:
    return ForkserverRecord(1, 7, None, is_preload, "")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "said",
    [
        (Loaded(), Loaded()),
        (Loaded(), Unsafe(("a thread",))),
        (Unsafe(("a thread",)), Loaded()),
        (Unsafe(("a thread",)), Unsafe(("a thread",))),
        (FORKED,),
        (ForkFailed(1, "no"),),
        (FAILED, Loaded()),
        (FAILED, FAILED),
        (Loaded(), FAILED, FORKED),
        (Unsafe(("a thread",)), FORKED),
    ],
)
def test_what_a_forkserver_says_when_none_does_is_its_fault(
    said: Sequence[FromForkserver],
) -> None:
    record = make_record()
    for message in said[:-1]:
        record.check(message)
        record.has_loaded |= isinstance(message, Loaded)
        record.is_unsafe |= isinstance(message, Unsafe)
    with pytest.raises(ChildFault, match="when none does"):
        record.check(said[-1])


def test_one_that_imports_nothing_has_nothing_that_is_unsafe() -> None:
    with pytest.raises(ChildFault, match="it said Unsafe"):
        make_record(is_preload=False).check(Unsafe(("a thread",)))


# Who is answerable


def test_whoever_has_started_a_process_is_answerable_for_it() -> None:
    child_faults = ChildFaults()
    accused: list[str] = []
    reader, writer = os.pipe()
    code = "import os; os.fork()\nos.write(1, b'%d\\n' % os.getpid()); os.read(0, 1)"
    actions = [(os.POSIX_SPAWN_DUP2, reader, 0)]
    out, into = os.pipe()
    actions.append((os.POSIX_SPAWN_DUP2, into, 1))
    words = [sys.executable, "-S", "-c", code]
    pid = os.posix_spawn(sys.executable, words, os.environ, file_actions=actions)
    os.close(into)
    with os.fdopen(out) as said:
        pids = {int(said.readline()), int(said.readline())}
    (grandchild,) = pids - {pid}
    child_faults.add(pid, accused.append)
    child_faults.report(grandchild, "it wrote")
    assert accused == ["it wrote"]
    child_faults.report(os.getppid(), "a stranger")
    child_faults.report(0, "nobody")
    child_faults.forget(pid)
    child_faults.report(grandchild, "it wrote again")
    assert accused == ["it wrote"]
    os.write(writer, b"xx")
    os.waitpid(pid, 0)
    for fd in (reader, writer):
        os.close(fd)


async def test_what_a_sibling_says_in_its_name_is_the_siblings_fault() -> None:
    harness = WorkersHarness(Workers)
    own = harness.fork()
    harness.prepare(2)
    code = (
        "import socket, time\n"
        f"s = socket.socket(fileno={harness.ends[0].fileno()})\n"
        "s.send(b'junk'); time.sleep(60)"
    )
    end = harness.ends[0]
    os.set_inheritable(end.fileno(), True)  # as if it had been taken from there
    thief = harness.spawn(code)
    os.set_inheritable(end.fileno(), False)
    harness.workers.note_forked(2, thief, 1)
    await wait_until(lambda: list_misbehaved(harness.facts))
    assert harness.facts[-1] == WorkerMisbehaved(
        2, "it wrote to a channel that is not its own, or a child of it did"
    )
    assert harness.workers.records[1].channel.is_open
    assert WorkerReady(1) not in harness.facts
    assert receive_nothing(end)
    assert own in harness.readings.list_pids().values()
    await harness.close()


def receive_nothing(end: socket.socket) -> bool:
    end.setblocking(False)
    try:
        return receive(end) is None
    except BlockingIOError:
        return True
