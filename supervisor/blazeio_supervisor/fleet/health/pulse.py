"""What one worker's beats say, and what was concluded from them."""

from msgspec import Struct

from blazeio_supervisor.fleet.facts import Beat

_LOAD_BASE = 8.0  # below about this many requests, differences are noise
_LOAD_LAG_S = 0.05  # a loop this late counts as twice the load
_LOAD_SHARE = 0.05  # of the newest beat; twenty, a second, are about two thirds
# The most that one beat may say, in loads so far. A beat may fall into the middle
# of a burst and see 100 requests where 1 is usual: with 0.2 as the share, and
# without this bound, that alone gave one worker 1.5 times another's connections.
_LOAD_RISE = 2.0


class Pulse(Struct, eq=False):
    """The health of one worker's loop.

    Attributes:
        beat: The newest; None before the first.
        beat_at: Steady time of that beat, as far as the master witnessed it.
        good_beats: In a row: fresh when read, and not full.
        load: Smoothed; comparable between workers only.
        is_late: By the last round alone. Never chosen to adopt.
        is_avoided: Gets no new connections, until three good beats.
        is_covered_for: Its queue is adopted, until three good beats.
        dumped_at: When its stacks were last dumped.
        stood_s: How long its loop has stood still, once that was dumped; 0: it
            has gone on since.
    """

    beat: Beat | None = None
    beat_at: float = 0.0
    good_beats: int = 0
    load: float = _LOAD_BASE
    is_late: bool = False
    is_avoided: bool = False
    is_covered_for: bool = False
    dumped_at: float = float("-inf")
    stood_s: float = 0.0

    @property
    def in_flight(self) -> int:
        """Requests being served, by the newest beat."""
        return 0 if self.beat is None else self.beat.in_flight

    def take(self, beat: Beat, now: float, clock_now: float, fresh_s: float) -> None:
        """Take one reading of the worker's row.

        Args:
            beat: What the row says; ``at`` is in clock time.
            now: Steady time.
            clock_now: The clock's reading.
            fresh_s: A good beat is younger than this when it is read.
        """
        if self.beat is None or beat.at > self.beat.at:
            age_s = max(0.0, clock_now - beat.at)
            # Of a span that the master slept through, nothing counts.
            self.beat_at = max(self.beat_at, now - age_s)
            is_good = now - self.beat_at < fresh_s and not beat.is_full
            self.good_beats = self.good_beats + 1 if is_good else 0
        load = (_LOAD_BASE + beat.in_flight) * (1 + beat.lag_s / _LOAD_LAG_S)
        self.load += _LOAD_SHARE * (min(load, _LOAD_RISE * self.load) - self.load)
        self.beat = beat
