"""Facts into the roster: what happened to which process.

Facts about the unknown are ignored, since messages come late and twice; but a
fork that was given up on and is answered after all is ended.

May import: the words of the fleet, the roster, the turn, the lives.
"""

from blazeio_supervisor.fleet.facts import (
    Fact,
    ForkserverExited,
    ForkserverReady,
    WorkerExited,
    WorkerForked,
    WorkerReady,
)
from blazeio_supervisor.fleet.lives import step_forkserver, step_worker, take_in_stray
from blazeio_supervisor.fleet.reasons import describe_exit
from blazeio_supervisor.fleet.turn import Turn
from blazeio_supervisor.fleet.worker_state import Event


def fold(turn: Turn, fact: Fact) -> None:
    """Bring the roster up to date with one fact; others' facts are left."""
    match fact:
        case ForkserverReady(generation):
            if generation in turn.roster.forkservers:
                handle = turn.roster.forkservers[generation]
                step_forkserver(turn, handle, Event.READY)
        case ForkserverExited(generation, status, reason):
            if generation in turn.roster.forkservers:
                handle = turn.roster.forkservers[generation]
                words = describe_exit(status, reason)
                step_forkserver(turn, handle, Event.EXITED, words, status)
        case WorkerForked(worker, pid):
            _fold_forked(turn, worker, pid)
        case WorkerReady(worker):
            _fold_ready(turn, worker)
        case WorkerExited(worker, status, reason):
            if worker in turn.roster.workers:
                words = describe_exit(status, reason)
                handle_ = turn.roster.workers[worker]
                step_worker(turn, handle_, Event.EXITED, words, status)
        case _:
            pass  # asked for, or told of health: the duties read those


def _fold_forked(turn: Turn, worker: int, pid: int) -> None:
    handle = turn.roster.workers.get(worker)
    if handle is not None:
        handle.pid = pid
        step_worker(turn, handle, Event.FORKED)
    elif turn.roster.was_given_out(worker):
        take_in_stray(turn, worker, pid)


def _fold_ready(turn: Turn, worker: int) -> None:
    handle = turn.roster.workers.get(worker)
    if handle is not None:
        event = Event.STOOD_BY if handle.is_canary else Event.READY
        step_worker(turn, handle, event)
