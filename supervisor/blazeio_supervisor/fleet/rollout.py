"""Reload as a transaction: all slots on the new code, or all on the old.

::

    IDLE -> IMPORTING -> CANARY, CHECKING, PROBATION -> ROLLING -> HOLDING -> IDLE
                |                    |                     |          |
                '---------+----------'                     '----+-----'
                          v                                     v
              nothing old was touched:                    ROLLING_BACK
              end what is new, IDLE                          -> IDLE

Whoever has asked is answered when every slot serves the new code. The old
forkserver lives until every new worker has held for ``hold_s`` after that: it is the
way back, and a return is an event. Whoever asks again before the canary is ready
supersedes: the reload begins anew, and ends for all who have asked. Later it waits,
and all who wait share the next reload.

A forkserver that dies unasked is replaced by the same path, without tickets:
new code is never spread without a canary.
"""

from msgspec import Struct, field

from blazeio_supervisor.errors import asked_for
from blazeio_supervisor.fleet.actions import (
    ReloadEnded,
    ReloadUndone,
    ReportStatus,
)
from blazeio_supervisor.fleet.canary import (
    Canary,
    ErrorBudget,
    Phase,
    has_proven,
    is_blocked,
    is_time,
)
from blazeio_supervisor.fleet.context import (
    Failure,
    PlanContext,
    start_forkserver,
    step_forkserver,
    step_worker,
)
from blazeio_supervisor.fleet.facts import ReloadAsked
from blazeio_supervisor.fleet.health import find_standstill
from blazeio_supervisor.fleet.policy import Backoff
from blazeio_supervisor.fleet.replace import awaits_reading, is_vacated, make_room
from blazeio_supervisor.fleet.roster import Event, Slot, WorkerHandle

_BEFORE_READY = frozenset({Phase.IMPORTING, Phase.CANARY})
_UNTOUCHED = _BEFORE_READY | {Phase.CHECKING, Phase.PROBATION}
_FORWARD = _UNTOUCHED | {Phase.ROLLING, Phase.HOLDING}
_ON_TRIAL = frozenset({Phase.PROBATION, Phase.ROLLING, Phase.HOLDING})
_REPLACING = frozenset({Phase.IDLE, Phase.ROLLING, Phase.ROLLING_BACK})
# Not the hold: then the last worker is there, and all that is left is to wait.
_BOUNDED = _UNTOUCHED | {Phase.ROLLING, Phase.ROLLING_BACK}


