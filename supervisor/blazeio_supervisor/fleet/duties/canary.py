"""The trial of a new generation: one worker, beside the old one of slot 0.

::

    CANARY (boots) -> [CHECKING (its health path)] -> PROBATION (serves)

With a health check it may not accept from its slot before it was found
healthy. In probation it serves beside the old worker for ``canary_hold_s``, so
that code which dies soon after it was ready costs no old worker.
"""

from enum import StrEnum

from blazeio_supervisor.fleet.actions import CheckHealth
from blazeio_supervisor.fleet.facts import HealthChecked
from blazeio_supervisor.fleet.turns.lives import admit, spawn, step_worker
from blazeio_supervisor.fleet.turns.turn import Turn
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


class Canary:
    """One trial, begun by its making.

    Attributes:
        phase: CANARY, CHECKING or PROBATION.
        has_passed: The code may be spread.
        reason: Why it failed; "" while it did not. That the canary died or
            was late is a ``Failure`` of the turn, not told here.
    """

    def __init__(self, turn: Turn, generation: int) -> None:
        self.phase = Phase.CANARY
        self.has_passed = False
        self.reason = ""
        is_gated = turn.policy.has_health_check
        slot = turn.roster.slots[0]
        self._handle = spawn(turn, slot, generation, is_canary=is_gated)
        self._until = 0.0

    def run(self, turn: Turn) -> None:
        """Go on as far as the facts allow."""
        if self.phase is Phase.CANARY:
            self._await_readiness(turn)
        elif self.phase is Phase.CHECKING:
            self._await_health(turn)
        if self.phase is Phase.PROBATION and not self.reason:
            # When nothing else serves, nothing is at stake: no hold.
            is_alone = next(turn.roster.serving(), None) is None
            self.has_passed = is_alone or turn.has_come(self._until)

    def discard(self, turn: Turn) -> None:
        """End the canary."""
        step_worker(turn, self._handle, Event.DRAIN)

    def promote(self, turn: Turn) -> None:
        """Let it own slot 0; the old worker drains."""
        slot = turn.roster.slots[0]
        old, slot.owner = slot.owner, self._handle
        if old is not None:
            step_worker(turn, old, Event.DRAIN)

    def _await_readiness(self, turn: Turn) -> None:
        if self._handle.state is State.STANDBY:
            turn.act(CheckHealth(self._handle.worker))
            self.phase = Phase.CHECKING
            self._until = turn.now + turn.policy.health_timeout_s
        elif self._handle.is_serving:
            self._hold(turn)

    def _await_health(self, turn: Turn) -> None:
        for fact in turn.facts:
            if isinstance(fact, HealthChecked) and fact.worker == self._handle.worker:
                if fact.is_healthy:
                    admit(turn, self._handle)
                    self._hold(turn)
                else:
                    self.reason = f"{self._handle}: unhealthy: {fact.reason}"
                return
        if turn.has_come(self._until):
            span_s = turn.policy.health_timeout_s
            late = f"no answer within {span_s:g} s (--health-timeout)"
            self.reason = f"{self._handle}: unhealthy: {late}"

    def _hold(self, turn: Turn) -> None:
        self.phase = Phase.PROBATION
        self._until = turn.now + turn.policy.canary_hold_s
