"""The end of the service: everybody drains, then the master exits.

A quick stop shortens the grace period; a second quick one kills at once.
Adoptions stay as they are: whoever adopted a queue empties it too.

May import: the words of the fleet, the lives, the turn.
"""

from blazeio_supervisor.fleet.actions import Exit
from blazeio_supervisor.fleet.facts import StopAsked
from blazeio_supervisor.fleet.turns.lives import step_forkserver, step_worker
from blazeio_supervisor.fleet.turns.turn import Turn
from blazeio_supervisor.fleet.worker_state import Event, State

_HAS_LEFT_TO_LIVE = frozenset({State.DRAINING, State.TERMINATING})


class Stopping:
    """Stops the service once it was asked to, or the first boot failed."""

    def __init__(self) -> None:
        self.is_active = False
        self.is_quick = False
        self.is_over = False
        self._code = 0
        self._reason = ""

    def fail(self, turn: Turn, code: int, reason: str) -> None:
        """Stop because the first boot failed."""
        self._code, self._reason = code, reason
        self.is_active = True
        turn.report("boot_failed", f"the first boot failed: {reason}", "ERROR")

    def take(self, turn: Turn) -> None:
        """Begin to stop, or stop harder, when the facts ask for it."""
        for fact in turn.facts:
            if isinstance(fact, StopAsked):
                self._ask(turn, fact)

    def run(self, turn: Turn) -> None:
        """End whoever is left; exit when nobody is."""
        roster = turn.roster
        for forkserver in list(roster.forkservers.values()):
            step_forkserver(turn, forkserver, Event.DRAIN)
        for worker in list(roster.workers.values()):
            step_worker(turn, worker, Event.DRAIN)
        if self.is_quick:
            self._shorten(turn)
        if not roster.workers and not roster.forkservers:
            self.is_over = True
            turn.act(Exit(self._code, self._reason))

    def _ask(self, turn: Turn, fact: StopAsked) -> None:
        if self.is_quick and fact.is_quick:
            self._kill(turn)
        elif not self.is_active:
            how = "quickly" if fact.is_quick else "after draining"
            turn.report("stopping", f"stopping {how}")
        self.is_active = True
        self.is_quick = self.is_quick or fact.is_quick

    def _shorten(self, turn: Turn) -> None:
        latest = turn.now + turn.policy.quick_grace_s
        for handle in turn.roster.handles():
            if handle.deadline_at is not None and handle.state in _HAS_LEFT_TO_LIVE:
                handle.deadline_at = min(handle.deadline_at, latest)

    def _kill(self, turn: Turn) -> None:
        turn.report("killing", "killing whoever is left", "WARNING")
        for forkserver in list(turn.roster.forkservers.values()):
            step_forkserver(turn, forkserver, Event.KILL)
        for worker in list(turn.roster.workers.values()):
            step_worker(turn, worker, Event.KILL)
