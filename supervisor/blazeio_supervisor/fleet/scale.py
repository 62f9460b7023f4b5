"""How many slots want a worker.

The highest slots are parked first and woken last, so slot 0 (where a canary
boots) is never parked. A parked slot keeps its listeners for good: siblings
adopt its queue. Its worker drains once as many others serve as are wanted:
while one of them boots, it serves on.

Scaling does not wait for a reload: what is spawned has the generation that is
wanted at that moment, and the rollout replaces it like any other slot.
"""

from math import ceil

from msgspec import Struct, field

from blazeio_supervisor.errors import asked_for, count_of
from blazeio_supervisor.fleet.actions import OpenSlot
from blazeio_supervisor.fleet.context import PlanContext, step_worker
from blazeio_supervisor.fleet.facts import (
    LoadRead,
    ParkAsked,
    ReloadAsked,
    ResumeAsked,
    ScaleAsked,
)
from blazeio_supervisor.fleet.policy import Policy
from blazeio_supervisor.fleet.replace import count_room
from blazeio_supervisor.fleet.roster import Event, Roster, Slot


def scale(context: PlanContext) -> None:
    """Open, wake or park slots as the facts ask; at least one stays."""
    for fact in context.facts:
        if isinstance(fact, ScaleAsked):
            scale_to(context, _wanted(context, fact), asked_for(fact.by))
    _retire_surplus(context)


def _wanted(context: PlanContext, fact: ScaleAsked) -> int:
    present = sum(1 for _ in context.roster.active())
    asked = (present if fact.count is None else fact.count) + fact.change
    wanted = min(max(asked, 1), max(context.policy.worker_limit, present))
    if wanted != asked:
        bound = "least" if wanted > asked else "most"
        text = f"{asked_for(fact.by)}: {count_of(asked, 'worker')}; {wanted} is the"
        context.report("scale_limited", f"{text} {bound}", "WARNING")
    return wanted


def scale_to(context: PlanContext, wanted: int, why: str, word: str = "asked") -> None:
    """Make this many slots active; say why, in a sentence and in a word."""
    roster = context.roster
    active = list(roster.active())
    if len(active) != wanted:
        text = f"{why}: from {len(active)} to {count_of(wanted, 'worker')}"
        context.report("scaled", text, reason=word)
    for slot in reversed(active[wanted:]):
        _park(slot)
    for index in range(len(active), wanted):
        _wake(context, roster, index)


def _park(slot: Slot) -> None:
    slot.is_parked, slot.awaits = True, None
    slot.backoff.reset()


def _retire_surplus(context: PlanContext) -> None:
    roster = context.roster
    # Parked workers that serve count as well: as long as too few others do, they stay.
    surplus = sum(1 for _ in roster.serving()) - sum(1 for _ in roster.active())
    for slot in reversed(roster.slots):
        if not slot.is_parked:
            continue
        for handle in (slot.successor, slot.owner):
            if handle is None or (handle.is_serving and surplus <= 0):
                continue
            surplus -= handle.is_serving
            step_worker(context, handle, Event.DRAIN)


def _wake(context: PlanContext, roster: Roster, index: int) -> None:
    if index < len(roster.slots):
        roster.slots[index].is_parked = False
    else:
        roster.slots.append(Slot(index))
        context.act(OpenSlot(index))


# Parking: no worker serves, and no connection is lost meanwhile.
#
# The workers drain; the listeners stay, so new connections wait in their queues
# (as many as the backlog holds) until the service is resumed. The forkserver
# stays too: then workers are there at once.
#
# A reload is a transaction, so parking waits for its end; one that is asked for
# later resumes first.


