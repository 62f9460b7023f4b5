"""The first boot: until a slot serves, any failure ends the master.

A service that never began has nothing to protect, and whoever started it
(systemd, a person) must see the reason and the exit code at once. Only while an
app is developed (``is_development``) its failures are no end: the next reload boots
anew.
"""

from blazeio_supervisor.fleet.actions import ReloadEnded
from blazeio_supervisor.fleet.context import Failure, Turn
from blazeio_supervisor.fleet.facts import StartAsked
from blazeio_supervisor.fleet.reasons import (
    NOT_IMPORTABLE,
    START_FAILED,
    decide_exit_code,
)
from blazeio_supervisor.fleet.rollout import Rollout
from blazeio_supervisor.fleet.transitions import (
    start_forkserver,
    step_forkserver,
    step_worker,
)
from blazeio_supervisor.fleet.worker_state import Event

_OF_THE_APP = frozenset({START_FAILED, NOT_IMPORTABLE})


class Boot:
    """Begins the first generation and tells when the service is ready.

    Args:
        rollout: Has who asks for a reload meanwhile.
    """

    def __init__(self, rollout: Rollout) -> None:
        self._rollout = rollout
        self.is_asked = False
        self.has_served = False
        self._is_given_up = False  # what it has begun is ended, or is gone
        self._tickets: list[int] = []  # of the reload that has brought this boot

    def run(self, turn: Turn) -> Failure | None:
        """Begin when asked; return the failure that ends a first boot."""
        asked = [fact for fact in turn.facts if isinstance(fact, StartAsked)]
        if asked and not self.is_asked:
            self.is_asked = True
            turn.roster.park_beyond(asked[0].slot_count)
            self._begin(turn)
        if self.has_served or not self.is_asked:
            return None
        first = next(turn.roster.serving(), None)
        if first is not None:
            self.has_served = True
            text = "the service is up: this worker is the first that serves"
            turn.report("ready", text, of=first)
            self._answer(turn)
            return None
        if turn.policy.is_development:
            return self._try_on(turn)
        return turn.failures[0] if turn.failures else None

    def abort(self, turn: Turn, reason: str) -> None:
        """Answer whoever asked: the service ends."""
        self._answer(turn, reason)

    def _begin(self, turn: Turn) -> None:
        turn.roster.generation = turn.roster.next_generation()
        start_forkserver(turn, turn.roster.generation)

    # While an app is developed

    def _try_on(self, turn: Turn) -> Failure | None:
        """Boot anew once there is other code, and nothing is left of the last."""
        failure = turn.failures[0] if turn.failures else None
        if failure is not None:
            if decide_exit_code(failure.status) not in _OF_THE_APP:
                return failure
            text = f"{failure.sentence}; waiting for a change of the code"
            turn.report("boot_waits", text, "ERROR")
            self._give_up(turn, failure.sentence)
        elif self._rollout.is_asked and not self._is_given_up:
            self._give_up(turn, "the code has changed meanwhile")
        roster = turn.roster
        if self._is_given_up and not roster.forkservers and not roster.workers:
            self._tickets = self._rollout.hand_over()
            if self._tickets:
                self._is_given_up = False
                self._begin(turn)
        return None

    def _give_up(self, turn: Turn, reason: str) -> None:
        self._is_given_up = True
        turn.failures.clear()  # it is said; no slot has to answer for it
        for forkserver in list(turn.roster.forkservers.values()):
            step_forkserver(turn, forkserver, Event.DRAIN)
        for worker in list(turn.roster.workers.values()):
            step_worker(turn, worker, Event.DRAIN)
        self._answer(turn, reason)

    def _answer(self, turn: Turn, reason: str = "") -> None:
        for ticket in self._tickets:
            generation = turn.roster.generation
            turn.act(ReloadEnded(ticket, generation, not reason, reason))
        self._tickets = []


def exit_of(failure: Failure) -> tuple[int, str]:
    """Exit code and reason of a master whose first boot failed."""
    return decide_exit_code(failure.status), failure.sentence
