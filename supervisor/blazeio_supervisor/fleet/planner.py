"""Facts in, actions out: all that the supervisor decides.

One call of ``plan`` is one turn: the facts are applied to the roster, then each
duty compares it with what is wanted, always in the same order. Duties are
level-triggered (what has just changed does not matter), so a message that is late,
lost or doubled costs time, and changes no decision.
"""

from collections.abc import Sequence
from random import Random

from msgspec import Struct, field

from blazeio_supervisor.fleet.actions import Action
from blazeio_supervisor.fleet.canary import Phase
from blazeio_supervisor.fleet.context import (
    PlanContext,
    SteadyClock,
    apply_facts,
    escalate,
    wake_for_deadlines,
)
from blazeio_supervisor.fleet.facts import Fact, ListenersDead
from blazeio_supervisor.fleet.health import (
    LoopWatchdog,
    Steering,
    TaskLease,
    adopt_queues,
)
from blazeio_supervisor.fleet.lifecycle import Lifecycle, Notices, exit_of
from blazeio_supervisor.fleet.policy import Policy
from blazeio_supervisor.fleet.replace import (
    mark_for_recycling,
    note_failures,
    replace_next,
    respawn,
    swap_in_successors,
)
from blazeio_supervisor.fleet.roster import Roster, Slot, WorkerHandle
from blazeio_supervisor.fleet.scale import Autoscale, scale

# The state of the fleet, and the views of it that ``status`` shows.


class WorkerView(Struct, frozen=True):
    """One worker that lives, also one that only drains.

    Attributes:
        state: A value of ``roster.State``.
        age_s: Since its spawn.
        is_late: Its loop was late in the last round, or it still has to show
            its good beats: it gets no new connections.
        retire_reason: Why it will be recycled; "" when it will not.
    """

    worker: int
    slot: int
    generation: int
    pid: int | None
    state: str
    age_s: float
    is_late: bool = False
    retire_reason: str = ""


class SlotView(Struct, frozen=True):
    """One slot.

    Attributes:
        owner: Its wanted worker, None while there is none.
        successor: Boots to take the owner's place.
        adopted_by: Serial number of the worker that has adopted its queue.
        weight: Its share of new connections; 100 is an even one; 0: none, or
            the kernel shares them out.
        failures: In a row; 0 when all is well, or proved to be so again.
        retry_in_s: Backoff left before the next spawn.
        awaits: Serial number of the worker that has to end before the next one
            starts, for lack of memory; until that one serves.
        failed_s: Since the last failure; None without one.
        failure: What that was, in words.
    """

    index: int
    is_parked: bool
    owner: WorkerView | None
    successor: WorkerView | None
    adopted_by: int | None
    weight: int
    failures: int
    retry_in_s: float
    awaits: int | None = None
    failed_s: float | None = None
    failure: str = ""

    @property
    def is_failing(self) -> bool:
        """It has failed, and failed again: another worker did not mend it.

        Who failed once has a new worker at once, and is none of these.
        """
        return self.failures > 1


class Snapshot(Struct, frozen=True):
    """The whole fleet at one moment.

    Attributes:
        generation: The one that new workers are forked from.
        target: The one that a running reload spreads; None without a reload.
        is_parked: No worker serves, until the service is resumed.
        will_park: It shall be parked, when what is under way is over.
        is_leaving: It will drain soon, and serves until then.
        is_stopping: It drains.
        forkservers: Generation and state of each that lives.
        dead_listeners: Those that accept nothing and cannot be recreated, and why.
        task_holder: The worker that runs the tasks that run once; None: nobody does.
        is_scaled_by_hand: The number of workers was ordered by hand.
    """

    generation: int
    phase: Phase
    target: int | None
    has_served: bool
    is_parked: bool
    will_park: bool
    is_leaving: bool
    is_stopping: bool
    slots: tuple[SlotView, ...]
    workers: tuple[WorkerView, ...]
    forkservers: tuple[tuple[int, str], ...]
    dead_listeners: tuple[str, ...] = ()
    task_holder: int | None = None
    is_scaled_by_hand: bool = False

    @property
    def is_ending(self) -> bool:
        """Whether it leaves or drains: nothing new is begun."""
        return self.is_leaving or self.is_stopping

    @property
    def wanted_count(self) -> int:
        """The number of slots that shall serve."""
        return sum(not slot.is_parked for slot in self.slots)

    @property
    def serving_count(self) -> int:
        """The number of those that do."""
        owners = [slot.owner for slot in self.slots if not slot.is_parked]
        return sum(owner is not None and owner.state == "serving" for owner in owners)

    @property
    def is_ready(self) -> bool:
        """Whether a balancer should send connections."""
        return not self.why_not_ready

    @property
    def why_not_ready(self) -> str:
        """Why no balancer should send connections; "" when it should.

        Enough is half of what is wanted: with less, those that serve would break
        down under what all are meant to carry.
        """
        if self.is_stopping:
            return "it drains"
        if self.is_leaving:
            return "it will drain soon"
        if self.is_parked:
            return "it is parked"
        if not self.has_served:
            return "it starts"
        if self.dead_listeners:
            return f"it does not accept: {'; '.join(self.dead_listeners)}"
        if 2 * self.serving_count < self.wanted_count:
            return f"{self.serving_count} of {self.wanted_count} workers serve"
        return ""