class Parking(Struct):
    """Parks and resumes the service.

    Attributes:
        is_asked: It shall be parked.
        is_active: It is parked.
        by: Who has asked for it.
    """

    is_asked: bool = False
    is_active: bool = False
    by: str = ""

    def take(self, context: PlanContext, *, may_begin: bool) -> None:
        """Take what is asked for.

        Args:
            may_begin: It serves, and no reload is under way.
        """
        for fact in context.facts:
            match fact:
                case ParkAsked():
                    self._ask(context, fact, may_begin=may_begin)
                case ResumeAsked() | ReloadAsked():
                    self._resume(context, fact)
        if self.is_asked and not self.is_active and may_begin:
            self.is_active = True
            text = "the workers drain, connections wait until `resume` or HUP"
            context.report("parked", f"{asked_for(self.by)}: {text}")

    def run(self, context: PlanContext) -> None:
        """Drain every worker that serves or boots."""
        for handle in list(context.roster.workers.values()):
            if handle.is_wanted:
                step_worker(context, handle, Event.DRAIN)

    def _ask(self, context: PlanContext, asked: ParkAsked, *, may_begin: bool) -> None:
        if not self.is_asked and not may_begin:
            text = "it begins when the start or the reload under way is over"
            context.report("parking", f"{asked_for(asked.by)}: {text}")
        self.is_asked, self.by = True, asked.by

    def _resume(self, context: PlanContext, asked: ResumeAsked | ReloadAsked) -> None:
        self.is_asked = False
        if self.is_active:
            self.is_active = False
            for slot in context.roster.slots:
                slot.reset_failures()  # the operator does not want to wait for it
            text = f"{asked_for(asked.by)}: a worker starts in each slot"
            context.report("resumed", text)


# How many workers there shall be, by their load: ``--workers 2..16``.
#
# The demand is what all workers compute, in cores: one worker is one loop and one core.
# More of them are started when they are busy for most of the time, or connections wait
# to be accepted; one after the other ends when those that would be left had little to
# do for a minute. The gap between the two is wide: after either move, the load must
# change by half before the other one follows. Nothing is decided during a reload, while
# a worker boots, or soon after a move.
#
# An order by hand (``scale N``) holds until ``scale auto``.


BUSY = 0.75
"""More workers are wanted when each computes for more than this share of the time."""
GROW_AFTER_S = 2.0
"""More are started once the workers have been busy for so long."""
TARGET = 0.6
"""So many are started that each would compute for this share."""
IDLE = 0.5
"""One less is wanted when those left would each compute for less than this share."""
SHRINK_AFTER_S = 60.0
"""One is ended once that has held for so long; the next one after as long again."""
SETTLE_S = 3.0
"""After a move the load is not looked at for so long: a worker that has just begun
computes more than usual, and its siblings still what is now its part."""
GAP_S = 10.0
"""After so long without a reading, what was seen before counts no more: during a
reload, or while the service is parked, nobody has looked."""
_SMOOTHED_OVER_S = 2.0
_GROWTH_AT_ONCE = 2  # times as many as there are


class LoadScaler(Struct):
    """Decides on the number, from readings a second or so apart. It has no clock.

    Attributes:
        demand: What all compute, in cores, smoothed; None: nothing is known yet.
        read_at: When that was.
        busy_since: Since when they are too busy.
        idle_since: Since when one of them is too many.
        moved_at: When the number was last changed.
    """

    demand: float | None = None
    read_at: float = 0.0
    busy_since: float | None = None
    idle_since: float | None = None
    moved_at: float = float("-inf")

    def move(self, now: float) -> None:
        """Forget what was seen: the number has changed."""
        self.demand = self.busy_since = self.idle_since = None
        self.moved_at = now

    def decide(
        self, now: float, shares: list[float], queued: int, policy: Policy
    ) -> tuple[int, str]:
        """Return how many are wanted, and why; as many as now, where nothing follows.

        Args:
            now: Seconds.
            shares: Of each worker that serves the share of the time that it computes.
            queued: Connections that wait to be accepted.
            policy: The bounds.
        """
        count = len(shares)
        least, most = policy.least_workers, policy.most_workers or count
        if not least <= count <= most:
            wanted = min(max(count, least), most)
            return wanted, f"{least} to {most} are asked for"
        if now < self.moved_at + SETTLE_S:
            return count, ""
        if now > self.read_at + GAP_S:
            self.demand = self.busy_since = self.idle_since = None
        demand = self._smooth(now, sum(shares))
        is_busy = demand > BUSY * count or queued > count
        is_idle = demand < IDLE * (count - 1) and not queued
        self.busy_since = (self.busy_since or now) if is_busy else None
        self.idle_since = (self.idle_since or now) if is_idle else None
        if self.busy_since is not None and now >= self.busy_since + GROW_AFTER_S:
            wanted = min(self._grow(demand, count, queued), most)
            return wanted, _describe(demand, count, queued)
        if self.idle_since is not None and now >= self.idle_since + SHRINK_AFTER_S:
            return max(count - 1, least), _describe(demand, count, queued)
        return count, ""

    def _smooth(self, now: float, demand: float) -> float:
        if self.demand is None:
            self.demand = demand
        else:
            weight = min((now - self.read_at) / _SMOOTHED_OVER_S, 1.0)
            # An exponential mean whose weight goes with the time since the last
            # reading: the master reads about once a second, and later when it is busy.
            self.demand += weight * (demand - self.demand)
        self.read_at = now
        return self.demand

    def _grow(self, demand: float, count: int, queued: int) -> int:
        wanted = ceil(demand / TARGET)  # more than there are, as TARGET is below BUSY
        # The demand cannot be read where it is cut off: connections that wait are not
        # computed on. So the number is raised by half.
        if queued > count:
            wanted = max(wanted, ceil(1.5 * count))
        return min(wanted, _GROWTH_AT_ONCE * count)


