"""Escalate whoever outlived the deadline of its state.

May import: the words of the fleet, the lives, the turn.
"""

from blazeio_supervisor.fleet.roster import ForkserverHandle, WorkerHandle
from blazeio_supervisor.fleet.turns.lives import (
    give_up_on,
    step_forkserver,
    step_worker,
)
from blazeio_supervisor.fleet.turns.turn import Turn
from blazeio_supervisor.fleet.worker_state import HAS_NO_PID, Event


def escalate(turn: Turn) -> None:
    """Boot deadline -> TERM, grace period -> TERM, TERM -> KILL.

    In a void turn nobody is judged.
    """
    if turn.is_void:
        return
    roster = turn.roster
    for forkserver in list(roster.forkservers.values()):
        if _is_overdue(turn, forkserver):
            step_forkserver(turn, forkserver, Event.OVERDUE, _late_words(turn))
    for worker in list(roster.workers.values()):
        if _is_overdue(turn, worker):
            _escalate_worker(turn, worker)


def wake_for_deadlines(turn: Turn) -> None:
    """Have the next turn when the first deadline passes."""
    for handle in turn.roster.handles():
        if handle.deadline_at is not None:
            turn.wake(handle.deadline_at)


def _is_overdue(turn: Turn, handle: WorkerHandle | ForkserverHandle) -> bool:
    return handle.deadline_at is not None and handle.deadline_at <= turn.now


def _escalate_worker(turn: Turn, handle: WorkerHandle) -> None:
    was_forked = handle.state not in HAS_NO_PID
    step_worker(turn, handle, Event.OVERDUE, _late_words(turn))
    forkserver = turn.roster.forkservers.get(handle.generation)
    if not was_forked and forkserver is not None:
        give_up_on(turn, forkserver, "it does not fork any more")


def _late_words(turn: Turn) -> str:
    return f"not ready within {turn.policy.boot_timeout_s:g} s (--boot-timeout)"
