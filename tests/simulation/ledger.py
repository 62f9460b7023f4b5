"""A second, independent bookkeeping: what was told and what was ordered."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from blazeio_supervisor.fleet.actions import (
    Action,
    AdoptQueue,
    CloseListeners,
    Exit,
    Notify,
    OpenSlot,
    ReleaseQueue,
    ReloadEnded,
    ReportStatus,
    Spawn,
    Stage,
    StartForkserver,
    Steer,
    StopForkserver,
    StopMode,
    StopWorker,
)
from blazeio_supervisor.fleet.facts import (
    Fact,
    ForkserverExited,
    ForkserverReady,
    HealthChecked,
    LeaseReturned,
    MemoryRead,
    ReloadAsked,
    StopAsked,
    WorkerExited,
    WorkerForked,
    WorkerMisbehaved,
)
from blazeio_supervisor.fleet.planner import Snapshot
from tests.simulation.world import World

WAY_BACK_OVERDUE = "the way back: not done"


class InvariantError(AssertionError):
    """An invariant does not hold."""


def require(holds: bool, message: str) -> None:
    if not holds:
        raise InvariantError(message)


@dataclass(slots=True)
class Ledger:
    """What the messages alone say.

    Attributes:
        pids: Of workers forked and not exited, as told.
        endings: Every ending ordered, by worker, in order; likewise
            ``stops`` by generation.
        ended_at: When the first ending was ordered, and the sleep by then.
        ready: Generations whose forkserver said so and was not told to stop.
        lost: Generations that lived when a forkserver ended unasked or no
            longer answered, or when a way back was not done in time, or that
            served on in a parked slot.
        adopters: Who was told to adopt and not to release, by slot.
        asked: When each ticket was asked for; ``answers`` counts the answers.
        present: Generations that boot or serve, by the last snapshot.
        stop_asked_at: When it was first told to stop, and the sleep by then.
        stop_at: When it made its last call: from then on it serves no more.
        uncovered: Since when nobody accepts from a slot, by slot.
        healthy: Workers whose health path was told to answer well.
        free_bytes: Memory that was last told to be free.
        rollout: The generation that a reload spreads, since when, and the sleep
            by then.
        stages: As the service manager was told, in order.
        misbehaved: Workers that did what none does.
        returned: Workers that have given back the lease of the tasks.
        tasks_rest_since: Since when nobody runs them who could; None: somebody does.
    """

    slots: int
    pids: dict[int, int] = field(default_factory=dict)
    endings: dict[int, list[StopMode]] = field(
        default_factory=lambda: defaultdict(list)
    )
    ended_at: dict[int, tuple[float, float]] = field(default_factory=dict)
    stops: dict[int, list[StopMode]] = field(default_factory=lambda: defaultdict(list))
    started: set[int] = field(default_factory=set)
    ready: set[int] = field(default_factory=set)
    lost: set[int] = field(default_factory=set)
    present: set[int] = field(default_factory=set)
    adopters: dict[int, int] = field(default_factory=dict)
    exited: set[int] = field(default_factory=set)
    asked: dict[int, float] = field(default_factory=dict)
    answers: dict[int, list[bool]] = field(default_factory=lambda: defaultdict(list))
    weights: tuple[int, ...] = ()
    stop_asked_at: float | None = None
    stop_at: float | None = None
    slept_before_stop_s: float = 0.0
    exit_code: int | None = None
    uncovered: dict[int, float] = field(default_factory=dict)
    healthy: set[int] = field(default_factory=set)
    free_bytes: int | None = None
    rollout: tuple[int, float, float] = (0, 0.0, 0.0)
    stages: list[Stage] = field(default_factory=list)
    misbehaved: set[int] = field(default_factory=set)
    returned: set[int] = field(default_factory=set)
    tasks_rest_since: float | None = None

    def note_facts(self, facts: Sequence[Fact], now: float, slept_s: float) -> None:
        """Note what is told; ``present`` must be up to date."""
        for fact in facts:
            match fact:
                case WorkerForked(worker, pid):
                    self.pids[worker] = pid
                case WorkerExited(worker):
                    self.pids.pop(worker, None)
                    self.exited.add(worker)
                    self.ended_at.pop(worker, None)
                case ForkserverReady(generation):
                    if not self.stops[generation]:
                        self.ready.add(generation)
                case ForkserverExited(generation):
                    self._note_forkserver_exit(generation)
                case _:
                    self._note_word(fact, now, slept_s)

    def _note_word(self, fact: Fact, now: float, slept_s: float) -> None:
        match fact:
            case WorkerMisbehaved(worker):
                self.misbehaved.add(worker)
            case LeaseReturned(worker):
                self.returned.add(worker)
            case HealthChecked(worker, True):
                self.healthy.add(worker)
            case MemoryRead(free_bytes):
                self.free_bytes = free_bytes
            case ReloadAsked(ticket):
                self.asked.setdefault(ticket, now)
            case StopAsked():
                self._note_stop(now, slept_s)
            case _:
                pass

    def note_actions(
        self, actions: Sequence[Action], now: float, slept_s: float
    ) -> None:
        reports = [each for each in actions if isinstance(each, ReportStatus)]
        if any(each.event == "reload_superseded" for each in reports):
            # Whoever has asked before waits for the later one from now on.
            open_ = self.asked.keys() - self.answers.keys()
            self.asked |= dict.fromkeys(open_, now)
        for action in actions:
            self._note_order(action)
            match action:
                case StopWorker(worker):
                    self.ended_at.setdefault(worker, (now, slept_s))
                case ReloadEnded(tickets, _, is_ok):
                    for ticket in tickets:
                        self.answers[ticket].append(is_ok)
                case CloseListeners():
                    self._note_stop(now, slept_s)
                    self.stop_at = now
                case ReportStatus("reload_failed", text) if WAY_BACK_OVERDUE in text:
                    self.lost |= self.present  # some of them serve on as they are
                case Exit(code):
                    self.exit_code = code
                case Notify(stage=Stage() as stage):
                    self.stages.append(stage)
                case _:
                    pass

    def note_rollout(self, target: int | None, now: float, slept_s: float) -> None:
        if target is not None and target != self.rollout[0]:
            self.rollout = (target, now, slept_s)

    def _note_order(self, action: Action) -> None:
        match action:
            case StartForkserver(generation):
                self.started.add(generation)
            case StopForkserver(generation, ending):
                if generation in self.ready and ending is StopMode.KILL:
                    self.lost |= self.present  # it was given up
                self.ready.discard(generation)
                self.stops[generation].append(ending)
            case StopWorker(worker, ending):
                self.endings[worker].append(ending)
            case OpenSlot():
                self.slots += 1
            case AdoptQueue(slot, by):
                self.adopters[slot] = by
            case ReleaseQueue(slot, by):
                if self.adopters.get(slot) == by:
                    del self.adopters[slot]
            case Steer(weights):
                self.weights = weights
            case _:
                pass

    def _note_forkserver_exit(self, generation: int) -> None:
        if not self.stops[generation]:
            self.lost |= self.present
        self.ready.discard(generation)

    def _note_stop(self, now: float, slept_s: float) -> None:
        if self.stop_asked_at is None:
            self.stop_asked_at, self.slept_before_stop_s = now, slept_s


@dataclass(slots=True)
class Step:
    """One turn of the planner with all that is known around it.

    Attributes:
        before: The snapshot before the turn; ``after``: behind it.
        sleep_s: How much later than asked for the turn came.
        was_late: The turn before came late too.
    """

    world: World
    ledger: Ledger
    before: Snapshot
    after: Snapshot
    facts: Sequence[Fact]
    actions: Sequence[Action]
    sleep_s: float
    was_late: bool

    def ordered(self, *kinds: type) -> list[Action]:
        return [action for action in self.actions if isinstance(action, kinds)]

    @property
    def spawned(self) -> list[Spawn]:
        return [action for action in self.actions if isinstance(action, Spawn)]

    @property
    def ended(self) -> list[StopWorker]:
        return [action for action in self.actions if isinstance(action, StopWorker)]
