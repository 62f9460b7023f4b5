"""When a task that runs once is due. Pure: whoever asks says what time it is.

Times are seconds since 1970, UTC; a time of day is that of the machine's own zone.
"""

import re
from datetime import datetime, timedelta

from msgspec import Struct

from blazeio.errors import ConfigurationError

LEAST_EVERY_S = 1.0
"""Between the beginnings of two runs."""
MOST_EVERY_S = 366 * 86_400.0
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_SPAN = re.compile(r"(?:\d{1,8}(?:\.\d{1,8})?[smhd])+", re.ASCII)
_PART = re.compile(r"(\d{1,8}(?:\.\d{1,8})?)([smhd])", re.ASCII)
_TIME = re.compile(r"(\d\d?):(\d\d)", re.ASCII)


class Schedule(Struct, frozen=True):
    """When a task runs; with neither it runs as long as it likes, from the start.

    Attributes:
        every_s: So long after the beginning of the last run.
        at: Each day at this hour and minute.
    """

    every_s: float | None = None
    at: tuple[int, int] | None = None

    @property
    def is_repeated(self) -> bool:
        """Whether it has runs."""
        return self.every_s is not None or self.at is not None

    def next_after(self, last: float) -> float:
        """Return when the run is due that follows one that began then.

        A time of day that does not exist, since the clocks are put forward, is taken
        as the one an hour later; one that comes twice is due the first time.
        """
        if self.every_s is not None:
            return last + self.every_s
        hour, minute = self.at or (0, 0)
        day = datetime.fromtimestamp(last)
        due = day.replace(hour=hour, minute=minute, second=0, microsecond=0, fold=0)
        # Days are added to the local date and hour, and not seconds to the time: a day
        # on which the clocks change has 23 or 25 hours.
        while due.timestamp() <= last:
            due += timedelta(days=1)
        return due.timestamp()

    def __str__(self) -> str:
        if self.every_s is not None:
            return f"every {self.every_s:g} s"
        return "at {:02}:{:02}".format(*self.at) if self.at is not None else ""


def parse_schedule(every: str | float | None = None, at: str | None = None) -> Schedule:
    """Read when a task runs.

    Args:
        every: Seconds, or a text: ``"30s"``, ``"15m"``, ``"1h30m"``, ``"1d"``.
        at: A time of day: ``"03:00"``.

    Raises:
        ConfigurationError: Both are given, or one cannot be read.
    """
    if every is not None and at is not None:
        raise ConfigurationError(f"every={every!r} and at={at!r}: which?")
    if at is not None:
        match = _TIME.fullmatch(at) if isinstance(at, str) else None
        if match is None or int(match[1]) > 23 or int(match[2]) > 59:
            raise ConfigurationError(f"at={at!r}: a time of day is expected, '03:00'")
        return Schedule(at=(int(match[1]), int(match[2])))
    return Schedule() if every is None else Schedule(_parse_span(every))


def _parse_span(every: str | float) -> float:
    span_s = 0.0
    if isinstance(every, str) and _SPAN.fullmatch(every):
        for number, unit in _PART.findall(every):
            span_s += float(number) * _UNITS_S[unit]
    elif isinstance(every, int | float):
        span_s = float(every)
    if not LEAST_EVERY_S <= span_s <= MOST_EVERY_S:
        text = f"every={every!r}: a span of 1 s to 366 days is expected"
        raise ConfigurationError(f"{text}, such as '30s', '15m', '1h30m' or '1d'")
    return span_s
