"""The end of the service: everybody drains, then the master exits.

At the end of ``grace_s`` a process that still drains gets SIGTERM, and
``kill_after_s`` later it is killed. With ``drain_delay_s`` the service leaves first:
it is no longer ready, and serves on until load balancers have noticed. A second
order to stop ends that at once. A quick stop shortens the grace period; a second
quick one kills at once. Adoptions stay as they are: an adopter empties the adopted
queue too.
"""

from msgspec import Struct

from blazeio_supervisor.fleet.actions import CloseListeners, Exit, KeepServing
from blazeio_supervisor.fleet.context import PlanContext
from blazeio_supervisor.fleet.facts import StopAsked, WorkerExited, WorkerReady
from blazeio_supervisor.fleet.reasons import asked_for, count_of
from blazeio_supervisor.fleet.transitions import step_forkserver, step_worker
from blazeio_supervisor.fleet.worker_state import Event, State


class Stopping(Struct):
    """Stops the service once it was asked to, or the first boot failed.

    Attributes:
        is_leaving: It shall end soon, and serves until then.
        is_active: It drains.
        is_quick: The grace period is the short one.
        is_over: Every process has ended.
        leave_at: When it drains at the latest, steady time.
        grace_ends_at: When whoever drains is sent SIGTERM.
        has_closed: No connection may begin any more.
        code: The exit code of the master.
        reason: Why the first boot failed; "" when the service was asked to end.
    """

    is_leaving: bool = False
    is_active: bool = False
    is_quick: bool = False
    is_over: bool = False
    leave_at: float = 0.0
    grace_ends_at: float = float("inf")
    has_closed: bool = False
    code: int = 0
    reason: str = ""

    def fail(self, context: PlanContext, code: int, reason: str) -> None:
        """Stop because the first boot failed."""
        self.code, self.reason = code, reason
        self._activate(context)
        text = f"the app did not start, so the service ends: {reason}"
        context.report("boot_failed", text, "ERROR")

    def end_on_oom(self, context: PlanContext) -> None:
        """Stop where a worker was killed for lack of memory, if that is asked for."""
        killed = [f for f in context.facts if isinstance(f, WorkerExited) and f.is_oom]
        if not killed or not context.policy.is_oom_fatal or self.is_active:
            return
        self.code, self.reason = 1, "the kernel has killed a worker: out of memory"
        self.is_leaving = False
        self._activate(context)
        self._report(context, f"{self.reason} (--exit-on-oom)")

    def take(self, context: PlanContext, *, has_served: bool) -> None:
        """Begin to stop, or stop harder, when the facts ask for it.

        Args:
            has_served: A worker serves: load balancers have to notice the end.
        """
        for fact in context.facts:
            if isinstance(fact, StopAsked):
                self._ask(context, fact, has_served=has_served)
        if self.is_leaving and self._has_left(context):
            self._begin(context, "", is_quick=False)
        # A worker that got ready during the delay has not heard the order yet, and
        # would obey the SIGTERM that systemd may have sent to all of the control group.
        elif self.is_leaving and any(isinstance(f, WorkerReady) for f in context.facts):
            context.act(KeepServing())

    def run(self, context: PlanContext) -> None:
        """Drain all that are left; exit when none is."""
        roster = context.roster
        if not self.has_closed:
            # Before anybody drains: each order to drain says by then that nobody comes
            # after that worker (``Drain.is_final``).
            self.has_closed = True
            context.act(CloseListeners())
        for forkserver in list(roster.forkservers.values()):
            step_forkserver(context, forkserver, Event.DRAIN)
        for worker in list(roster.workers.values()):
            step_worker(context, worker, Event.DRAIN)
        self._bound(context)
        if not roster.workers and not roster.forkservers:
            self.is_over = True
            context.act(Exit(self.code, self.reason))

    def _ask(self, context: PlanContext, fact: StopAsked, *, has_served: bool) -> None:
        delay_s = context.policy.drain_delay_s if has_served else 0.0
        if self.is_quick and fact.is_quick:
            self._kill(context, fact.by)
        elif self.is_active:
            self._hasten(context, fact)
        elif fact.is_quick or self.is_leaving or not delay_s:
            self._begin(context, fact.by, is_quick=fact.is_quick)
        else:
            self._leave(context, fact.by, delay_s)

    def _leave(self, context: PlanContext, by: str, delay_s: float) -> None:
        self.is_leaving = True
        self.leave_at = context.now + delay_s
        context.act(KeepServing())
        context.report(
            "leaving",
            f"{asked_for(by)}: no longer ready, but it serves on for {delay_s:g} s, "
            "then drains (a second TERM or `stop` ends the wait)",
        )

    def _begin(self, context: PlanContext, by: str, *, is_quick: bool) -> None:
        self.is_leaving = False
        self.is_quick = is_quick
        self._activate(context)
        self._report(context, asked_for(by) if by else "the wait is over")

    def _hasten(self, context: PlanContext, fact: StopAsked) -> None:
        if fact.is_quick:
            self.is_quick = True
            self._activate(context)
            self._report(context, asked_for(fact.by))

    def _activate(self, context: PlanContext) -> None:
        self.is_active = True
        ends_at = context.now + self._span_s(context)
        self.grace_ends_at = min(self.grace_ends_at, ends_at)

    def _span_s(self, context: PlanContext) -> float:
        policy = context.policy
        if self.is_quick:
            return min(policy.quick_grace_s, policy.grace_s)
        return policy.grace_s

    def _report(self, context: PlanContext, why: str) -> None:
        span_s = self._span_s(context)
        text = f"{why}: what is in flight has {span_s:g} s, then it is cut"
        context.report("stopping", text)

    def _has_left(self, context: PlanContext) -> bool:
        """The delay is over, or nobody serves and nobody can be forked."""
        roster = context.roster
        is_lost = next(roster.serving(), None) is None
        is_lost = is_lost and not roster.can_fork(roster.generation)
        return context.has_come(self.leave_at) or is_lost

    def _bound(self, context: PlanContext) -> None:
        """End the grace period of all at once, whatever each was told before.

        A worker may be forked, or become late, long after the stop was asked for.
        """
        kill_at = self.grace_ends_at + context.policy.kill_after_s
        for handle in context.roster.handles():
            if handle.deadline_at is None:
                continue  # it is being killed
            is_draining = handle.state is State.DRAINING
            latest = self.grace_ends_at if is_draining else kill_at
            handle.deadline_at = min(handle.deadline_at, latest)
            if handle.kill_at is not None:
                handle.kill_at = min(handle.kill_at, kill_at)

    def _kill(self, context: PlanContext, by: str) -> None:
        left = count_of(len(context.roster.workers), "worker")
        text = f"{asked_for(by)} again: {left} killed at once"
        context.report("killing", text, "WARNING")
        for forkserver in list(context.roster.forkservers.values()):
            step_forkserver(context, forkserver, Event.KILL)
        for worker in list(context.roster.workers.values()):
            step_worker(context, worker, Event.KILL)
