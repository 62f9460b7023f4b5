"""Short random histories of the lease of the tasks alone, very many of them.

    python -m tests.simulation.leases --histories 1000000 --seed 1

The whole planner is in ``simulate``; here is only what decides on the lease, with
workers that become ready, drain, give it back late, twice or never, and die. After
each turn: at most one worker runs the tasks, and where one is free and able, the
lease is not.
"""

import argparse
import sys
import time
from random import Random

from blazeio_supervisor.fleet.actions import GrantLease
from blazeio_supervisor.fleet.context import PlanContext
from blazeio_supervisor.fleet.facts import Fact, LeaseReturned
from blazeio_supervisor.fleet.health import TaskLease
from blazeio_supervisor.fleet.policy import Policy
from blazeio_supervisor.fleet.roster import Roster, State, WorkerHandle
from tests.simulation.ledger import InvariantError, require

SLOTS = 3
TURNS = 25
POLICY = Policy()


class LeaseHistory:
    """One history.

    Attributes:
        running: The workers that run the tasks, in truth.
    """

    def __init__(self, name: str) -> None:
        self._rng = Random(name)
        self._roster = Roster.with_slots(SLOTS)
        self._lease = TaskLease()
        self._facts: list[Fact] = []
        self._granted: list[int] = []
        self._returned: set[int] = set()
        self.running: set[int] = set()

    def run(self) -> None:
        """Live it.

        Raises:
            InvariantError: Two run the tasks, or nobody though one could.
        """
        for turn in range(TURNS):
            for _ in range(self._rng.randint(0, 3)):
                self._happen()
            self._turn(turn)

    def _happen(self) -> None:
        """Do one thing to a worker, or make one."""
        slot = self._rng.choice(self._roster.slots)
        owner = slot.owner
        if owner is None:
            self._make(slot.index)
            return
        living = self._rng.choice(list(self._roster.workers.values()))
        match self._rng.randrange(6):
            case 0:
                self._die(living)
            case 1 if living.state is State.SERVING:
                living.state = State.DRAINING
                self._roster.vacate(living)
            case 2 | 3:
                self._read_channel(living)
            case 4:
                self._end_tasks(living)
            case _:
                owner.health.is_late = not owner.health.is_late

    def _make(self, slot: int) -> None:
        worker, rng = self._roster.next_worker(), self._rng
        generation = self._roster.generation = self._roster.generation + rng.randrange(
            2
        )
        handle = WorkerHandle(worker, slot, generation, 0.0, None, state=State.SERVING)
        handle.has_tasks = rng.random() < 0.8
        self._roster.workers[worker] = handle
        self._roster.slots[slot].owner = handle

    def _die(self, handle: WorkerHandle) -> None:
        self.running.discard(handle.worker)
        self._granted = [each for each in self._granted if each != handle.worker]
        del self._roster.workers[handle.worker]
        handle.state = State.GONE
        self._roster.vacate(handle)

    def _read_channel(self, handle: WorkerHandle) -> None:
        """Read the grant, unless its loop is blocked; a draining one declines."""
        if handle.worker not in self._granted:
            return
        self._granted.remove(handle.worker)
        if handle.state is State.SERVING:
            self.running.add(handle.worker)
        else:
            self._say_returned(handle)

    def _end_tasks(self, handle: WorkerHandle) -> None:
        """The tasks of one that drains end; rarely of one that was told otherwise."""
        is_leaving = handle.state is State.DRAINING or self._rng.random() < 0.1
        if handle.worker in self.running and is_leaving:
            self.running.discard(handle.worker)
            self._say_returned(handle)

    def _say_returned(self, handle: WorkerHandle) -> None:
        self._returned.add(handle.worker)
        if self._rng.random() < 0.9:  # else it is lost, and its end must do
            self._facts += [LeaseReturned(handle.worker)] * self._rng.choice((1, 1, 2))

    def _turn(self, turn: int) -> None:
        if self._rng.random() < 0.1:
            self._facts.append(LeaseReturned(self._rng.randint(900, 999)))
        facts, self._facts = tuple(self._facts), []
        context = PlanContext(
            now=float(turn),
            clock_now=float(turn),
            is_void=self._rng.random() < 0.1,
            policy=POLICY,
            roster=self._roster,
            rng=self._rng,
            facts=facts,
        )
        self._lease.run(context)
        granted = [a.worker for a in context.actions if isinstance(a, GrantLease)]
        self._granted += granted
        holders = self.running | set(self._granted)
        require(len(granted) <= 1, f"granted to {granted}")
        require(len(holders) <= 1, f"workers {holders} run them, or are about to")
        able = [
            handle.worker
            for handle in self._roster.serving()
            if handle.has_tasks and not handle.has_returned_lease
        ]
        is_free = self._lease.holder is None
        require(not (is_free and able), f"nobody has it, and {able} could")


def main() -> int:
    """Live many; exit 1 when one failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--histories", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    began = time.perf_counter()
    for number in range(options.histories):
        name = f"lease {options.seed}/{number}"
        try:
            LeaseHistory(name).run()
        except InvariantError as violation:
            print(f"{name}: {violation}", file=sys.stderr)
            return 1
    took_s = time.perf_counter() - began
    print(f"{options.histories:,} histories hold, {took_s:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
