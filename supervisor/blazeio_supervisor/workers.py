"""The master's side of the workers: told, watched, read, reaped.

A record here is a worker from the perspective of the master; what the worker
itself does is in ``worker.py``. Decides nothing: what happens becomes a fact.
"""

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from blazeio_supervisor.errors import ExitCode
from blazeio_supervisor.fleet.actions import Ending, Spawn
from blazeio_supervisor.fleet.facts import (
    Beat,
    Fact,
    WorkerExited,
    WorkerForked,
    WorkerReady,
)
from blazeio_supervisor.fleet.reasons import describe_exit
from blazeio_supervisor.observe.events.noting import note
from blazeio_supervisor.observe.lines.captured import CapturedOutput
from blazeio_supervisor.observe.lines.formats import Origin
from blazeio_supervisor.observe.logs import FramesPrinter
from blazeio_supervisor.observe.memory import Memory
from blazeio_supervisor.observe.oom_kills import watch_own_group
from blazeio_supervisor.observe.scoreboard import (
    FrozenLedger,
    LongestRequest,
    Reading,
    Row,
    RowLedger,
)
from blazeio_supervisor.observe.tally import Histogram, Tally
from blazeio_supervisor.process.channel import LoopChannel, Sendable, make_pair
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
    ReopenLogs,
    Said,
    Serve,
)
from blazeio_supervisor.process.reaper import UNKNOWN_STATUS, Reaper
from blazeio_supervisor.process.signals import DUMP_SIGNAL, STACK_SIGNAL
from blazeio_supervisor.sockets.listeners import Listeners
from blazeio_supervisor.sockets.queues import list_sockets, list_terms
from blazeio_supervisor.stacks.call import StackCall, Stacks

Tell = Callable[[Fact], None]
NeedAddress = Callable[[str, int, Callable[[], None]], None]
"""Called with the App's own host and port; calls back once that is bound."""


class NoteScheme(Protocol):
    """Called with what an app speaks, once it is known."""

    def __call__(self, *, is_tls: bool) -> None:
        """Take the word of a forkserver or worker."""


@dataclass(slots=True)
class WorkerRecord:
    """One worker as the master knows it.

    Attributes:
        pid: None until the forkserver answered.
        is_serving: It got ready, and was not told to drain.
        reason: The last of what it said about its failure.
        memory: As last measured.
        is_killed: By us.
        origin: Of the lines that it prints, where they are captured.
    """

    worker: int
    slot: int
    generation: int
    row: Row
    channel: LoopChannel
    stacks: StackCall
    pid: int | None = None
    is_serving: bool = False
    reason: str = ""
    memory: Memory | None = None
    is_killed: bool = False
    origin: Origin | None = None

    def close(self) -> None:
        """Hear it no more."""
        self.channel.close()
        self.stacks.close()

    def note(
        self, event: str, text: str, level: str = "INFO", traceback: str = ""
    ) -> None:
        """Note what has happened to it."""
        note(
            event,
            text,
            level,
            worker=self.worker,
            slot=self.slot,
            generation=self.generation,
            pid=self.pid,
            traceback=traceback,
        )


class FrozenWorker(msgspec.Struct, frozen=True):
    """A worker, as the next image of the master takes it over.

    Attributes:
        row: Of the scoreboard.
        channel_fd: The master's end; likewise ``stacks_fd``.
    """

    worker: int
    slot: int
    generation: int
    row: int
    channel_fd: int
    stacks_fd: int
    pid: int | None
    is_serving: bool
    reason: str
    is_killed: bool


class FrozenWorkers(msgspec.Struct, frozen=True):
    """All of them, and whose each row of the scoreboard is."""

    ledger: FrozenLedger
    workers: list[FrozenWorker]

    def list_fds(self) -> list[int]:
        """List every descriptor."""
        ends = ((each.channel_fd, each.stacks_fd) for each in self.workers)
        return [fd for pair in ends for fd in pair]


