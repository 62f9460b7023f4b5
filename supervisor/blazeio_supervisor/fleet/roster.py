"""Which workers, slots and forkservers there are, and in which state each is.

Nothing is decided here. The states are a table: state and event give the next state.

After s6-supervise: what is *wanted* of a process is apart from what it *is*. A
wanted one (``WANTED``) boots or serves; any other is ending, and can never become
wanted again, since a process is never used twice. Forkservers have the same states:
they boot (import) and serve (fork).

The table is total: each event in each state has its entry, even when the
answer is to ignore it, because messages come late and twice. No ``End`` can be
sent twice, since each one leads to a state that does not send it.
"""

from collections.abc import Iterator
from enum import StrEnum
from typing import Self

from msgspec import Struct, field

from blazeio_supervisor.fleet.actions import StopMode
from blazeio_supervisor.fleet.facts import Beat
from blazeio_supervisor.fleet.policy import Backoff


class State(StrEnum):
    """What the process is, as far as the master knows."""

    SPAWNING = "spawning"  # asked for; no pid yet
    CANCELLED = "cancelled"  # asked for, no longer wanted; no pid yet
    BOOTING = "booting"  # has a pid, is not ready
    STANDBY = "standby"  # a canary: ready, not yet admitted to its slot
    SERVING = "serving"
    DRAINING = "draining"
    TERMINATING = "terminating"  # was sent TERM
    KILLING = "killing"  # was sent KILL
    GONE = "gone"  # reaped, or given up before it had a pid


class Event(StrEnum):
    """What happens to a process: reported by it, ordered, or by time alone."""

    FORKED = "forked"
    READY = "ready"
    STOOD_BY = "stood_by"  # ready, said by a canary
    ADMITTED = "admitted"
    DRAIN = "drain"
    TERM = "term"
    KILL = "kill"
    OVERDUE = "overdue"  # the deadline of its state has passed
    EXITED = "exited"


class Step(Struct, frozen=True):
    """The next state, and what must be sent to the process to get there."""

    state: State
    send: StopMode | None = None


WANTED = frozenset({State.SPAWNING, State.BOOTING, State.STANDBY, State.SERVING})
HAS_NO_PID = frozenset({State.SPAWNING, State.CANCELLED})
FAILING = frozenset({Event.EXITED, Event.OVERDUE})  # for a wanted one

_DRAIN = Step(State.DRAINING, StopMode.DRAIN)
_TERM = Step(State.TERMINATING, StopMode.TERM)
_KILL = Step(State.KILLING, StopMode.KILL)
_GONE = Step(State.GONE)


