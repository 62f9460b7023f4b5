"""The life of the service: its first boot, its end, what its manager is notified of.

Until a slot serves, any failure ends the master: a service that never began has
nothing to protect, and whoever started it (systemd, a person) must see the reason and
the exit code at once. Only while an app is developed (``is_development``) its failures
are no end: the next reload boots anew.
"""

from msgspec import Struct, field

from blazeio_supervisor.errors import (
    ExitCode,
    asked_for,
    count_of,
    decide_exit_code,
)
from blazeio_supervisor.fleet.actions import (
    CloseListeners,
    Exit,
    KeepServing,
    Notify,
    Probe,
    ReloadEnded,
    Stage,
)
from blazeio_supervisor.fleet.canary import Phase
from blazeio_supervisor.fleet.context import (
    Failure,
    PlanContext,
    start_forkserver,
    step_forkserver,
    step_worker,
)
from blazeio_supervisor.fleet.facts import (
    Answered,
    Beat,
    StartAsked,
    StopAsked,
    WorkerExited,
    WorkerReady,
)
from blazeio_supervisor.fleet.rollout import Rollout
from blazeio_supervisor.fleet.roster import Event, State
from blazeio_supervisor.fleet.scale import Parking

_OF_THE_APP = frozenset({ExitCode.APP_FAILED, ExitCode.NOT_IMPORTABLE})


class Boot(Struct):
    """Starts the first generation, and reports when the service is ready.

    Attributes:
        is_asked: The master has bound its sockets.
        has_served: A worker has accepted connections.
        is_given_up: While an app is developed: what was started is ended, or gone.
        tickets: The tickets of the reload that has caused this boot.
    """

    is_asked: bool = False
    has_served: bool = False
    is_given_up: bool = False
    tickets: list[int] = field(default_factory=list)

    def run(self, context: PlanContext, rollout: Rollout) -> Failure | None:
        """Begin when asked; return the failure that ends a first boot.

        Args:
            context: The present turn.
            rollout: Knows who asks for a reload meanwhile.
        """
        asked = [fact for fact in context.facts if isinstance(fact, StartAsked)]
        if asked and not self.is_asked:
            self.is_asked = True
            context.roster.park_beyond(asked[0].slot_count)
            self._begin(context)
        if self.has_served or not self.is_asked:
            return None
        first = next(context.roster.serving(), None)
        if first is not None:
            self.has_served = True
            text = "the service is up: this worker is the first that serves"
            context.report("ready", text, of=first)
            self._answer(context)
            return None
        # Behind the first worker that serves, so that a failure in the same turn ends
        # nothing that already serves.
        if context.policy.is_development:
            return self._try_again(context, rollout)
        return context.failures[0] if context.failures else None

    def abort(self, context: PlanContext, reason: str) -> None:
        """End the reload that has caused this boot: the service ends."""
        self._answer(context, reason)

    def _begin(self, context: PlanContext) -> None:
        context.roster.generation = context.roster.next_generation()
        ticket = self.tickets[-1] if self.tickets else None
        start_forkserver(context, context.roster.generation, ticket)

    # While an app is developed

    def _try_again(self, context: PlanContext, rollout: Rollout) -> Failure | None:
        """Boot anew once the code has changed, and the last boot has ended."""
        failure = context.failures[0] if context.failures else None
        if failure is not None:
            if decide_exit_code(failure.status) not in _OF_THE_APP:
                return failure
            text = f"{failure.sentence}; waiting for a change of the code"
            context.report("boot_waits", text, "ERROR")
            self._give_up(context, failure.sentence)
        elif rollout.is_asked and not self.is_given_up:
            self._give_up(context, "the code has changed meanwhile")
        roster = context.roster
        # Until all of the last boot is gone: its processes may still hold what the app
        # needs alone (a port of its own, a lock file).
        if self.is_given_up and not roster.forkservers and not roster.workers:
            self.tickets = [asked.ticket for asked in rollout.hand_over()]
            if self.tickets:
                self.is_given_up = False
                self._begin(context)
        return None

    def _give_up(self, context: PlanContext, reason: str) -> None:
        self.is_given_up = True
        context.failures.clear()  # it is said; no slot has to answer for it
        for forkserver in list(context.roster.forkservers.values()):
            step_forkserver(context, forkserver, Event.DRAIN)
        for worker in list(context.roster.workers.values()):
            step_worker(context, worker, Event.DRAIN)
        self._answer(context, reason)

    def _answer(self, context: PlanContext, reason: str = "") -> None:
        if self.tickets:
            tickets, generation = tuple(self.tickets), context.roster.generation
            context.act(ReloadEnded(tickets, generation, not reason, reason))
        self.tickets = []


