"""Workers, with a child of the test in the place of each."""

import asyncio
import os
import socket
import sys
from collections.abc import Callable

from blazeio_supervisor.config.settings import Settings
from blazeio_supervisor.fleet.actions import Spawn, StopMode
from blazeio_supervisor.fleet.facts import (
    Fact,
    WorkerExited,
)
from blazeio_supervisor.ipc.messages import (
    Drain,
    Fork,
    FromWorker,
)
from blazeio_supervisor.ipc.scoreboard import Row, RowAllocator
from blazeio_supervisor.log.setup import FramesPrinter
from blazeio_supervisor.master.children import ChildContext, Reaper
from blazeio_supervisor.master.forkservers import Forkservers
from blazeio_supervisor.master.worker_record import WorkerOrders
from blazeio_supervisor.master.workers import WorkerReadings, Workers
from blazeio_supervisor.sockets.address import TcpAddress
from blazeio_supervisor.sockets.listeners import Listeners
from blazeio_supervisor.sockets.reuseport import list_sockets
from tests.support.clock import wait_until

DRAIN = Drain(5.0)


class WorkersOfTest(Workers):
    """What the test itself says on a channel counts as said by its worker."""

    def _find_pid(self, worker: int) -> int | None:
        return None

    def _on_message(self, worker: int, message: FromWorker, sender: int) -> None:
        super()._on_message(worker, message, sender)
        self.records[worker].sender = None


def _no_settings(generation: int) -> Settings:
    raise AssertionError(f"nothing is loaded here, generation {generation} neither")


class WorkersHarness:
    """Workers, with a child of the test in the place of each worker."""

    def __init__(self, kind: type[Workers] = WorkersOfTest) -> None:
        loop = asyncio.get_running_loop()
        self.ledger = RowAllocator()
        self.listeners = Listeners(2)
        self.listeners.open(TcpAddress("127.0.0.1", 0))
        self.facts: list[Fact] = []
        self.schemes: list[bool] = []
        self.addresses: list[tuple[str, int]] = []
        self.frames = FramesPrinter()
        reaper = Reaper(loop)
        self.child_context = ChildContext(
            loop=loop,
            reaper=reaper,
            put_fact=self.facts.append,
            need_address=self._need_address,
            note_scheme=self._note_scheme,
            frames=self.frames,
        )
        self.workers = kind(self.child_context, self.ledger, self.listeners)
        self.forkservers = Forkservers(self.child_context, _no_settings, self.workers)
        self.orders = WorkerOrders(self.workers.records, reaper, self.listeners)
        self.readings = WorkerReadings(
            self.workers.records, self.ledger, self.workers.report_fault
        )
        self.ends: list[socket.socket] = []
        self.askers: list[socket.socket] = []
        self.rows: list[Row] = []
        self.pids: list[int] = []

    def _note_scheme(self, generation: int, *, is_tls: bool) -> None:
        self.schemes.append(is_tls)

    def _need_address(self, host: str, port: int, then: Callable[[], None]) -> None:
        self.addresses.append((host, port))
        then()

    def prepare(self, worker: int = 1, slot: int = 0) -> Fork:
        order, sockets = self.workers.prepare(Spawn(worker, slot, generation=1))
        assert sockets[3:] == list_sockets(self.listeners.all_of(slot))
        end, asker, row = sockets[:3]
        assert isinstance(end, socket.socket)
        assert isinstance(asker, socket.socket)
        self.ends.append(end)
        self.askers.append(asker)
        self.rows.append(Row(os.dup(row.fileno())))
        row.close()
        return order

    def fork(self, code: str = "import time; time.sleep(60)") -> int:
        """Prepare a worker, and have a child that is it."""
        worker = len(self.pids) + 1
        self.prepare(worker)
        pid = self.spawn(code)
        self.workers.note_forked(worker, pid, 1)
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
            self.orders.end(worker, StopMode.KILL, DRAIN)
        ended = sum(isinstance(fact, WorkerExited) for fact in self.facts)
        await wait_until(lambda: len(self.pids) <= ended or not self._is_any_left(), 9)
        self.workers.forget_unanswered(1)
        for end in (*self.ends, *self.askers):
            end.close()
        for row in self.rows:
            row.close()
        self.listeners.shut()

    def _is_any_left(self) -> bool:
        return any(os.path.exists(f"/proc/{pid}") for pid in self.pids)
