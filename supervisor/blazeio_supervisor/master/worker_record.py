"""A worker as the master knows it, its orders, and what is kept for the apps of all.

These are values, which go over to the next image.
"""

import signal
import socket
import time
from collections.abc import (
    AsyncGenerator,
    Callable,
    Container,
    Iterable,
    Iterator,
    Sequence,
)

from msgspec import Struct, field

from blazeio.app.service import Schedule
from blazeio_supervisor.errors import ExitCode
from blazeio_supervisor.fleet.actions import StopMode
from blazeio_supervisor.ipc.channel import ChildChannel, ChildFault, Sendable
from blazeio_supervisor.ipc.inspection import StackCall, Stacks, follow_profile
from blazeio_supervisor.ipc.messages import (
    CHANNEL_CLOSED,
    Address,
    Admit,
    Adopt,
    Broadcast,
    Drain,
    Failed,
    FromWorker,
    IgnoreTerm,
    Importing,
    Lease,
    Message,
    Ready,
    Release,
    Renew,
    ReopenLogs,
    ReturnLease,
    ServeConnection,
    TakeConnections,
    TaskBegan,
    TaskEnded,
    TaskInfo,
    WorkerEvent,
)
from blazeio_supervisor.ipc.processes import refuse_descriptors
from blazeio_supervisor.ipc.scoreboard import Row
from blazeio_supervisor.ipc.signals import PROFILE_SIGNAL, STACK_SIGNAL, make_pair
from blazeio_supervisor.ipc.status_api import Profiled, ProfileWish, Sampled
from blazeio_supervisor.log.formats import (
    escape_line,
    find_subject,
    trim_stacks,
)
from blazeio_supervisor.log.setup import note
from blazeio_supervisor.master.children import Reaper
from blazeio_supervisor.master.resources import Memory
from blazeio_supervisor.sockets.listeners import Listeners
from blazeio_supervisor.sockets.reuseport import list_sockets, list_terms

MOST_SAID = 8
"""Events that one worker may send in its life; an honest one sends two."""


class WorkerRecord(Struct):
    """What the master has of one worker, also of one that is asked for.

    Attributes:
        pid: None until the forkserver has answered.
        is_serving: It is ready, and not ordered to drain.
        reason: Why it failed, by its last message or its fault.
        sender: The pid that has sent messages on its channel so far.
        is_importing: It runs code of the app that no forkserver has run.
        has_address: It has sent the App's address.
        has_ready: It has sent ``Ready``, which it sends once.
        has_failed: It has sent ``Failed``, its last message.
        said_count: The events that it has sent.
        has_misbehaved: It did what none of ours does, and is being ended.
        memory: Its memory as last measured.
        measured_at: When that was, monotonic seconds.
        is_killed: The master has killed it.
        is_told_to_end: The master has ordered it to end, in any way.
        tasks: Those of its app that run once.
        has_lease: It runs them, or is about to.
    """

    worker: int
    slot: int
    generation: int
    row: Row
    channel: ChildChannel[FromWorker]
    stacks: StackCall
    pid: int | None = None
    is_serving: bool = False
    reason: str = ""
    memory: Memory | None = None
    measured_at: float = float("-inf")
    is_killed: bool = False
    sender: int | None = None
    has_address: bool = False
    has_ready: bool = False
    has_failed: bool = False
    said_count: int = 0
    has_misbehaved: bool = False
    is_importing: bool = False
    is_told_to_end: bool = False
    tasks: tuple[TaskInfo, ...] = ()
    has_lease: bool = False

    def check(self, message: FromWorker) -> None:  # noqa: C901 - a table
        """Note that this message has come, and whether it may come.

        A worker runs code of the app, which can write to the channel what it likes. So
        each message has its place in a worker's life, and the first one that is out of
        place ends the worker. Nothing later has to ask whether a message makes sense.

        Raises:
            ChildFault: A worker sends no such message, or not now.
        """
        match message:
            case _ if self.has_failed:
                is_due = False
            case Importing():
                is_due = not (self.is_importing or self.has_address or self.has_ready)
                self.is_importing = True
            case Address():
                is_due = not (self.has_address or self.has_ready)
                self.has_address = True
            case Ready(_, tasks):
                is_due, self.has_ready = not self.has_ready, True
                # A second ``Ready`` must not exchange the tasks under a lease that was
                # granted.
                self.tasks = tasks if is_due else self.tasks
            case WorkerEvent():
                is_due = self.has_ready and self.said_count < MOST_SAID
                self.said_count += 1
            # Only names that were declared: runs are counted by name, and an app could
            # fill the memory of the master with new ones.
            case TaskBegan(name) | TaskEnded(name):
                is_due = self.has_lease and any(t.name == name for t in self.tasks)
            case Broadcast():
                is_due = self.has_ready
            case ReturnLease():
                is_due, self.has_lease = self.has_lease, False
            case Failed():
                is_due, self.has_failed = True, True
        if not is_due:
            raise ChildFault(f"it said {type(message).__name__} when none does")

    def close(self) -> None:
        """Close the channel and the socket for stacks."""
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

    def note_killed(self) -> None:
        """Note that the master has killed it, with its requests and stacks."""
        stacks = self.stacks.answer.text
        cut = find_subject(stacks) or describe_in_flight(self.row)
        text = f"killed, since it had not ended when its time was over: {cut}"
        self.note("worker_killed", text, "WARNING", trim_stacks(stacks))