def exit_of(failure: Failure) -> tuple[int, str]:
    """Exit code and reason of a master whose first boot failed."""
    return decide_exit_code(failure.status), failure.sentence


# The end of the service: everybody drains, then the master exits.
#
# At the end of ``grace_s`` a process that still drains gets SIGTERM, and
# ``kill_after_s`` later it is killed. With ``drain_delay_s`` the service leaves first:
# it is no longer ready, and serves on until load balancers have noticed. A second order
# to stop ends that at once. A quick stop shortens the grace period; a second quick one
# kills at once. Adoptions stay as they are: an adopter empties the adopted queue too.


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


# What the service manager is notified of: stage, status line, watchdog, more time.
#
# Level-triggered like every duty: what was last reported is compared with what is.


# When the watchdog of the service manager is fed: only while workers serve.
#
# That the master's loop runs is of no use to a client. So the watchdog is fed only
# after a worker has begun a request since the last time; without requests the master
# probes the workers, and an answer counts as much.


SHARE = 4
"""The watchdog is fed, and the workers are asked, so many times in the time that it
grants."""


class WatchdogFeed(Struct):
    """Decides when the watchdog is fed, once the service is ready.

    Attributes:
        is_shown: A worker has served since it was last fed.
        fed_at: Steady time; None before the first turn of a ready service.
        probed_at: When the workers were last asked.
    """

    is_shown: bool = False
    fed_at: float | None = None
    probed_at: float = 0.0

    def is_due(self, context: PlanContext, fresh: int, *, is_excused: bool) -> bool:
        """Return whether to feed it now; have the workers probed without requests.

        Args:
            context: The present turn.
            fresh: Requests that were begun since the last turn.
            is_excused: The service is parked: no worker has to serve.
        """
        watchdog_s = context.policy.watchdog_s
        if watchdog_s is None:
            return False
        if self.fed_at is None:
            # systemd activates the watchdog when the start is over (systemd.service(5),
            # WatchdogSec=).
            self.fed_at = self.probed_at = context.now
        is_shown = is_excused or fresh > 0 or _has_answered(context)
        self.is_shown = self.is_shown or is_shown
        # Without proof the workers are asked again each time, so that one answer that
        # is lost, or one slow worker, does not end the service.
        since = self.fed_at if self.is_shown else max(self.fed_at, self.probed_at)
        if not context.has_come(since + watchdog_s / SHARE):
            return False
        if self.is_shown:
            self.is_shown, self.fed_at = False, context.now
            return True
        self.probed_at = context.now
        for handle in context.roster.serving():
            context.act(Probe(handle.worker))
        return False


def _has_answered(context: PlanContext) -> bool:
    serving = {handle.worker for handle in context.roster.serving()}
    return any(isinstance(f, Answered) and f.worker in serving for f in context.facts)


# How many requests the whole fleet serves, from what its rows say.


RATE_OVER_S = 5.0


class Throughput(Struct):
    """Counts the requests of all workers, dead ones too.

    Attributes:
        rate: Requests a second, over the last whole ``RATE_OVER_S``.
        counted: What each living worker had begun, by its serial number.
        fresh: Requests since ``began_at``, steady time.
    """

    rate: float = 0.0
    counted: dict[int, int] = field(default_factory=dict)
    fresh: int = 0
    began_at: float | None = None

    def take(self, context: PlanContext) -> int:
        """Read the beats of this turn; return how many requests are new."""
        fresh = 0
        for fact in context.facts:
            if isinstance(fact, Beat):
                fresh += max(0, fact.requests - self.counted.get(fact.worker, 0))
                self.counted[fact.worker] = fact.requests
        for worker in self.counted.keys() - context.roster.workers.keys():
            del self.counted[worker]
        self._measure(context.now, fresh)
        return fresh

    def _measure(self, now: float, fresh: int) -> None:
        self.fresh += fresh
        if self.began_at is None:
            self.began_at = now
        span_s = now - self.began_at
        if span_s >= RATE_OVER_S:
            self.rate = self.fresh / span_s
            self.fresh, self.began_at = 0, now


class Lifecycle(Struct, kw_only=True):
    """How far the service is: it starts, serves, reloads, is parked, ends."""

    boot: Boot = field(default_factory=Boot)
    rollout: Rollout = field(default_factory=Rollout)
    parking: Parking = field(default_factory=Parking)
    stopping: Stopping = field(default_factory=Stopping)


