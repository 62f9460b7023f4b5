"""Facts in, actions out: all that the supervisor decides.

One call of ``plan`` is one turn: the facts are folded into the roster, then
each duty looks at the roster and does its part, always in the same order.
Duties are level-triggered (they compare what is with what is wanted, not what
just changed), so a late, lost or doubled message costs time, never the plan.
"""

from collections.abc import Sequence
from random import Random

import msgspec

from blazeio_supervisor.fleet.actions import Action
from blazeio_supervisor.fleet.boot import Boot, exit_of
from blazeio_supervisor.fleet.context import FrozenClock, PlanContext, SteadyClock
from blazeio_supervisor.fleet.facts import Fact, ListenersDead
from blazeio_supervisor.fleet.health import FrozenLadder, LoopWatchdog, cover
from blazeio_supervisor.fleet.notices import FrozenNotices, Notices
from blazeio_supervisor.fleet.policy import Policy
from blazeio_supervisor.fleet.replace import (
    mark_for_recycling,
    note_failures,
    replace_next,
    respawn,
    swap_in_successors,
)
from blazeio_supervisor.fleet.rollout import FrozenRollout, Phase, Rollout
from blazeio_supervisor.fleet.roster import FrozenRoster, Roster
from blazeio_supervisor.fleet.scale import Parking, scale
from blazeio_supervisor.fleet.snapshot import Snapshot, take_snapshot
from blazeio_supervisor.fleet.steer import FrozenSteering, Steering
from blazeio_supervisor.fleet.stop import Stopping
from blazeio_supervisor.fleet.transitions import (
    apply_facts,
    escalate,
    wake_for_deadlines,
)


class FrozenPlanner(msgspec.Struct, frozen=True, kw_only=True):
    """A planner, as the next image of the master takes it over.

    Its policy is made anew from the settings, and no reload is under way.

    Attributes:
        will_park: Parking was asked for.
    """

    roster: FrozenRoster
    clock: FrozenClock
    ladder: FrozenLadder
    steering: FrozenSteering
    rollout: FrozenRollout
    notices: FrozenNotices
    will_park: bool
    is_parked: bool
    next_at: float | None


