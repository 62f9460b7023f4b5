"""The trial of a new generation: one worker, beside the old one of slot 0.

::

    CANARY (boots) -> [CHECKING (its health path)] -> PROBATION (serves)

With a health check it may not accept from its slot before it was found
healthy. In probation it serves beside the old worker for ``canary_hold_s``, so
that code which dies soon after it was ready costs no old worker; for less, where it
has proven itself by what it has answered.

New connections alone would not let it: clients keep theirs, and those are of the old
workers. So some of these are made to connect anew, a few at a time until the canary
is asked something: more than its share of the clients must not meet code that fails.
Where nobody asks anything, the whole hold is waited for: code that dies a second
after its start is not to be taken, and nobody waits but who has asked for the reload.
"""

from bisect import bisect_left
from collections.abc import Iterable
from enum import StrEnum
from itertools import chain
from math import ceil, log
from typing import Self

from msgspec import Struct, field

from blazeio_supervisor.fleet.actions import CheckHealth, RenewConnections
from blazeio_supervisor.fleet.context import PlanContext, admit, spawn, step_worker
from blazeio_supervisor.fleet.facts import (
    SPAN_EDGES_S,
    Beat,
    HealthChecked,
    RouteCounts,
)
from blazeio_supervisor.fleet.health import measure_silence_s, retire
from blazeio_supervisor.fleet.policy import Policy
from blazeio_supervisor.fleet.roster import Event, Roster, State, WorkerHandle


class Phase(StrEnum):
    """Where a reload is."""

    IDLE = "idle"
    IMPORTING = "importing"
    CANARY = "canary"
    CHECKING = "checking"
    PROBATION = "probation"
    ROLLING = "rolling"
    HOLDING = "holding"
    ROLLING_BACK = "rolling_back"


def measure_error_share(context: PlanContext) -> float:
    """Return the share of all answers that were 5xx, of those who serve now."""
    beats = [
        w.health.beat for w in context.roster.serving() if w.health.beat is not None
    ]
    answered = sum(beat.answered for beat in beats)
    return sum(beat.errors for beat in beats) / answered if answered else 0.0


def is_time(context: PlanContext, at: float) -> bool:
    """Whether that time has come; if not, the next turn is not later.

    Once it has, each beat is looked at as it comes: nobody is woken for that.
    """
    if at > context.now:
        context.wake(at)
    return at <= context.now and not context.is_void


def is_blocked(context: PlanContext, handle: WorkerHandle) -> bool:
    """Whether its loop has stood still for so long that it is reported.

    It is not known then how good the code is: no hold ends.
    """
    return measure_silence_s(context, handle) >= context.policy.dump_after_s


def has_proven(handle: WorkerHandle, policy: Policy, error_share: float) -> bool:
    """Whether a new worker has answered enough, and no worse than the old ones."""
    beat = handle.health.beat
    return (
        beat is not None
        and not handle.health.is_late
        and beat.answered >= policy.proof_request_count
        and beat.errors <= error_share * beat.answered
    )


