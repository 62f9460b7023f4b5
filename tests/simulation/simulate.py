"""Random histories of the fleet, each from its seed alone.

    python -m tests.simulation.simulate --events 1000000 --seed 1

One event is one turn of the planner. A history boots a fleet, does random
things to it, then either stops it in the midst, or lets it calm down, asks for
a good reload (which must succeed and leave every slot served) and stops it.
A history that fails prints how to replay it exactly:

    python -m tests.simulation.simulate --replay 1/17 --verbose
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from blazeio_supervisor.fleet.facts import Fact, ReloadAsked, StartAsked
from blazeio_supervisor.fleet.planner import Planner
from blazeio_supervisor.fleet.policy import Policy, Readiness, SteeringMode
from tests.simulation.chaos import Chaos
from tests.simulation.code import Code, write_code, write_good_code
from tests.simulation.invariants import INVARIANTS, booting_or_serving
from tests.simulation.ledger import InvariantError, Ledger, Step, require
from tests.simulation.world import World

MOST_SPINS = 50
MIB = 1024 * 1024
READINESS: tuple[Readiness, ...] = ("first", "all")
STEERING: tuple[SteeringMode, ...] = ("load", "load", "load", "even", "off")


class HistoryError(AssertionError):
    """A history broke an invariant; it says how to replay it."""


def draw_policy(rng: Random) -> Policy:
    """Short spans, so that much happens in few turns."""
    return Policy(
        boot_timeout_s=4.0,
        grace_s=3.0,
        quick_grace_s=0.5,
        term_s=1.0,
        forkserver_stop_s=0.5,
        backoff_base_s=0.1,
        backoff_most_s=2.0,
        stable_after_s=3.0,
        has_health_check=rng.random() < 0.5,
        health_timeout_s=1.0,
        canary_hold_s=rng.choice((0.0, 0.5, 1.0)),
        hold_s=rng.choice((0.0, 0.5)),
        rollout_timeout_s=rng.choice((4.0, 20.0)),
        worker_limit=8,
        dump_every_s=2.0,
        timeout_s=3.0,
        machine_timeout_s=6.0,
        is_shared_listener=rng.random() < 0.15,
        steering=rng.choice(STEERING),
        drain_delay_s=rng.choice((0.0, 0.0, 1.0, 4.0)),
        max_requests=rng.choice((None, None, 2000)),
        max_requests_jitter=500,
        max_lifetime_s=rng.choice((None, None, 15.0)),
        max_lifetime_jitter_s=5.0,
        max_memory_bytes=rng.choice((None, 1000 * MIB)),
        rollback_latency=rng.choice((None, 2.0)),
        is_development=rng.random() < 0.1,
        ready=rng.choice(READINESS),
        watchdog_s=rng.choice((None, 4.0)),
    )


@dataclass(slots=True)
class History:
    """One history.

    Attributes:
        name: Its seed; everything follows from it.
        turns: Turns so far.
        spins: Turns in a row in which no time passed.
        was_late: The last turn came later than asked for.
        round_at: When the scoreboard was last read.
    """

    name: str
    is_verbose: bool = False
    turns: int = 0
    spins: int = 0
    was_late: bool = False
    round_at: float = 0.0
    rng: Random = field(init=False)
    policy: Policy = field(init=False)
    planner: Planner = field(init=False)
    world: World = field(init=False)
    ledger: Ledger = field(init=False)
    chaos: Chaos = field(init=False)

    def __post_init__(self) -> None:
        self.rng = Random(self.name)
        self.policy = draw_policy(self.rng)
        slots = self.rng.randint(1, 5)
        self.planner = Planner(self.policy, slots, Random(self.name))
        self.world = World(self.rng, self._write_code)
        self.ledger = Ledger(slots)
        self.chaos = Chaos(self.rng, self.world, slots)

    def run(self, turns: int) -> None:
        """Live it, about this many turns."""
        self.world.tell(StartAsked())
        self._turn()
        self._be_struck(turns)
        if self.rng.random() < 0.7 and self.ledger.stop_at is None:
            self._calm_down()
        self.chaos.stop()
        while self.ledger.exit_code is None:
            self._turn()
            if self.ledger.stop_at is None and self.rng.random() < 0.02:
                self.chaos.strike()  # it leaves, and serves on until then
        self.world.tell(ReloadAsked(99_999))
        require(self.planner.plan(self.world.inbox, self.world.now) == [], "acts on")
        require(self.planner.next_deadline_at() is None, "has a deadline after Exit")

    def _write_code(self, generation: int) -> Code:
        if self.world.is_calm or (generation == 1 and self.rng.random() < 0.9):
            return write_good_code(self.rng)
        return write_code(self.rng)

    def _be_struck(self, turns: int) -> None:
        next_at = self.world.now + 0.5
        pace_s = self.rng.choice((0.05, 0.3, 1.0))
        while self.turns < turns and self.ledger.exit_code is None:
            self._turn()
            if self.world.now >= next_at:
                self.chaos.strike()
                next_at = self.world.now + self.rng.expovariate(1 / pace_s)

    def _calm_down(self) -> None:
        """Nothing bad happens any more: the fleet must recover by itself."""
        world = self.world
        world.is_calm = True
        self.chaos.resume()
        for worker in world.workers.values():
            if not worker.is_alive:
                continue
            worker.blocked_until = min(worker.blocked_until, world.now + 1.0)
            worker.full_until = min(worker.full_until, world.now + 1.0)
        for forkserver in world.forkservers.values():
            forkserver.stopped_until = min(forkserver.stopped_until, world.now + 1.0)
        self._live_for(30.0)
        if self.ledger.exit_code is not None or not self.planner.snapshot().has_served:
            return
        self._reload_well()
        self._live_for(10.0)
        self._require_recovery()

    def _reload_well(self) -> None:
        self.chaos.reload()
        ticket = self.chaos.last_ticket
        until = self.world.now + 4 * self.policy.rollout_timeout_s
        while ticket not in self.ledger.answers:
            self._turn()
            require(self.world.now < until, "a good reload does not end")
        require(self.ledger.answers[ticket] == [True], "a good reload failed")

    def _live_for(self, seconds: float) -> None:
        until = self.world.now + seconds
        while self.world.now < until and self.ledger.exit_code is None:
            self._turn()

    def _require_recovery(self) -> None:
        view = self.planner.snapshot()
        for slot in view.slots:
            is_served = slot.owner is not None and slot.owner.state == "serving"
            require(is_served is not slot.is_parked, f"not recovered: {slot}")
            is_adopted = slot.adopted_by is not None
            is_due = slot.is_parked and not self.policy.is_shared_listener
            require(is_adopted is is_due, f"adopted after recovery: {slot}")
        require(view.phase == "idle", f"still {view.phase}")
        generations = {s.owner.generation for s in view.slots if s.owner}
        require(len(generations) == 1, f"generations {generations}")

    def _turn(self) -> None:
        due = self._find_due()
        world = self.world
        before_at = world.now
        is_round = world.advance(before_at if due is None else due)
        self.round_at = world.now if is_round else self.round_at
        self.spins = self.spins + 1 if world.now == before_at else 0
        require(self.spins < MOST_SPINS, "turns on without any time passing")
        sleep_s = 0.0 if due is None else max(0.0, world.now - due)
        facts = self._read(is_round=is_round, has_slept=sleep_s > 1.0)
        before = self.planner.snapshot()
        parked = [slot.owner for slot in before.slots if slot.is_parked]
        self.ledger.lost |= {owner.generation for owner in parked if owner}
        self.ledger.present = {w.generation for w in booting_or_serving(before)}
        self.ledger.note_facts(facts, world.now, world.slept_s)
        actions = self.planner.plan(facts, world.now)
        self.turns += 1
        if self.is_verbose:
            self._tell(facts, actions)
        self.ledger.note_actions(actions, world.now, world.slept_s)
        after = self.planner.snapshot()
        self.ledger.note_rollout(after.target, world.now, world.slept_s)
        is_late, self.was_late = self.was_late, sleep_s > self.policy.late_tick_s
        step = Step(world, self.ledger, before, after, facts, actions, sleep_s, is_late)
        for invariant in INVARIANTS:
            try:
                invariant(step, self.policy)
            except InvariantError as violation:
                raise InvariantError(f"{invariant.__name__}: {violation}") from None
        self._require_next_turn()
        for action in actions:
            world.carry_out(action)

    def _read(self, *, is_round: bool, has_slept: bool) -> list[Fact]:
        """Read what has come; after a sleep the clock may strike before that."""
        if has_slept and not self.was_late and self.rng.random() < 0.5:
            return []
        facts = self.world.inbox
        self.world.inbox = []
        return [*facts, *(self.world.read_beats() if is_round else ())]

    def _find_due(self) -> float | None:
        """As the master's loop has it: once a worker has woken, the rounds go on."""
        due = self.planner.next_deadline_at()
        if due is None or (self.planner.is_at_rest and self.world.rests()):
            return due
        at = self.round_at + self.policy.beat_every_s
        return min(due, max(at, self.world.now))

    def _require_next_turn(self) -> None:
        due = self.planner.next_deadline_at()
        is_over = self.ledger.exit_code is not None
        latest = self.world.now + self.policy.tick_every_s + 1e-6
        require((due is None) is is_over, f"next turn {due}, over: {is_over}")
        require(due is None or due <= latest, f"next turn only at {due}")

    def _tell(self, facts: Sequence[object], actions: Sequence[object]) -> None:
        told = [fact for fact in facts if type(fact).__name__ != "Beat"]
        if told or actions:
            print(f"{self.turns:6} {self.world.now:9.3f}", *told)
            for action in actions:
                print("                 ->", action)