def _describe(demand: float, count: int, queued: int) -> str:
    busy = f"their loops are busy for {demand / count:.0%} of the time"
    return f"{busy}, {count_of(queued, 'connection')} waiting" if queued else busy


class Autoscale(Struct):
    """Applies it to the fleet.

    Attributes:
        scaler: Decides.
        is_fixed: The number was ordered by hand.
        seen: Of each worker what it had computed, s, and when that was read.
        is_short: It was reported that there is no memory for more workers.
    """

    scaler: LoadScaler = field(default_factory=LoadScaler)
    is_fixed: bool = False
    seen: dict[int, tuple[float, float]] = field(default_factory=dict)
    is_short: bool = False

    def run(self, context: PlanContext, *, may_move: bool) -> None:
        """Take the readings; change the number when that is due.

        Args:
            context: The present turn.
            may_move: No reload is under way.
        """
        for fact in context.facts:
            if isinstance(fact, ScaleAsked):
                self.is_fixed = not fact.is_auto
                self.scaler.move(context.now)
        if context.policy.most_workers is None:
            return
        loads = [fact for fact in context.facts if isinstance(fact, LoadRead)]
        shares = self._take(context, loads)
        active = list(context.roster.active())
        if self.is_fixed or not may_move or context.is_void:
            return
        # With one reading missing a worker boots or has just begun, and the others
        # carry its part: the sum would be taken for a demand that is about to go.
        if len(shares) == len(active):
            self._decide(context, shares, sum(load.queued for load in loads))

    def _take(self, context: PlanContext, loads: list[LoadRead]) -> list[float]:
        serving = {handle.worker for handle in context.roster.serving()}
        shares = []
        for load in loads:
            before = self.seen.get(load.worker)
            self.seen[load.worker] = load.cpu_s, context.now
            if before is not None and load.worker in serving:
                span_s = max(context.now - before[1], 0.001)
                shares.append(min(max((load.cpu_s - before[0]) / span_s, 0.0), 1.0))
        for worker in self.seen.keys() - context.roster.workers.keys():
            del self.seen[worker]
        return shares

    def _decide(self, context: PlanContext, shares: list[float], queued: int) -> None:
        count, policy = len(shares), context.policy
        wanted, reason = self.scaler.decide(context.now, shares, queued, policy)
        if wanted > count:
            wanted = self._fit(context, count, wanted)
        if wanted != count:
            scale_to(context, wanted, reason, word="load")
            self.scaler.move(context.now)

    def _fit(self, context: PlanContext, count: int, wanted: int) -> int:
        """Return how many of those wanted there is memory for."""
        room = count_room(context)
        if room is None or count + room >= wanted:
            self.is_short = False
            return wanted
        if not self.is_short:
            self.is_short = True
            text = f"{count_of(wanted, 'worker')} by load; there is memory for"
            context.report("scale_limited", f"{text} {count + room}", "WARNING")
        return count + room