class Canary(Struct):
    """One trial.

    Attributes:
        handle: The worker.
        phase: CANARY, CHECKING or PROBATION.
        has_passed: The code may be spread.
        reason: Why it failed; "" while it did not. That the canary died or
            was late is a ``Failure`` of the turn, and not said here.
        until: When this phase is over, steady time.
        proven_from: When a probation may be over earlier, steady time.
        error_share: The share of 5xx among the answers of the old code.
        renew_at: When clients are made to connect anew, unless it was asked something
            by then, steady time.
        seen_requests: What it had been asked when that was last looked at.
    """

    handle: WorkerHandle
    phase: Phase = Phase.CANARY
    has_passed: bool = False
    reason: str = ""
    until: float = 0.0
    proven_from: float = 0.0
    error_share: float = 0.0
    renew_at: float = 0.0
    seen_requests: int = 0

    @classmethod
    def begin(cls, context: PlanContext, generation: int) -> Self:
        """Fork the first worker of a generation."""
        is_gated = context.policy.has_health_check
        slot = context.roster.slots[0]
        share = measure_error_share(context)
        handle = spawn(context, slot, generation, is_canary=is_gated)
        return cls(handle, error_share=share)

    def run(self, context: PlanContext) -> None:
        """Go on as far as the facts allow."""
        if self.phase is Phase.CANARY:
            self._await_readiness(context)
        elif self.phase is Phase.CHECKING:
            self._await_health(context)
        if self.phase is Phase.PROBATION and not self.reason:
            # When nothing else serves, nothing is at stake: no hold.
            is_alone = next(context.roster.serving(), None) is None
            self.has_passed = (
                is_alone or self._is_held(context) or self._is_proven(context)
            )
            if not self.has_passed:
                self._get_clients(context)

    def discard(self, context: PlanContext) -> None:
        """Stop the canary."""
        step_worker(context, self.handle, Event.DRAIN)

    def promote(self, context: PlanContext) -> None:
        """Let it own slot 0; the old worker drains."""
        slot = context.roster.slots[0]
        old, slot.owner = slot.owner, self.handle
        if old is not None:
            retire(context, old)

    def _await_readiness(self, context: PlanContext) -> None:
        if self.handle.state is State.STANDBY:
            context.act(CheckHealth(self.handle.worker))
            self.phase = Phase.CHECKING
            self.until = context.now + context.policy.health_timeout_s
        elif self.handle.is_serving:
            self._hold(context)

    def _await_health(self, context: PlanContext) -> None:
        for fact in context.facts:
            if isinstance(fact, HealthChecked) and fact.worker == self.handle.worker:
                if fact.is_healthy:
                    admit(context, self.handle)
                    self._hold(context)
                else:
                    self.reason = f"{self.handle}: unhealthy: {fact.reason}"
                return
        if context.has_come(self.until):
            span_s = context.policy.health_timeout_s
            late = f"no answer within {span_s:g} s (--health-timeout)"
            self.reason = f"{self.handle}: unhealthy: {late}"

    def _hold(self, context: PlanContext) -> None:
        self.phase = Phase.PROBATION
        self.until = context.now + context.policy.canary_hold_s
        self.proven_from = context.now + context.policy.least_hold_s

    def _is_held(self, context: PlanContext) -> bool:
        return is_time(context, self.until) and not is_blocked(context, self.handle)

    def _is_proven(self, context: PlanContext) -> bool:
        return is_time(context, self.proven_from) and has_proven(
            self.handle, context.policy, self.error_share
        )

    def _get_clients(self, context: PlanContext) -> None:
        """Have clients of the old code connect anew, where nobody asks the canary."""
        policy, health = context.policy, self.handle.health
        # Nobody is woken for that: there are beats wherever somebody asks.
        if context.is_void or context.now < self.renew_at:
            return
        self.renew_at = context.now + policy.renew_every_s
        beat = health.beat
        was_asked = beat is not None and (
            beat.in_flight > 0 or beat.requests > self.seen_requests
        )
        if was_asked or health.is_late:
            self.seen_requests = 0 if beat is None else beat.requests
            return
        for old in context.roster.serving():
            beat = old.health.beat
            if beat is None or beat.rests or not beat.connections:
                continue
            share = ceil(policy.renew_share * beat.connections)
            context.act(RenewConnections(old.worker, min(share, policy.renew_count)))


# Whether new code does worse than the old: its errors, its latency, its loop lag.
#
# Both are watched over the same time, from the moment on at which the first worker of
# the new code serves: what befalls both, such as a database that is gone, counts for
# neither. Where the old code has answered too little meanwhile, its workers count with
# their whole lives.
#
# A verdict needs two things: the difference is larger than the operator allows, and it
# is no chance. The second is a bound on the probability that code as good as the old
# one shows so much, by Chernoff: ``exp(-n * KL(share, expected))``, at most ``CHANCE``.
# It is looked at some hundred times in a reload, so it is small.
#
# A p95 is known as a bucket of the histogram only. So of the old one the upper end
# counts, and of the new one the answers that took more than so many times that.


CHANCE = 1e-6
"""A difference is taken for chance unless it is less probable than this."""
ROUTE_CHANCE = 0.01
"""The same for one route, which decides nothing: it is only said how it was before."""
ANSWERED_BEFORE = ", which the old code answered"
AS_BEFORE = ", as before"
OTHERS_COUNT = 2
"""So many routes are named beside the one of most errors."""
TAIL = 0.05
"""The share of answers above the p95."""
LEAST_SPAN_S = 0.01
"""Answers that take no longer than this are never too slow."""
LEAST_LAG_S = 0.1
"""A loop that is late by no more than this is never too late."""
LEAST_BEATS = 20
"""Beats of the new code, a second of one worker, before its lag is judged."""


