"""The master's side of the workers: told, watched, read, reaped.

A record here is a worker from the perspective of the master; what the worker
itself does is in ``worker.py``. Decides nothing: what happens becomes a fact.
"""

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Callable
from dataclasses import dataclass

from blazeio_supervisor.errors import ExitCode
from blazeio_supervisor.fleet.actions import Ending, Spawn
from blazeio_supervisor.fleet.facts import (
    Beat,
    Fact,
    WorkerExited,
    WorkerForked,
    WorkerReady,
)
from blazeio_supervisor.observe.logs import FramesPrinter
from blazeio_supervisor.observe.scoreboard import Row, RowLedger
from blazeio_supervisor.process.channel import LoopChannel, make_pair
from blazeio_supervisor.process.messages import (
    Address,
    Admit,
    Adopt,
    Drain,
    Failed,
    Fork,
    Listen,
    Message,
    Ready,
    Release,
)
from blazeio_supervisor.process.reaper import UNKNOWN_STATUS, Reaper
from blazeio_supervisor.process.signals import DUMP_SIGNAL
from blazeio_supervisor.sockets.listeners import Listeners

log = logging.getLogger("blazeio.master")

Tell = Callable[[Fact], None]
NeedAddress = Callable[[str, int, Callable[[], None]], None]
"""Called with the App's own host and port; calls back once that is bound."""


@dataclass(slots=True)
class WorkerRecord:
    """One worker as the master knows it.

    Attributes:
        pid: None until the forkserver answered.
        is_serving: It got ready, and was not told to drain.
        reason: The last of what it said about its failure.
    """

    worker: int
    slot: int
    generation: int
    row: Row
    channel: LoopChannel
    pid: int | None = None
    is_serving: bool = False
    reason: str = ""


class Workers:
    """Every worker that lives, or was asked for.

    Args:
        loop: The master's.
        ledger: Gives and takes back their rows.
        listeners: What they accept from.
        reaper: Watches their ends.
        tell: Takes the facts.
        need_address: Binds the address that a script tells.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        ledger: RowLedger,
        listeners: Listeners,
        reaper: Reaper,
        tell: Tell,
        need_address: NeedAddress,
    ) -> None:
        self._loop = loop
        self._ledger = ledger
        self._listeners = listeners
        self._reaper = reaper
        self._tell = tell
        self._need_address = need_address
        self._frames = FramesPrinter()
        self._records: dict[int, WorkerRecord] = {}

    @property
    def is_forking(self) -> bool:
        """Whether a child may live whose pid is not known yet."""
        return any(record.pid is None for record in self._records.values())

    @property
    def serving_slots(self) -> set[int]:
        """The slots whose worker accepts."""
        return {record.slot for record in self._records.values() if record.is_serving}

    # Birth

    def prepare(self, spawn: Spawn) -> tuple[Fork, list[socket.socket]]:
        """Make what a new worker needs; the caller has it forked.

        Returns:
            The order, and the sockets to send with it. The first one, the
            worker's end of its channel, is the caller's to close.
        """
        listeners = self._listeners.all_of(spawn.slot)
        row = self._ledger.take()  # what may fail comes first
        own, theirs = make_pair()
        number = spawn.worker
        record = WorkerRecord(
            worker=number,
            slot=spawn.slot,
            generation=spawn.generation,
            row=row,
            channel=LoopChannel(
                own,
                self._loop,
                lambda message, fds: self._hear(number, message, fds),
                lambda: None,  # its exit tells more than its channel's end
            ),
        )
        self._records[number] = record
        is_bound = self._listeners.is_bound
        order = Fork(number, spawn.slot, row.index, spawn.is_canary, is_bound)
        return order, [theirs, *listeners]

    def note_forked(self, worker: int, pid: int) -> None:
        """The forkserver has answered."""
        record = self._records[worker]
        record.pid = pid
        self._tell(WorkerForked(worker, pid))
        try:
            self._reaper.watch(pid, lambda status: self._bury(worker, status))
        except ProcessLookupError:
            self._bury(worker, UNKNOWN_STATUS)

    def note_fork_failed(self, worker: int, reason: str) -> None:
        """The forkserver could not fork it."""
        record = self._records.pop(worker)
        record.channel.close()
        self._ledger.fold(record.row, record.slot)
        self._tell(WorkerExited(worker, ExitCode.CRASHED, reason))

    def forget_unanswered(self, generation: int) -> None:
        """The forkserver is gone: what it was asked for and never answered is void.

        Such a worker may live; the end of its channel ends it. Its row is not
        used again, since it may still write there.
        """
        for record in list(self._records.values()):
            if record.generation == generation and record.pid is None:
                record.channel.close()
                del self._records[record.worker]

    # Orders

    def end(self, worker: int, ending: Ending, drain: Drain) -> None:
        """End a worker; ``drain`` is the order when it is asked nicely."""
        record = self._records.get(worker)
        if record is None or record.pid is None:
            return
        match ending:
            case Ending.DRAIN:
                record.is_serving = False
                record.channel.send(drain)
            case Ending.TERM:
                self._reaper.send_signal(record.pid, signal.SIGTERM)
            case Ending.KILL:
                self._reaper.send_signal(record.pid, signal.SIGKILL)

    def admit(self, worker: int) -> None:
        """Let a canary accept from its slot."""
        self._send(worker, Admit())

    def adopt(self, slot: int, by: int) -> None:
        """Have one worker accept from another slot's queue too."""
        self._send(by, Adopt(slot), self._listeners.own_of(slot))

    def release(self, slot: int, by: int) -> None:
        """End an adoption."""
        self._send(by, Release(slot))

    def dump_stack(self, worker: int) -> None:
        """Have a worker print all its stacks; works while it is blocked."""
        record = self._records.get(worker)
        if record is not None and record.pid is not None:
            self._reaper.send_signal(record.pid, DUMP_SIGNAL)

    def _send(
        self, worker: int, message: Message, sockets: list[socket.socket] | None = None
    ) -> None:
        record = self._records.get(worker)
        if record is not None:
            record.channel.send(message, sockets or [])

    # What is heard and seen

    def read_beats(self) -> list[Fact]:
        """Look at every row that has been written to."""
        beats: list[Fact] = []
        for record in self._records.values():
            reading = record.row.read()
            if reading.beat_at > 0.0:
                beats.append(
                    Beat(
                        record.worker,
                        at=reading.beat_at,
                        lag_s=reading.lag_s,
                        in_flight=reading.in_flight,
                        connections=reading.connections,
                        is_full=reading.is_full,
                        requests=reading.requests,
                    )
                )
        return beats

    def _hear(self, worker: int, message: Message, fds: list[int]) -> None:
        for fd in fds:
            os.close(fd)  # no worker sends any, but it runs foreign code
        record = self._records[worker]
        match message:
            case Ready():
                record.is_serving = True
                self._tell(WorkerReady(worker))
            case Failed(_, reason, frames):
                record.reason = reason
                self._frames.print(frames)
            case Address(host, port):
                self._need_address(host, port, lambda: self._hand_listeners(worker))
            case _:
                log.warning("worker=%d said what no worker says: %r", worker, message)

    def _hand_listeners(self, worker: int) -> None:
        record = self._records.get(worker)
        if record is not None:
            record.channel.send(Listen(), self._listeners.all_of(record.slot))

    def _bury(self, worker: int, status: int) -> None:
        record = self._records[worker]
        record.channel.read()  # its last words
        record.channel.close()
        del self._records[worker]
        self._ledger.fold(record.row, record.slot)
        self._tell(WorkerExited(worker, status, record.reason))