def explain_silence(status: int, *, is_importing: bool) -> tuple[int, str]:
    """Return why a process that ran code of the app ended without a message.

    Args:
        status: Exit code, or minus the signal's number.
        is_importing: It ended in the import, and not in an ``on_start`` hook.

    Returns:
        The exit status that this deserves, and the reason, "" where the status, a
        signal, says it.
    """
    if status < 0:
        return status, ""
    when = "while it was imported" if is_importing else "before it was ready"
    code = ExitCode.NOT_IMPORTABLE if is_importing else ExitCode.APP_FAILED
    # A worker that finds its channel closed can tell it in no other way than by its
    # status.
    if status == CHANNEL_CLOSED:
        return code, (
            f"the app has closed descriptors that it did not open, {when} "
            "(os.closerange, os.close)"
        )
    return code, f"the app ended its own process {when}: os._exit({status})"


MOST_NAMED = 4
"""Requests in flight that the log names; the others are only counted."""


def describe_in_flight(row: Row) -> str:
    """Describe the requests in flight when a worker ended, from its row.

    The longest one is named twenty times a second, the others as they began; so of
    requests that ended in the last instants one may be named too.
    """
    reading = row.read()
    in_flight = reading.in_flight
    if not in_flight:
        return "no request was in flight"
    # The row tells how many are in flight, and not which. The last ones that began are
    # the best guess.
    begun = row.read_begun(reading.requests - in_flight)
    longest = row.read_longest()
    words = [escape_line(each) for each in begun[: min(in_flight, MOST_NAMED)]]
    if longest is not None:
        span_s = time.monotonic() - longest.begun_at
        name = escape_line(longest.text)
        words = [each for each in words if each != name]
        words.insert(0, f"{name} (for {span_s:.1f} s)")
    more = in_flight - len(words)
    text = f"in flight: {', '.join(words)}"
    return f"{text} and {more} more" if more > 0 else text


Records = dict[int, WorkerRecord]
"""By serial number; one dictionary, shared by all who know the workers."""


# Orders of the master to a worker, over its channel or by a signal.
#
# An order to a worker that is gone does nothing.


