"""The control loop: facts go to the planner, and its actions are carried out.

A turn comes when there are facts, and when the planner's timer is due.

The planner is a pure function of facts and time, and calls nothing. An action may put
facts: they wait for the next turn, so no decision is begun in the midst of another.
"""

import asyncio
import errno
import signal
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from blazeio_supervisor.errors import ExitCode, SupervisorError
from blazeio_supervisor.fleet.actions import Action, Spawn, StartForkserver
from blazeio_supervisor.fleet.facts import (
    Fact,
    ForkserverExited,
    StopAsked,
    Tick,
    WorkerExited,
)
from blazeio_supervisor.fleet.planner import Planner
from blazeio_supervisor.fleet.policy import Policy
from blazeio_supervisor.ipc.messages import (
    Drain,
)
from blazeio_supervisor.ipc.signals import CHANGES, STOPS
from blazeio_supervisor.log.setup import note
from blazeio_supervisor.master.children import Reaper
from blazeio_supervisor.master.systemd import SystemdNotifier
from blazeio_supervisor.master.workers import WorkerReadings

Execute = Callable[[Action], None]

AGAIN_S = 0.1
"""The next decision comes so long after one that has failed; an order to stop is then
decided on again."""
QUIET_S = 1.0
"""For so long after a fault was printed, others of the same name are only kept and
counted."""
MOST_CHARS = 1000
"""The longest text of a fault: it quotes facts, which may hold long texts of
children."""


class FactQueue:
    """Facts that wait for the next turn of the planner.

    Args:
        loop: The event loop of the master.

    Attributes:
        loop: As given.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._facts: list[Fact] = []
        self._on_first: Callable[[], None] | None = None

    @property
    def is_settled(self) -> bool:
        """Whether every fact was taken."""
        return not self._facts

    def put_fact(self, *facts: Fact) -> None:
        """Add facts for the planner, in this order."""
        # In the loop's next turn: what this one brings is decided on together, as the
        # deaths of a forkserver and of its workers by the same hand.
        if not self._facts and self._on_first is not None:
            self.loop.call_soon(self._on_first)
        self._facts += facts

    def take(self) -> list[Fact]:
        """Return all that wait, and forget them."""
        facts, self._facts = self._facts, []
        return facts

    def open(self, on_first: Callable[[], None]) -> None:
        """Call this from now on, in the loop's next turn, when there is a fact."""
        self._on_first = on_first
        if self._facts:
            self.loop.call_soon(on_first)


class Watch(Protocol):
    """What is looked at whenever the timer is due."""

    @property
    def fault(self) -> str:
        """How the log names a look that failed."""

    def look(self, now: float) -> None:
        """Look, if it is time again; ``now`` is monotonic seconds."""


