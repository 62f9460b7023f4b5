"""Begin, step and end the lives of processes: the table applied to handles.

Every change of a state goes through here, so that what belongs to it (the
order sent, the deadline, the place in the slot, the failure noted) cannot be
forgotten.
"""

from blazeio_supervisor.fleet.actions import (
    Admit,
    AskStack,
    End,
    Ending,
    Spawn,
    StartForkserver,
    StopForkserver,
)
from blazeio_supervisor.fleet.roster import ForkserverHandle, Slot, WorkerHandle
from blazeio_supervisor.fleet.turns.turn import Failure, Turn
from blazeio_supervisor.fleet.worker_state import (
    FAILING,
    HAS_NO_PID,
    TABLE,
    WANTED,
    Event,
    State,
)

_LATE = frozenset({Event.OVERDUE, Event.TERM})  # TERM by name: its loop is blocked


def start_forkserver(turn: Turn, generation: int) -> ForkserverHandle:
    """Start the forkserver of a new generation."""
    deadline_at = turn.now + turn.policy.boot_timeout_s
    forkserver = ForkserverHandle(generation, deadline_at)
    turn.roster.forkservers[generation] = forkserver
    turn.act(StartForkserver(generation))
    return forkserver


def spawn(
    turn: Turn, slot: Slot, generation: int, *, is_canary: bool = False
) -> WorkerHandle:
    """Fork a worker for a slot. The caller gives it its place."""
    handle = WorkerHandle(
        worker=turn.roster.next_worker(),
        slot=slot.index,
        generation=generation,
        spawned_at=turn.now,
        deadline_at=turn.now + turn.policy.boot_timeout_s,
        is_canary=is_canary,
        chance=turn.rng.random(),
    )
    turn.roster.workers[handle.worker] = handle
    turn.act(Spawn(handle.worker, slot.index, generation, is_canary))
    return handle


def admit(turn: Turn, handle: WorkerHandle) -> None:
    """Let a canary on standby accept from its slot."""
    turn.act(Admit(handle.worker))
    step_worker(turn, handle, Event.ADMITTED)


def step_worker(
    turn: Turn,
    handle: WorkerHandle,
    event: Event,
    reason: str = "",
    status: int | None = None,
) -> None:
    """Apply one event to a worker."""
    before, step = handle.state, TABLE[handle.state, event]
    handle.state = step.state
    if event in _LATE and step.send is Ending.TERM:
        turn.act(AskStack(handle.worker))
    if step.send is not None:
        turn.act(End(handle.worker, step.send))
    if step.state is State.SERVING and handle.ready_at is None:
        handle.ready_at = turn.now
    if _keeps_deadline(before, step.state):
        pass  # the boot deadline runs from the Spawn on
    elif step.state is not before:
        _set_deadline(turn, handle, turn.policy.grace_s)
    if before in WANTED and not handle.is_wanted:
        turn.roster.vacate(handle)
        if event in FAILING:
            failure = Failure(handle, reason, status)
            turn.failures.append(failure)
    if step.state is State.GONE:
        turn.roster.workers.pop(handle.worker, None)


def step_forkserver(
    turn: Turn,
    handle: ForkserverHandle,
    event: Event,
    reason: str = "",
    status: int | None = None,
) -> None:
    """Apply one event to a forkserver."""
    before, step = handle.state, TABLE[handle.state, event]
    handle.state = step.state
    if step.send is not None:
        turn.act(StopForkserver(handle.generation, step.send))
    if step.state is not before:
        _set_deadline(turn, handle, _find_forkserver_grace_s(turn, handle))
    if before in WANTED and not handle.is_wanted and event in FAILING:
        failure = Failure(handle, reason, status)
        turn.failures.append(failure)
    if step.state is State.GONE:
        del turn.roster.forkservers[handle.generation]
        _give_up_forks(turn, handle)


def _find_forkserver_grace_s(turn: Turn, handle: ForkserverHandle) -> float:
    """Return how long it may take to end: it waits for the workers it has forked."""
    policy = turn.policy
    workers = turn.roster.workers.values()
    if any(worker.generation == handle.generation for worker in workers):
        return policy.grace_s + policy.kill_after_s + policy.forkserver_stop_s
    return min(policy.forkserver_stop_s, policy.grace_s)


def give_up_on(turn: Turn, handle: ForkserverHandle, reason: str) -> None:
    """End a forkserver that no longer answers; it counts as failed."""
    if handle.is_wanted:
        turn.failures.append(Failure(handle, reason))
    step_forkserver(turn, handle, Event.KILL)


def end_misbehaving(turn: Turn, handle: WorkerHandle, reason: str) -> None:
    """End a worker that did what none does, at once; it counts as failed."""
    if handle.is_wanted:
        turn.failures.append(Failure(handle, reason, cause="misbehaved"))
    step_worker(turn, handle, Event.KILL)


def take_in_stray(turn: Turn, worker: int, pid: int) -> None:
    """End a worker whose fork was given up on, when it is answered after all."""
    handle = WorkerHandle(worker, 0, 0, turn.now, None, state=State.GONE, pid=pid)
    turn.roster.workers[worker] = handle
    step_worker(turn, handle, Event.FORKED)


def _give_up_forks(turn: Turn, forkserver: ForkserverHandle) -> None:
    for handle in list(turn.roster.workers.values()):
        is_its = handle.generation == forkserver.generation
        if is_its and handle.state in HAS_NO_PID:
            step_worker(turn, handle, Event.EXITED, "the process that forks it is gone")


def _keeps_deadline(before: State, after: State) -> bool:
    return before in HAS_NO_PID and after in {State.BOOTING, State.CANCELLED}


def _set_deadline(
    turn: Turn, handle: WorkerHandle | ForkserverHandle, grace_s: float
) -> None:
    """Bound the new state of a process that is on its way out.

    Whatever it was told, it is killed ``kill_after_s`` after its grace period.
    """
    policy = turn.policy
    handle.deadline_at = None
    if handle.state is State.DRAINING:
        handle.deadline_at = turn.now + grace_s
        handle.kill_at = handle.deadline_at + policy.kill_after_s
    elif handle.state is State.TERMINATING:
        kill_at = handle.kill_at or turn.now + grace_s + policy.kill_after_s
        handle.deadline_at = min(turn.now + policy.term_s, kill_at)