def run_history(name: str, turns: int, *, is_verbose: bool = False) -> History:
    """Live one history.

    Raises:
        HistoryError: An invariant did not hold.
    """
    history = History(name, is_verbose)
    try:
        history.run(turns)
    except Exception as error:
        text = (
            f"history {name} failed at turn {history.turns}: {error}\n"
            f"replay: python -m tests.simulation.simulate --replay {name} --verbose"
        )
        raise HistoryError(text) from error
    return history


def draw_turns(name: str) -> int:
    """How long the chaos of a history lasts; follows from its seed too."""
    return Random(f"turns of {name}").choice((60, 400, 1200, 2500))


def run_many(events: int, seed: int) -> tuple[int, int]:
    """Live histories until so many turns were taken; return turns, histories."""
    turns = number = 0
    while turns < events:
        name = f"{seed}/{number}"
        turns += run_history(name, draw_turns(name)).turns
        number += 1
    return turns, number


def main() -> int:
    """Run, print the figures; exit 1 when a history failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--replay", metavar="SEED/NUMBER")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    began = time.perf_counter()
    try:
        if options.replay:
            name = options.replay
            run_history(name, draw_turns(name), is_verbose=options.verbose)
            return 0
        turns, histories = run_many(options.events, options.seed)
    except HistoryError as failed:
        print(failed, file=sys.stderr)
        return 1
    took_s = time.perf_counter() - began
    print(f"{turns} events in {histories} histories hold, {took_s:.0f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
