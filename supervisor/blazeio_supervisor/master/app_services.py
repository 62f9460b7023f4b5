"""What the master does for the apps of its workers: tasks that run once, messages.

Of a task that runs once it knows when that has run, which outlives the workers that
run it. Messages of one worker it passes on to all others, see below.
"""

import time
from collections.abc import Callable, Container, Iterable, Iterator

from msgspec import Struct, field

from blazeio.app.service import Schedule
from blazeio_supervisor.ipc.messages import (
    Broadcast,
    TaskInfo,
)
from blazeio_supervisor.master.worker_record import Records

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
