"""The workers: asked for, forked, ready, ended; and the messages that they send.

What a worker itself does is in ``worker/``. Nothing is decided here: what happens
becomes a fact for the planner.
"""

import os
import socket
import time
from collections.abc import Callable, Container

from blazeio_supervisor.errors import ExitCode, describe_exit
from blazeio_supervisor.fleet.actions import Spawn
from blazeio_supervisor.fleet.facts import (
    Beat,
    Fact,
    LeaseReturned,
    RouteCounts,
    WorkerExited,
    WorkerForked,
    WorkerMisbehaved,
    WorkerReady,
)
from blazeio_supervisor.ipc.channel import (
    ChildChannel,
    ChildFault,
    Descriptor,
    Sendable,
)
from blazeio_supervisor.ipc.inspection import StackCall
from blazeio_supervisor.ipc.messages import (
    Address,
    Broadcast,
    Failed,
    Fork,
    FromWorker,
    Listen,
    Ready,
    ReturnLease,
    TaskBegan,
    TaskEnded,
    WorkerEvent,
)
from blazeio_supervisor.ipc.packing import parse_from_worker
from blazeio_supervisor.ipc.processes import NotOurChildError
from blazeio_supervisor.ipc.row_tables import AppTotals
from blazeio_supervisor.ipc.scoreboard import (
    Histogram,
    LongestRequest,
    Row,
    RowAllocator,
    RowReading,
    Tally,
)
from blazeio_supervisor.ipc.signals import make_child_pair
from blazeio_supervisor.log.formats import LogOrigin
from blazeio_supervisor.master.children import (
    CLOSED_ITS_CHANNEL,
    UNKNOWN_STATUS,
    ChildContext,
    end_orphans_of,
    name_children_of,
)
from blazeio_supervisor.master.resources import AT_REST_EVERY_S, Memory
from blazeio_supervisor.master.worker_record import (
    BroadcastCounts,
    BroadcastRelay,
    Records,
    TaskRuns,
    WorkerRecord,
    describe_in_flight,
    explain_silence,
)
from blazeio_supervisor.sockets.listeners import Listeners
from blazeio_supervisor.sockets.reuseport import list_sockets, list_terms


