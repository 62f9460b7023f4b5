"""Facts into the roster: what happened to which process.

Facts about the unknown are ignored, since messages come late and twice; but a
fork that was given up on and is answered after all is ended.
"""

from blazeio_supervisor.fleet.facts import (
    Beat,
    Fact,
    ForkserverExited,
    ForkserverMisbehaved,
    ForkserverReady,
    WorkerExited,
    WorkerForked,
    WorkerMisbehaved,
    WorkerReady,
)
from blazeio_supervisor.fleet.reasons import describe_exit
from blazeio_supervisor.fleet.roster import WorkerHandle
from blazeio_supervisor.fleet.turns.lives import (
    end_misbehaving,
    give_up_on,
    step_forkserver,
    step_worker,
    take_in_stray,
)
from blazeio_supervisor.fleet.turns.turn import Turn
from blazeio_supervisor.fleet.worker_state import Event


def fold(turn: Turn, fact: Fact) -> None:
    """Bring the roster up to date with one fact; others' facts are left."""
    match fact:
        case ForkserverReady() | ForkserverExited():
            _fold_forkserver(turn, fact)
        case ForkserverMisbehaved(generation, reason):
            forkserver = turn.roster.forkservers.get(generation)
            if forkserver is not None:
                give_up_on(turn, forkserver, f"it misbehaved: {reason}")
        case WorkerForked(worker, pid):
            _fold_forked(turn, worker, pid)
        case WorkerReady() | WorkerExited() | WorkerMisbehaved() | Beat():
            handle = turn.roster.workers.get(fact.worker)
            if handle is not None:
                _fold_worker(turn, handle, fact)
        case _:
            pass  # somebody asks for something: the duties read those


def _fold_forkserver(turn: Turn, fact: ForkserverReady | ForkserverExited) -> None:
    handle = turn.roster.forkservers.get(fact.generation)
    if handle is None:
        return
    if isinstance(fact, ForkserverReady):
        step_forkserver(turn, handle, Event.READY)
    else:
        words = describe_exit(fact.status, fact.reason)
        step_forkserver(turn, handle, Event.EXITED, words, fact.status)


def _fold_worker(
    turn: Turn,
    handle: WorkerHandle,
    fact: WorkerReady | WorkerExited | WorkerMisbehaved | Beat,
) -> None:
    match fact:
        case WorkerReady():
            event = Event.STOOD_BY if handle.is_canary else Event.READY
            step_worker(turn, handle, event)
        case WorkerExited(_, status, reason):
            words = describe_exit(status, reason)
            step_worker(turn, handle, Event.EXITED, words, status)
        case WorkerMisbehaved(_, reason):
            end_misbehaving(turn, handle, f"it misbehaved: {reason}")
        case _:
            fresh_s = turn.policy.steer_after_s
            handle.pulse.take(fact, turn.now, turn.clock_now, fresh_s)


def _fold_forked(turn: Turn, worker: int, pid: int) -> None:
    handle = turn.roster.workers.get(worker)
    if handle is not None:
        handle.pid = pid
        step_worker(turn, handle, Event.FORKED)
    elif turn.roster.was_given_out(worker):
        take_in_stray(turn, worker, pid)
