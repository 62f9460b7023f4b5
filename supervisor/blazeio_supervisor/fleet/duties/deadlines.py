"""Escalate whoever outlived the deadline of its state."""

from blazeio_supervisor.fleet.actions import ReportBoot
from blazeio_supervisor.fleet.roster import ForkserverHandle, WorkerHandle
from blazeio_supervisor.fleet.turns.lives import (
    give_up_on,
    step_forkserver,
    step_worker,
)
from blazeio_supervisor.fleet.turns.turn import Turn
from blazeio_supervisor.fleet.worker_state import HAS_NO_PID, Event, State


def escalate(turn: Turn) -> None:
    """Boot deadline -> TERM, grace period -> TERM, TERM -> KILL.

    In a void turn nobody is judged.
    """
    if turn.is_void:
        return
    roster = turn.roster
    for handle in roster.handles():
        if handle.state is State.BOOTING:
            _report_boot(turn, handle)
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
        if handle.state is State.BOOTING and not handle.boot_reports:
            turn.wake(_slow_at(turn, handle))


def _report_boot(turn: Turn, handle: WorkerHandle | ForkserverHandle) -> None:
    """Report it after a third of the boot timeout, and at its end, before TERM."""
    if handle.deadline_at is None:
        return
    if not handle.boot_reports and turn.now >= _slow_at(turn, handle):
        handle.boot_reports = 1
        _act_report(turn, handle)
    elif handle.boot_reports == 1 and _is_overdue(turn, handle):
        handle.boot_reports = 2
        _act_report(turn, handle)
        handle.deadline_at += turn.policy.boot_stack_s


def _act_report(turn: Turn, handle: WorkerHandle | ForkserverHandle) -> None:
    assert handle.deadline_at is not None
    span_s = turn.policy.boot_timeout_s
    boot_s = span_s - (handle.deadline_at - turn.now)
    worker = handle.worker if isinstance(handle, WorkerHandle) else None
    turn.act(ReportBoot(handle.generation, worker, boot_s, span_s))


def _slow_at(turn: Turn, handle: WorkerHandle | ForkserverHandle) -> float:
    assert handle.deadline_at is not None
    return handle.deadline_at - turn.policy.boot_timeout_s * 2 / 3


def _is_overdue(turn: Turn, handle: WorkerHandle | ForkserverHandle) -> bool:
    return handle.deadline_at is not None and handle.deadline_at <= turn.now


def _escalate_worker(turn: Turn, handle: WorkerHandle) -> None:
    was_forked = handle.state not in HAS_NO_PID
    step_worker(turn, handle, Event.OVERDUE, _late_words(turn))
    forkserver = turn.roster.forkservers.get(handle.generation)
    if not was_forked and forkserver is not None:
        give_up_on(turn, forkserver, "it does not fork any more")


def _late_words(turn: Turn) -> str:
    span_s = turn.policy.boot_timeout_s
    return f"not ready within {span_s:g} s (--boot-timeout); event=boot_slow says where"