_ROWS: dict[State, dict[Event, Step]] = {
    State.SPAWNING: {
        Event.FORKED: Step(State.BOOTING),
        # Nothing can be sent to a process that may not exist yet.
        Event.DRAIN: Step(State.CANCELLED),
        Event.TERM: Step(State.CANCELLED),
        Event.KILL: Step(State.CANCELLED),
        Event.OVERDUE: _GONE,
        Event.EXITED: _GONE,
        # A worker can be ready before the forkserver has named its pid. The master
        # holds that back: whoever serves has a pid, by which it can be killed.
        **dict.fromkeys(
            (Event.READY, Event.STOOD_BY, Event.ADMITTED), Step(State.SPAWNING)
        ),
    },
    State.CANCELLED: {
        Event.FORKED: _TERM,
        Event.OVERDUE: _GONE,
        Event.EXITED: _GONE,
        **dict.fromkeys(
            (
                Event.READY,
                Event.STOOD_BY,
                Event.ADMITTED,
                Event.DRAIN,
                Event.TERM,
                Event.KILL,
            ),
            Step(State.CANCELLED),
        ),
    },
    State.BOOTING: {
        Event.READY: Step(State.SERVING),
        Event.STOOD_BY: Step(State.STANDBY),
        Event.DRAIN: _TERM,  # it does not listen to its channel while it boots
        Event.TERM: _TERM,
        Event.KILL: _KILL,
        Event.OVERDUE: _TERM,
        Event.EXITED: _GONE,
        **dict.fromkeys((Event.FORKED, Event.ADMITTED), Step(State.BOOTING)),
    },
    State.STANDBY: {
        Event.ADMITTED: Step(State.SERVING),
        Event.DRAIN: _DRAIN,
        Event.TERM: _TERM,
        Event.KILL: _KILL,
        Event.EXITED: _GONE,
        **dict.fromkeys(
            (Event.FORKED, Event.READY, Event.STOOD_BY, Event.OVERDUE),
            Step(State.STANDBY),
        ),
    },
    State.SERVING: {
        Event.DRAIN: _DRAIN,
        Event.TERM: _TERM,
        Event.KILL: _KILL,
        Event.EXITED: _GONE,
        **dict.fromkeys(
            (Event.FORKED, Event.READY, Event.STOOD_BY, Event.ADMITTED, Event.OVERDUE),
            Step(State.SERVING),
        ),
    },
    State.DRAINING: {
        Event.TERM: _TERM,
        Event.KILL: _KILL,
        Event.OVERDUE: _TERM,
        Event.EXITED: _GONE,
        **dict.fromkeys(
            (Event.FORKED, Event.READY, Event.STOOD_BY, Event.ADMITTED, Event.DRAIN),
            Step(State.DRAINING),
        ),
    },
    State.TERMINATING: {
        Event.KILL: _KILL,
        Event.OVERDUE: _KILL,
        Event.EXITED: _GONE,
        **dict.fromkeys(
            (
                Event.FORKED,
                Event.READY,
                Event.STOOD_BY,
                Event.ADMITTED,
                Event.DRAIN,
                Event.TERM,
            ),
            Step(State.TERMINATING),
        ),
    },
    State.KILLING: {
        Event.EXITED: _GONE,
        **dict.fromkeys(
            (
                Event.FORKED,
                Event.READY,
                Event.STOOD_BY,
                Event.ADMITTED,
                Event.DRAIN,
                Event.TERM,
                Event.KILL,
                Event.OVERDUE,
            ),
            Step(State.KILLING),
        ),
    },
    State.GONE: {
        # The answer to a Spawn that was given up on: it is not ours to keep.
        Event.FORKED: _KILL,
        **dict.fromkeys(
            (
                Event.READY,
                Event.STOOD_BY,
                Event.ADMITTED,
                Event.DRAIN,
                Event.TERM,
                Event.KILL,
                Event.OVERDUE,
                Event.EXITED,
            ),
            Step(State.GONE),
        ),
    },
}

TABLE: dict[tuple[State, Event], Step] = {
    (state, event): step for state, row in _ROWS.items() for event, step in row.items()
}


# The health of a worker: its beats, and what follows from them.


_LOAD_BASE = 8.0  # below about this many requests, differences are noise
_LOAD_LAG_S = 0.05  # a loop this late counts as twice the load
_LOAD_SHARE = 0.05  # of the newest beat; twenty, a second, are about two thirds
# The most that one beat may say, in loads so far. A beat may fall into the middle
# of a burst and see 100 requests where 1 is usual: with 0.2 as the share, and
# without this bound, that alone gave one worker 1.5 times another's connections.
_LOAD_RISE = 2.0


class WorkerHealth(Struct, eq=False):
    """The health of one worker's loop.

    Attributes:
        beat: The newest beat; None before the first.
        beat_at: Steady time of that beat, as far as the master witnessed it.
        good_beats: How many beats in a row were fresh when read, and not full.
        load: The smoothed load; comparable between workers only.
        is_late: It was late in the last round: it is not chosen as an adopter.
        is_avoided: It gets no new connections, until three good beats.
        needs_adopter: Its queue is adopted, until three good beats.
        dumped_at: When its stacks were last dumped.
        stalled_s: How long its loop has stood still, once that was dumped; 0: it
            has gone on since.
    """

    beat: Beat | None = None
    beat_at: float = 0.0
    good_beats: int = 0
    load: float = _LOAD_BASE
    is_late: bool = False
    is_avoided: bool = False
    needs_adopter: bool = False
    dumped_at: float = float("-inf")
    stalled_s: float = 0.0

    @property
    def in_flight(self) -> int:
        """Requests being served, by the newest beat."""
        return 0 if self.beat is None else self.beat.in_flight

    @property
    def lag_s(self) -> float:
        """How late its loop ran, by the newest beat."""
        return 0.0 if self.beat is None else self.beat.lag_s

    def take(self, beat: Beat, now: float, clock_now: float, fresh_s: float) -> None:
        """Take one reading of the worker's row.

        Args:
            beat: What the row says; ``at`` is in clock time.
            now: Steady time.
            clock_now: The clock's reading.
            fresh_s: A good beat is younger than this when it is read.
        """
        if self.beat is None or beat.at > self.beat.at:
            age_s = max(0.0, clock_now - beat.at)
            # Of a span that the master slept through, nothing counts.
            self.beat_at = max(self.beat_at, now - age_s)
            is_good = now - self.beat_at < fresh_s and not beat.is_full
            self.good_beats = self.good_beats + 1 if is_good else 0
        load = (_LOAD_BASE + beat.in_flight) * (1 + beat.lag_s / _LOAD_LAG_S)
        self.load += _LOAD_SHARE * (min(load, _LOAD_RISE * self.load) - self.load)
        self.beat = beat


