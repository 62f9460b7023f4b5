"""What the service manager is notified of: stage, status line, watchdog, more time.

Level-triggered like every duty: what was last reported is compared with what is.
"""

from msgspec import Struct, field

from blazeio_supervisor.fleet.actions import Notify, Probe, Stage
from blazeio_supervisor.fleet.boot import Boot
from blazeio_supervisor.fleet.canary import Phase
from blazeio_supervisor.fleet.context import PlanContext
from blazeio_supervisor.fleet.facts import Answered, Beat
from blazeio_supervisor.fleet.rollout import Rollout
from blazeio_supervisor.fleet.scale import Parking
from blazeio_supervisor.fleet.stop import Stopping

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
