"""The first boot: until a slot serves, any failure ends the master.

A service that never began has nothing to protect, and whoever started it
(systemd, a person) must see the reason and the exit code at once.

May import: the words of the fleet, the lives, the turn.
"""

from blazeio_supervisor.fleet.facts import StartAsked
from blazeio_supervisor.fleet.reasons import decide_exit_code
from blazeio_supervisor.fleet.turns.lives import start_forkserver
from blazeio_supervisor.fleet.turns.turn import Failure, Turn


class Boot:
    """Begins the first generation and tells when the service is ready."""

    def __init__(self) -> None:
        self.is_asked = False
        self.has_served = False

    def run(self, turn: Turn) -> Failure | None:
        """Begin when asked; return the failure that ends a first boot."""
        asked = [fact for fact in turn.facts if isinstance(fact, StartAsked)]
        if asked and not self.is_asked:
            self.is_asked = True
            turn.roster.park_beyond(asked[0].slot_count)
            turn.roster.generation = turn.roster.next_generation()
            start_forkserver(turn, turn.roster.generation)
        if self.has_served:
            return None
        first = next(turn.roster.serving(), None)
        if first is not None:
            self.has_served = True
            turn.report(
                "ready",
                "the service is up: this worker is the first that serves",
                of=first,
            )
            return None
        return turn.failures[0] if turn.failures else None


def exit_of(failure: Failure) -> tuple[int, str]:
    """Exit code and reason of a master whose first boot failed."""
    return decide_exit_code(failure.status), failure.sentence