class WorkerOrders:
    """Sends orders to workers.

    Args:
        records: One for each worker.
        reaper: Sends the signals, by pidfd.
        listeners: The queues that are adopted.
    """

    def __init__(self, records: Records, reaper: Reaper, listeners: Listeners) -> None:
        self._records = records
        self._reaper = reaper
        self._listeners = listeners

    def end(
        self, worker: int, mode: StopMode, drain: Drain, *, has_heir: bool = False
    ) -> None:
        """Stop a worker.

        Args:
            worker: Its serial number.
            mode: How.
            drain: The message for ``StopMode.DRAIN``.
            has_heir: Its connections may go to a worker that serves on.
        """
        record = self._records.get(worker)
        if record is None:
            return
        record.is_told_to_end = True
        # Over the channel, so this needs no pid. It counts as not serving from the
        # order on, and not from its answer: it must get neither listeners nor
        # connections any more.
        if mode is StopMode.DRAIN:
            record.is_serving = False
            heir = self._find_heir(record) if has_heir else None
            if heir is None:
                record.channel.send(drain)
            else:
                self._connect_to_heir(record, heir, drain)
            return
        if record.pid is None:
            return
        match mode:
            case StopMode.TERM:
                self._reaper.send_signal(record.pid, signal.SIGTERM)
            case StopMode.KILL:
                record.is_killed = True
                self._reaper.send_signal(record.pid, signal.SIGKILL)

    def _find_heir(self, record: WorkerRecord) -> WorkerRecord | None:
        """Return the youngest worker that serves, the one of the same slot first."""
        heirs = [each for each in self._records.values() if each.is_serving]
        return max(
            heirs,
            key=lambda each: (
                each.generation,
                each.slot == record.slot,
                each.worker,
            ),
            default=None,
        )

    def _connect_to_heir(
        self, record: WorkerRecord, heir: WorkerRecord, drain: Drain
    ) -> None:
        ours, theirs = make_pair()
        # The connections go from one worker to the other, not through the master. A
        # descriptor that was sent stays open in the message (unix(7)), so both ends are
        # closed here.
        with ours, theirs:
            heir.channel.send(TakeConnections(), [theirs])
            record.channel.send(drain, [ours])

    def stay(self) -> None:
        """Order every worker to ignore SIGTERM until it is drained."""
        for record in self._records.values():
            record.channel.send(IgnoreTerm())

    def admit(self, worker: int) -> None:
        """Order a canary to accept from its slot."""
        self._send(worker, Admit())

    def renew_connections(self, worker: int, count: int) -> None:
        """Order a worker to have so many of its clients connect anew."""
        self._send(worker, Renew(count))

    def grant_lease(self, worker: int, runs: "TaskRuns") -> None:
        """Order a worker to run the tasks that run once.

        Args:
            worker: Its serial number.
            runs: Know when each has begun last.
        """
        record = self._records.get(worker)
        if record is not None:
            record.has_lease = True
            record.channel.send(Lease(runs.begin_lease(record.tasks)))

    def adopt(self, slot: int, by: int) -> None:
        """Order a worker to accept from another slot's queue too."""
        queues = self._listeners.own_of(slot)
        self._send(by, Adopt(slot, list_terms(queues)), list_sockets(queues))

    def release(self, slot: int, by: int) -> None:
        """End an adoption."""
        self._send(by, Release(slot))

    def connect(self, worker: int) -> socket.socket | None:
        """Return a connection that a worker serves, though it accepts none.

        None when the worker is gone.
        """
        record = self._records.get(worker)
        if record is None:
            return None
        own, theirs = socket.socketpair()
        # Code of the app has the other end, and could send descriptors along with its
        # answer, which nobody here would close.
        refuse_descriptors(own)
        with theirs:
            for sock in (own, theirs):
                sock.setblocking(False)
            record.channel.send(ServeConnection(), [theirs])
        return own

    def reopen_logs(self, files: Sequence[Sendable]) -> None:
        """Order every worker to write to new log files: the old ones were renamed.

        Args:
            files: The new one of the log, if that is a file.
        """
        for record in self._records.values():
            record.channel.send(ReopenLogs(), files)

    def list_unread(self) -> list[str]:
        """List the workers that have not read their orders."""
        records = self._records.values()
        return [f"worker={r.worker}" for r in records if r.channel.has_unread]

    async def ask_stacks(self, worker: int) -> Stacks:
        """Ask a worker for its stacks; works while it is blocked too."""
        record = self._records.get(worker)
        if record is None or record.pid is None or not record.channel.is_open:
            return Stacks("", False)  # another program has taken its place, perhaps
        pid = record.pid
        return await record.stacks.ask(
            lambda: self._reaper.send_signal(pid, STACK_SIGNAL)
        )

    def profile(
        self, worker: int, wish: ProfileWish
    ) -> AsyncGenerator[Sampled | Profiled, None] | None:
        """Profile a worker, also while it is blocked; None: none can be taken.

        To close what is returned ends the profile.
        """
        record = self._records.get(worker)
        if record is None or record.pid is None or not record.channel.is_open:
            return None
        # By default a real-time signal ends the process (signal(7)), and its handler is
        # there only in a worker that serves.
        if not record.has_ready:
            return None
        pid = record.pid
        return follow_profile(
            record.stacks.sock,
            wish,
            lambda: self._reaper.send_signal(pid, PROFILE_SIGNAL),
        )

    def begin_stacks(self, worker: int) -> None:
        """Ask in the same way for the report of its death, without waiting."""
        record = self._records.get(worker)
        if record is not None and record.pid is not None:
            pid = record.pid
            record.stacks.begin(lambda: self._reaper.send_signal(pid, STACK_SIGNAL))

    def _send(
        self, worker: int, message: Message, sockets: list[socket.socket] | None = None
    ) -> None:
        record = self._records.get(worker)
        if record is not None:
            record.channel.send(message, sockets or [])


# When the tasks that run once have run, which outlives the workers that run them.


NAME_COUNT = 256
"""Tasks that are remembered; each reload may have brought other names."""


