"""A world around the planner: processes, messages on their way, a clock.

It plays the shell and the kernel. What it promises the planner is what the
shell promises: of a worker first its fork is told, and its end always; a ``Spawn``
that its forkserver did not answer before the end was told is void, also where that
worker is ready by then. All else may come late, twice or never.
"""

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count
from random import Random

from blazeio_supervisor.fleet.actions import (
    Action,
    AdmitWorker,
    AdoptQueue,
    CheckHealth,
    GrantLease,
    ReleaseQueue,
    Spawn,
    StartForkserver,
    StopForkserver,
    StopMode,
    StopWorker,
)
from blazeio_supervisor.fleet.facts import (
    Beat,
    Fact,
    ForkserverExited,
    ForkserverReady,
    HealthChecked,
    LeaseReturned,
    WorkerExited,
    WorkerForked,
    WorkerReady,
)
from tests.simulation.code import Code
from tests.simulation.processes import NEVER, SimForkserver, SimWorker

Deed = Callable[[], None]
FIRST_PID = 5000
UNREAD_S = 0.01  # what could be read is read this soon
MAY_COME_TWICE = (
    ForkserverReady,
    ForkserverExited,
    WorkerReady,
    WorkerExited,
    HealthChecked,
    LeaseReturned,
)


class World:
    """Everything outside the planner.

    Attributes:
        now: The clock.
        inbox: What the master will read in its next turn.
        paused_until: The master itself is stopped until then.
        slept_at: When the machine or the master last woke up.
        dead: Workers whose end was told.
        unanswered: Workers that were asked for, and whose fork was not told.
        is_calm: Nothing is lost, late or deaf any more.
    """

    def __init__(self, rng: Random, write_code: Callable[[int], Code]) -> None:
        self.rng = rng
        self.now = 1000.0
        self.inbox: list[Fact] = []
        self.paused_until = 0.0
        self.slept_at = 0.0
        self.slept_s = 0.0
        self.is_calm = False
        self.forkservers: dict[int, SimForkserver] = {}
        self.workers: dict[int, SimWorker] = {}
        self.dead: list[int] = []
        self.unanswered: set[int] = set()
        self._write_code = write_code
        self._frozen_beat_at = 0.0
        self._frozen_until = 0.0
        self._heap: list[tuple[float, int, Deed]] = []
        self._order = count()
        self._pids = count(FIRST_PID)

    # Time

    def after(self, delay_s: float, deed: Deed) -> None:
        if delay_s < NEVER:
            heappush(self._heap, (self.now + delay_s, next(self._order), deed))

    def advance(self, due: float) -> bool:
        """Run until the master takes a turn; True when it is due by itself."""
        soon = self.now + UNREAD_S if self.inbox else NEVER
        is_round = due <= soon
        due = max(min(due, soon), self.paused_until)
        while self._heap and self._heap[0][0] <= due:
            at, _, deed = heappop(self._heap)
            self.now = max(self.now, at)
            deed()
            if self.inbox and self.now >= self.paused_until:
                return False
        self.now = max(self.now, due)
        return is_round

    def stop_master(self, seconds: float) -> None:
        self.paused_until = self.now + seconds
        self._note_sleep(self.paused_until, seconds)

    def suspend(self, seconds: float) -> None:
        """The whole machine sleeps: nothing goes on, but the clock does."""
        self._frozen_beat_at = self.now
        self.now += seconds
        self._frozen_until = self.now + 0.05
        for worker in self.workers.values():
            if worker.blocked_until > self.now - seconds:
                worker.blocked_until += seconds
            worker.told_at += seconds
            worker.full_until += seconds
        for forkserver in self.forkservers.values():
            forkserver.stopped_until += seconds
        self._heap = [(at + seconds, n, deed) for at, n, deed in self._heap]
        heapify(self._heap)
        self._note_sleep(self.now, seconds)

    def _note_sleep(self, until: float, seconds: float) -> None:
        self.slept_at = max(self.slept_at, until)
        self.slept_s += seconds

    def _some(self, least_s: float, most_s: float) -> float:
        return self.rng.uniform(least_s, most_s)

    def _happens(self, share: float) -> bool:
        return not self.is_calm and self.rng.random() < share

    def tell(self, fact: Fact) -> None:
        self.inbox.append(fact)
        if isinstance(fact, MAY_COME_TWICE) and self._happens(0.01):
            self.inbox.append(fact)

    # What the master reads from the scoreboard

    def read_beats(self) -> list[Fact]:
        """Of every row, also of one whose process has just died."""
        rows = (w for w in self.workers.values() if w.is_ready)
        return [self._beat(row) for row in rows if not self._happens(0.005)]

    def rests(self) -> bool:
        """Whether no worker has woken, as the master sees it between two rounds."""
        return all(self._rests(each) for each in self.workers.values() if each.is_alive)

    def _rests(self, worker: SimWorker) -> bool:
        return not worker.in_flight and not worker.is_blocked(self.now)

    def _beat(self, worker: SimWorker) -> Beat:
        at = self.now - self._some(0.0, 0.03)
        rests = self._rests(worker)
        if worker.is_blocked(self.now):
            at = worker.blocked_since
        elif rests:
            at = self.now - self._some(0.0, 1.0)
        elif self.now < self._frozen_until:
            at = min(at, self._frozen_beat_at)
        worker.requests += worker.in_flight
        return Beat(
            worker.worker,
            at,
            lag_s=0.001 * worker.in_flight,
            in_flight=worker.in_flight,
            connections=worker.in_flight,
            is_full=worker.is_full(self.now),
            memory_bytes=worker.memory_bytes or None,
            requests=worker.requests,
            rests=rests,
        )

    # What the master does

    def carry_out(self, action: Action) -> None:  # noqa: C901 - a table
        match action:
            case StartForkserver(generation):
                self._start_forkserver(generation)
            case StopForkserver(generation, ending):
                self._stop_forkserver(self.forkservers[generation], ending)
            case Spawn(worker):
                self.unanswered.add(worker)
                self.after(self._some(0.002, 0.03), lambda: self._fork(action))
            case StopWorker(worker, ending):
                if worker in self.workers:
                    self._end(self.workers[worker], ending)
            case AdmitWorker(worker):
                self._when_free(self.workers[worker], self._accept)
            case CheckHealth(worker):
                self._when_free(self.workers[worker], self._check_health)
            case GrantLease(worker):
                self._when_free(self.workers[worker], self._run_tasks)
            case AdoptQueue(slot, by):
                self._when_free(self.workers[by], lambda w: self._adopt(w, slot))
            case ReleaseQueue(slot, by):
                self._when_free(self.workers[by], lambda w: w.adopted.discard(slot))
            case _:
                pass

    # Forkservers

    def _start_forkserver(self, generation: int) -> None:
        code = self._write_code(generation)
        it = SimForkserver(generation, code, is_deaf=self._happens(0.05))
        self.forkservers[generation] = it
        self.after(code.import_s, lambda: self._import(it))

    def _import(self, it: SimForkserver) -> None:
        if not it.is_alive:
            return
        if it.stopped_until > self.now:
            self.after(it.stopped_until - self.now, lambda: self._import(it))
        elif it.code.import_status is not None:
            self.exit_forkserver(it, it.code.import_status)
        else:
            it.is_ready = True
            if not self._happens(0.01):
                self.tell(ForkserverReady(it.generation))

    def _stop_forkserver(self, it: SimForkserver, ending: StopMode) -> None:
        if ending is StopMode.KILL:
            self.after(self._some(0.005, 0.05), lambda: self.exit_forkserver(it, -9))
        elif not it.is_deaf:
            status = 0 if ending is StopMode.DRAIN else -15
            wait_s = max(self._some(0.01, 0.3), it.stopped_until - self.now)
            self.after(wait_s, lambda: self.exit_forkserver(it, status))

    def exit_forkserver(self, it: SimForkserver, status: int) -> None:
        if it.is_alive:
            it.is_alive = False
            self.after(self._some(0.001, 0.05), lambda: self._tell_exit(it, status))

    def _tell_exit(self, it: SimForkserver, status: int) -> None:
        it.is_exit_told = True
        for worker in list(self.workers.values()):
            if worker.generation == it.generation and not worker.is_known:
                self._close_channel(worker)
        self.tell(ForkserverExited(it.generation, status, "simulated"))

    # Workers

    def _fork(self, spawn: Spawn) -> None:
        it = self.forkservers[spawn.generation]
        if not it.is_alive:
            return
        if it.stopped_until > self.now:
            self.after(it.stopped_until - self.now, lambda: self._fork(spawn))
        elif self._happens(0.01):
            self.tell(WorkerExited(spawn.worker, 1, "fork failed"))
        else:
            self._make_worker(it, spawn)

    def _make_worker(self, it: SimForkserver, spawn: Spawn) -> None:
        delay_s = 0.001
        if self._happens(0.03):
            delay_s = self._some(0.1, 6.0)
        worker = SimWorker(
            spawn.worker,
            spawn.slot,
            spawn.generation,
            next(self._pids),
            it.code,
            spawn.is_canary,
            told_at=self.now + delay_s,
            is_deaf=self._happens(0.03),
            is_stone=self._happens(0.02),
        )
        self.workers[spawn.worker] = worker
        self.after(delay_s, lambda: self._tell_fork(it, worker))
        self.after(it.code.boot_s, lambda: self._boot(worker))

    def _tell_fork(self, it: SimForkserver, worker: SimWorker) -> None:
        if it.is_exit_told:
            return
        worker.is_known = True
        self.unanswered.discard(worker.worker)
        self.tell(WorkerForked(worker.worker, worker.pid))
        if worker.is_ready:  # the master has held that back
            self.tell(WorkerReady(worker.worker, worker.code.has_tasks))

    def _close_channel(self, worker: SimWorker) -> None:
        """The master knows nothing of it any more: it ends by itself, untold."""
        worker.is_alive = False
        del self.workers[worker.worker]

    def _boot(self, worker: SimWorker) -> None:
        if worker.code.boot_status is not None:
            self.exit(worker, worker.code.boot_status)
        else:
            self._when_free(worker, self._get_ready)

    def _get_ready(self, worker: SimWorker) -> None:
        if self._happens(0.005):
            return  # the word is lost; it will never serve
        if not worker.is_alive:
            return
        worker.is_ready = True
        if not worker.is_canary:
            self._accept(worker)
        if worker.is_known:
            self.tell(WorkerReady(worker.worker, worker.code.has_tasks))
        self.after(worker.code.life_s, lambda: self.exit(worker, -11))

    def _accept(self, worker: SimWorker) -> None:
        if not worker.is_draining:
            worker.is_accepting, worker.accepts_since = True, self.now

    def _run_tasks(self, worker: SimWorker) -> None:
        if worker.is_draining:
            self._return_lease(worker)
        else:
            worker.runs_tasks = True

    def _return_lease(self, worker: SimWorker) -> None:
        if worker.is_alive:
            worker.runs_tasks = False
            if not self._happens(0.02):
                self.tell(LeaseReturned(worker.worker))

    def _adopt(self, worker: SimWorker, slot: int) -> None:
        if not worker.is_draining:
            worker.adopted.add(slot)

    def _check_health(self, worker: SimWorker) -> None:
        is_healthy = worker.code.is_healthy
        if is_healthy is not None and not self._happens(0.01):
            answer = HealthChecked(worker.worker, is_healthy, "simulated")
            self.after(self._some(0.001, 0.2), lambda: self.tell(answer))

    def _end(self, worker: SimWorker, ending: StopMode) -> None:
        if ending is StopMode.KILL:
            self.after(self._some(0.005, 0.05), lambda: self.exit(worker, -9))
        elif ending is StopMode.TERM:
            if not worker.is_stone:
                self._when_free(worker, lambda w: self._leave(w, -15, 0.3))
        elif not worker.is_deaf:
            self._when_free(worker, lambda w: self._leave(w, 0, 4.0))

    def _leave(self, worker: SimWorker, status: int, most_s: float) -> None:
        worker.is_accepting, worker.is_draining = False, True
        worker.adopted.clear()
        if worker.runs_tasks:  # they clean up, and then it says so
            self.after(self._some(0.0, 0.5), lambda: self._return_lease(worker))
        wait_s = self._some(0.0, 0.5 if self.is_calm else most_s)
        self.after(wait_s, lambda: self.exit(worker, status))

    def exit(self, worker: SimWorker, status: int) -> None:
        if worker.is_alive:
            self.block(worker, NEVER)
            worker.is_alive = worker.runs_tasks = False
            wait_s = max(self._some(0.001, 0.05), worker.told_at + 0.001 - self.now)
            self.after(wait_s, lambda: self._tell_end(worker, status))

    def _tell_end(self, worker: SimWorker, status: int) -> None:
        if worker.is_known:
            del self.workers[worker.worker]
            self.dead.append(worker.worker)
            self.tell(WorkerExited(worker.worker, status, "simulated"))

    def block(self, worker: SimWorker, seconds: float) -> None:
        if not worker.is_blocked(self.now):
            worker.blocked_since = self.now
        worker.blocked_until = max(worker.blocked_until, self.now + seconds)

    def _when_free(
        self, worker: SimWorker, deed: Callable[[SimWorker], object]
    ) -> None:
        """Have a worker do something, in order, as soon as its loop turns."""
        worker.channel.append(deed)
        self.after(self._some(0.001, 0.01), lambda: self._read_channel(worker))

    def _read_channel(self, worker: SimWorker) -> None:
        if worker.is_blocked(self.now):
            wait_s = min(worker.blocked_until - self.now + 0.001, 0.5)
            if worker.is_alive:
                self.after(wait_s, lambda: self._read_channel(worker))
            return
        while worker.channel and worker.is_alive:
            worker.channel.pop(0)(worker)