class FleetState(Lifecycle, kw_only=True):
    """All that the planner knows. Values only, so that the next image can go on.

    Attributes:
        autoscale: How many workers there shall be, by their load.
        dead_listeners: Those that accept nothing and cannot be recreated, and why.
        lease: Which worker runs the tasks that run once.
        next_at: When ``plan`` must be called again, monotonic seconds.
    """

    roster: Roster
    clock: SteadyClock = field(default_factory=SteadyClock)
    watchdog: LoopWatchdog = field(default_factory=LoopWatchdog)
    steering: Steering = field(default_factory=Steering)
    notices: Notices = field(default_factory=Notices)
    autoscale: Autoscale = field(default_factory=Autoscale)
    dead_listeners: tuple[str, ...] = ()
    lease: TaskLease = field(default_factory=TaskLease)
    next_at: float | None = None


def take_snapshot(state: FleetState) -> Snapshot:
    """View everything as it is now."""
    roster, rollout, now = state.roster, state.rollout, state.clock.time
    weights = state.steering.weights  # none before the first steering
    padded = weights + (0,) * len(roster.slots)
    return Snapshot(
        generation=roster.generation,
        phase=rollout.phase,
        target=None if rollout.phase is Phase.IDLE else rollout.target,
        has_served=state.boot.has_served,
        is_parked=state.parking.is_active,
        will_park=state.parking.is_asked and not state.parking.is_active,
        is_leaving=state.stopping.is_leaving,
        is_stopping=state.stopping.is_active,
        dead_listeners=state.dead_listeners,
        task_holder=state.lease.holder,
        is_scaled_by_hand=state.autoscale.is_fixed,
        slots=tuple(_view_slot(s, padded[s.index], now) for s in roster.slots),
        workers=tuple(_view_worker(w, now) for w in roster.workers.values()),
        forkservers=tuple(
            (f.generation, f.state.value) for f in roster.forkservers.values()
        ),
    )


def _view_slot(slot: Slot, weight: int, now: float) -> SlotView:
    return SlotView(
        index=slot.index,
        is_parked=slot.is_parked,
        owner=None if slot.owner is None else _view_worker(slot.owner, now),
        successor=None if slot.successor is None else _view_worker(slot.successor, now),
        adopted_by=None if slot.adopter is None else slot.adopter.worker,
        weight=weight,
        failures=slot.backoff.failures,
        retry_in_s=max(0.0, slot.backoff.next_at - now),
        awaits=slot.awaits,
        failed_s=None if slot.failed_at is None else now - slot.failed_at,
        failure=slot.failure,
    )


def _view_worker(handle: WorkerHandle, now: float) -> WorkerView:
    return WorkerView(
        worker=handle.worker,
        slot=handle.slot,
        generation=handle.generation,
        pid=handle.pid,
        state=handle.state.value,
        age_s=now - handle.spawned_at,
        is_late=handle.health.is_late or handle.health.is_avoided,
        retire_reason=handle.retire_reason,
    )


# One turn.


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
            self._scale(context)
            return
        state.watchdog.run(context)
        swap_in_successors(context)
        self._scale(context, by_load=state.boot.has_served and state.rollout.is_idle)
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

    def _scale(self, context: PlanContext, *, by_load: bool = False) -> None:
        """Scale by hand, and by load: that has to know of each order by hand."""
        self.state.autoscale.run(context, may_move=by_load)
        scale(context)

    def _run_parked(self, context: PlanContext) -> None:
        """Nobody serves; what is in flight is finished."""
        self._scale(context)
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