class Planner:
    """Decides; has no clock, no I/O and no randomness of its own.

    Args:
        policy: Every timeout and threshold.
        slots: How many workers are wanted at first, at least 1.
        rng: For jitter only. The default always draws the same, so a fleet
            of machines should pass its own.

    Attributes:
        policy: As given; another one may be set between two turns.
    """

    def __init__(self, policy: Policy, slots: int, rng: Random | None = None) -> None:
        self.policy = policy
        self._rng = Random(0) if rng is None else rng
        self._clock = SteadyClock(policy.late_tick_s)
        self._roster = Roster(max(slots, 1))
        self._rollout = Rollout()
        self._boot = Boot(self._rollout)
        self._parking = Parking()
        self._stopping = Stopping()
        self._ladder = LoopWatchdog()
        self._steering = Steering()
        self._notices = Notices(
            self._boot, self._rollout, self._parking, self._stopping
        )
        self._next_at: float | None = None
        self._dead_listeners: tuple[str, ...] = ()

    def plan(self, facts: Sequence[Fact], now: float) -> list[Action]:
        """Take the facts, return what to do, in this order.

        Args:
            facts: What happened since the last call, in order; may be empty.
            now: Monotonic seconds.
        """
        if self._stopping.is_over:
            return []
        self._clock.advance(now)
        context = PlanContext(
            now=self._clock.time,
            clock_now=now,
            is_void=self._clock.is_void,
            policy=self.policy,
            roster=self._roster,
            rng=self._rng,
            facts=tuple(facts),
        )
        self._take(context)
        if self._stopping.is_active or self._stopping.is_leaving:
            self._rollout.abort(context, "the service is stopping")
            self._boot.abort(context, "the service is stopping")
        if self._stopping.is_active:
            self._stopping.run(context)
        elif self._stopping.is_leaving:
            self._keep_serving(context)
        elif self._parking.is_active:
            self._rest(context)
        else:
            self._run_duties(context)
        self._notices.run(context)
        wake_for_deadlines(context)
        context.wake(context.now + self.policy.tick_every_s)
        # What was left undone in a void turn is looked at soon, not at once:
        # first the master reads what has come meanwhile.
        pause_s = self.policy.beat_every_s if context.is_void else 0.0
        self._next_at = self._clock.ask(max(context.due_at, context.now + pause_s))
        return context.actions

    def next_deadline_at(self) -> float | None:
        """When ``plan`` must be called again at the latest, monotonic seconds.

        None before the first call and after ``Exit``.
        """
        return None if self._stopping.is_over else self._next_at

    def snapshot(self) -> Snapshot:
        """View the fleet as it was after the last call."""
        return take_snapshot(
            self._roster,
            self._rollout,
            self._steering.weights,
            self._clock.time,
            has_served=self._boot.has_served,
            is_parked=self._parking.is_active,
            will_park=self._parking.is_asked and not self._parking.is_active,
            is_leaving=self._stopping.is_leaving,
            is_stopping=self._stopping.is_active,
            dead_listeners=self._dead_listeners,
        )

    def why_not_freeze(self) -> str:
        """Say what must be over first; "" when it may be frozen now."""
        if self._stopping.is_leaving or self._stopping.is_active:
            return "the service is stopping"
        if not self._boot.has_served:
            return "the service has not started yet"
        return "" if self._rollout.is_idle else "a reload is under way"

    def freeze(self) -> FrozenPlanner:
        """Give all that it knows, for one that goes on in its place."""
        return FrozenPlanner(
            roster=self._roster.freeze(),
            clock=self._clock.freeze(),
            ladder=self._ladder.freeze(),
            steering=self._steering.freeze(),
            rollout=self._rollout.freeze(),
            notices=self._notices.freeze(),
            will_park=self._parking.is_asked,
            is_parked=self._parking.is_active,
            next_at=self._next_at,
        )

    def thaw(self, frozen: FrozenPlanner) -> None:
        """Go on where another one was frozen."""
        self._roster.thaw(frozen.roster)
        self._clock.thaw(frozen.clock)
        self._ladder.thaw(frozen.ladder)
        self._steering.thaw(frozen.steering, self._roster.workers)
        self._rollout.thaw(frozen.rollout)
        self._notices.thaw(frozen.notices)
        self._parking.is_asked = frozen.will_park
        self._parking.is_active = frozen.is_parked
        self._next_at = frozen.next_at
        self._boot.is_asked = self._boot.has_served = True

    def _take(self, context: PlanContext) -> None:
        """Learn what happened; decide whether the service ends."""
        for fact in context.facts:
            apply_facts(context, fact)
            if isinstance(fact, ListenersDead):
                self._dead_listeners = fact.reasons
        escalate(context)
        self._rollout.take(context)
        if not (self._stopping.is_leaving or self._stopping.is_active):
            may_park = self._boot.has_served and self._rollout.is_idle
            self._parking.take(context, may_begin=may_park)
        serves = self._boot.has_served and not self._parking.is_active
        self._stopping.take(context, has_served=serves)
        if not self._stopping.is_active:
            failure = self._boot.run(context)
            if failure is not None:
                self._stopping.fail(context, *exit_of(failure))

    def _run_duties(self, context: PlanContext) -> None:
        if not self._boot.is_asked:
            scale(context)
            return
        self._ladder.run(context)
        swap_in_successors(context)
        scale(context)
        if self._boot.has_served:
            self._rollout.run(context)
        note_failures(context)
        mark_for_recycling(context)
        if self._rollout.may_replace:
            is_idle = self._rollout.phase is Phase.IDLE
            replace_next(context, may_recycle=is_idle)
        respawn(context)
        cover(context)
        self._steering.run(context)

    def _rest(self, context: PlanContext) -> None:
        """Nobody serves; what is in flight is finished."""
        scale(context)
        self._parking.run(context)
        note_failures(context)
        cover(context)
        self._steering.run(context)

    def _keep_serving(self, context: PlanContext) -> None:
        """No new code and no other count; but whoever fails is replaced."""
        self._ladder.run(context)
        swap_in_successors(context)
        note_failures(context)
        respawn(context)
        cover(context)
        self._steering.run(context)
