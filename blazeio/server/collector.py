"""Python's cyclic collector, told that most objects of a server stay.

It looks again and again at what has been made since the last time, and now and then
at all there is: modules, routes, and some twelve objects for each idle connection.
So a request costs more the more connections there are. Here what exists when serving
begins is frozen, and the rest is looked at less often. Counted by callgrind, 1,024
requests in a turn of the loop on 5,000 connections: 41,600 instructions a request
as Python has it, 36,050 with these thresholds, 37,100 with 2,000 for the first of
them and 36,060 with 20,000.

What is not looked at for longer keeps its memory for longer: 10,000 objects in
cycles may hold anything. So a process whose memory grows by a quarter has all looked
at, however few objects there are.
"""

import asyncio
import gc
import os
from pathlib import Path
from types import TracebackType
from typing import Self

THRESHOLDS = (10_000, 20, 100)
"""New objects until the youngest are looked at; so many times until the next older
ones are, and so many times of that until all are."""
USUAL_THRESHOLDS = {(700, 10, 10), (2000, 10, 10), (2000, 10, 0)}
"""Those that Python has by itself; who has set others knows better."""
GROWTH = 1.25
LEAST_GROWTH_BYTES = 16 * 1024 * 1024
LOOK_EVERY_S = 0.1
"""While it changes, the size of the process is read so often; 13 us each."""
LOOK_IDLE_EVERY_S = 1.0
"""While it does not."""
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_STATM = Path("/proc/self/statm")


class CollectorTuning:
    """The collector of the process that serves, tuned for the time of a block.

    It is entered once the app has started. Nothing is changed where the thresholds
    are no longer Python's own, or the collector is off.

    Args:
        loop: Looks at the memory by its timers; None: whoever beats calls ``look``.
        is_wanted: False: nothing is changed.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop | None, *, is_wanted: bool = True
    ) -> None:
        self._loop = loop
        is_usual = gc.isenabled() and gc.get_threshold() in USUAL_THRESHOLDS
        self._is_on = is_wanted and is_usual
        self._usual = gc.get_threshold()
        self._was_frozen = gc.get_freeze_count() > 0
        self._timer: asyncio.TimerHandle | None = None
        self._kept_bytes = self._seen_bytes = 0

    def __enter__(self) -> Self:
        """Freeze what exists, and set the thresholds."""
        if self._is_on:
            gc.collect()
            gc.freeze()
            gc.set_threshold(*THRESHOLDS)
            self._kept_bytes = read_resident_bytes()
            if self._loop is not None:
                self._look_on(self._loop)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give all back, but what a fork was frozen for."""
        if self._timer is not None:
            self._timer.cancel()
        if self._is_on:
            gc.set_threshold(*self._usual)
            if not self._was_frozen:
                gc.unfreeze()

    def _look_on(self, loop: asyncio.AbstractEventLoop) -> None:
        delay_s = LOOK_EVERY_S if self.look() else LOOK_IDLE_EVERY_S
        self._timer = loop.call_later(delay_s, self._look_on, loop)

    def look(self) -> bool:
        """Collect where memory has grown much since the last time.

        Returns:
            Whether it has changed since.
        """
        if not self._is_on:
            return False
        has_bytes = read_resident_bytes()
        is_changing, self._seen_bytes = has_bytes != self._seen_bytes, has_bytes
        if has_bytes > max(
            self._kept_bytes * GROWTH, self._kept_bytes + LEAST_GROWTH_BYTES
        ):
            gc.collect()
            self._kept_bytes = has_bytes = read_resident_bytes()
        self._kept_bytes = min(self._kept_bytes, has_bytes)
        return is_changing


def read_resident_bytes() -> int:
    """Return the memory of this process that is not swapped out; 0: unknown."""
    try:
        return int(_STATM.read_bytes().split()[1]) * _PAGE_BYTES
    except OSError:  # /proc is not mounted
        return 0