class WorkerHandle(Struct, eq=False):
    """A worker as the planner knows it; the master has a ``WorkerRecord`` of it.

    Attributes:
        worker: Its serial number.
        deadline_at: When its present state must have ended; None: no bound.
        kill_at: When its grace period and what is added to it are over; None:
            it was not told to drain.
        boot_reports: How often it was reported that it boots for long.
        ready_at: When it began to serve.
        chance: A number from 0 to 1, drawn once: its share of every jitter.
        retire_reason: Why it shall be replaced; "" while it shall not.
        has_tasks: Its app has tasks that run once.
        has_returned_lease: It was to run them, and does no more.
    """

    worker: int
    slot: int
    generation: int
    spawned_at: float
    deadline_at: float | None
    is_canary: bool = False
    state: State = State.SPAWNING
    pid: int | None = None
    ready_at: float | None = None
    chance: float = 0.0
    retire_reason: str = ""
    health: WorkerHealth = field(default_factory=WorkerHealth)
    kill_at: float | None = None
    boot_reports: int = 0
    has_tasks: bool = False
    has_returned_lease: bool = False

    @property
    def is_wanted(self) -> bool:
        """It boots or serves; else it is on its way out."""
        return self.state in WANTED

    @property
    def is_serving(self) -> bool:
        """It accepts from its slot."""
        return self.state is State.SERVING

    def is_stable(self, now: float, after_s: float) -> bool:
        """It has served this long."""
        return self.ready_at is not None and now - self.ready_at >= after_s

    def __str__(self) -> str:
        """Its identity in every log line."""
        pid = "-" if self.pid is None else self.pid
        return f"worker={self.worker} slot={self.slot} gen={self.generation} pid={pid}"


class ForkserverHandle(Struct, eq=False):
    """A forkserver as the planner knows it; it has the states of a worker."""

    generation: int
    deadline_at: float | None
    state: State = State.BOOTING
    kill_at: float | None = None
    boot_reports: int = 0

    @property
    def is_wanted(self) -> bool:
        """It imports or forks; else it is on its way out."""
        return self.state in WANTED

    @property
    def is_serving(self) -> bool:
        """It can fork."""
        return self.state is State.SERVING

    def __str__(self) -> str:
        """Its identity in every log line."""
        return f"forkserver gen={self.generation}"


class Slot(Struct, eq=False):
    """One stable index with its listeners.

    Attributes:
        is_parked: Scaled away: no owner is wanted, siblings adopt its queue.
        owner: The wanted worker of this slot; it may still be booting.
        successor: Boots while the owner serves, then takes its place.
        adopter: The worker that accepts from the slot's queue for the owner.
        awaits: The worker that has to end before the next one starts, for lack of
            memory; until that one serves.
        backoff: The waits after its failures.
        deaths_serving: How many of its failures in a row were of workers that had
            got ready.
        failed_at: When the last of them was; None: there is none that counts.
        failure: What it was, in words.
        renewals: The waits after workers that were over a limit soon after their start.
    """

    index: int
    is_parked: bool = False
    owner: WorkerHandle | None = None
    successor: WorkerHandle | None = None
    adopter: WorkerHandle | None = None
    awaits: int | None = None
    backoff: Backoff = field(default_factory=Backoff)
    renewals: Backoff = field(default_factory=Backoff)
    failed_at: float | None = None
    failure: str = ""
    deaths_serving: int = 0

    def fail(self, failure: str, at: float, *, was_ready: bool) -> None:
        """Remember the last failure; the backoff counts them."""
        self.failed_at, self.failure = at, failure
        self.deaths_serving += was_ready

    def reset_failures(self) -> None:
        """Forget all failures."""
        self.backoff.reset()
        self.failed_at, self.failure, self.deaths_serving = None, "", 0