class Counts(Struct, frozen=True):
    """What workers have answered.

    Attributes:
        answered: Requests that are over.
        errors: Of these, those with a status of 500 or above.
        spans: How many took how long: by the buckets of ``SPAN_EDGES_S``.
    """

    answered: int = 0
    errors: int = 0
    spans: tuple[int, ...] = (0,) * len(SPAN_EDGES_S)

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.answered + other.answered,
            self.errors + other.errors,
            tuple(a + b for a, b in zip(self.spans, other.spans, strict=True)),
        )

    def __sub__(self, other: "Counts") -> "Counts":
        return Counts(
            self.answered - other.answered,
            self.errors - other.errors,
            tuple(a - b for a, b in zip(self.spans, other.spans, strict=True)),
        )

    @property
    def share(self) -> float:
        """The share of errors."""
        return self.errors / self.answered if self.answered else 0.0


class Lag(Struct):
    """How late the beats of some loops came.

    Attributes:
        total_s: All together.
        beats: How many there were.
    """

    total_s: float = 0.0
    beats: int = 0

    @property
    def mean_s(self) -> float:
        """The mean."""
        return self.total_s / self.beats if self.beats else 0.0


class ErrorBudget(Struct):
    """Watches new code and old code beside each other.

    Attributes:
        generation: The new code.
        since: From when on, steady time.
        first: Of each worker what it had answered when it was first seen.
        last: Of each worker what it has answered so far, also of one that is gone.
        new: The workers of the new code.
        seen: Of each worker when its last beat was.
        lags: Of the old code, and of the new.
        routes: Of each worker how its routes were answered so far.
    """

    generation: int
    since: float
    first: dict[int, Counts] = field(default_factory=dict)
    last: dict[int, Counts] = field(default_factory=dict)
    new: set[int] = field(default_factory=set)
    seen: dict[int, float] = field(default_factory=dict)
    lags: tuple[Lag, Lag] = field(default_factory=lambda: (Lag(), Lag()))
    routes: dict[int, tuple[RouteCounts, ...]] = field(default_factory=dict)

    def take(self, roster: Roster) -> None:
        """Take the newest beat of each worker."""
        for handle in roster.workers.values():
            beat = handle.health.beat
            if beat is None or handle.ready_at is None:
                continue
            worker, is_new = handle.worker, handle.generation == self.generation
            if is_new:
                self.new.add(worker)
            if beat.spans:
                counts = Counts(beat.answered, beat.errors, beat.spans)
                self.first.setdefault(worker, counts)
                self.last[worker] = counts
            if beat.routes:
                self.routes[worker] = beat.routes
            self._take_lag(beat, is_new=is_new)

    def _take_lag(self, beat: Beat, *, is_new: bool) -> None:
        if beat.at > self.seen.get(beat.worker, self.since):
            self.seen[beat.worker] = beat.at
            lag = self.lags[is_new]
            lag.total_s += beat.lag_s
            lag.beats += 1

    def judge(self, policy: Policy, now: float) -> str:
        """Return why the new code is worse, with the figures; "" when it is not."""
        new = sum((self.last[w] for w in self.new & self.last.keys()), Counts())
        old = self._count_old(policy.rollback_min_requests)
        reason = self._judge_lag(policy)
        if new.answered >= policy.rollback_min_requests:
            reason = (
                self._judge_errors(policy, new, old)
                or _judge_spans(policy, new, old)
                or reason
            )
        return f"{reason}, within {now - self.since:.1f} s" if reason else ""

    def _count_old(self, least: int) -> Counts:
        old = self.last.keys() - self.new
        over_time = sum((self.last[w] - self.first[w] for w in old), Counts())
        # Over the same time if possible: what befalls both versions, as a database that
        # is gone, shows in both shares only then.
        if over_time.answered >= least:
            return over_time
        return sum((self.last[w] for w in old), Counts())

    def _judge_errors(self, policy: Policy, new: Counts, old: Counts) -> str:
        budget = policy.rollback_5xx
        if budget is None or new.share <= old.share + budget:
            return ""
        # One error more, and two answers more, than there were (Laplace's rule of
        # succession): that none of ten has failed does not say that none will.
        expected = (old.errors + 1) / (old.answered + 2)
        if not is_no_chance(new.errors, new.answered, expected):
            return ""
        text = (
            f"5xx: {new.share:.1%} of {new.answered} answers, {old.share:.1%} of "
            f"{old.answered} of the old code (--rollback-5xx {budget:g})"
        )
        return text + self._name_routes()

    def _name_routes(self) -> str:
        """Name the route of most errors, and those that the old code has answered."""
        new = _add_up(self.routes[w] for w in self.routes.keys() & self.new)
        old = _add_up(self.routes[w] for w in self.routes.keys() - self.new)
        failing = sorted(
            (each for each in new.values() if each.failed),
            key=lambda each: each.failed,
            reverse=True,
        )
        if not failing:
            return ""
        before = [_compare(each, old.get(each.key)) for each in failing]
        text = f", most of them by {failing[0].text}{before[0]}"
        others = [
            route.text
            for route, how in zip(failing[1:], before[1:], strict=True)
            if how == ANSWERED_BEFORE
        ]
        if others:
            text += f"; also {', '.join(others[:OTHERS_COUNT])}{ANSWERED_BEFORE}"
        return text

    def _judge_lag(self, policy: Policy) -> str:
        factor, (old, new) = policy.rollback_latency, self.lags
        if factor is None or new.beats < LEAST_BEATS:
            return ""
        if new.mean_s <= max(factor * old.mean_s, LEAST_LAG_S):
            return ""
        return (
            f"event loop: {new.mean_s:.2f} s late on average, {old.mean_s:.2f} s that "
            f"of the old code (--rollback-latency {factor:g})"
        )


