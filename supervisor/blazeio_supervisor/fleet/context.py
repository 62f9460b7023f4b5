"""What one call of ``plan`` carries from duty to duty."""

from random import Random

import msgspec
from msgspec import Struct, field

from blazeio_supervisor.fleet.actions import Action, ReportStatus
from blazeio_supervisor.fleet.facts import Fact
from blazeio_supervisor.fleet.policy import Policy
from blazeio_supervisor.fleet.reasons import name_exit
from blazeio_supervisor.fleet.roster import ForkserverHandle, Roster, Slot, WorkerHandle


class Failure(Struct):
    """A process that was wanted has failed: it died, or was late and is ended.

    Attributes:
        who: Its handle.
        reason: Why, in words.
        status: Its exit status; None when it was late.
        is_forgiven: The rollout answers for it, not the slot's backoff.
        cause: Why it is ended: ``late`` (to be ready), ``blocked``, ``misbehaved``.
    """

    who: WorkerHandle | ForkserverHandle
    reason: str
    status: int | None = None
    is_forgiven: bool = False
    cause: str = "late"

    @property
    def sentence(self) -> str:
        """Which worker it was, and why; of what forks them, why is enough."""
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
        """Have the master do this."""
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
        """Tell the operator; ``of`` whom, in words of its own."""
        whom: dict[str, int | None] = {}
        match of:
            case WorkerHandle(worker, slot, generation):
                whom = {"worker": worker, "slot": slot, "generation": generation}
                whom["pid"] = of.pid
            case ForkserverHandle(generation):
                whom = {"generation": generation}
            case Slot(slot):
                whom = {"slot": slot}
            case None:
                pass
        self.actions.append(ReportStatus(event, text, level, reason=reason, **whom))

    def has_come(self, at: float) -> bool:
        """Whether that time has come; if not, the next turn is no later.

        In a void turn it has not: what has come meanwhile may lie unread.
        """
        self.wake(at)
        return at <= self.now and not self.is_void

    def wake(self, at: float) -> None:
        """Have the next turn no later than this."""
        self.due_at = min(self.due_at, at)


# Time as the master itself witnessed it.
#
# A master that was stopped, suspended or starved must not blame the workers for
# the time it slept through. So every deadline of the planner is kept in *steady*
# time: it runs with the clock, but of a turn that came later than it was asked
# for, the surplus is not counted. The first late turn is also *void*: what the
# workers have said meanwhile may still lie unread, so nobody is judged by it.
# Only the first, or a master that is always late would never end anybody.


RESOLUTION_S = 0.001  # a wait below it could round to none, and turn for ever


class FrozenClock(msgspec.Struct, frozen=True):
    """A steady clock, as the next image of the master takes it over."""

    time: float
    real: float
    asked_at: float | None
    is_late: bool


class SteadyClock:
    """Steady time; equal to the clock until the first late turn.

    Args:
        late_tick_s: How late a turn may be and still count whole.
    """

    __slots__ = ("_asked_at", "_is_late", "_late_tick_s", "_real", "is_void", "time")

    def __init__(self, late_tick_s: float) -> None:
        self._late_tick_s = late_tick_s
        self._real = 0.0
        self._asked_at: float | None = None
        self._is_late = False
        self.is_void = False
        self.time = 0.0

    def advance(self, now: float) -> None:
        """Take the clock's reading at the begin of a turn."""
        if self._asked_at is None:
            self.time = now
        else:
            was_late = self._is_late
            surplus_s = max(0.0, now - self._asked_at - self._late_tick_s)
            self._is_late = surplus_s > 0 or now < self._real
            self.is_void = self._is_late and not was_late
            self.time += max(0.0, now - self._real - surplus_s)
        self._real = now

    def ask(self, at: float) -> float:
        """Remember when (steady) the next turn is due; return it in clock time."""
        wait_s = max(at - self.time, RESOLUTION_S) if at > self.time else 0.0
        self._asked_at = self._real + wait_s
        return self._asked_at

    def freeze(self) -> FrozenClock:
        """Give all that it knows."""
        return FrozenClock(self.time, self._real, self._asked_at, self._is_late)

    def thaw(self, frozen: FrozenClock) -> None:
        """Go on from there."""
        self.time, self._real = frozen.time, frozen.real
        self._asked_at, self._is_late = frozen.asked_at, frozen.is_late
