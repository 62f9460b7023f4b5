"""One worker as the master knows it, and as the next master takes it over."""

from msgspec import Struct

from blazeio_supervisor.observe.events.noting import note
from blazeio_supervisor.observe.lines.formats import Origin
from blazeio_supervisor.observe.memory import Memory
from blazeio_supervisor.observe.scoreboard import Row
from blazeio_supervisor.process.channel import LoopChannel
from blazeio_supervisor.stacks.call import StackCall


class WorkerRecord(Struct):
    """A worker that lives, or was asked for.

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

    def freeze(self) -> "FrozenWorker":
        """Give all of it that goes over an exec."""
        return FrozenWorker(
            worker=self.worker,
            slot=self.slot,
            generation=self.generation,
            row_fd=self.row.fileno(),
            channel_fd=self.channel.fileno(),
            stacks_fd=self.stacks.fileno(),
            pid=self.pid,
            is_serving=self.is_serving,
            reason=self.reason,
            is_killed=self.is_killed,
        )


Records = dict[int, WorkerRecord]
"""By serial number; one dictionary, shared by all who know the workers."""


class FrozenWorker(Struct, frozen=True):
    """A worker, as the next image of the master takes it over.

    Attributes:
        row_fd: Of its row of the scoreboard.
        channel_fd: The master's end; likewise ``stacks_fd``.
    """

    worker: int
    slot: int
    generation: int
    row_fd: int
    channel_fd: int
    stacks_fd: int
    pid: int | None
    is_serving: bool
    reason: str
    is_killed: bool