def _add_up(routes: Iterable[tuple[RouteCounts, ...]]) -> dict[int, RouteCounts]:
    """Add up what several workers have answered, by the key of the route."""
    found: dict[int, RouteCounts] = {}
    for each in chain.from_iterable(routes):
        known = found.get(each.key, RouteCounts(each.key))
        found[each.key] = RouteCounts(
            each.key,
            known.answered + each.answered,
            known.failed + each.failed,
            known.text or each.text,
        )
    return found


def _compare(new: RouteCounts, old: RouteCounts | None) -> str:
    """Return how the old code did with a route on which the new one fails."""
    if old is None:
        return ""  # nobody has asked for it, or there was no room
    expected = (old.failed + 1) / (old.failed + old.answered + 2)
    total = new.failed + new.answered
    if old.answered and is_no_chance(new.failed, total, expected, ROUTE_CHANCE):
        return ANSWERED_BEFORE
    return AS_BEFORE if old.failed else ""


def _judge_spans(policy: Policy, new: Counts, old: Counts) -> str:
    factor = policy.rollback_latency
    if factor is None or old.answered < policy.rollback_min_requests:
        return ""
    p95_s = find_p95_s(old.spans)
    # The first bucket whose upper end is at or above the bound: what lies in the
    # buckets behind it took longer for certain. There is none behind the last.
    place = bisect_left(SPAN_EDGES_S, max(factor * p95_s, LEAST_SPAN_S))
    above = sum(new.spans[place + 1 :])
    total = sum(new.spans)
    if not total or not is_no_chance(above, total, TAIL):
        return ""
    return (
        f"latency: {above / total:.1%} of {total} answers took longer than "
        f"{SPAN_EDGES_S[place]:g} s, {1 - TAIL:.0%} of the old code's no longer than "
        f"{p95_s:g} s (--rollback-latency {factor:g})"
    )


def find_p95_s(spans: tuple[int, ...]) -> float:
    """Return the upper end of the bucket that has the p95; of none, 0."""
    total, below = sum(spans), 0
    for count, edge in zip(spans, SPAN_EDGES_S, strict=True):
        below += count
        if total and below >= (1 - TAIL) * total:
            return edge
    return 0.0


def is_no_chance(
    count: int, total: int, expected: float, chance: float = CHANCE
) -> bool:
    """Whether a count is larger than chance explains, where a share is expected.

    Args:
        count: How many there are.
        total: Of how many; at least 1.
        expected: Their share if all is well, above 0 and below 1.
        chance: What is less probable is none.
    """
    share = count / total
    if share <= expected:
        return False
    # Kullback and Leibler's distance between the two shares; what follows from
    # it is said above.
    distance = share * log(share / expected)
    if share < 1:
        distance += (1 - share) * log((1 - share) / (1 - expected))
    return total * distance > -log(chance)
