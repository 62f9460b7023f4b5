"""What all duties share in one call of ``plan``, and the clock of the planner."""

from random import Random

from msgspec import Struct, field

from blazeio_supervisor.errors import name_exit
from blazeio_supervisor.fleet.actions import Action, ReportStatus
from blazeio_supervisor.fleet.facts import Fact
from blazeio_supervisor.fleet.policy import Policy
from blazeio_supervisor.fleet.roster import ForkserverHandle, Roster, Slot, WorkerHandle


class Failure(Struct):
    """A process that was wanted has failed: it died, or was late and is ended.

    Attributes:
        who: The process.
        reason: Why, in words.
        status: Its exit status; None when it was late.
        is_of_reload: The reload fails by it; the backoff of the slot does not count it.
        cause: Why it is ended: ``late`` (to be ready), ``blocked``, ``misbehaved``.
    """

    who: WorkerHandle | ForkserverHandle
    reason: str
    status: int | None = None
    is_of_reload: bool = False
    cause: str = "late"

    @property
    def sentence(self) -> str:
        """The reason, of a worker with its identity."""
        is_worker = isinstance(self.who, WorkerHandle)
        return f"{self.who}: {self.reason}" if is_worker else self.reason

    @property
    def word(self) -> str:
        """Why, as one of few: ``SIGKILL``, ``exit_3``, ``late``, ``blocked``."""
        return self.cause if self.status is None else name_exit(self.status)


class PlanContext(Struct):
    """One turn: what is known, and what the duties want done.

    Attributes:
        now: Steady time, seconds.
        clock_now: The clock's reading, only to be compared with ``Beat.at``.
        is_void: The master itself was late: nobody is judged in this turn.
        due_at: The earliest time at which a duty must look again.
    """

    now: float
    clock_now: float
    is_void: bool
    policy: Policy
    roster: Roster
    rng: Random
    facts: tuple[Fact, ...] = ()
    actions: list[Action] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    due_at: float = float("inf")

    def act(self, action: Action) -> None:
        """Add an action for the master."""
        self.actions.append(action)

    def report(
        self,
        event: str,
        text: str,
        level: str = "INFO",
        *,
        of: WorkerHandle | ForkserverHandle | Slot | None = None,
        reason: str = "",
    ) -> None:
        """Report an event to the operator; ``of`` is what it is about."""
        whom: dict[str, int | None] = {}
        match of:
            case WorkerHandle(worker, slot, generation):
                whom = {"worker": worker, "slot": slot, "generation": generation}
                whom["pid"] = of.pid
            case ForkserverHandle(generation):
                whom = {"generation": generation}
            case Slot(slot):
                whom = {"slot": slot}
        self.actions.append(ReportStatus(event, text, level, reason=reason, **whom))

    def has_come(self, at: float) -> bool:
        """Whether that time has come; if not, the next turn is not later.

        In a void turn it has not: what has come meanwhile may lie unread.
        """
        self.wake(at)
        return at <= self.now and not self.is_void

    def wake(self, at: float) -> None:
        """Have the next turn no later than this."""
        self.due_at = min(self.due_at, at)


# Steady time: the time in which the master itself could run.
#
# A master that was stopped, suspended or starved must not blame the workers for
# the time it slept through. So every deadline of the planner is kept in *steady*
# time: it runs with the clock, but of a turn that came later than it was asked
# for, the surplus is not counted. The first late turn is also *void*: what the
# workers have sent meanwhile may still lie unread, so no worker is judged by it. Only
# the first, or a master that is always late would never stop a worker.


RESOLUTION_S = 0.001  # a wait below it could round to none, and turn for ever


class SteadyClock(Struct):
    """Steady time; it is equal to the clock until the first late turn.

    Attributes:
        time: Steady time, seconds.
        real: The last reading of the clock.
        asked_at: When, in clock time, the next turn is due; None before the first.
        is_late: The last turn came too late.
        is_void: It is the first late one.
    """

    time: float = 0.0
    real: float = 0.0
    asked_at: float | None = None
    is_late: bool = False
    is_void: bool = False

    def advance(self, now: float, late_tick_s: float) -> None:
        """Take the clock's reading at the start of a turn.

        Args:
            now: The reading, monotonic seconds.
            late_tick_s: How late a turn may be and still count whole.
        """
        if self.asked_at is None:
            self.time = now
        else:
            was_late = self.is_late
            surplus_s = max(0.0, now - self.asked_at - late_tick_s)
            # ``now < real`` should not be, since monotonic time does not run back
            # (clock_gettime(2)); nobody is judged in such a turn either.
            self.is_late = surplus_s > 0 or now < self.real
            self.is_void = self.is_late and not was_late
            # Steady time never runs back, since deadlines were made from it.
            self.time += max(0.0, now - self.real - surplus_s)
        self.real = now

    def ask(self, at: float) -> float:
        """Remember when (steady) the next turn is due; return it in clock time."""
        wait_s = max(at - self.time, RESOLUTION_S) if at > self.time else 0.0
        self.asked_at = self.real + wait_s
        return self.asked_at