EXTEND_S = 20.0
"""So much more time is asked for, again and again, while something is long."""
EXTEND_EVERY_S = 5.0


class Notices(Struct):
    """Notifies the service manager of what has changed since the last notice.

    Attributes:
        stage: As last reported.
        status: The status line, as last reported.
        began_at: When the service was asked to start, steady time.
        extended_at: When more time was last asked for.
    """

    stage: Stage = Stage.BOOTING
    status: str = ""
    began_at: float | None = None
    extended_at: float | None = None
    throughput: Throughput = field(default_factory=Throughput)
    feed: WatchdogFeed = field(default_factory=WatchdogFeed)

    def run(self, context: PlanContext, life: Lifecycle) -> None:
        """Report what has changed; nothing before the service is asked to start."""
        fresh = self.throughput.take(context)
        is_begun = life.boot.is_asked or life.stopping.is_active
        if not is_begun or life.stopping.is_over:
            return
        if self.began_at is None:
            self.began_at = context.now
        stage = self._find_stage(context, life)
        status = self._describe(context, stage, life)
        is_served = stage in (Stage.READY, Stage.RELOADING)
        notice = Notify(
            stage=None if stage is self.stage else stage,
            status=None if status == self.status else status,
            is_alive=is_served
            and self.feed.is_due(context, fresh, is_excused=life.parking.is_active),
            extend_s=self._extend(context, stage),
        )
        self.stage, self.status = stage, status
        if notice != Notify():
            context.act(notice)

    def _find_stage(self, context: PlanContext, life: Lifecycle) -> Stage:
        if life.stopping.is_active or life.stopping.is_leaving:
            return Stage.STOPPING
        if self.stage is Stage.BOOTING and not _is_ready(context, life):
            return Stage.BOOTING
        if life.rollout.is_unanswered and self.stage is not Stage.BOOTING:
            return Stage.RELOADING
        return Stage.READY

    def _extend(self, context: PlanContext, stage: Stage) -> float | None:
        """Ask for time, as long as our own deadlines bound it."""
        if stage is Stage.READY:
            self.extended_at = None
            return None
        if stage is Stage.BOOTING and self._is_boot_overdue(context):
            return None
        # The next EXTEND_TIMEOUT_USEC= must come within the time that the last one
        # named (sd_notify(3)): 20 s are asked for every 5 s.
        asked_at = self.extended_at
        if asked_at is not None and not context.has_come(asked_at + EXTEND_EVERY_S):
            return None
        self.extended_at = context.now
        context.wake(context.now + EXTEND_EVERY_S)
        return EXTEND_S

    def _is_boot_overdue(self, context: PlanContext) -> bool:
        """A slot that never gets ready must not hold up ``--ready all`` for ever."""
        assert self.began_at is not None
        # One span for the import, one for the hooks of the workers.
        return context.now >= self.began_at + 2 * context.policy.boot_timeout_s

    # The status line

    def _describe(self, context: PlanContext, stage: Stage, life: Lifecycle) -> str:
        if stage is Stage.STOPPING:
            return _describe_end(context, life)
        roster, rollout = context.roster, life.rollout
        serving = sum(1 for _ in roster.serving())
        wanted = sum(1 for _ in roster.active())
        text = f"{serving}/{wanted} workers, gen {roster.generation}"
        if stage is Stage.BOOTING:
            return f"starting: {text}"
        if life.parking.is_active:
            return f"parked: {text}; connections wait"
        text = f"{text}, {self.throughput.rate:,.0f} requests/s"
        if rollout.phase is not Phase.IDLE:
            step = str(rollout.phase).replace("_", " ")
            return f"{text}; reload to gen {rollout.target}: {step}"
        if rollout.failure:
            return f"{text}; the last reload failed: {rollout.failure}"
        return text


def _is_ready(context: PlanContext, life: Lifecycle) -> bool:
    if context.policy.ready == "all":
        owners = [slot.owner for slot in context.roster.active()]
        return all(owner is not None and owner.is_serving for owner in owners)
    return life.boot.has_served


def _describe_end(context: PlanContext, life: Lifecycle) -> str:
    if life.stopping.is_leaving:
        return "leaving: still serving, until balancers have noticed"
    left = context.roster.workers.values()
    in_flight = sum(handle.health.in_flight for handle in left)
    return f"draining: workers left {len(left)}, requests in flight {in_flight}"