class ControlLoop:
    """One turn for each bundle of facts, and one whenever the planner asked for it.

    Args:
        facts: Where they come from.
        planner: Decides what is done.
        execute: Carries out one action; what it raises is noted.
        readings: Looked at once for each beat.
        watches: Looked at whenever the timer is due.
    """

    def __init__(
        self,
        facts: FactQueue,
        planner: Planner,
        execute: Execute,
        readings: WorkerReadings,
        watches: Sequence[Watch] = (),
    ) -> None:
        self._facts = facts
        self._planner = planner
        self._execute = execute
        self._readings = readings
        self._watches = watches
        self._timer: asyncio.TimerHandle | None = None
        self._beats_at = 0.0
        self._not_before = 0.0
        self._quiet_until: dict[str, float] = {}
        self._is_over = False

    def begin(self) -> None:
        """Take turns from now on."""
        self._facts.open(self._take_turn)
        self._set_timer()

    def end(self) -> None:
        """Take no more turns."""
        self._is_over = True
        if self._timer is not None:
            self._timer.cancel()

    def rehearse(self, now: float) -> list[Action]:
        """Return what the planner wants first at that time; nothing is carried out."""
        return self._planner.plan([*self._readings.read_beats(), Tick()], now)

    def _set_timer(self) -> None:
        if self._is_over:
            return
        at = self._beats_at + self._planner.policy.beat_every_s
        deadline = self._planner.next_deadline_at()
        if self._timer is not None:
            self._timer.cancel()
        # After a decision that has failed, the planner still has its old deadlines,
        # some of them in the past. A timer for one of these would be due at once, again
        # and again.
        due_at = max(min(at, deadline or at), self._not_before)
        self._timer = self._facts.loop.call_at(due_at, self._look)

    def _may_rest_on(self, now: float) -> bool:
        """Whether all workers rest, and nothing is due: the round may be left out.

        64 workers: 2 ms of CPU a second, not 36.
        """
        deadline = self._planner.next_deadline_at()
        policy = self._planner.policy
        return (
            self._planner.is_at_rest
            and (deadline is None or now < deadline)
            and now < self._beats_at + policy.rest_every_s
            and not self._readings.has_woken()
        )

    def _look(self) -> None:
        """Plan because the timer is due; the watches come first."""
        now = time.monotonic()
        if self._may_rest_on(now):
            due_at = now + self._planner.policy.beat_every_s
            deadline = self._planner.next_deadline_at() or due_at
            # No deadline is missed by this: the timer goes by the earlier of the two.
            self._timer = self._facts.loop.call_at(min(due_at, deadline), self._look)
            return
        facts: list[Fact] = []
        # Each by itself: one that fails keeps neither the others from looking nor the
        # planner from its turn.
        for watch in self._watches:
            try:
                watch.look(now)
            except Exception as error:
                self._note_fault("turn_failed", f"{watch.fault}: {error}")
        if now >= self._beats_at + self._planner.policy.beat_every_s:
            self._beats_at = now
            try:
                with_spans = self._planner.wants_spans
                # Read here, and not by a timer of their own, so that the beats and the
                # time of one decision belong together: a beat that was read earlier
                # makes a worker look late.
                facts = self._readings.read_beats(with_spans=with_spans)
            except Exception as error:
                self._note_fault("turn_failed", f"cannot read the scoreboard: {error}")
        self._plan([*self._facts.take(), *facts, Tick()])

    def _take_turn(self) -> None:
        facts = self._facts.take()
        # else a turn by the timer has taken them already
        if facts:
            self._plan(facts)

    def _plan(self, facts: list[Fact]) -> None:
        if self._is_over:
            return
        try:
            for action in self._decide(facts):
                self._try(action)
        finally:
            # Whatever was raised: without a timer nobody would be respawned,
            # ended or stopped any more.
            self._set_timer()

    def _decide(self, facts: list[Fact]) -> list[Action]:
        now = time.monotonic()
        try:
            return self._planner.plan(facts, now)
        except Exception as error:
            text = f"a decision failed: {error}; at {facts!r}"
            self._note_fault("planner_failed", text[:MOST_CHARS])
        # Its deadline is of an earlier turn, and has perhaps come.
        self._not_before = now + AGAIN_S
        # An order to stop comes once: it must not be lost with the other facts.
        asked = [fact for fact in facts if isinstance(fact, StopAsked)]
        if asked:
            self._facts.loop.call_later(AGAIN_S, self._facts.put_fact, *asked)
        return []

    def _try(self, action: Action) -> None:
        try:
            self._execute(action)
        except Exception as error:
            reason = _explain(error)
            text = f"a fault of the supervisor, at {action!r}: {reason}"
            self._note_fault("action_failed", text[:MOST_CHARS])
            # The planner has noted that this process is there. Unless it hears of an
            # end, it waits for it until the boot timeout is over.
            if isinstance(action, Spawn):
                self._facts.put_fact(
                    WorkerExited(action.worker, ExitCode.CRASHED, reason)
                )
            elif isinstance(action, StartForkserver):
                exited = ForkserverExited(action.generation, ExitCode.CRASHED, reason)
                self._facts.put_fact(exited)

    def _note_fault(self, event: str, text: str) -> None:
        """Note each, and print one in ``QUIET_S``: a turn comes 20 times a second."""
        now = time.monotonic()
        is_printed = now >= self._quiet_until.get(event, 0.0)
        if is_printed:
            self._quiet_until[event] = now + QUIET_S
        level = "ERROR" if is_printed else "DEBUG"
        note(event, text, level, traceback=traceback.format_exc())


def _explain(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        return f"{error.strerror} in the master: see `ulimit -n`, LimitNOFILE="
    return f"{type(error).__name__}: {error}"


# The end of the service: because it was asked to, or cannot go on.


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