class TaskRun(Struct):
    """What is known of one task.

    Attributes:
        schedule: As the newest worker that could run it has declared it.
        began_at: When its last run began, or when it was first to be run; seconds
            since 1970.
        ended_at: When that was over.
        worker: Who has run it last; None: nobody so far.
        slot: Where that was.
        count: Runs that have begun.
        failures: Runs that have raised.
        failure: What the last run has raised, in one line; "" when nothing.
    """

    schedule: Schedule
    began_at: float
    ended_at: float | None = None
    worker: int | None = None
    slot: int | None = None
    count: int = 0
    failures: int = 0
    failure: str = ""

    def is_running(self, living: Container[int]) -> bool:
        """Whether it runs now.

        Args:
            living: The serial numbers of all workers.
        """
        has_begun = self.worker is not None and self.ended_at is None
        return has_begun and self.worker in living

    def next_at(self, living: Container[int]) -> float | None:
        """When it is due; None: it runs, or has no schedule."""
        if self.is_running(living) or not self.schedule.is_repeated:
            return None
        return self.schedule.next_after(self.began_at)


class TaskRuns(Struct):
    """All tasks that run once.

    Attributes:
        by_name: In the order in which they were declared first.
    """

    by_name: dict[str, TaskRun] = field(default_factory=dict)

    def begin_lease(self, tasks: Iterable[TaskInfo]) -> dict[str, float]:
        """Note which tasks a worker has that will run them.

        Returns:
            By name, when each has begun last: its schedule goes on from there.
        """
        now, last = time.time(), {}
        for task in tasks:
            run = self.by_name.get(task.name)
            if run is None:
                run = self.by_name[task.name] = TaskRun(Schedule(), now)
            run.schedule = Schedule(task.every_s, task.at)
            # A clock that was set back must not hold up everything until then.
            run.began_at = min(run.began_at, now)
            last[task.name] = run.began_at
        for name in [name for name in self.by_name if name not in last]:
            if len(self.by_name) <= NAME_COUNT:
                break
            del self.by_name[name]
        return last

    def note_began(self, worker: int, slot: int, name: str) -> None:
        """Note that a run has begun in this worker."""
        run = self.by_name[name]
        run.began_at, run.ended_at = time.time(), None
        run.worker, run.slot = worker, slot
        run.count += 1

    def note_ended(self, name: str, failure: str) -> None:
        """Note that a run is over; ``failure`` is "" or what it has raised."""
        run = self.by_name[name]
        run.ended_at, run.failure = time.time(), failure
        run.failures += bool(failure)

    def __iter__(self) -> Iterator[tuple[str, TaskRun]]:
        """Yield each with its name."""
        yield from self.by_name.items()


# Messages of one worker's app to those of all others.
#
# The master neither reads nor keeps them. Two budgets bound what that takes of its
# loop, and a worker that does not read gets nothing more until it does; what has no
# room is counted as dropped.


MESSAGES_PER_S = 1_000
"""Messages of one worker in a second that are passed on."""
DELIVERIES_PER_S = 20_000
"""Messages that are sent on in a second: one counts for each worker that gets it."""


class BroadcastCounts(Struct):
    """What became of the messages.

    Attributes:
        messages: That workers have sent.
        delivered: Messages that a worker was sent, each of them counted.
        dropped: Messages that one was not sent, likewise.
    """

    messages: int = 0
    delivered: int = 0
    dropped: int = 0


class BroadcastRelay:
    """Passes messages on.

    Args:
        records: Of the workers.
        counts: Of the image before, or blank; shared with this object.
        clock: Returns monotonic seconds.
    """

    def __init__(
        self,
        records: Records,
        counts: BroadcastCounts,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._records = records
        self._clock = clock
        self._until = 0.0
        self._sent: dict[int, int] = {}
        self._deliveries = 0
        self.counts = counts

    def relay(self, message: Broadcast, sender: int) -> None:
        """Send a message to every worker that serves but the one that has sent it."""
        now = self._clock()
        if now >= self._until:
            self._until = now + 1.0
            self._sent.clear()
            self._deliveries = 0
        self._sent[sender] = self._sent.get(sender, 0) + 1
        has_room = self._sent[sender] <= MESSAGES_PER_S
        self.counts.messages += 1
        for record in list(self._records.values()):
            if record.worker == sender or not record.has_ready:
                continue
            if not record.channel.is_open:
                continue
            if not has_room or self._deliveries >= DELIVERIES_PER_S:
                self.counts.dropped += 1
            # Sent now or not at all. Nothing may wait for a worker that does not read:
            # its orders wait in the same queue, and must not come behind messages of
            # the app.
            elif record.channel.offer(message):
                self._deliveries += 1
                self.counts.delivered += 1
            else:
                self.counts.dropped += 1