class Workers:
    """Every worker that lives, or was asked for.

    Args:
        loop: The master's.
        ledger: Gives and takes back their rows.
        listeners: What they accept from.
        reaper: Watches their ends.
        tell: Takes the facts.
        need_address: Binds the address that a script tells.
        note_scheme: Learns whether a worker speaks TLS.
        frames: Prints what an app raised.
        captured: Reads what they print; None: nobody does.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        ledger: RowLedger,
        listeners: Listeners,
        reaper: Reaper,
        tell: Tell,
        need_address: NeedAddress,
        note_scheme: NoteScheme,
        frames: FramesPrinter,
        captured: CapturedOutput | None = None,
    ) -> None:
        self._loop = loop
        self._ledger = ledger
        self._listeners = listeners
        self._reaper = reaper
        self._tell = tell
        self._need_address = need_address
        self._note_scheme = note_scheme
        self._frames = frames
        self._captured = captured
        self._records: dict[int, WorkerRecord] = {}
        self._oom_kills = watch_own_group()

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
            The order, and the sockets to send with it. Those before the
            listeners, the worker's ends, are the caller's to close.
        """
        queues = self._listeners.all_of(spawn.slot)
        row = self._ledger.take()  # what may fail comes first
        own, theirs = make_pair()
        asker, answerer = socket.socketpair()
        identity = spawn.worker, spawn.slot, spawn.generation
        record = self._add(*identity, row, own, asker)
        ends = [theirs, answerer]
        if self._captured is not None:
            record.origin = Origin(*identity)
            ends.append(self._captured.open(record.origin))
        is_bound = self._listeners.is_bound
        terms = list_terms(queues)
        order = Fork(
            spawn.worker, spawn.slot, row.index, spawn.is_canary, is_bound, terms=terms
        )
        return order, [*ends, *list_sockets(queues)]

    def _add(
        self,
        worker: int,
        slot: int,
        generation: int,
        row: Row,
        own: socket.socket,
        asker: socket.socket,
    ) -> WorkerRecord:
        channel = LoopChannel(
            own,
            self._loop,
            lambda message, fds: self._hear(worker, message, fds),
            lambda: None,  # its exit tells more than its channel's end
        )
        stacks = StackCall(asker, self._loop)
        record = WorkerRecord(worker, slot, generation, row, channel, stacks)
        self._records[worker] = record
        return record

    def note_forked(self, worker: int, pid: int) -> None:
        """The forkserver has answered."""
        record = self._records[worker]
        record.pid = pid
        if record.origin is not None:
            record.origin.pid = pid
        record.note("worker_forked", "it boots", "DEBUG")
        self._tell(WorkerForked(worker, pid))
        self._watch(worker, pid)

    def _watch(self, worker: int, pid: int) -> None:
        try:
            self._reaper.watch(pid, lambda status: self._bury(worker, status))
        except ProcessLookupError:
            self._bury(worker, UNKNOWN_STATUS)

    def note_fork_failed(self, worker: int, reason: str) -> None:
        """The forkserver could not fork it."""
        record = self._records.pop(worker)
        record.close()
        self._ledger.fold(record.row, record.slot)
        self._tell(WorkerExited(worker, ExitCode.CRASHED, reason))

    def forget_unanswered(self, generation: int) -> None:
        """The forkserver is gone: what it was asked for and never answered is void.

        Such a worker may live; the end of its channel ends it. Its row is not
        used again, since it may still write there.
        """
        for record in list(self._records.values()):
            if record.generation == generation and record.pid is None:
                record.close()
                del self._records[record.worker]

    # Another image of the master

    @property
    def is_settled(self) -> bool:
        """Whether all can hear us, and no order waits to be sent."""
        return all(record.channel.is_settled for record in self._records.values())

    def freeze(self) -> FrozenWorkers:
        """Name every worker, for a process that has the same descriptors."""
        return FrozenWorkers(
            self._ledger.freeze(),
            [
                FrozenWorker(
                    worker=record.worker,
                    slot=record.slot,
                    generation=record.generation,
                    row=record.row.index,
                    channel_fd=record.channel.fileno(),
                    stacks_fd=record.stacks.fileno(),
                    pid=record.pid,
                    is_serving=record.is_serving,
                    reason=record.reason,
                    is_killed=record.is_killed,
                )
                for record in self._records.values()
            ],
        )

    def thaw(self, frozen: FrozenWorkers, take: Callable[[int], socket.socket]) -> None:
        """Go on with what another one had; ``take`` as of ``Listeners.thaw``."""
        self._ledger.thaw(frozen.ledger)
        for each in frozen.workers:
            row = self._ledger.give(each.row)
            ends = take(each.channel_fd), take(each.stacks_fd)
            record = self._add(each.worker, each.slot, each.generation, row, *ends)
            record.pid, record.is_serving = each.pid, each.is_serving
            record.reason, record.is_killed = each.reason, each.is_killed

    def watch_again(self) -> None:
        """Watch the ends of the thawed, also of those that have ended meanwhile."""
        for record in list(self._records.values()):
            if record.pid is not None:
                self._watch(record.worker, record.pid)

    # Orders

    def end(self, worker: int, ending: Ending, drain: Drain) -> None:
        """End a worker; ``drain`` is the order when it is asked nicely."""
        record = self._records.get(worker)
        if record is None:
            return
        if ending is Ending.DRAIN:  # needs no pid: its READY may come before that
            record.is_serving = False
            record.channel.send(drain)
            return
        if record.pid is None:
            return
        match ending:
            case Ending.TERM:
                self._reaper.send_signal(record.pid, signal.SIGTERM)
            case Ending.KILL:
                record.is_killed = True
                self._reaper.send_signal(record.pid, signal.SIGKILL)

    def admit(self, worker: int) -> None:
        """Let a canary accept from its slot."""
        self._send(worker, Admit())

    def adopt(self, slot: int, by: int) -> None:
        """Have one worker accept from another slot's queue too."""
        queues = self._listeners.own_of(slot)
        self._send(by, Adopt(slot, list_terms(queues)), list_sockets(queues))

    def release(self, slot: int, by: int) -> None:
        """End an adoption."""
        self._send(by, Release(slot))

    def connect(self, worker: int) -> socket.socket | None:
        """Give a connection to a worker, which serves it though it accepts none.

        None when the worker is gone.
        """
        record = self._records.get(worker)
        if record is None:
            return None
        own, theirs = socket.socketpair()
        with theirs:
            for sock in (own, theirs):
                sock.setblocking(False)
            record.channel.send(Serve(), [theirs])
        return own

    def reopen_logs(self, files: Sequence[Sendable]) -> None:
        """Have every worker write to new log files: the old ones were renamed.

        Args:
            files: The new one of the log, if that is a file.
        """
        for record in self._records.values():
            record.channel.send(ReopenLogs(), files)

    def dump_stack(self, worker: int, blocked_s: float) -> None:
        """Have a worker print all its stacks; works while it is blocked."""
        record = self._records.get(worker)
        if record is not None and record.pid is not None:
            text = (
                f"its loop has stood still for {blocked_s:.1f} s, no new connection "
                "goes to it; its stacks follow"
            )
            record.note("blocked", text, "WARNING")
            self._reaper.send_signal(record.pid, DUMP_SIGNAL)

    async def ask_stacks(self, worker: int) -> Stacks:
        """Have a worker say where it is; works while it is blocked, too."""
        record = self._records.get(worker)
        if record is None or record.pid is None:
            return Stacks("", False)
        pid = record.pid
        return await record.stacks.ask(
            lambda: self._reaper.send_signal(pid, STACK_SIGNAL)
        )

    def _send(
        self, worker: int, message: Message, sockets: list[socket.socket] | None = None
    ) -> None:
        record = self._records.get(worker)
        if record is not None:
            record.channel.send(message, sockets or [])

    # What is heard and seen

    def read_row(self, worker: int) -> Reading | None:
        """Look at one worker's row; None when it is gone."""
        record = self._records.get(worker)
        return None if record is None else record.row.read()

    def read_lags(self, worker: int) -> Histogram | None:
        """Look at how late one worker's loop has run; None when it is gone."""
        record = self._records.get(worker)
        return None if record is None else record.row.read_tally().lag

    def read_longest(self, worker: int) -> LongestRequest | None:
        """Look at its oldest request in flight; None: there is none."""
        record = self._records.get(worker)
        return None if record is None else record.row.read_longest()

    def recall_memory(self, worker: int) -> Memory | None:
        """Give what was last measured of a worker; None: nothing yet."""
        record = self._records.get(worker)
        return None if record is None else record.memory

    def read_tallies(self) -> dict[int, Tally]:
        """Give what the workers of each slot have counted, dead ones too."""
        tallies = dict(self._ledger.past)
        for record in self._records.values():
            past = tallies.get(record.slot, Tally())
            tallies[record.slot] = past + record.row.read_tally()
        return tallies

    def read_beats(self) -> list[Fact]:
        """Look at every row, also at one that was never written to."""
        beats: list[Fact] = []
        for record in self._records.values():
            reading, memory = record.row.read(), record.memory
            beats.append(
                Beat(
                    record.worker,
                    at=reading.beat_at,
                    lag_s=reading.lag_s,
                    in_flight=reading.in_flight,
                    connections=reading.connections,
                    is_full=reading.is_full,
                    memory_bytes=None if memory is None else memory.own_bytes,
                    requests=reading.requests,
                )
            )
        return beats

    def list_pids(self) -> dict[int, int]:
        """Give the pid of each that has one, by serial number."""
        return {r.worker: r.pid for r in self._records.values() if r.pid is not None}

    def forget_old_kills(self, now: float) -> None:
        """Keep the kernel's count of its kills fresh; ``now`` is monotonic."""
        self._oom_kills.refresh(now)

    def explain_kill(self, status: int) -> str:
        """Say whether the kernel has killed a child of ours; "" when not."""
        return self._oom_kills.explain(status)

    def note_memory(self, worker: int, memory: Memory) -> None:
        """Keep what was measured; of one that is gone: nothing."""
        record = self._records.get(worker)
        if record is not None:
            record.memory = memory

    def _hear(self, worker: int, message: Message, fds: list[int]) -> None:
        for fd in fds:
            os.close(fd)  # no worker sends any, but it runs foreign code
        record = self._records[worker]
        match message:
            case Ready(is_tls):
                record.is_serving = True
                record.note("worker_ready", "it is ready to serve")
                self._note_scheme(is_tls=is_tls)
                self._tell(WorkerReady(worker))
            case Failed(_, reason, frames):
                record.reason = reason
                self._frames.print(frames, record.generation)
            case Said():
                record.note(message.event, message.text, "WARNING", message.traceback)
            case Address(host, port):
                self._need_address(host, port, lambda: self._hand_listeners(worker))
            case _:
                text = f"it said what no worker says: {message!r}; it is ignored"
                record.note("protocol_broken", text, "WARNING")

    def _hand_listeners(self, worker: int) -> None:
        record = self._records.get(worker)
        if record is not None:
            queues = self._listeners.all_of(record.slot)
            record.channel.send(Listen(list_terms(queues)), list_sockets(queues))

    def _bury(self, worker: int, status: int) -> None:
        record = self._records[worker]
        record.channel.read()  # its last words
        record.close()
        del self._records[worker]
        self._ledger.fold(record.row, record.slot)
        reason = record.reason
        if not record.is_killed:
            reason = reason or self.explain_kill(status)
        # Why one that was wanted has failed is said by the planner, with what
        # comes next.
        level = "DEBUG" if status else "INFO"
        record.note(
            "worker_exited", f"it ended: {describe_exit(status, reason)}", level
        )
        self._tell(WorkerExited(worker, status, reason))
