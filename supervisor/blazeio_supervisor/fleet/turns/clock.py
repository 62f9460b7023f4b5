"""Time as the master itself witnessed it.

A master that was stopped, suspended or starved must not blame the workers for
the time it slept through. So every deadline of the planner is kept in *steady*
time: it runs with the clock, but of a turn that came later than it was asked
for, the surplus is not counted. The first late turn is also *void*: what the
workers have said meanwhile may still lie unread, so nobody is judged by it.
Only the first, or a master that is always late would never end anybody.
"""

import msgspec

RESOLUTION_S = 0.001  # a wait below it could round to none, and turn for ever


class FrozenClock(msgspec.Struct, frozen=True):
    """A steady clock, as the next image of the master takes it over."""

    time: float
    real: float
    asked_at: float | None
    is_late: bool


class SteadyClock:
    """Steady time; equal to the clock until the first late turn.

    Args:
        late_tick_s: How late a turn may be and still count whole.
    """

    __slots__ = ("_asked_at", "_is_late", "_late_tick_s", "_real", "is_void", "time")

    def __init__(self, late_tick_s: float) -> None:
        self._late_tick_s = late_tick_s
        self._real = 0.0
        self._asked_at: float | None = None
        self._is_late = False
        self.is_void = False
        self.time = 0.0

    def advance(self, now: float) -> None:
        """Take the clock's reading at the begin of a turn."""
        if self._asked_at is None:
            self.time = now
        else:
            was_late = self._is_late
            surplus_s = max(0.0, now - self._asked_at - self._late_tick_s)
            self._is_late = surplus_s > 0 or now < self._real
            self.is_void = self._is_late and not was_late
            self.time += max(0.0, now - self._real - surplus_s)
        self._real = now

    def ask(self, at: float) -> float:
        """Remember when (steady) the next turn is due; return it in clock time."""
        wait_s = max(at - self.time, RESOLUTION_S) if at > self.time else 0.0
        self._asked_at = self._real + wait_s
        return self._asked_at

    def freeze(self) -> FrozenClock:
        """Give all that it knows."""
        return FrozenClock(self.time, self._real, self._asked_at, self._is_late)

    def thaw(self, frozen: FrozenClock) -> None:
        """Go on from there."""
        self.time, self._real = frozen.time, frozen.real
        self._asked_at, self._is_late = frozen.asked_at, frozen.is_late
