"""The simulated processes: what they are, and what they still listen to."""

from collections.abc import Callable
from dataclasses import dataclass, field

from tests.simulation.code import Code

NEVER = float("inf")


@dataclass(slots=True, eq=False)
class SimForkserver:
    """A forkserver.

    Attributes:
        stopped_until: Neither imports nor forks nor ends before (SIGSTOP).
        is_deaf: Ignores being told to end, and TERM.
        is_exit_told: The master knows that it is gone: what it never answered
            is void.
    """

    generation: int
    code: Code
    is_alive: bool = True
    is_ready: bool = False
    stopped_until: float = 0.0
    is_deaf: bool = False
    is_exit_told: bool = False


@dataclass(slots=True, eq=False)
class SimWorker:
    """A worker process.

    Attributes:
        blocked_since: Its loop turns no more from here,
        blocked_until: to here.
        vouched_at: When a reading said that it turns, true or not.
        told_at: When its fork is told to the master.
        is_known: The master was told of it.
        is_accepting: From its own slot.
        adopted: Slots that it accepts from besides.
        is_deaf: Ignores being told to drain; also TERM with ``is_stone``.
        channel: What it will do, in order, when its loop turns.
        runs_tasks: It runs the tasks that run once.
    """

    worker: int
    slot: int
    generation: int
    pid: int
    code: Code
    is_canary: bool
    told_at: float
    is_alive: bool = True
    is_known: bool = False
    is_ready: bool = False
    is_accepting: bool = False
    accepts_since: float = NEVER
    is_draining: bool = False
    blocked_since: float = 0.0
    blocked_until: float = 0.0
    vouched_at: float = 0.0
    is_deaf: bool = False
    is_stone: bool = False
    full_until: float = 0.0
    in_flight: int = 0
    memory_bytes: int = 0
    requests: int = 0
    runs_tasks: bool = False
    adopted: set[int] = field(default_factory=set)
    channel: list[Callable[["SimWorker"], object]] = field(default_factory=list)

    def is_blocked(self, now: float) -> bool:
        return now < self.blocked_until

    def is_full(self, now: float) -> bool:
        return now < self.full_until

    def accepts_from(self, slot: int, now: float) -> bool:
        if not self.is_alive or self.is_blocked(now) or self.is_full(now):
            return False
        return (self.is_accepting and slot == self.slot) or slot in self.adopted

    def is_fit(self, now: float, since_s: float) -> bool:
        """It has accepted, unblocked and not full, for this long."""
        if not (self.is_alive and self.is_accepting) or self.is_draining:
            return False
        free_since = max(self.accepts_since, self.blocked_until, self.full_until)
        return now - free_since >= since_s