class Roster(Struct):
    """All handles, and the numbers given out so far.

    Attributes:
        slots: By index.
        generation: The one that new workers are forked from.
        workers: By serial number.
        forkservers: By generation.
        free_bytes: Memory that may still be used; None: nobody knows.
        read_at: When that was read, steady time.
        largest_bytes: What the largest worker had of its own; 0: nobody knows.
    """

    slots: list[Slot]
    generation: int = 1
    workers: dict[int, WorkerHandle] = field(default_factory=dict)
    forkservers: dict[int, ForkserverHandle] = field(default_factory=dict)
    last_worker: int = 0
    last_generation: int = 0
    free_bytes: int | None = None
    read_at: float = 0.0
    largest_bytes: int = 0

    @classmethod
    def with_slots(cls, count: int) -> Self:
        """Return an empty roster with this many slots."""
        return cls([Slot(index) for index in range(count)])

    def __post_init__(self) -> None:
        """Name the same handles in the slots as in ``workers``.

        A roster that was decoded has a copy of each, and a worker that has ended may
        still be an adopter: then the slot has none.
        """
        for slot in self.slots:
            slot.owner = self._find(slot.owner)
            slot.successor = self._find(slot.successor)
            slot.adopter = self._find(slot.adopter)

    def _find(self, handle: WorkerHandle | None) -> WorkerHandle | None:
        return None if handle is None else self.workers.get(handle.worker)

    def next_worker(self) -> int:
        """Return the serial number of a new worker."""
        self.last_worker += 1
        return self.last_worker

    def next_generation(self) -> int:
        """Return the number of a new generation."""
        self.last_generation += 1
        return self.last_generation

    def was_given_out(self, worker: int) -> bool:
        """Whether a worker ever had this serial number."""
        return 0 < worker <= self.last_worker

    def handles(self) -> list[WorkerHandle | ForkserverHandle]:
        """Every process that is not gone."""
        return [*self.forkservers.values(), *self.workers.values()]

    def active(self) -> Iterator[Slot]:
        """Slots that want a worker, lowest first."""
        return (slot for slot in self.slots if not slot.is_parked)

    def serving(self) -> Iterator[WorkerHandle]:
        """Owners that accept from their slots, lowest slot first."""
        for slot in self.slots:
            if slot.owner is not None and slot.owner.is_serving:
                yield slot.owner

    def lone_canary(self) -> WorkerHandle | None:
        """Return the canary that serves a slot alone: its old worker made room."""
        return next(
            (
                handle
                for handle in self.workers.values()
                if handle.is_serving and self.slots[handle.slot].owner is None
            ),
            None,
        )

    def has_successor(self) -> bool:
        """Whether some slot has a successor on its way, beside its owner."""
        return any(slot.successor is not None for slot in self.slots)

    def is_replacing(self) -> bool:
        """Whether some slot has a successor on its way, or made room for one."""
        makes_room = any(slot.awaits is not None for slot in self.slots)
        return makes_room or self.has_successor()

    def is_making_room(self, now: float) -> bool:
        """Whether a worker ends so that another fits, or that one boots or may begin.

        Where nobody can be forked in its place for now, what it has left is free.
        """
        can_fork = self.can_fork(self.generation)
        return any(
            bool(slot.owner)
            or slot.awaits in self.workers
            or (can_fork and slot.backoff.next_at <= now)
            for slot in self.slots
            if slot.awaits is not None
        )

    def park_beyond(self, slot_count: int) -> None:
        """Take over slots that exist already, and for which no worker is wanted."""
        for index in range(len(self.slots), slot_count):
            self.slots.append(Slot(index, is_parked=True))

    def can_fork(self, generation: int) -> bool:
        """Whether this generation's forkserver is ready."""
        forkserver = self.forkservers.get(generation)
        return forkserver is not None and forkserver.is_serving

    def vacate(self, handle: WorkerHandle) -> None:
        """Take a worker that is no longer wanted from its slot.

        A successor moves up when it was the owner.
        """
        slot = self.slots[handle.slot]
        if slot.owner is handle:
            slot.owner, slot.successor = slot.successor, None
        elif slot.successor is handle:
            slot.successor = None
