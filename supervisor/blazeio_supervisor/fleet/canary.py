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

from enum import StrEnum
from math import ceil
from typing import Self

from msgspec import Struct

from blazeio_supervisor.fleet.actions import CheckHealth, RenewConnections
from blazeio_supervisor.fleet.context import PlanContext
from blazeio_supervisor.fleet.facts import HealthChecked
from blazeio_supervisor.fleet.health import measure_silence_s
from blazeio_supervisor.fleet.policy import Policy
from blazeio_supervisor.fleet.roster import WorkerHandle
from blazeio_supervisor.fleet.transitions import admit, spawn, step_worker
from blazeio_supervisor.fleet.worker_state import Event, State


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
            step_worker(context, old, Event.DRAIN)

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
