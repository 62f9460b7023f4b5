"""The state of the fleet, and the views of it that ``status`` shows."""

from msgspec import Struct, field

from blazeio_supervisor.fleet.canary import Phase
from blazeio_supervisor.fleet.context import SteadyClock
from blazeio_supervisor.fleet.health import LoopWatchdog, Steering
from blazeio_supervisor.fleet.lease import TaskLease
from blazeio_supervisor.fleet.lifecycle import Lifecycle, Notices
from blazeio_supervisor.fleet.roster import Roster, Slot, WorkerHandle
from blazeio_supervisor.fleet.scale import Autoscale


class WorkerView(Struct, frozen=True):
    """One worker that lives, also one that only drains.

    Attributes:
        state: A value of ``worker_state.State``.
        age_s: Since its spawn.
        is_late: Its loop was late in the last round, or it still has to show
            its good beats: it gets no new connections.
        retire_reason: Why it will be recycled; "" when it will not.
    """

    worker: int
    slot: int
    generation: int
    pid: int | None
    state: str
    age_s: float
    is_late: bool = False
    retire_reason: str = ""


class SlotView(Struct, frozen=True):
    """One slot.

    Attributes:
        owner: Its wanted worker, None while there is none.
        successor: Boots to take the owner's place.
        adopted_by: Serial number of the worker that has adopted its queue.
        weight: Its share of new connections; 100 is an even one; 0: none, or
            the kernel shares them out.
        failures: In a row; 0 when all is well, or proved to be so again.
        retry_in_s: Backoff left before the next spawn.
        awaits: Serial number of the worker that has to end before the next one
            starts, for lack of memory; until that one serves.
        failed_s: Since the last failure; None without one.
        failure: What that was, in words.
    """

    index: int
    is_parked: bool
    owner: WorkerView | None
    successor: WorkerView | None
    adopted_by: int | None
    weight: int
    failures: int
    retry_in_s: float
    awaits: int | None = None
    failed_s: float | None = None
    failure: str = ""

    @property
    def is_failing(self) -> bool:
        """It has failed, and failed again: another worker did not mend it.

        Who failed once has a new worker at once, and is none of these.
        """
        return self.failures > 1


class Snapshot(Struct, frozen=True):
    """The whole fleet at one moment.

    Attributes:
        generation: The one that new workers are forked from.
        target: The one that a running reload spreads; None without a reload.
        is_parked: No worker serves, until the service is resumed.
        will_park: It shall be parked, when what is under way is over.
        is_leaving: It will drain soon, and serves until then.
        is_stopping: It drains.
        forkservers: Generation and state of each that lives.
        dead_listeners: Those that accept nothing and cannot be recreated, and why.
        task_holder: The worker that runs the tasks that run once; None: nobody does.
        is_scaled_by_hand: The number of workers was ordered by hand.
    """

    generation: int
    phase: Phase
    target: int | None
    has_served: bool
    is_parked: bool
    will_park: bool
    is_leaving: bool
    is_stopping: bool
    slots: tuple[SlotView, ...]
    workers: tuple[WorkerView, ...]
    forkservers: tuple[tuple[int, str], ...]
    dead_listeners: tuple[str, ...] = ()
    task_holder: int | None = None
    is_scaled_by_hand: bool = False

    @property
    def is_ending(self) -> bool:
        """Whether it leaves or drains: nothing new is begun."""
        return self.is_leaving or self.is_stopping

    @property
    def wanted_count(self) -> int:
        """The number of slots that shall serve."""
        return sum(not slot.is_parked for slot in self.slots)

    @property
    def serving_count(self) -> int:
        """The number of those that do."""
        owners = [slot.owner for slot in self.slots if not slot.is_parked]
        return sum(owner is not None and owner.state == "serving" for owner in owners)

    @property
    def is_ready(self) -> bool:
        """Whether a balancer should send connections."""
        return not self.why_not_ready

    @property
    def why_not_ready(self) -> str:
        """Why no balancer should send connections; "" when it should.

        Enough is half of what is wanted: with less, those that serve would break
        down under what all are meant to carry.
        """
        if self.is_stopping:
            return "it drains"
        if self.is_leaving:
            return "it will drain soon"
        if self.is_parked:
            return "it is parked"
        if not self.has_served:
            return "it starts"
        if self.dead_listeners:
            return f"it does not accept: {'; '.join(self.dead_listeners)}"
        if 2 * self.serving_count < self.wanted_count:
            return f"{self.serving_count} of {self.wanted_count} workers serve"
        return ""


class FleetState(Lifecycle, kw_only=True):
    """All that the planner knows. Values only, so that the next image can go on.

    Attributes:
        autoscale: How many workers there shall be, by their load.
        dead_listeners: Those that accept nothing and cannot be recreated, and why.
        lease: Which worker runs the tasks that run once.
        next_at: When ``plan`` must be called again, monotonic seconds.
    """

    roster: Roster
    clock: SteadyClock = field(default_factory=SteadyClock)
    watchdog: LoopWatchdog = field(default_factory=LoopWatchdog)
    steering: Steering = field(default_factory=Steering)
    notices: Notices = field(default_factory=Notices)
    autoscale: Autoscale = field(default_factory=Autoscale)
    dead_listeners: tuple[str, ...] = ()
    lease: TaskLease = field(default_factory=TaskLease)
    next_at: float | None = None


def take_snapshot(state: FleetState) -> Snapshot:
    """View everything as it is now."""
    roster, rollout, now = state.roster, state.rollout, state.clock.time
    weights = state.steering.weights  # none before the first steering
    padded = weights + (0,) * len(roster.slots)
    return Snapshot(
        generation=roster.generation,
        phase=rollout.phase,
        target=None if rollout.phase is Phase.IDLE else rollout.target,
        has_served=state.boot.has_served,
        is_parked=state.parking.is_active,
        will_park=state.parking.is_asked and not state.parking.is_active,
        is_leaving=state.stopping.is_leaving,
        is_stopping=state.stopping.is_active,
        dead_listeners=state.dead_listeners,
        task_holder=state.lease.holder,
        is_scaled_by_hand=state.autoscale.is_fixed,
        slots=tuple(_view_slot(s, padded[s.index], now) for s in roster.slots),
        workers=tuple(_view_worker(w, now) for w in roster.workers.values()),
        forkservers=tuple(
            (f.generation, f.state.value) for f in roster.forkservers.values()
        ),
    )


def _view_slot(slot: Slot, weight: int, now: float) -> SlotView:
    return SlotView(
        index=slot.index,
        is_parked=slot.is_parked,
        owner=None if slot.owner is None else _view_worker(slot.owner, now),
        successor=None if slot.successor is None else _view_worker(slot.successor, now),
        adopted_by=None if slot.adopter is None else slot.adopter.worker,
        weight=weight,
        failures=slot.backoff.failures,
        retry_in_s=max(0.0, slot.backoff.next_at - now),
        awaits=slot.awaits,
        failed_s=None if slot.failed_at is None else now - slot.failed_at,
        failure=slot.failure,
    )


def _view_worker(handle: WorkerHandle, now: float) -> WorkerView:
    return WorkerView(
        worker=handle.worker,
        slot=handle.slot,
        generation=handle.generation,
        pid=handle.pid,
        state=handle.state.value,
        age_s=now - handle.spawned_at,
        is_late=handle.health.is_late or handle.health.is_avoided,
        retire_reason=handle.retire_reason,
    )
