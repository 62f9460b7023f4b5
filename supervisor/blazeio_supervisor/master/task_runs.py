"""When the tasks that run once have run: it outlives the workers that run them."""

import time
from collections.abc import Container, Iterable, Iterator

from msgspec import Struct, field

from blazeio.app.schedule import Schedule
from blazeio_supervisor.ipc.messages import (
    TaskInfo,
)

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