class Workers:
    """All workers that live, or were asked for.

    Args:
        child_context: What every child needs.
        ledger: Makes their rows, and keeps what dead ones have counted.
        listeners: What they accept from.
        records: As below, of the image before; they are shared with this object.
        task_runs: Likewise.
        broadcast_counts: Likewise.

    Attributes:
        records: One for each, by serial number; shared with the parts that need them.
        task_runs: When the tasks that run once have run.
        broadcasts: Passes messages of the app on.
    """

    def __init__(
        self,
        child_context: ChildContext,
        ledger: RowAllocator,
        listeners: Listeners,
        records: Records | None = None,
        task_runs: TaskRuns | None = None,
        broadcast_counts: BroadcastCounts | None = None,
    ) -> None:
        self._child_context = child_context
        self._ledger = ledger
        self._listeners = listeners
        self.records = {} if records is None else records
        self.task_runs = TaskRuns() if task_runs is None else task_runs
        counts = BroadcastCounts() if broadcast_counts is None else broadcast_counts
        self.broadcasts = BroadcastRelay(self.records, counts)
        if child_context.captured is not None:
            child_context.captured.on_fault = self.report_fault

    @property
    def is_forking(self) -> bool:
        """Whether a child may live whose pid is not known yet."""
        return any(record.pid is None for record in self.records.values())

    @property
    def serving_slots(self) -> set[int]:
        """The slots whose worker accepts."""
        return {record.slot for record in self.records.values() if record.is_serving}

    # The start of a worker

    def prepare(self, spawn: Spawn) -> tuple[Fork, list[Sendable]]:
        """Make what a new worker needs; the caller has it forked.

        Returns:
            The order, and the descriptors to send with it. Those before the
            listeners, which are the worker's own, are the caller's to close.
        """
        queues = self._listeners.all_of(spawn.slot)
        # What may fail comes first, while nothing has to be undone. It is likely to
        # fail where the master is short of descriptors (EMFILE): each worker costs it
        # several.
        row = self._ledger.take()
        own, theirs = make_child_pair()
        asker, answerer = socket.socketpair()
        identity = spawn.worker, spawn.slot, spawn.generation
        record = WorkerRecord(*identity, row, ChildChannel(own), StackCall(asker))
        self.records[spawn.worker] = record
        self._listen(record)
        # The caller closes all of these once they are sent. The row keeps its
        # descriptor, so a duplicate goes.
        ends: list[Sendable] = [theirs, answerer, Descriptor(os.dup(row.fileno()))]
        if self._child_context.captured is not None:
            ends.append(self._child_context.captured.open(LogOrigin(*identity)))
        is_bound = self._listeners.is_bound
        terms = list_terms(queues)
        order = Fork(spawn.worker, spawn.slot, spawn.is_canary, is_bound, terms=terms)
        return order, [*ends, *list_sockets(queues)]

    def _listen(self, record: WorkerRecord) -> None:
        worker = record.worker

        def report_fault(reason: str) -> None:
            self.report_fault(worker, reason)

        self._child_context.listen(
            record.channel,
            parse_from_worker,
            lambda message, sender: self._on_message(worker, message, sender),
            report_fault,
            lambda: self._on_channel_closed(worker),
            lambda: self._find_pid(worker),
        )
        record.stacks.start(self._child_context.loop, report_fault)

    def _find_pid(self, worker: int) -> int | None:
        record = self.records.get(worker)
        if record is None:
            return None
        # Until the forkserver has named the pid it is that of the first sender, so that
        # no second process can speak on the same channel.
        return record.sender if record.pid is None else record.pid

    def _on_channel_closed(self, worker: int) -> None:
        record = self.records.get(worker)
        # One that serves on without a channel could never be told to drain. One that
        # boots has its deadline, and any other is on its way out.
        if record is not None and record.is_serving:
            self.report_fault(worker, CLOSED_ITS_CHANNEL)

    def report_fault(self, worker: int, reason: str) -> None:
        """End a worker after a fault; nothing more is read from it."""
        record = self.records.get(worker)
        if record is None or record.has_misbehaved:
            return
        record.has_misbehaved, record.is_serving = True, False
        record.channel.close()
        record.reason = f"it misbehaved: {reason}"
        record.note("misbehaved", f"it is ended: {reason}", "WARNING")
        self._child_context.put_fact(WorkerMisbehaved(worker, reason))

    def note_forked(
        self, worker: int, pid: int, generation: int, uid: int | None = None
    ) -> None:
        """Note that the forkserver of this generation has forked a worker.

        Args:
            worker: From its message.
            pid: From its message.
            generation: The generation of the forkserver.
            uid: The user that its workers run as; None: that of the master.

        Raises:
            ChildFault: It was not asked for that worker, or the pid is that of another
                process.
        """
        record = self._find_unanswered(worker, generation)
        # The app runs in the forkserver too, so this pid is only a claim. The kernel
        # vouches for the sender of what came on the worker's own channel
        # (SCM_CREDENTIALS, unix(7)), and ``_watch`` takes only a child of ours.
        if record.sender not in (None, pid):
            raise ChildFault(f"it named pid {pid} for a worker that is {record.sender}")
        try:
            self._watch(worker, pid, uid)
        except NotOurChildError as error:
            raise ChildFault(f"it named a worker that it is not: {error}") from None
        record.pid = pid
        self._child_context.child_faults.add(
            pid, lambda reason: self.report_fault(worker, reason)
        )
        if self._child_context.captured is not None:
            self._child_context.captured.note_forked(worker, pid)
        record.note("worker_forked", "it boots", "DEBUG")
        self._child_context.put_fact(WorkerForked(worker, pid))
        # Two sockets have no order between them: its ``Ready`` may have been read
        # before the forkserver's ``Forked``. The fact has waited for the pid, without
        # which the planner could not end the worker.
        if record.is_serving:
            self._note_ready(record)

    def _find_unanswered(self, worker: int, generation: int) -> WorkerRecord:
        record = self.records.get(worker)
        if record is None or record.pid is not None or record.generation != generation:
            raise ChildFault(f"it spoke of worker {worker}, which it does not fork")
        return record

    def _watch(self, worker: int, pid: int, uid: int | None = None) -> None:
        self._child_context.reaper.watch(
            pid, lambda status: self._on_exit(worker, status), uid=uid
        )

    def note_refused(self, worker: int, reason: str, generation: int) -> None:
        """Note that the forkserver of this generation could not fork a worker.

        Raises:
            ChildFault: It was not asked for that worker.
        """
        self._find_unanswered(worker, generation)
        self.note_fork_failed(worker, reason)

    def note_fork_failed(self, worker: int, reason: str) -> None:
        """Note that a worker could not be forked."""
        record = self.records.pop(worker)
        record.close()
        self._ledger.fold(record.row, record.slot, record.worker)
        self._child_context.put_fact(WorkerExited(worker, ExitCode.CRASHED, reason))

    def forget_unanswered(self, generation: int) -> None:
        """Forget the workers that a forkserver never answered for: it is gone.

        Such a worker may live; the end of its channel ends it.
        """
        for record in list(self.records.values()):
            if record.generation == generation and record.pid is None:
                record.close()
                record.row.close()
                del self.records[record.worker]

    # Another image of the master

    @property
    def is_settled(self) -> bool:
        """Whether every channel is open, and no order waits to be sent."""
        return all(record.channel.is_settled for record in self.records.values())

    def resume(self) -> None:
        """Read the channels that were taken over from the image before."""
        for record in self.records.values():
            self._listen(record)

    def watch_again(self) -> None:
        """Watch the end of each, also where it has ended meanwhile."""
        for record in list(self.records.values()):
            if record.pid is not None:
                self._watch_again(record, record.pid)

    def _watch_again(self, record: WorkerRecord, pid: int) -> None:
        self._child_context.child_faults.add(
            pid, lambda reason: self.report_fault(record.worker, reason)
        )
        try:
            self._watch(record.worker, pid)
        except NotOurChildError:
            # It has ended, and somebody has reaped it. The planner must hear of the end
            # all the same, or the slot would stay empty.
            self._on_exit(record.worker, UNKNOWN_STATUS)

    # Their messages

    def _on_message(  # noqa: C901 - a table
        self, worker: int, message: FromWorker, sender: int
    ) -> None:
        record = self.records[worker]
        record.sender = sender
        record.check(message)
        match message:
            case Ready(is_tls):
                record.is_serving = True
                self._child_context.note_scheme(record.generation, is_tls=is_tls)
                # A canary is ready, too, though it accepts from nowhere: ``is_serving``
                # lets it have listeners and the connections of others.
                if record.pid is not None:
                    self._note_ready(record)
            case Failed(_, reason, frames):
                record.reason = reason
                self._child_context.frames.print(frames, record.generation)
            case TaskBegan(name):
                self.task_runs.note_began(worker, record.slot, name)
            case TaskEnded(name, failure):
                self.task_runs.note_ended(name, failure)
                if failure:
                    record.note("task_failed", f"{name}: {failure}", "WARNING")
            case Broadcast():
                self.broadcasts.relay(message, worker)
            case ReturnLease():
                self._child_context.put_fact(LeaseReturned(worker))
            case WorkerEvent():
                record.note(message.event, message.text, "WARNING", message.traceback)
            case Address(host, port):
                # A script says its address only when it calls ``web.runner()``, and
                # waits there for the first ``Listen``.
                self._child_context.need_address(
                    host, port, lambda: self._hand_listeners(worker)
                )

    def _note_ready(self, record: WorkerRecord) -> None:
        record.note("worker_ready", "it is ready to serve")
        has_tasks = bool(record.tasks)
        self._child_context.put_fact(WorkerReady(record.worker, has_tasks))

    def hand_listeners(self, slots: Container[int] | None) -> None:
        """Send workers the listeners of their slot as they are now.

        Args:
            slots: The slots; None: all.
        """
        for record in list(self.records.values()):
            if record.is_serving and (slots is None or record.slot in slots):
                self._hand_listeners(record.worker)

    def _hand_listeners(self, worker: int) -> None:
        record = self.records.get(worker)
        if record is not None:
            queues = self._listeners.all_of(record.slot)
            record.channel.send(Listen(list_terms(queues)), list_sockets(queues))

    # The end of a worker

    def _on_exit(self, worker: int, status: int) -> None:
        record = self.records[worker]
        # The pidfd is readable as soon as it has ended (pidfd_open(2)); its last
        # message, which says why, may still lie in the socket.
        record.channel.read_rest()
        record.close()
        self._child_context.child_faults.forget(record.pid)
        if self._child_context.captured is not None:
            self._child_context.captured.note_end(worker)
        if record.is_killed and not record.has_misbehaved:
            record.note_killed()
        del self.records[worker]
        # One that was killed could not end what it had forked.
        if status < 0 or status == UNKNOWN_STATUS:
            title = name_children_of("worker", record.slot, record.generation)
            end_orphans_of(self._child_context.loop, title)
        # Before ``fold``, which unmaps the row. The memory outlives the worker, so this
        # works for one that was killed in the midst of a request, too.
        at_work = describe_in_flight(record.row) if record.has_ready else ""
        self._ledger.fold(record.row, record.slot, record.worker)
        reason, oom = record.reason, ""
        # A SIGKILL of our own is not laid to the charge of the kernel, though it may
        # have killed another process of the same control group just now.
        if not (record.is_killed or record.has_misbehaved):
            oom = self._child_context.oom_kills.explain(status)
            reason = reason or oom
        if not (reason or record.has_ready or record.is_told_to_end):
            is_importing = record.is_importing
            status, reason = explain_silence(status, is_importing=is_importing)
        if at_work and not (record.is_told_to_end or record.has_misbehaved):
            reason = f"{reason}; {at_work}" if reason else at_work
        # The failure of a worker that was wanted is reported by the planner, with
        # what comes next.
        level = "DEBUG" if status else "INFO"
        record.note(
            "worker_exited", f"it ended: {describe_exit(status, reason)}", level
        )
        self._child_context.put_fact(WorkerExited(worker, status, reason, bool(oom)))


