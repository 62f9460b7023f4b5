"""Reload as a transaction: all slots on the new code, or all on the old.

::

    IDLE -> IMPORTING -> CANARY -> [CHECKING] -> PROBATION -> ROLLING -> HOLDING
              |            |          |             |            |          |
              '------------'----------'-------------'            '----------'
                              v                                       v
                       nothing was touched:                     ROLLING_BACK
                       end what is new, IDLE                       -> IDLE

The canary boots in slot 0 and serves beside its old worker for
``canary_hold_s``; only then is the first old worker told to drain. The old
forkserver lives until every new worker has held for ``hold_s`` after the last
slot was replaced: it is the way back. Whoever asks again before the canary is
ready supersedes; later it waits, and all who wait share the next reload.

A forkserver that dies unasked is replaced by the same path, without tickets:
new code is never spread without a canary.

May import: the words of the fleet, the lives, the turn, exit words.
"""

from enum import StrEnum

from blazeio_supervisor.fleet.actions import CheckHealth, ReloadEnded
from blazeio_supervisor.fleet.backoff import Backoff
from blazeio_supervisor.fleet.facts import HealthChecked, ReloadAsked
from blazeio_supervisor.fleet.lives import (
    admit,
    spawn,
    start_forkserver,
    step_forkserver,
    step_worker,
)
from blazeio_supervisor.fleet.roster import WorkerHandle
from blazeio_supervisor.fleet.turn import Failure, Turn
from blazeio_supervisor.fleet.worker_state import Event, State


class Phase(StrEnum):
    """Where the transaction is."""

    IDLE = "idle"
    IMPORTING = "importing"
    CANARY = "canary"
    CHECKING = "checking"
    PROBATION = "probation"
    ROLLING = "rolling"
    HOLDING = "holding"
    ROLLING_BACK = "rolling_back"


_BEFORE_READY = frozenset({Phase.IMPORTING, Phase.CANARY})
_UNTOUCHED = _BEFORE_READY | {Phase.CHECKING, Phase.PROBATION}
_FORWARD = _UNTOUCHED | {Phase.ROLLING, Phase.HOLDING}


