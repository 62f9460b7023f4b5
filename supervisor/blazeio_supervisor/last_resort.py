"""The end of the service, whatever becomes of the decisions about it.

The planner ends everybody in its time; but its clock leaves out what a master that
gets no time has slept through, it may fail, and a process may not let itself be
killed or reaped. None of that may keep the service from ending: a while later than
the planner should have, every child is killed, and then nobody is waited for.
"""

import asyncio
from collections.abc import Callable

from blazeio_supervisor.fleet.policy import Policy
from blazeio_supervisor.observe.events.noting import note
from blazeio_supervisor.process.reaper import Reaper

SLACK_S = 0.3
"""Behind the time in which the planner kills."""
LEAVE_S = 0.2
"""Behind that: then those that are left are no longer waited for."""
TICK_S = 0.1
MOST_TICK_S = 0.4
"""A tick that is later than this was slept through: its rest does not count."""


class LastResort:
    """Waits beside the planner, from the first order to stop on.

    Args:
        loop: The master's.
        reaper: Has every child.
        find_policy: Gives the times as they are now.
        find_grace_s: Likewise the grace period: a quick stop has a shorter one.
        leave: Ends the master, though there are children.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        reaper: Reaper,
        find_policy: Callable[[], Policy],
        find_grace_s: Callable[[], float],
        leave: Callable[[], None],
    ) -> None:
        self._loop = loop
        self._reaper = reaper
        self._find_policy = find_policy
        self._find_grace_s = find_grace_s
        self._leave = leave
        self._is_asked = False
        self._is_quick = False
        self._waited_s = 0.0
        self._ticked_at = 0.0
        self._has_killed = False

    def begin(self, is_quick: bool) -> None:
        """The service shall stop; the first quick order counts from anew."""
        if is_quick and not self._is_quick:
            self._waited_s = 0.0
        self._is_quick |= is_quick
        if not self._is_asked:
            self._is_asked = True
            self._ticked_at = self._loop.time()
            self._loop.call_later(TICK_S, self._tick)

    def _tick(self) -> None:
        now = self._loop.time()
        self._waited_s += min(now - self._ticked_at, MOST_TICK_S)
        self._ticked_at = now
        over_s = self._waited_s - self._find_limit_s()
        if over_s >= LEAVE_S:
            self._leave()
            return
        if over_s >= 0 and not self._has_killed:
            self._has_killed = True
            self._kill()
        self._loop.call_later(TICK_S, self._tick)

    def _find_limit_s(self) -> float:
        policy = self._find_policy()
        delay_s = 0.0 if self._is_quick else policy.drain_delay_s
        return delay_s + self._find_grace_s() + policy.kill_after_s + SLACK_S

    def _kill(self) -> None:
        count = self._reaper.kill_all()
        text = f"it has not ended in its time: all its processes ({count}) are killed"
        note("stop_forced", text, "ERROR" if count else "DEBUG")
