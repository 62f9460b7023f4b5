"""Proof of service: what a watchdog is fed with, and nothing else.

A master that turns its loop proves nothing to a client. So the watchdog is fed
only after a worker has begun a request since the last time; where nobody asks,
the master asks, and an answer is as good.
"""

from msgspec import Struct

from blazeio_supervisor.fleet.actions import Probe
from blazeio_supervisor.fleet.facts import Answered
from blazeio_supervisor.fleet.turns.turn import Turn

SHARE = 4
"""Fed, or asked, so many times in the time that the watchdog grants."""


class Proof(Struct):
    """Decides when the watchdog is fed, once the service is ready.

    Attributes:
        is_shown: Somebody has served since it was last fed.
        fed_at: Steady time; None before the first turn of a ready service.
        probed_at: When the workers were last asked.
    """

    is_shown: bool = False
    fed_at: float | None = None
    probed_at: float = 0.0

    def is_due(self, turn: Turn, fresh: int, *, is_excused: bool) -> bool:
        """Whether to feed it now; has the workers asked where nobody else does.

        Args:
            turn: The present one.
            fresh: Requests that were begun since the last turn.
            is_excused: Nobody is to serve now.
        """
        watchdog_s = turn.policy.watchdog_s
        if watchdog_s is None:
            return False
        if self.fed_at is None:
            self.fed_at = self.probed_at = turn.now  # systemd counts from READY
        is_shown = is_excused or fresh > 0 or _has_answered(turn)
        self.is_shown = self.is_shown or is_shown
        since = self.fed_at if self.is_shown else max(self.fed_at, self.probed_at)
        if not turn.has_come(since + watchdog_s / SHARE):
            return False
        if self.is_shown:
            self.is_shown, self.fed_at = False, turn.now
            return True
        self.probed_at = turn.now
        for handle in turn.roster.serving():
            turn.act(Probe(handle.worker))
        return False


def _has_answered(turn: Turn) -> bool:
    serving = {handle.worker for handle in turn.roster.serving()}
    return any(isinstance(f, Answered) and f.worker in serving for f in turn.facts)
