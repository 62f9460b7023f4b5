"""No queue without somebody who accepts from it.

A slot whose owner does not accept (dead, booting, parked, blocked, full, or
draining without a successor) is adopted by the least loaded healthy sibling.
An adopter is kept while it is fit, so that slots do not wander; when it is not,
the next one adopts before it releases.
"""

from blazeio_supervisor.fleet.actions import Adopt, Release
from blazeio_supervisor.fleet.roster import Roster, Slot, WorkerHandle
from blazeio_supervisor.fleet.turns.turn import Turn
from blazeio_supervisor.fleet.worker_state import State


def cover(turn: Turn) -> None:
    """Adopt and release until every slot is served by its owner or a sibling.

    Nothing is done in a void turn, nor where all share one listener.
    """
    if turn.policy.is_shared_listener or turn.is_void:
        return
    for slot in turn.roster.slots:
        if _accepts(slot):
            _release(turn, slot)
        elif slot.adopter is None or not _is_fit(turn.roster, slot.adopter):
            _hand_over(turn, slot)


def _accepts(slot: Slot) -> bool:
    owner = slot.owner
    return owner is not None and owner.is_serving and not owner.pulse.is_covered_for


def _is_fit(roster: Roster, handle: WorkerHandle) -> bool:
    """Whether it may go on as an adopter."""
    is_owner = roster.slots[handle.slot].owner is handle
    return is_owner and handle.is_serving and not handle.pulse.is_avoided


def _hand_over(turn: Turn, slot: Slot) -> None:
    roster, before = turn.roster, slot.adopter
    fit = [h for h in roster.serving() if _is_fit(roster, h) and not h.pulse.is_late]
    if fit:
        adopter = min(fit, key=lambda handle: _burden(roster, handle))
        turn.act(Adopt(slot.index, adopter.worker))
        _release(turn, slot)
        slot.adopter = adopter
    elif before is not None and not before.is_serving:
        _release(turn, slot)  # nobody is fit: a late adopter is better than none


def _burden(roster: Roster, handle: WorkerHandle) -> tuple[float, float, int]:
    """An adopted queue weighs as much as one request in flight."""
    adopted = sum(slot.adopter is handle for slot in roster.slots)
    lag_s = 0.0 if handle.pulse.beat is None else handle.pulse.beat.lag_s
    return (handle.pulse.in_flight + adopted, lag_s, handle.slot)


def _release(turn: Turn, slot: Slot) -> None:
    adopter, slot.adopter = slot.adopter, None
    if adopter is not None and adopter.state is not State.GONE:
        turn.act(Release(slot.index, adopter.worker))
