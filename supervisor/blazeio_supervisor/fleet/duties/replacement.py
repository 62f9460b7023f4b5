"""Replace first, then retire: one slot at a time, whatever the cause.

Reload, rollback and recycling all go through here, so together they never
have more than one worker beyond the wanted count that boots or serves. The
next slot does not wait for the old worker's drain.
"""

from blazeio_supervisor.fleet.turns.lives import spawn, step_worker
from blazeio_supervisor.fleet.turns.turn import Turn
from blazeio_supervisor.fleet.worker_state import Event


def swap_in_successors(turn: Turn) -> None:
    """Let each successor that serves take its slot; the old one drains."""
    for slot in turn.roster.slots:
        successor, owner = slot.successor, slot.owner
        if successor is not None and successor.is_serving and owner is not None:
            slot.owner, slot.successor = successor, None
            step_worker(turn, owner, Event.DRAIN)


def replace_next(turn: Turn, *, may_recycle: bool) -> None:
    """Boot a successor for the next slot that needs one, when none boots yet.

    Args:
        may_recycle: Workers with a reason to retire are replaced too, not
            only those of another generation.
    """
    roster = turn.roster
    if roster.is_replacing() or not roster.can_fork(roster.generation):
        return
    for owner in roster.serving():
        is_outdated = owner.generation != roster.generation
        if not is_outdated and not (may_recycle and owner.retire_reason):
            continue
        slot = roster.slots[owner.slot]
        if slot.is_parked:
            continue
        if slot.backoff.next_at <= turn.now:
            slot.successor = spawn(turn, slot, roster.generation)
            return
        turn.wake(slot.backoff.next_at)
