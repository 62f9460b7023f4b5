"""How many requests the whole fleet serves, from what its rows say."""

from msgspec import Struct, field

from blazeio_supervisor.fleet.facts import Beat
from blazeio_supervisor.fleet.turns.turn import Turn

RATE_OVER_S = 5.0


class Throughput(Struct):
    """Counts requests over all lives of workers.

    Attributes:
        rate: Requests a second, over the last whole ``RATE_OVER_S``.
        counted: What each living worker had begun, by its serial number.
        fresh: Requests since ``began_at``, steady time.
    """

    rate: float = 0.0
    counted: dict[int, int] = field(default_factory=dict)
    fresh: int = 0
    began_at: float | None = None

    def take(self, turn: Turn) -> int:
        """Read the beats of this turn; give how many requests are new."""
        fresh = 0
        for fact in turn.facts:
            if isinstance(fact, Beat):
                fresh += max(0, fact.requests - self.counted.get(fact.worker, 0))
                self.counted[fact.worker] = fact.requests
        for worker in self.counted.keys() - turn.roster.workers.keys():
            del self.counted[worker]
        self._measure(turn.now, fresh)
        return fresh

    def _measure(self, now: float, fresh: int) -> None:
        self.fresh += fresh
        if self.began_at is None:
            self.began_at = now
        span_s = now - self.began_at
        if span_s >= RATE_OVER_S:
            self.rate = self.fresh / span_s
            self.fresh, self.began_at = 0, now
