"""What happens to a service: its operators, its code, its machine."""

from collections.abc import Callable
from random import Random

from blazeio_supervisor.fleet.facts import (
    Beat,
    Fact,
    ForkserverMisbehaved,
    ForkserverReady,
    HealthChecked,
    LeaseReturned,
    MemoryRead,
    ParkAsked,
    RecycleAsked,
    ReloadAsked,
    ResumeAsked,
    ScaleAsked,
    StopAsked,
    WorkerMisbehaved,
    WorkerReady,
)
from tests.simulation.processes import NEVER, SimForkserver, SimWorker
from tests.simulation.world import World

MIB = 1024 * 1024


class Chaos:
    """Does one random thing to the world each time it is asked.

    Attributes:
        last_ticket: Of the reloads asked for; 0: none.
    """

    def __init__(self, rng: Random, world: World, slots: int) -> None:
        self._rng = rng
        self._world = world
        self._slots = slots
        self.last_ticket = 0
        self._deeds: dict[Callable[[], None], int] = {
            self.reload: 14,
            self.reload_in_a_hurry: 3,
            self.scale: 8,
            self.recycle: 6,
            self.park: 4,
            self.kill_worker: 14,
            self.stutter: 14,
            self.block_worker: 8,
            self.fill_worker: 5,
            self.load_worker: 10,
            self.grow_worker: 3,
            self.change_memory: 5,
            self.kill_forkserver: 4,
            self.stop_forkserver: 3,
            self.stall_machine: 3,
            self.deadlock: 1,
            self.stop_master: 3,
            self.suspend: 3,
            self.massacre: 1,
            self.misbehave: 5,
            self.misbehave_as_forkserver: 2,
            self.say_what_is_not: 6,
        }

    def strike(self) -> None:
        deeds, weights = list(self._deeds), list(self._deeds.values())
        self._rng.choices(deeds, weights)[0]()

    # Operators

    def reload(self) -> None:
        self.last_ticket += 1
        self._world.tell(ReloadAsked(self.last_ticket))

    def reload_in_a_hurry(self) -> None:
        for _ in range(self._rng.randint(2, 4)):
            self._world.after(self._rng.uniform(0.0, 1.5), self.reload)

    def scale(self) -> None:
        if self._rng.random() < 0.5:
            change = self._rng.choice((-1, 1))
            self._world.tell(ScaleAsked(change=change))
        else:
            self._world.tell(ScaleAsked(self._rng.randint(0, self._slots + 3)))

    def recycle(self) -> None:
        self._world.tell(RecycleAsked(self._rng.randint(-1, self._slots + 2)))

    def park(self) -> None:
        self._world.tell(ParkAsked())
        if self._rng.random() < 0.8:
            wait_s = self._rng.uniform(0.0, 4.0)
            self._world.after(wait_s, self.resume)

    def resume(self) -> None:
        self._world.tell(ResumeAsked())

    def stop(self) -> None:
        is_quick = self._rng.random() < 0.4
        self._world.tell(StopAsked(is_quick))
        if self._rng.random() < 0.4:
            again = StopAsked(self._rng.random() < 0.7)
            wait_s = self._rng.uniform(0.0, 3.0)
            self._world.after(wait_s, lambda: self._world.tell(again))

    # Workers

    def _pick_worker(self) -> SimWorker | None:
        alive = [w for w in self._world.workers.values() if w.is_alive]
        return self._rng.choice(alive) if alive else None

    def kill_worker(self) -> None:
        worker = self._pick_worker()
        if worker is not None:
            self._world.exit(worker, self._rng.choice((-9, -11, 1, 0)))

    def stutter(self) -> None:
        worker = self._pick_worker()
        if worker is not None:
            self._world.block(worker, self._rng.uniform(0.02, 0.5))

    def block_worker(self) -> None:
        worker = self._pick_worker()
        if worker is not None:
            spans = (self._rng.uniform(0.5, 8.0), NEVER)
            self._world.block(worker, self._rng.choice(spans))

    def fill_worker(self) -> None:
        worker = self._pick_worker()
        if worker is not None:
            worker.full_until = self._world.now + self._rng.uniform(0.1, 4.0)

    def load_worker(self) -> None:
        worker = self._pick_worker()
        if worker is not None:
            worker.in_flight = self._rng.choice((0, 1, 5, 50))

    def grow_worker(self) -> None:
        worker = self._pick_worker()
        if worker is not None:
            worker.memory_bytes = self._rng.choice((1, 200, 2000)) * MIB

    def change_memory(self) -> None:
        """Others on the machine take memory, or give it back; or nobody can tell."""
        free = self._rng.choice((None, 0, 100 * MIB, 64 * 1024 * MIB))
        self._world.tell(MemoryRead(free))

    def massacre(self) -> None:
        """The kernel kills whatever it finds."""
        for worker in self._world.workers.values():
            if self._rng.random() < 0.8:
                self._world.exit(worker, -9)
        if self._rng.random() < 0.5:
            self.kill_forkserver()

    # Forkservers

    def _pick_forkserver(self) -> SimForkserver | None:
        alive = [f for f in self._world.forkservers.values() if f.is_alive]
        return self._rng.choice(alive) if alive else None

    def kill_forkserver(self) -> None:
        forkserver = self._pick_forkserver()
        if forkserver is not None:
            self._world.exit_forkserver(forkserver, -9)

    def stop_forkserver(self) -> None:
        forkserver = self._pick_forkserver()
        if forkserver is not None:
            span_s = self._rng.choice((0.5, 3.0, 10.0))
            forkserver.stopped_until = self._world.now + span_s

    # Foreign code in them

    def misbehave(self) -> None:
        """A worker does what none does, and ignores all from then on."""
        worker = self._pick_worker()
        if worker is not None:
            worker.is_deaf = worker.is_stone = True
            self._world.tell(WorkerMisbehaved(worker.worker, "simulated"))

    def misbehave_as_forkserver(self) -> None:
        forkserver = self._pick_forkserver()
        if forkserver is not None:
            self._world.tell(ForkserverMisbehaved(forkserver.generation, "simulated"))

    def say_what_is_not(self) -> None:
        """Facts about the dead and the unknown, and readings that are lies."""
        dead = self._rng.choice([0, 10_000, *self._world.dead])
        living = self._pick_worker()
        lies: list[Fact] = [
            WorkerMisbehaved(10_000, "simulated"),
            ForkserverMisbehaved(10_000, "simulated"),
            ForkserverReady(10_000),
            WorkerReady(dead),
            WorkerMisbehaved(dead, "simulated"),
            HealthChecked(dead, True),
            LeaseReturned(dead),
            Beat(dead, self._world.now, 0.0, 2**53, 2**53),
        ]
        if self._world.unanswered:
            lies.append(WorkerReady(self._rng.choice(sorted(self._world.unanswered))))
        if living is not None:
            most = 2**53  # the shell lets nothing above it pass
            lies += [
                Beat(living.worker, 0.0, 1e9, most, most),
                Beat(living.worker, self._world.now, most, most, most, True, 0, most),
            ]
        lie = self._rng.choice(lies)
        if living is not None and isinstance(lie, Beat) and lie.worker == living.worker:
            living.vouched_at = lie.at
        self._world.tell(lie)

    # The machine

    def stall_machine(self) -> None:
        """Every process of ours gets no time, the master only just."""
        span_s = self._rng.uniform(0.05, 4.0)
        for worker in self._world.workers.values():
            if self._rng.random() < 0.9:
                self._world.block(worker, span_s)

    def deadlock(self) -> None:
        """All workers wait for the same thing, which never comes."""
        for worker in self._world.workers.values():
            self._world.block(worker, NEVER)

    def stop_master(self) -> None:
        self._world.stop_master(self._rng.choice((0.05, 0.3, 2.0, 60.0)))

    def suspend(self) -> None:
        self._world.suspend(self._rng.choice((0.2, 2.0, 3600.0)))
