"""Drives a planner by hand: a fake now, and short words for what happens.

It answers nothing by itself but beats: each worker that was said to be ready
beats at every turn, unless it is in ``silent``.
"""

from collections.abc import Sequence
from random import Random
from typing import Any, TypeVar

from msgspec.structs import replace

from blazeio_supervisor.fleet.actions import (
    Action,
    Notify,
    ReportStatus,
    Spawn,
    StartForkserver,
    StopMode,
    StopWorker,
)
from blazeio_supervisor.fleet.facts import (
    Beat,
    Fact,
    ForkserverExited,
    ForkserverReady,
    ReloadAsked,
    StartAsked,
    WorkerExited,
    WorkerForked,
    WorkerReady,
)
from blazeio_supervisor.fleet.planner import Planner, SlotView
from blazeio_supervisor.fleet.policy import Policy

A = TypeVar("A")
STEP_S = 0.001  # between two facts that follow each other


class Driver:
    def __init__(self, slots: int = 2, **policy: Any) -> None:
        self.policy = Policy(**policy)
        self.planner = Planner(self.policy, slots, Random(7))
        self.now = 100.0
        self.slot_count = slots
        self.ready: dict[int, Beat] = {}
        self.silent: set[int] = set()
        self.log: list[Action] = []
        self.notices: list[Notify] = []

    # Turns

    def tell(self, *facts: Fact) -> list[Action]:
        """One turn with these facts."""
        self.now += STEP_S
        return self._plan(facts)

    def wait(self, seconds: float) -> list[Action]:
        """Turns as the planner asks for them, until the time is over."""
        actions: list[Action] = []
        end = self.now + seconds
        while self.now < end:
            due = self.planner.next_deadline_at()
            self.now = end if due is None else min(max(due, self.now), end)
            actions += self._plan(())
        return actions

    def sleep_through(self, seconds: float) -> list[Action]:
        """One late turn, as after a suspend of the machine."""
        self.now += seconds
        return self._plan((), is_late=True)

    def _plan(self, facts: Sequence[Fact], *, is_late: bool = False) -> list[Action]:
        beats = [] if is_late else self._beats()
        for fact in facts:
            if isinstance(fact, WorkerExited):
                self.ready.pop(fact.worker, None)
        actions = self.planner.plan([*facts, *beats], self.now)
        self.notices += only(Notify, actions)  # apart: they change with everything
        actions = [each for each in actions if not isinstance(each, Notify)]
        self.log += actions
        return actions

    def _beats(self) -> list[Fact]:
        for worker, beat in self.ready.items():
            if worker not in self.silent:
                self.ready[worker] = _at(beat, self.now)
        return list(self.ready.values())

    # What happens

    def start(self) -> "Driver":
        """Boot until every slot serves."""
        self.tell(StartAsked())
        for spawn in only(Spawn, self.tell(ForkserverReady(1))):
            self.serve(spawn.worker)
        return self

    def fork(self, worker: int) -> list[Action]:
        return self.tell(WorkerForked(worker, pid_of(worker)))

    def get_ready(self, worker: int) -> list[Action]:
        actions = self.tell(WorkerReady(worker))
        self.ready[worker] = Beat(worker, 0.0)
        return actions

    def serve(self, worker: int) -> list[Action]:
        return self.fork(worker) + self.get_ready(worker)

    def exit(self, worker: int, status: int = 0, reason: str = "") -> list[Action]:
        return self.tell(WorkerExited(worker, status, reason))

    def exit_forkserver(self, generation: int, status: int = 0) -> list[Action]:
        return self.tell(ForkserverExited(generation, status))

    def reload(self, ticket: int = 1) -> list[Action]:
        return self.tell(ReloadAsked(ticket))

    def load(self, generation: int) -> Spawn:
        """The forkserver is ready; return the canary's spawn."""
        return one(Spawn, self.tell(ForkserverReady(generation)))

    def roll(self, actions: list[Action]) -> None:
        """Serve each successor as it is spawned, and let each drained one exit."""
        todo = list(actions)
        while todo:
            match todo.pop(0):
                case Spawn(worker=worker):
                    todo += self.serve(worker)
                case StopWorker(worker, StopMode.DRAIN | StopMode.TERM):
                    todo += self.exit(worker)
                case _:
                    pass

    def reload_until_rolling(self, ticket: int = 1) -> list[Action]:
        """A reload whose canary is good; return what the end of its hold brings."""
        generation = one(StartForkserver, self.reload(ticket)).generation
        self.serve(self.load(generation).worker)
        return self.wait(self.policy.canary_hold_s + STEP_S)

    def reload_until_holding(self, ticket: int = 1) -> None:
        self.roll(self.reload_until_rolling(ticket))

    # What is

    def slot(self, index: int) -> SlotView:
        return self.planner.snapshot().slots[index]

    @property
    def owners(self) -> list[int | None]:
        slots = self.planner.snapshot().slots
        return [None if slot.owner is None else slot.owner.worker for slot in slots]

    @property
    def generations(self) -> list[int | None]:
        slots = self.planner.snapshot().slots
        return [None if slot.owner is None else slot.owner.generation for slot in slots]

    @property
    def phase(self) -> str:
        return self.planner.snapshot().phase.value


def _at(beat: Beat, now: float) -> Beat:
    return replace(beat, at=now)


def pid_of(worker: int) -> int:
    return 1000 + worker


def only(kind: type[A], actions: Sequence[Action]) -> list[A]:
    return [action for action in actions if isinstance(action, kind)]


def one(kind: type[A], actions: Sequence[Action]) -> A:
    found = only(kind, actions)
    assert len(found) == 1, found
    return found[0]


def events(actions: Sequence[Action]) -> list[str]:
    return [report.event for report in only(ReportStatus, actions)]


def deeds(actions: Sequence[Action]) -> list[Action]:
    """All but the reports."""
    return [action for action in actions if not isinstance(action, ReportStatus)]
