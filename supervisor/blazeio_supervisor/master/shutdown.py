"""The end of the service: because it was asked to, or cannot go on."""

import asyncio
import signal
from collections.abc import Callable, Iterable

from blazeio_supervisor.errors import ExitCode, SupervisorError
from blazeio_supervisor.fleet.facts import StopAsked
from blazeio_supervisor.fleet.planner import Planner
from blazeio_supervisor.fleet.policy import Policy
from blazeio_supervisor.ipc.messages import (
    Drain,
)
from blazeio_supervisor.ipc.signals import CHANGES, STOPS
from blazeio_supervisor.log.setup import note
from blazeio_supervisor.master.children import Reaper
from blazeio_supervisor.master.loop import FactQueue
from blazeio_supervisor.master.systemd import SystemdNotifier


def _do_nothing(_: object) -> None:
    pass


class Shutdown:
    """The end of the service: who has asked for it, and how it comes.

    Args:
        facts: Takes the fact that the end was asked for.
        notifier: Reports to the service manager why the service fails.

    Attributes:
        has_begun: Whether the planner runs, so that the end goes through it. Before
            that the master just exits.
        is_asked: It shall end.
        is_final: No connection may begin any more.
        is_forced: It ends though there are processes left.
        hold: Blocks signals until the process ends; by default it does nothing.
        on_ask: Called with whether a quick end was asked for, each time.
    """

    def __init__(self, facts: FactQueue, notifier: SystemdNotifier) -> None:
        self._facts = facts
        self._notifier = notifier
        self._over: asyncio.Future[int] = facts.loop.create_future()
        self._failure = ExitCode.OK
        self._is_quick = False
        self.has_begun = False
        self.is_asked = False
        self.is_final = False
        self.is_forced = False
        self.hold: Callable[[Iterable[int]], object] = _do_nothing
        self.on_ask: Callable[[bool], object] = _do_nothing

    def ask(self, is_quick: bool, by: str) -> None:
        """End the service: within about a second if quick, else gently.

        Args:
            is_quick: Once a quick end was asked for, it stays quick.
            by: Who asks, for the log.
        """
        # Set before the fact is put: signals that came in the same turn of the loop are
        # looked at one after the other, and a reload behind a TERM must do nothing.
        self.is_asked = True
        self._is_quick |= is_quick
        self.on_ask(is_quick)
        # From now on a reload or a change of the count would only be in the way. What
        # waits behind a blocked signal is dropped when the process ends, and changes no
        # exit code.
        self.hold(CHANGES)
        self._facts.put_fact(StopAsked(is_quick, by))

    def give_up(self, error: SupervisorError, event: str = "cannot_bind") -> None:
        """End at once: what the service needs cannot be had."""
        note(event, str(error), "ERROR")
        cause = error.__cause__
        self._notifier.fail(str(error), getattr(cause, "errno", None))
        self._failure = error.exit_code
        # Once the planner runs there are processes, which have to end first. Before,
        # there are none, and nobody would take the fact.
        if self.has_begun:
            self.ask(True, "")
        else:
            self._be_over(error.exit_code)

    def be_final(self) -> None:
        """Note that no connection may begin any more; only SIGINT still counts."""
        self.is_final = True
        # A second TERM, as systemd or an impatient operator sends it, adds nothing.
        # SIGINT is left open, since it makes a gentle end a quick one.
        self.hold(STOPS)

    def make_drain(self, policy: Policy) -> Drain:
        """Make the order by which a worker ends, as things are now."""
        grace_s = policy.grace_s
        if self._is_quick:
            grace_s = min(policy.quick_grace_s, grace_s)
        return Drain(grace_s, is_final=self.is_final)

    def end(self, code: int, reason: str) -> None:
        """End the master: all else has ended; ``reason`` is "" when all went well."""
        if reason:
            self._notifier.fail(reason, None)
        note("stopped", f"all of the service has ended: exit code {code}")
        self._be_over(code)

    async def wait(self) -> int:
        """Wait for the end; return the exit code."""
        code = await self._over
        return self._failure or code

    def leave(self) -> None:
        """End the master though processes are left: they cannot be killed."""
        if not self._over.done():
            text = "processes of the service are left that have not ended: exit code 1"
            note("stopped", text, "ERROR")
            self.is_forced = True
            self._be_over(ExitCode.CRASHED)

    def _be_over(self, code: int) -> None:
        self.hold(signal.valid_signals())  # none changes the exit code, or says a word
        if not self._over.done():
            self._over.set_result(code)


# The end of the service, whatever becomes of the decisions about it.
#
# The planner stops every process in time. But its clock does not count the time in
# which the master could not run; it may fail; and there are processes that cannot be
# killed or reaped. None of that may keep the service from ending: a while after the
# planner should have done so, every child is killed, and then none is waited for.


SLACK_S = 0.3
"""After the time at which the planner kills."""
LEAVE_S = 0.2
"""After that: then those that are left are no longer waited for."""
TICK_S = 0.1
MOST_TICK_S = 0.4
"""No tick counts for more than this: for the rest of its time the whole master was
suspended."""


class LastResort:
    """Ends the service when the planner does not, from the first order to stop on.

    The time is counted in ticks, and of a tick that comes late only a part. After the
    machine was suspended, or the master stopped (SIGSTOP), a deadline would be over at
    once, though the workers have not had that time either.

    Args:
        loop: The master's.
        reaper: Kills every child.
        planner: Its policy has the times.
        shutdown: Knows the grace period, and ends the master though children are left.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        reaper: Reaper,
        planner: Planner,
        shutdown: Shutdown,
    ) -> None:
        self._loop = loop
        self._reaper = reaper
        self._planner = planner
        self._shutdown = shutdown
        self._is_asked = False
        self._is_quick = False
        self._waited_s = 0.0
        self._ticked_at = 0.0
        self._has_killed = False

    def begin(self, is_quick: bool) -> None:
        """Begin to count the time; the first quick order counts it anew."""
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
            self._shutdown.leave()
            return
        if over_s >= 0 and not self._has_killed:
            self._has_killed = True
            self._kill()
        self._loop.call_later(TICK_S, self._tick)

    def _find_limit_s(self) -> float:
        policy = self._planner.policy
        delay_s = 0.0 if self._is_quick else policy.drain_delay_s
        grace_s = self._shutdown.make_drain(policy).grace_s
        return delay_s + grace_s + policy.kill_after_s + SLACK_S

    def _kill(self) -> None:
        count = self._reaper.kill_all()
        text = f"it has not ended in its time: all its processes ({count}) are killed"
        note("stop_forced", text, "ERROR" if count else "DEBUG")