class Rollout(Struct):
    """The one reload that runs, and those who wait for the next.

    Attributes:
        target: The generation that it spreads.
        previous: The generation that it can go back to.
        failure: Why the last one came to nothing; "" once one succeeds.
        step: Where it is; during the trial ``canary.phase`` says it.
        canary: The trial, in its three phases.
        asked: Who has asked for it.
        superseded: Who had asked for it before it began anew.
        waiting: Those who have asked for the next one.
        held_at: When the hold is over, steady time.
        proven_from: When the hold may be over earlier, steady time.
        error_share: The share of 5xx among the answers of the code before.
        deadline_at: When the reload, or the way back, must be over.
        reason: Why it is rolled back.
        is_unasked: It replaces a forkserver that has died; nobody has asked for it.
        has_served: Every slot has served the new code, and who has asked knows it.
        has_made_room: The old worker of slot 0 had to end before the canary.
        backoff: The failures of reloads that nobody has asked for.
        budget: Compares the new code with the old; None: it is not asked for, or the
            new code does not serve yet.
    """

    target: int = 0
    previous: int = 0
    failure: str = ""
    step: Phase = Phase.IDLE
    canary: Canary | None = None
    asked: list[ReloadAsked] = field(default_factory=list)
    superseded: list[ReloadAsked] = field(default_factory=list)
    waiting: list[ReloadAsked] = field(default_factory=list)
    held_at: float = 0.0
    proven_from: float = 0.0
    error_share: float = 0.0
    deadline_at: float = 0.0
    reason: str = ""
    is_unasked: bool = False
    has_served: bool = False
    has_made_room: bool = False
    backoff: Backoff = field(default_factory=Backoff)
    budget: ErrorBudget | None = None

    @property
    def phase(self) -> Phase:
        """Where it is."""
        return self.step if self.canary is None else self.canary.phase

    @property
    def is_idle(self) -> bool:
        """Whether no reload runs or waits."""
        return self.phase is Phase.IDLE and not self.waiting

    def find_reserved(self, context: PlanContext) -> Slot | None:
        """Return the slot whose worker made room for the canary, during its trial."""
        is_tried = self.has_made_room and self.phase in _UNTOUCHED
        return context.roster.slots[0] if is_tried else None

    @property
    def is_unanswered(self) -> bool:
        """Whether a reload runs of which nobody has been told yet how it ends."""
        return self.phase is not Phase.IDLE and not self.has_served

    @property
    def is_held(self) -> bool:
        """Whether nothing is left of a reload but the way back, which is kept."""
        return self.phase is Phase.HOLDING and not self.waiting

    @property
    def is_asked(self) -> bool:
        """Whether a reload was asked for that has not begun."""
        return bool(self.waiting)

    @property
    def may_replace(self) -> bool:
        """Whether slots may get successors now."""
        return self.phase in _REPLACING

    def take(self, context: PlanContext) -> None:
        """Note who asks for a reload."""
        self.waiting += [
            fact for fact in context.facts if isinstance(fact, ReloadAsked)
        ]

    def hand_over(self) -> list[ReloadAsked]:
        """Return who waits; the caller answers them."""
        asked, self.waiting = self.waiting, []
        return asked

    def abort(self, context: PlanContext, reason: str) -> None:
        """End the reload for all who asked, since the service ends; stop the canary."""
        self.asked += self.hand_over()
        self._answer(context, reason)
        if self.canary is not None:
            self.canary.discard(context)
        self.step, self.canary = Phase.IDLE, None

    def run(self, context: PlanContext) -> None:
        """Go on as far as the facts allow."""
        # What goes wrong comes first: a target that failed in this turn must not be
        # promoted in it.
        reason = self._claim_failures(context)
        if not reason and self._is_overdue(context):
            reason = self._describe_delay(context)
        reason = reason or self._judge(context) or self._find_standstill(context)
        if reason:
            self._fail(context, reason)
        elif self.waiting and self.phase in _BEFORE_READY:
            self._supersede(context)
        # Several phases may be over in one turn: with a fast import and no hold nothing
        # but these steps would be waited for.
        before = None
        while before is not self.phase:
            before = self.phase
            self._go_on(context)
        if self.phase in _BOUNDED:
            context.wake(self.deadline_at)

    def _go_on(self, context: PlanContext) -> None:
        if self.canary is not None:
            self._try_canary(context, self.canary)
            return
        match self.step:
            case Phase.IDLE:
                self._start(context)
            case Phase.IMPORTING:
                self._import(context)
            case Phase.ROLLING:
                self._roll(context)
            case Phase.HOLDING:
                self._hold(context)
            case _:
                self._roll_back_on(context)

    # The way forward

    def _start(self, context: PlanContext) -> None:
        """Begin when a reload was asked for, or when no forkserver is left."""
        if not self.waiting:
            if context.roster.generation in context.roster.forkservers:
                return
            if self.backoff.next_at > context.now:
                context.wake(self.backoff.next_at)
                return
        self.asked = asked = self.hand_over()
        self.is_unasked, self.budget = not asked, None
        self.has_served = self.has_made_room = False
        self.previous = context.roster.generation
        self.target = context.roster.next_generation()
        self.deadline_at = context.now + context.policy.rollout_timeout_s
        why = asked_for(asked[-1].by) if asked else "what forked the workers is gone"
        context.report("reloading", f"loading generation {self.target}: {why}")
        self.step = Phase.IMPORTING

    def _import(self, context: PlanContext) -> None:
        """Wait for discarded forkservers first: never more than two live."""
        roster = context.roster
        if self.target not in roster.forkservers:
            if all(generation == self.previous for generation in roster.forkservers):
                ticket = self.asked[-1].ticket if self.asked else None
                start_forkserver(context, self.target, ticket)
        elif roster.can_fork(self.target):
            self._try_first(context, roster.slots[0])

    def _try_first(self, context: PlanContext, slot: Slot) -> None:
        """Start the canary, once nothing else is replaced and there is room for it."""
        roster = context.roster
        if self.has_made_room:
            if is_vacated(context, slot):
                self.canary = Canary.begin(context, self.target)
        elif not (
            roster.has_successor()
            or roster.is_making_room(context.now)
            or awaits_reading(context)
        ):
            self.has_made_room = make_room(context, slot)
            if not self.has_made_room:
                self.canary = Canary.begin(context, self.target)

    def _try_canary(self, context: PlanContext, canary: Canary) -> None:
        canary.run(context)
        if canary.phase is Phase.PROBATION and self.budget is None:
            self.budget = ErrorBudget(self.target, context.now)
        if canary.reason:
            self._fail(context, canary.reason)
        elif canary.has_passed:
            canary.promote(context)
            self.canary, self.error_share = None, canary.error_share
            # From here on each worker that has to be forked runs the new code: also one
            # that dies while its slot waits to be replaced.
            self._spread(context, self.target)
            self.step = Phase.ROLLING

    def _roll(self, context: PlanContext) -> None:
        owners = [slot.owner for slot in context.roster.active()]
        if all(o and o.is_serving and o.generation == self.target for o in owners):
            self.step = Phase.HOLDING
            self.held_at = context.now + context.policy.hold_s
            self.proven_from = context.now + context.policy.least_hold_s
            self._note_served(context)

    def _note_served(self, context: PlanContext) -> None:
        """Answer: the new code serves everywhere, and can still be taken back."""
        self.has_served = True
        text = f"generation {self.target} serves in every slot"
        way_back_s = context.policy.hold_s
        if way_back_s and context.roster.can_fork(self.previous):
            text += (
                f"; generation {self.previous} is kept for {way_back_s:g} s at most, "
                "and comes back if this one fails"
            )
        else:
            way_back_s = 0.0
        context.report("reloaded", text)
        self._answer(context, way_back_s=way_back_s)

    def _hold(self, context: PlanContext) -> None:
        if self._is_held_enough(context) or self._is_proven(context):
            # Only now: with the forkserver the way back is gone.
            self._stop_forkserver(context, self.previous)
            self._end(context)

    def _is_held_enough(self, context: PlanContext) -> bool:
        """Whether all have held; a blocked one is ended some day, and then it fails.

        So may one that still boots, in a slot that was opened meanwhile. Who asks for
        the next reload does not wait for that.
        """
        owners = [slot.owner for slot in context.roster.active() if slot.owner]
        is_open = any(not o.is_serving or is_blocked(context, o) for o in owners)
        return is_time(context, self.held_at) and bool(self.waiting or not is_open)

    def _is_proven(self, context: PlanContext) -> bool:
        return is_time(context, self.proven_from) and all(
            slot.owner is not None
            and has_proven(slot.owner, context.policy, self.error_share)
            for slot in context.roster.active()
        )

    # What goes wrong

    def _judge(self, context: PlanContext) -> str:
        """Return why the new code is worse than the old; "" while it is not."""
        is_due = self.phase in _ON_TRIAL and context.policy.has_budget
        if self.budget is None or not is_due or context.is_void:
            return ""
        self.budget.take(context.roster)
        return self.budget.judge(context.policy, context.now)

    def _find_standstill(self, context: PlanContext) -> str:
        """Return that the new workers hang, as long as there is a way back."""
        return find_standstill(context) if self.phase is Phase.HOLDING else ""

    def _is_overdue(self, context: PlanContext) -> bool:
        return self.phase in _BOUNDED and context.has_come(self.deadline_at)

    def _describe_delay(self, context: PlanContext) -> str:
        owners = [slot.owner for slot in context.roster.active()]
        target = context.roster.generation
        count = sum(1 for o in owners if o and o.is_serving and o.generation == target)
        where = str(self.phase).replace("_", " ")
        if self.phase in _REPLACING:
            where = f"{where}, {count} of {len(owners)} slots done"
        span_s = context.policy.rollout_timeout_s
        return f"not done within {span_s:g} s (--rollout-timeout): still {where}"

    def _claim_failures(self, context: PlanContext) -> str:
        """Mark the failures of the target as those of this reload; return the first."""
        ours = [failure for failure in context.failures if self._is_ours(failure)]
        for failure in ours:
            failure.is_of_reload = True
        return ours[0].sentence if ours else ""

    def _is_ours(self, failure: Failure) -> bool:
        # On the way back a worker of the old code that fails is respawned like any
        # other. Only without its forkserver is there no way back at all.
        if self.phase is Phase.ROLLING_BACK:
            is_forkserver = not isinstance(failure.who, WorkerHandle)
            return is_forkserver and failure.who.generation == self.previous
        return self.phase in _FORWARD and failure.who.generation == self.target

    def _fail(self, context: PlanContext, reason: str) -> None:
        if self.phase in _UNTOUCHED:
            self._discard(context)
            self._end(context, reason)
        elif self.phase is Phase.ROLLING_BACK:
            self._end(context, f"{self.reason}; the way back: {reason}")
        elif context.roster.can_fork(self.previous):
            self._roll_back(context, reason)
        else:
            self._end(
                context, f"{reason}; no way back: what forked the old workers is gone"
            )

    def _discard(self, context: PlanContext) -> None:
        """Stop all that is new; no old worker was stopped yet."""
        if self.canary is not None:
            self.canary.discard(context)
            self.canary = None
        self._stop_forkserver(context, self.target)

    def _supersede(self, context: PlanContext) -> None:
        self._discard(context)
        for asked in self.asked:
            text = (
                f"the reload that {asked.by} asked for is overtaken by "
                f"{self.waiting[0].by}"
            )
            context.act(ReportStatus("reload_superseded", text, generation=self.target))
        # They are answered at the end of the reload that has taken the place of theirs.
        self.superseded += self.asked
        self.asked = []
        self.step = Phase.IDLE

    def _roll_back(self, context: PlanContext, reason: str) -> None:
        text = (
            f"generation {self.target} fails, going back to {self.previous}: {reason}"
        )
        context.report("rolling_back", text, "ERROR")
        self.reason = reason
        self._spread(context, self.previous)
        self._stop_forkserver(context, self.target)
        self.step = Phase.ROLLING_BACK
        self.deadline_at = context.now + context.policy.rollout_timeout_s

    def _roll_back_on(self, context: PlanContext) -> None:
        owners = [slot.owner for slot in context.roster.active() if slot.owner]
        if all(owner.generation == self.previous for owner in owners):
            self._end(context, f"{self.reason}; rolled back")

    # How it ends

    def _end(self, context: PlanContext, reason: str = "") -> None:
        self.failure = reason
        if not reason:
            self.backoff.reset()
        elif self.is_unasked:
            self.backoff.fail(context.now, context.policy, context.rng)
        if reason:
            self._report_failure(context, reason)
        self.step = Phase.IDLE

    def _report_failure(self, context: PlanContext, reason: str) -> None:
        kept = context.roster.generation
        if self.has_served:
            text = f"generation {self.target} was taken back, {kept} serves: {reason}"
            context.report("rolled_back", text, "ERROR")
            context.act(ReloadUndone(self.target))
            return
        text = f"generation {self.target} was not taken, {kept} goes on: {reason}"
        if kept == self.target:  # which has no way back
            text = f"generation {self.target} does not serve in every slot: {reason}"
        context.report("reload_failed", text, "ERROR")
        self._answer(context, reason, is_reported=True)

    def _answer(
        self,
        context: PlanContext,
        reason: str = "",
        *,
        way_back_s: float = 0.0,
        is_reported: bool = False,
    ) -> None:
        superseded = tuple(each.ticket for each in self.superseded)
        tickets = superseded + tuple(each.ticket for each in self.asked)
        if tickets:
            ended = ReloadEnded(
                tickets,
                self.target,
                not reason,
                reason,
                superseded,
                is_reported=is_reported,
                way_back_s=way_back_s,
            )
            context.act(ended)
        self.asked, self.superseded = [], []

    def _spread(self, context: PlanContext, generation: int) -> None:
        """Fork from this generation from now on; stop what boots of another."""
        context.roster.generation = generation
        for slot in context.roster.slots:
            for handle in (slot.successor, slot.owner):
                if handle is not None and not handle.is_serving:
                    step_worker(context, handle, Event.DRAIN)

    def _stop_forkserver(self, context: PlanContext, generation: int) -> None:
        forkserver = context.roster.forkservers.get(generation)
        if forkserver is not None:
            step_forkserver(context, forkserver, Event.DRAIN)