class Rollout:
    """The one reload that runs, and the tickets that wait for the next.

    Attributes:
        phase: Where it is.
        target: The generation that it spreads.
        previous: The generation that it can go back to.
        canary: The first worker of the target until it owns slot 0.
    """

    def __init__(self) -> None:
        self.phase = Phase.IDLE
        self.target = 0
        self.previous = 0
        self.canary: WorkerHandle | None = None
        self._tickets: list[int] = []
        self._waiting: list[int] = []
        self._until = 0.0  # of a hold, or for the health answer
        self._deadline_at = 0.0  # of the whole
        self._reason = ""  # of the rollback
        self._backoff = Backoff()  # of reloads that nobody asked for

    @property
    def may_replace(self) -> bool:
        """Whether slots may get successors now."""
        return self.phase in {Phase.IDLE, Phase.ROLLING, Phase.ROLLING_BACK}

    def take(self, turn: Turn) -> None:
        """Note who asks for a reload."""
        asked = [fact.ticket for fact in turn.facts if isinstance(fact, ReloadAsked)]
        self._waiting.extend(asked)

    def abort(self, turn: Turn, reason: str) -> None:
        """Answer every ticket: the service ends. Others end the processes."""
        self._tickets += self._waiting
        self._waiting = []
        self._answer(turn, reason)
        self.phase, self.canary = Phase.IDLE, None

    def run(self, turn: Turn) -> None:
        """Go on as far as the facts allow."""
        reason = self._claim_failures(turn)
        if reason is None and self._is_overdue(turn):
            reason = f"not done within {turn.policy.rollout_timeout_s:g} s"
        if reason is not None:
            self._fail(turn, reason)
        elif self._waiting and self.phase in _BEFORE_READY:
            self._supersede(turn)
        before = None
        while before is not self.phase:
            before = self.phase
            self._STEPS[self.phase](self, turn)
        if self.phase is not Phase.IDLE:
            turn.wake(self._deadline_at)

    # What goes wrong

    def _is_overdue(self, turn: Turn) -> bool:
        is_late = self._deadline_at <= turn.now and not turn.is_void
        return self.phase is not Phase.IDLE and is_late

    def _claim_failures(self, turn: Turn) -> str | None:
        """Answer for what failed of the target; return the first reason."""
        reasons = []
        for failure in turn.failures:
            if self._is_ours(failure):
                failure.is_forgiven = True
                reasons.append(f"{failure.who}: {failure.reason}")
        return reasons[0] if reasons else None

    def _is_ours(self, failure: Failure) -> bool:
        if self.phase is Phase.ROLLING_BACK:
            is_forkserver = not isinstance(failure.who, WorkerHandle)
            return is_forkserver and failure.who.generation == self.previous
        return self.phase in _FORWARD and failure.who.generation == self.target

    def _fail(self, turn: Turn, reason: str) -> None:
        if self.phase in _UNTOUCHED:
            self._discard(turn)
            self._end(turn, reason)
        elif self.phase is Phase.ROLLING_BACK:
            self._end(turn, f"{self._reason}; the way back: {reason}")
        elif turn.roster.can_fork(self.previous):
            self._roll_back(turn, reason)
        else:
            self._end(turn, f"{reason}; no way back: the old forkserver is gone")

    def _discard(self, turn: Turn) -> None:
        """End all that is new; no old worker was touched yet."""
        if self.canary is not None:
            step_worker(turn, self.canary, Event.DRAIN)
            self.canary = None
        self._stop_forkserver(turn, self.target)

    def _supersede(self, turn: Turn) -> None:
        self._discard(turn)
        self._answer(turn, "superseded")
        self.phase = Phase.IDLE

    def _roll_back(self, turn: Turn, reason: str) -> None:
        turn.report("rolling_back", f"reload failed: {reason}; going back", "ERROR")
        self._reason = reason
        self._spread(turn, self.previous)
        self._stop_forkserver(turn, self.target)
        self._go(turn, Phase.ROLLING_BACK)
        self._deadline_at = turn.now + turn.policy.rollout_timeout_s

    # How it ends

    def _end(self, turn: Turn, reason: str = "") -> None:
        if reason:
            text = f"generation {self.target} was not taken: {reason}"
            turn.report("reload_failed", text, "ERROR")
            if not self._tickets:
                self._backoff.fail(turn.now, turn.policy, turn.rng)
        else:
            text = f"generation {self.target} serves in every slot"
            turn.report("reloaded", text)
            self._backoff.reset()
        self._answer(turn, reason)
        self._go(turn, Phase.IDLE)

    def _answer(self, turn: Turn, reason: str) -> None:
        for ticket in self._tickets:
            turn.act(ReloadEnded(ticket, not reason, reason))
        self._tickets = []

    # The steps, one for each phase; each may go on to the next

    def _start(self, turn: Turn) -> None:
        if not self._waiting:
            if turn.roster.generation in turn.roster.forkservers:
                return
            if self._backoff.next_at > turn.now:
                turn.wake(self._backoff.next_at)
                return
        self._tickets, self._waiting = self._waiting, []
        self.previous = turn.roster.generation
        self.target = turn.roster.next_generation()
        self._deadline_at = turn.now + turn.policy.rollout_timeout_s
        why = "asked for" if self._tickets else "its forkserver is gone"
        turn.report("reloading", f"loading generation {self.target}: {why}")
        self._go(turn, Phase.IMPORTING)

    def _import(self, turn: Turn) -> None:
        """Wait for discarded forkservers first: never more than two live."""
        roster = turn.roster
        if self.target not in roster.forkservers:
            if all(generation == self.previous for generation in roster.forkservers):
                start_forkserver(turn, self.target)
        elif roster.can_fork(self.target) and not roster.is_replacing():
            slot = roster.slots[0]
            is_gated = turn.policy.has_health_check
            self.canary = spawn(turn, slot, self.target, is_canary=is_gated)
            self._go(turn, Phase.CANARY)

    def _await_canary(self, turn: Turn) -> None:
        canary = self._the_canary()
        if canary.state is State.STANDBY:
            turn.act(CheckHealth(canary.worker))
            self._go(turn, Phase.CHECKING, turn.policy.health_timeout_s)
        elif canary.is_serving:
            self._go(turn, Phase.PROBATION, turn.policy.canary_hold_s)

    def _await_health(self, turn: Turn) -> None:
        canary = self._the_canary()
        for fact in turn.facts:
            if isinstance(fact, HealthChecked) and fact.worker == canary.worker:
                self._judge_health(turn, canary, fact)
                return
        if self._has_waited(turn):
            self._fail(turn, "no answer from the health path")

    def _judge_health(
        self, turn: Turn, canary: WorkerHandle, fact: HealthChecked
    ) -> None:
        if fact.is_healthy:
            admit(turn, canary)
            self._go(turn, Phase.PROBATION, turn.policy.canary_hold_s)
        else:
            self._fail(turn, f"{canary}: unhealthy: {fact.reason}")

    def _await_probation(self, turn: Turn) -> None:
        """Hold, unless nothing else serves: then nothing is at stake."""
        has_others = any(True for _ in turn.roster.serving())
        if has_others and not self._has_waited(turn):
            return
        slot, canary = turn.roster.slots[0], self._the_canary()
        old, slot.owner, self.canary = slot.owner, canary, None
        if old is not None:
            step_worker(turn, old, Event.DRAIN)
        self._spread(turn, self.target)
        self._go(turn, Phase.ROLLING)

    def _roll(self, turn: Turn) -> None:
        owners = [slot.owner for slot in turn.roster.active()]
        if all(o and o.is_serving and o.generation == self.target for o in owners):
            self._go(turn, Phase.HOLDING, turn.policy.hold_s)

    def _hold(self, turn: Turn) -> None:
        if self._has_waited(turn):
            self._stop_forkserver(turn, self.previous)
            self._end(turn)

    def _roll_on_back(self, turn: Turn) -> None:
        owners = [slot.owner for slot in turn.roster.slots if slot.owner]
        if all(owner.generation == self.previous for owner in owners):
            self._end(turn, f"{self._reason}; rolled back")

    # Small things

    def _the_canary(self) -> WorkerHandle:
        if self.canary is None:  # pragma: no cover
            raise AssertionError(f"no canary in phase {self.phase}")
        return self.canary

    def _go(self, turn: Turn, phase: Phase, wait_s: float = 0.0) -> None:
        self.phase, self._until = phase, turn.now + wait_s

    def _has_waited(self, turn: Turn) -> bool:
        turn.wake(self._until)
        return self._until <= turn.now and not turn.is_void

    def _spread(self, turn: Turn, generation: int) -> None:
        """Fork from this one from now on; end what boots of any other."""
        turn.roster.generation = generation
        for slot in turn.roster.slots:
            for handle in (slot.successor, slot.owner):
                if handle is None or handle.is_serving:
                    continue
                if handle.generation != generation:
                    step_worker(turn, handle, Event.DRAIN)

    def _stop_forkserver(self, turn: Turn, generation: int) -> None:
        forkserver = turn.roster.forkservers.get(generation)
        if forkserver is not None:
            step_forkserver(turn, forkserver, Event.DRAIN)

    _STEPS = {  # noqa: RUF012 - a table of methods, never changed
        Phase.IDLE: _start,
        Phase.IMPORTING: _import,
        Phase.CANARY: _await_canary,
        Phase.CHECKING: _await_health,
        Phase.PROBATION: _await_probation,
        Phase.ROLLING: _roll,
        Phase.HOLDING: _hold,
        Phase.ROLLING_BACK: _roll_on_back,
    }
