"""Facts in, actions out: all that the supervisor decides.

One call of ``plan`` is one turn: the facts are applied to the roster, then each
duty compares it with what is wanted, always in the same order. Duties are
level-triggered (what has just changed does not matter), so a message that is late,
lost or doubled costs time, and changes no decision.
"""

from collections.abc import Sequence
from random import Random

from blazeio_supervisor.fleet.actions import Action
from blazeio_supervisor.fleet.canary import Phase
from blazeio_supervisor.fleet.context import PlanContext
from blazeio_supervisor.fleet.facts import Fact, ListenersDead
from blazeio_supervisor.fleet.health import adopt_queues
from blazeio_supervisor.fleet.lifecycle import exit_of
from blazeio_supervisor.fleet.policy import Policy
from blazeio_supervisor.fleet.replace import (
    mark_for_recycling,
    note_failures,
    replace_next,
    respawn,
    swap_in_successors,
)
from blazeio_supervisor.fleet.roster import Roster
from blazeio_supervisor.fleet.scale import scale
from blazeio_supervisor.fleet.snapshot import FleetState, Snapshot, take_snapshot
from blazeio_supervisor.fleet.transitions import (
    apply_facts,
    escalate,
    wake_for_deadlines,
)


class Planner:
    """Decides what the master does; it has no clock, no I/O and no randomness.

    Args:
        policy: Every timeout and threshold.
        slots: How many workers are wanted at first, at least 1.
        rng: For jitter only. The default always draws the same, so a fleet
            of machines should pass its own.
        state: Of a planner in whose place this one goes on; None: nothing is known.

    Attributes:
        policy: As given; another one may be set between two turns.
        state: All that is known; it may be written down between two turns.
    """

    def __init__(
        self,
        policy: Policy,
        slots: int,
        rng: Random | None = None,
        state: FleetState | None = None,
    ) -> None:
        self.policy = policy
        self._rng = Random(0) if rng is None else rng
        roster = Roster.with_slots(max(slots, 1))
        self.state = state or FleetState(roster=roster)

    def plan(self, facts: Sequence[Fact], now: float) -> list[Action]:
        """Take the facts, return what to do, in this order.

        Args:
            facts: What happened since the last call, in order; may be empty.
            now: Monotonic seconds.
        """
        state = self.state
        if state.stopping.is_over:
            return []
        state.clock.advance(now, self.policy.late_tick_s)
        state.watchdog.is_at_rest = False
        context = PlanContext(
            now=state.clock.time,
            clock_now=now,
            is_void=state.clock.is_void,
            policy=self.policy,
            roster=state.roster,
            rng=self._rng,
            facts=tuple(facts),
        )
        # The order of the duties is part of what is decided: facts first, then what
        # ends the service, then what replaces, then what fills the gaps, and the queues
        # and weights last, since they follow from who serves after all that.
        self._apply_facts(context)
        if state.stopping.is_active or state.stopping.is_leaving:
            state.rollout.abort(context, "the service is stopping")
            state.boot.abort(context, "the service is stopping")
        if state.stopping.is_active:
            state.stopping.run(context)
        elif state.stopping.is_leaving:
            self._keep_serving(context)
        elif state.parking.is_active:
            self._run_parked(context)
        else:
            self._run_duties(context)
        # In each state of the service: also one that is parked or drains has to take
        # the lease back.
        state.lease.run(context)
        state.notices.run(context, state)
        wake_for_deadlines(context)
        context.wake(context.now + self.policy.tick_every_s)
        # What was left undone in a void turn is looked at soon, not at once:
        # first the master reads what has come meanwhile.
        pause_s = self.policy.beat_every_s if context.is_void else 0.0
        state.next_at = state.clock.ask(max(context.due_at, context.now + pause_s))
        return context.actions

    @property
    def is_at_rest(self) -> bool:
        """Whether nothing is to be done before the next deadline.

        But for what is told, and unless a worker no longer rests.
        """
        return self.state.watchdog.is_at_rest

    def next_deadline_at(self) -> float | None:
        """When ``plan`` must be called again at the latest, monotonic seconds.

        None before the first call and after ``Exit``.
        """
        return None if self.state.stopping.is_over else self.state.next_at

    def snapshot(self) -> Snapshot:
        """View the fleet as it was after the last call."""
        return take_snapshot(self.state)

    def why_not_upgrade(self) -> str:
        """Return what must be over before an upgrade; "" when nothing must."""
        state = self.state
        if state.stopping.is_leaving or state.stopping.is_active:
            return "the service is stopping"
        if not state.boot.has_served:
            return "the service has not started yet"
        if state.rollout.is_held:
            return "the code before the last reload is still kept"
        return "" if state.rollout.is_idle else "a reload is under way"

    @property
    def wants_spans(self) -> bool:
        """Whether beats shall say how long responses took, and what fails."""
        return self.policy.has_budget and not self.state.rollout.is_idle

    @property
    def wants_load(self) -> bool:
        """Whether to tell what each worker has to do."""
        return self.policy.most_workers is not None

    @property
    def wants_memory(self) -> bool:
        """Whether to tell soon how much memory is free, and not now and then."""
        workers = self.state.roster.workers.values()
        is_recycling = any(handle.retire_reason for handle in workers)
        return self.wants_load or is_recycling or not self.state.rollout.is_idle

    @property
    def is_held(self) -> bool:
        """Whether the code before the last reload is still kept: soon it is not."""
        return self.state.rollout.is_held

    def _apply_facts(self, context: PlanContext) -> None:
        """Apply the facts; decide whether the service ends."""
        state = self.state
        for fact in context.facts:
            apply_facts(context, fact)
            if isinstance(fact, ListenersDead):
                state.dead_listeners = fact.reasons
        escalate(context)
        state.rollout.take(context)
        if not (state.stopping.is_leaving or state.stopping.is_active):
            may_park = state.boot.has_served and state.rollout.is_idle
            state.parking.take(context, may_begin=may_park)
        serves = state.boot.has_served and not state.parking.is_active
        state.stopping.take(context, has_served=serves)
        state.stopping.end_on_oom(context)
        if not state.stopping.is_active:
            failure = state.boot.run(context, state.rollout)
            if failure is not None:
                state.stopping.fail(context, *exit_of(failure))

    def _run_duties(self, context: PlanContext) -> None:
        state = self.state
        if not state.boot.is_asked:
            scale(context)
            return
        state.watchdog.run(context)
        swap_in_successors(context)
        may_move = state.boot.has_served and state.rollout.is_idle
        state.autoscale.run(context, may_move=may_move)
        scale(context)
        if state.boot.has_served:
            state.rollout.run(context)
        note_failures(context)
        mark_for_recycling(context)
        if state.rollout.may_replace:
            is_idle = state.rollout.phase is Phase.IDLE
            replace_next(context, may_recycle=is_idle)
        respawn(context, reserved=state.rollout.find_reserved(context))
        adopt_queues(context)
        state.steering.run(context)

    def _run_parked(self, context: PlanContext) -> None:
        """Nobody serves; what is in flight is finished."""
        scale(context)
        self.state.parking.run(context)
        note_failures(context)
        adopt_queues(context)
        self.state.steering.run(context)

    def _keep_serving(self, context: PlanContext) -> None:
        """No new code and no other count; but whoever fails is replaced."""
        self.state.watchdog.run(context)
        swap_in_successors(context)
        note_failures(context)
        respawn(context)
        adopt_queues(context)
        self.state.steering.run(context)
