"""Tuning Python's cyclic collector for a process that serves.

By default the collector looks again and again at what has been made since the last
time, and now and then at everything: modules, routes, and about twelve objects for each
idle connection. So a request costs more the more connections there are. Here everything
that exists when serving begins is frozen (gc.freeze), and the rest is looked at less
often. Counted by callgrind, 1,024 requests in a turn of the loop on 5,000 connections:
41,600 instructions a request with Python's thresholds, 36,050 with these, 37,100 with
2,000 as the first of them and 36,060 with 20,000.

Objects in cycles then keep their memory for longer, and 10,000 of them may hold any
amount. So a full collection is made whenever the process has grown by a quarter. Its
size is read from /proc/self/statm: 13 us, ten times a second; to import psutil for it
would take 18 ms and 4 MiB.
"""

import asyncio
import gc
import os
from pathlib import Path
from types import TracebackType
from typing import Self

THRESHOLDS = (10_000, 20, 100)
"""New objects until the youngest generation is collected; collections of it until the
next generation is, and of that until all are."""
USUAL_THRESHOLDS = {(700, 10, 10), (2000, 10, 10), (2000, 10, 0)}
"""The thresholds that Python has by default; an app that has set others is left
alone."""
GROWTH = 1.25
LEAST_GROWTH_BYTES = 16 * 1024 * 1024
LOOK_EVERY_S = 0.1
"""How often the size of the process is read while it changes, seconds; 13 us each."""
LOOK_IDLE_EVERY_S = 1.0
"""How often while it does not change."""
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_STATM = Path("/proc/self/statm")


class CollectorTuning:
    """The collector of the process that serves, tuned while a block runs.

    It is entered once the app has started. Nothing is changed where the thresholds are
    no longer Python's own, or the collector is off.

    Args:
        loop: Its timers call ``look``; None: the caller has to.
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
        """Restore thresholds and frozen objects, but for those frozen for a fork."""
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
        """Collect everything where memory has grown much since the last time.

        Returns:
            Whether memory has changed since.
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
    """Return the resident memory of this process, octets; 0: unknown."""
    try:
        return int(_STATM.read_bytes().split()[1]) * _PAGE_BYTES
    except OSError:  # /proc is not mounted
        return 0
