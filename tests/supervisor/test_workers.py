import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from blazeio_supervisor.fleet.actions import Ending, Spawn
from blazeio_supervisor.fleet.facts import (
    Beat,
    Fact,
    WorkerExited,
    WorkerForked,
    WorkerReady,
)
from blazeio_supervisor.observe.logs import FramesPrinter
from blazeio_supervisor.observe.memory import Memory
from blazeio_supervisor.observe.oom_kills import OOM_REASON, OomKills
from blazeio_supervisor.observe.scoreboard import RowLedger, Scoreboard, make_board
from blazeio_supervisor.process.channel import receive, send
from blazeio_supervisor.process.messages import (
    Address,
    Adopt,
    Drain,
    Failed,
    Fork,
    Listen,
    Ready,
    Release,
    ReopenLogs,
    Serve,
)
from blazeio_supervisor.process.reaper import Reaper
from blazeio_supervisor.process.signals import DUMP_SIGNAL
from blazeio_supervisor.sockets.address import TcpAddress
from blazeio_supervisor.sockets.listeners import Listeners
from blazeio_supervisor.sockets.queues import QueueTerms, list_sockets
from blazeio_supervisor.workers import Workers
from tests.support.clock import wait_until

DRAIN = Drain(5.0)


class Bench:
    """Workers, with a child of the test in the place of each worker."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        board_fd = make_board()
        self.board = Scoreboard(board_fd)
        os.close(board_fd)
        self.ledger = RowLedger(self.board)
        self.listeners = Listeners(2)
        self.listeners.open(TcpAddress("127.0.0.1", 0))
        self.facts: list[Fact] = []
        self.schemes: list[bool] = []
        self.addresses: list[tuple[str, int]] = []
        self.frames = FramesPrinter()
        self.workers = Workers(
            loop,
            self.ledger,
            self.listeners,
            Reaper(loop),
            self.facts.append,
            self._need_address,
            self._note_scheme,
            self.frames,
        )
        self.ends: list[socket.socket] = []
        self.pids: list[int] = []

    def _note_scheme(self, *, is_tls: bool) -> None:
        self.schemes.append(is_tls)

    def _need_address(self, host: str, port: int, then: Callable[[], None]) -> None:
        self.addresses.append((host, port))
        then()

    def prepare(self, worker: int = 1, slot: int = 0) -> Fork:
        order, sockets = self.workers.prepare(Spawn(worker, slot, generation=1))
        assert sockets[2:] == list_sockets(self.listeners.all_of(slot))
        self.ends.append(sockets[0])
        sockets[1].close()  # nobody asks for stacks here
        return order

    def fork(self, code: str = "import time; time.sleep(60)") -> int:
        """Prepare a worker, and have a child that is it."""
        worker = len(self.pids) + 1
        self.prepare(worker)
        pid = self.spawn(code)
        self.workers.note_forked(worker, pid)
        return pid

    def spawn(self, code: str = "import time; time.sleep(60)") -> int:
        arguments = [sys.executable, "-S", "-c", code]
        pid = os.posix_spawn(sys.executable, arguments, os.environ)
        self.pids.append(pid)
        return pid

    async def wait_exited(self) -> WorkerExited:
        await wait_until(
            lambda: any(isinstance(f, WorkerExited) for f in self.facts), 9
        )
        exited = self.facts[-1]
        assert isinstance(exited, WorkerExited)
        return exited

    async def close(self) -> None:
        for worker, _ in enumerate(self.pids, 1):
            self.workers.end(worker, Ending.KILL, DRAIN)
        ended = sum(isinstance(fact, WorkerExited) for fact in self.facts)
        await wait_until(lambda: len(self.pids) <= ended or not self._is_any_left(), 9)
        self.workers.forget_unanswered(1)
        for end in self.ends:
            end.close()
        self.listeners.shut()

    def _is_any_left(self) -> bool:
        return any(os.path.exists(f"/proc/{pid}") for pid in self.pids)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    await made.close()


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
    assert caplog.messages[-1].endswith("\nTraceback ...")


async def test_its_row_is_blank_for_the_next_and_its_requests_are_kept(
    bench: Bench,
) -> None:
    bench.fork("")
    row = bench.ledger.take()
    bench.ledger.fold(row, 1)
    bench.board.row(row.index - 1).count(0, 0, 5)
    await bench.wait_exited()
    assert bench.ledger.past[0].requests == 5


async def test_each_row_is_a_fact_also_before_its_first_beat(bench: Bench) -> None:
    order = bench.prepare()
    assert bench.workers.read_beats() == [Beat(1, 0.0)]
    row = bench.board.row(order.row)
    row.count(1, 2, 3, True)
    row.beat(99.0, 1.0)
    assert bench.workers.read_beats() == [Beat(1, 99.0, 0.5, 1, 2, True, None, 3)]


async def test_what_was_measured_is_in_the_beats(bench: Bench) -> None:
    assert bench.workers.list_pids() == {}
    bench.prepare()
    assert bench.workers.list_pids() == {}
    bench.workers.note_forked(1, pid := bench.spawn())
    assert bench.workers.list_pids() == {1: pid}
    bench.workers.note_memory(9, Memory(1, 2))  # is gone
    bench.workers.note_memory(1, Memory(300, 400))
    assert bench.workers.read_beats() == [Beat(1, 0.0, memory_bytes=300)]


async def test_a_connection_is_handed_to_a_worker_that_accepts_none(
    bench: Bench,
) -> None:
    bench.fork()
    own = bench.workers.connect(1)
    assert own is not None
    with own:
        received = receive(bench.ends[0])
        assert received is not None
        message, (fd,) = received
        assert message == Serve()
        with socket.socket(fileno=fd) as theirs:
            theirs.sendall(b"hello")
            assert own.recv(9) == b"hello"
    assert bench.workers.connect(9) is None


@pytest.mark.parametrize("is_ours", [False, True])
async def test_a_kill_of_the_kernel_is_told_from_any_other(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, is_ours: bool
) -> None:
    counter = tmp_path / "memory.events"
    counter.write_text("oom_kill 0\n")
    monkeypatch.setattr(bench.workers, "_oom_kills", OomKills(counter))
    pid = bench.fork()
    counter.write_text("oom_kill 1\n")
    if is_ours:
        bench.workers.end(1, Ending.KILL, DRAIN)
    else:
        os.kill(pid, signal.SIGKILL)
    exited = await bench.wait_exited()
    assert exited == WorkerExited(1, -9, "" if is_ours else OOM_REASON)


async def test_the_dump_signal_is_announced(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    pid = bench.fork()
    bench.workers.dump_stack(1, 1.04)
    identity = f"worker=1 slot=0 gen=1 pid={pid}"
    text = f"event=blocked {identity}: its loop has stood still for 1.0 s"
    assert text in caplog.text
    assert (await bench.wait_exited()).status == -DUMP_SIGNAL


async def test_a_row_can_be_read_while_its_worker_lives(bench: Bench) -> None:
    order = bench.prepare()
    bench.board.row(order.row).count(1, 2, 3)
    reading = bench.workers.read_row(1)
    assert reading is not None
    assert (reading.in_flight, reading.connections, reading.requests) == (1, 2, 3)
    assert bench.workers.read_row(2) is None


async def test_requests_of_a_slot_are_those_of_the_living_and_the_dead(
    bench: Bench,
) -> None:
    row = bench.ledger.take()
    row.count(0, 0, 5)
    bench.ledger.fold(row, 0)
    order = bench.prepare()
    bench.board.row(order.row).count(0, 0, 2)
    assert {s: t.requests for s, t in bench.workers.read_tallies().items()} == {0: 7}


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


async def test_a_child_that_somebody_else_reaped_is_an_end_too(bench: Bench) -> None:
    bench.prepare()
    bench.workers.note_forked(1, 2**22 + 1)  # above every pid
    assert bench.facts == [WorkerForked(1, 2**22 + 1), WorkerExited(1, 255)]


@pytest.mark.parametrize(
    ("ending", "number"),
    [(Ending.TERM, signal.SIGTERM), (Ending.KILL, signal.SIGKILL)],
)
async def test_a_worker_is_ended_by_signal(
    bench: Bench, ending: Ending, number: int
) -> None:
    bench.fork()
    bench.workers.end(1, ending, DRAIN)
    assert (await bench.wait_exited()).status == -number


async def test_a_worker_is_asked_to_drain_over_its_channel(bench: Bench) -> None:
    bench.fork()
    send(bench.ends[0], Ready())
    await wait_until(lambda: bench.workers.serving_slots)
    bench.workers.end(1, Ending.DRAIN, DRAIN)
    assert receive(bench.ends[0]) == (DRAIN, [])
    assert not bench.workers.serving_slots


async def test_one_that_was_ready_before_its_pid_is_known_is_asked_too(
    bench: Bench,
) -> None:
    bench.prepare()
    bench.workers.end(1, Ending.DRAIN, DRAIN)
    assert receive(bench.ends[0]) == (DRAIN, [])


async def test_an_adopter_gets_the_queue_of_the_other_slot(bench: Bench) -> None:
    bench.fork()
    bench.workers.adopt(slot=1, by=1)
    received = receive(bench.ends[0])
    assert received is not None
    message, fds = received
    assert message == Adopt(1, (QueueTerms(),))
    (wanted,) = list_sockets(bench.listeners.own_of(1))
    assert [os.readlink(f"/proc/self/fd/{fd}") for fd in fds] == [
        os.readlink(f"/proc/self/fd/{wanted.fileno()}")
    ]
    os.close(fds[0])
    bench.workers.release(slot=1, by=1)
    assert receive(bench.ends[0]) == (Release(1), [])


async def test_every_worker_is_told_to_reopen_its_logs(bench: Bench) -> None:
    bench.prepare(1, slot=0)
    bench.prepare(2, slot=1)
    bench.workers.reopen_logs([])
    assert [receive(end) for end in bench.ends] == [(ReopenLogs(), [])] * 2


async def test_a_script_that_says_its_address_gets_its_listeners(
    bench: Bench,
) -> None:
    bench.fork()
    send(bench.ends[0], Address("127.0.0.1", 8000))
    await wait_until(lambda: bench.addresses)
    received = receive(bench.ends[0])
    assert received is not None
    message, fds = received
    assert message == Listen((QueueTerms(),))
    assert len(fds) == 1
    os.close(fds[0])
    assert bench.addresses == [("127.0.0.1", 8000)]


async def test_what_no_worker_says_is_logged_and_ignored(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.prepare()
    send(bench.ends[0], Listen())
    await wait_until(lambda: "said what no worker says" in caplog.text)


async def test_orders_to_a_worker_that_is_gone_are_ignored(bench: Bench) -> None:
    bench.workers.end(9, Ending.KILL, DRAIN)
    bench.workers.admit(9)
    bench.workers.dump_stack(9, 1.0)