# What can be seen of the workers without asking them: rows, memory, pids.


class WorkerReadings:
    """Reads the rows of the workers; of one that is gone there is nothing.

    Args:
        records: Of the workers.
        ledger: Knows what the dead ones have counted.
        report_fault: Called with a worker whose row holds an impossible value, and
            which that is; the value is read as 0.
    """

    def __init__(
        self,
        records: Records,
        ledger: RowAllocator,
        report_fault: Callable[[int, str], None],
    ) -> None:
        self._records = records
        self._ledger = ledger
        self._accuse = report_fault
        self._resting: set[int] = set()
        self._measured_at_rest: set[int] = set()

    def read_beats(self, *, with_spans: bool = False) -> list[Fact]:
        """Read every row, also one that was never written to.

        Args:
            with_spans: Tell how long responses took, and what fails, too.
        """
        beats: list[Fact] = []
        for record in list(self._records.values()):
            reading, memory = record.row.read(), record.memory
            if record.row.fault:
                # The app can write to this memory. A value that cannot be is read as 0,
                # so that nothing here has to reckon with it, and the worker is ended.
                self._accuse(record.worker, record.row.fault)
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
                    errors=reading.errors,
                    rests=reading.rests,
                    spans=record.row.read_tally().count_spans() if with_spans else (),
                    routes=_read_routes(record.row) if with_spans else (),
                )
            )
        return beats

    def has_woken(self) -> bool:
        """Whether any worker does not rest; cheaper than to read all rows."""
        return any(not record.row.rests for record in self._records.values())

    def read_row(self, worker: int) -> RowReading | None:
        """Read the row of one worker."""
        record = self._records.get(worker)
        return None if record is None else record.row.read()

    def read_lags(self, worker: int) -> Histogram | None:
        """Read how late the loop of one worker has run."""
        record = self._records.get(worker)
        return None if record is None else record.row.read_tally().lag

    def read_longest(self, worker: int) -> LongestRequest | None:
        """Read the oldest request in flight of a worker; None: there is none."""
        record = self._records.get(worker)
        return None if record is None else record.row.read_longest()

    def read_tallies(self) -> dict[int, Tally]:
        """Return what the workers of each slot have counted, dead ones too."""
        tallies = dict(self._ledger.past)
        for record in self._records.values():
            past = tallies.get(record.slot, Tally())
            tallies[record.slot] = past + record.row.read_tally()
        return tallies

    def read_app(self) -> AppTotals:
        """Return what the app has counted in all workers, dead ones too."""
        totals = self._ledger.app_past.copy()
        for record in list(self._records.values()):
            record.row.add_app_to(totals, record.worker, record.slot)
        return totals

    def list_pids(self) -> dict[int, int]:
        """Return the pid of each whose memory is to be measured, by serial number.

        What rests is left alone for a while: the kernel takes 1 ms for each look. But
        not before it was measured at rest: it rests a second after a request by which
        it may have grown, and is measured every two seconds.
        """
        now = time.monotonic()
        self._resting = {
            each.worker for each in self._records.values() if each.row.rests
        }
        self._measured_at_rest &= self._resting
        return {
            record.worker: record.pid
            for record in self._records.values()
            if record.pid is not None
            and not (
                record.worker in self._measured_at_rest
                and now < record.measured_at + AT_REST_EVERY_S
            )
        }

    def note_memory(self, worker: int, memory: Memory) -> None:
        """Keep what was measured."""
        record = self._records.get(worker)
        if record is not None:
            record.memory = memory
            record.measured_at = time.monotonic()
            self._measured_at_rest |= {worker} & self._resting

    def recall_memory(self, worker: int) -> Memory | None:
        """Return what was last measured of a worker; None before that."""
        record = self._records.get(worker)
        return None if record is None else record.memory


def _read_routes(row: Row) -> tuple[RouteCounts, ...]:
    return tuple(
        RouteCounts(each.key, each.answered, each.failed, each.text)
        for each in row.read_routes()
    )
