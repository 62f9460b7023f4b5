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
    Said,
    Unsafe,
)
from blazeio_supervisor.master.children import Blame
from blazeio_supervisor.master.forkservers import ForkserverRecord
from blazeio_supervisor.master.worker_record import MOST_SAID
from blazeio_supervisor.master.workers import Workers
from tests.supervisor.master.bench import Bench
from tests.support.clock import wait_until

ADDRESS, FAILED = Address("127.0.0.1", 8000), Failed(3, "no database")
SAID = Said("requests_cut", "one is cut")
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
    bench: Bench, said: Sequence[FromWorker], caplog: pytest.LogCaptureFixture
) -> None:
    pid = bench.fork()
    for message in said:
        send(bench.ends[0], message)
    await wait_until(lambda: list_misbehaved(bench.facts))
    (reason,) = list_misbehaved(bench.facts)
    assert reason == f"it said {type(said[-1]).__name__} when none does"
    assert f"event=misbehaved worker=1 slot=0 gen=1 pid={pid}: it is end" in caplog.text
    assert not bench.workers.serving_slots
    os.kill(pid, signal.SIGKILL)
    exited = await bench.wait_exited()
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
    bench: Bench, said: Sequence[FromWorker]
) -> None:
    bench.fork("")
    for message in said:
        send(bench.ends[0], message)
    bench.ends[0].shutdown(socket.SHUT_WR)
    await bench.wait_exited()
    assert not list_misbehaved(bench.facts)


async def test_junk_in_the_channel_of_one_that_died_does_not_stop_its_burial(
    bench: Bench,
) -> None:
    pid = bench.fork()
    os.kill(pid, signal.SIGKILL)
    bench.ends[0].setblocking(False)
    try:
        while True:
            bench.ends[0].send(b"\xc1junk")
    except BlockingIOError:
        pass
    exited = await bench.wait_exited()
    assert exited.worker == 1
    assert not bench.workers.records


async def test_a_worker_that_keeps_its_channel_closed_is_ended(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blazeio_supervisor.master.children.CLOSED_S", 0.1)
    bench.fork()
    send(bench.ends[0], Ready())
    bench.ends[0].shutdown(socket.SHUT_WR)
    await wait_until(lambda: list_misbehaved(bench.facts))
    assert "after it has closed its channel" in list_misbehaved(bench.facts)[0]


async def test_a_row_that_holds_what_none_means_ends_its_worker(bench: Bench) -> None:
    bench.fork()
    bench.fork()
    bench.rows[1].cells[2] = float("nan")
    beats = bench.readings.read_beats()
    assert [beat.worker for beat in beats if hasattr(beat, "worker")] == [1, 2]
    bench.readings.read_beats()
    assert bench.facts[-1] == WorkerMisbehaved(2, "its row of the scoreboard holds nan")
    assert len(list_misbehaved(bench.facts)) == 1


# What a forkserver says of workers


@pytest.mark.parametrize(
    "name",
    [
        lambda _: os.getppid(),
        lambda _: os.getpid(),
        lambda _: 1,
        lambda _: 2**31 - 1,
        lambda bench: bench.pids[0],
    ],
    ids=["parent", "master", "init", "none", "sibling"],
)
async def test_a_worker_is_a_child_of_ours_and_nobody_elses(
    bench: Bench, name: Callable[[Bench], int]
) -> None:
    bench.fork()
    bench.prepare(2)
    with pytest.raises(ChildFault, match="named a worker that it is not"):
        bench.workers.note_forked(2, name(bench), 1)
    assert bench.workers.records[2].pid is None
    assert len(bench.child_context.reaper) == 1
    os.kill(bench.pids[0], signal.SIGKILL)
    await bench.wait_exited()  # it is still watched


async def test_a_worker_runs_as_its_user(bench: Bench) -> None:
    bench.prepare()
    pid = bench.spawn()
    with pytest.raises(ChildFault, match="does not run as uid 4711"):
        bench.workers.note_forked(1, pid, 1, 4711)
    bench.workers.note_forked(1, pid, 1, os.getuid())


@pytest.mark.parametrize(("worker", "generation"), [(2, 1), (1, 2), (0, 1)])
async def test_a_forkserver_speaks_of_workers_that_it_was_asked_for(
    bench: Bench, worker: int, generation: int
) -> None:
    bench.prepare()
    pid = bench.spawn()
    with pytest.raises(ChildFault, match="which it does not fork"):
        bench.workers.note_forked(worker, pid, generation)
    with pytest.raises(ChildFault, match="which it does not fork"):
        bench.workers.note_refused(worker, "no", generation)
    assert bench.workers.is_forking
    bench.workers.note_forked(1, pid, 1)


async def test_a_worker_that_lives_cannot_be_forked_again_nor_refused(
    bench: Bench,
) -> None:
    pid = bench.fork()
    with pytest.raises(ChildFault):
        bench.workers.note_forked(1, pid, 1)
    with pytest.raises(ChildFault):
        bench.workers.note_refused(1, "no", 1)
    assert bench.workers.records[1].pid == pid


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
    blame = Blame()
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
    blame.know(pid, accused.append)
    blame.accuse(grandchild, "it wrote")
    assert accused == ["it wrote"]
    blame.accuse(os.getppid(), "a stranger")
    blame.accuse(0, "nobody")
    blame.forget(pid)
    blame.accuse(grandchild, "it wrote again")
    assert accused == ["it wrote"]
    os.write(writer, b"xx")
    os.waitpid(pid, 0)
    for fd in (reader, writer):
        os.close(fd)


async def test_what_a_sibling_says_in_its_name_is_the_siblings_fault() -> None:
    bench = Bench(Workers)
    own = bench.fork()
    bench.prepare(2)
    code = (
        "import socket, time\n"
        f"s = socket.socket(fileno={bench.ends[0].fileno()})\n"
        "s.send(b'junk'); time.sleep(60)"
    )
    end = bench.ends[0]
    os.set_inheritable(end.fileno(), True)  # as if it had been taken from there
    thief = bench.spawn(code)
    os.set_inheritable(end.fileno(), False)
    bench.workers.note_forked(2, thief, 1)
    await wait_until(lambda: list_misbehaved(bench.facts))
    assert bench.facts[-1] == WorkerMisbehaved(
        2, "it wrote to a channel that is not its own, or a child of it did"
    )
    assert bench.workers.records[1].channel.is_open
    assert WorkerReady(1) not in bench.facts
    assert receive_nothing(end)
    assert own in bench.readings.list_pids().values()
    await bench.close()


def receive_nothing(end: socket.socket) -> bool:
    end.setblocking(False)
    try:
        return receive(end) is None
    except BlockingIOError:
        return True
