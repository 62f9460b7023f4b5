"""Dead children that are nobody's: what an app has left behind.

The master is the subreaper of everything below it; see ``process/reaper.py``.
"""

from blazeio_supervisor.children.workers import Workers
from blazeio_supervisor.observe.events.noting import note
from blazeio_supervisor.observe.oom_kills import OomKills
from blazeio_supervisor.process.reaper import MOST_STRANGERS, Reaper

EVERY_S = 1.0
MOST_NAMED = 8
"""Of those that were reaped at once; the others are only counted."""


class Strangers:
    """Reaps them now and then.

    Args:
        reaper: Knows which are ours.
        workers: Say whether one may be ours that nobody knows yet.
        oom_kills: Count kills of strangers too; kept fresh on the way.
    """

    def __init__(self, reaper: Reaper, workers: Workers, oom_kills: OomKills) -> None:
        self._reaper = reaper
        self._workers = workers
        self._oom_kills = oom_kills
        self._next_at = 0.0

    def reap(self, now: float) -> None:
        """Reap those that are there, once it is time again; ``now`` is monotonic."""
        if now < self._next_at or self._workers.is_forking:
            return
        self._next_at = now + EVERY_S
        self._oom_kills.refresh(now)
        pids = self._reaper.reap_strangers()
        if len(pids) == MOST_STRANGERS:
            self._next_at = now  # there are more
        if pids:
            some = " ".join(map(str, pids[:MOST_NAMED]))
            more = f" and {len(pids) - MOST_NAMED} more" if pids[MOST_NAMED:] else ""
            text = f"no process of ours: pid {some}{more}"
            note("reaped_stranger", text, "DEBUG")
