"""Whether there is memory for another worker, and how a slot does without.

A worker is replaced by another one that starts beside it. Where both do not fit, below
the limit of the control group or into the machine, it goes the other way round for
that slot: the old one drains and ends, then the new one starts; siblings take its
queue meanwhile. What a new worker will take is what the largest one has of its own.
"""

from blazeio_supervisor.fleet.context import PlanContext
from blazeio_supervisor.fleet.roster import Slot
from blazeio_supervisor.fleet.transitions import step_worker
from blazeio_supervisor.fleet.worker_state import Event

MIB = 1024 * 1024
SETTLED_AFTER_S = 5.0
"""Each worker is measured every two seconds."""
STALE_AFTER_S = 5.0
"""A reading that is older says nothing: perhaps none can be had any more."""


def count_room(context: PlanContext) -> int | None:
    """Return how many more workers there is memory for; None: nobody knows."""
    largest, free_bytes = _find_largest(context), context.roster.free_bytes
    is_stale = context.roster.read_at + STALE_AFTER_S <= context.now
    if free_bytes is None or is_stale or not largest:
        return None
    return max(free_bytes - context.policy.memory_reserve_bytes, 0) // largest


def awaits_reading(context: PlanContext) -> bool:
    """Whether the next reading of the free memory has to be waited for.

    The last one is older than workers that have just begun, so it does not know what
    those take; and there was not room for all of them and one more.
    """
    roster, room = context.roster, count_room(context)
    if room is None:
        return False
    began = sum(
        each.ready_at is not None and each.ready_at >= roster.read_at
        for each in roster.workers.values()
    )
    if not began or room > began:
        return False
    context.wake(roster.read_at + STALE_AFTER_S)
    return True


def make_room(context: PlanContext, slot: Slot) -> bool:
    """Drain the worker of a slot, where its successor does not fit beside it.

    Returns:
        Whether that was done; then ``slot.awaits`` names it.
    """
    owner, free_bytes = slot.owner, context.roster.free_bytes
    if any(each.awaits is not None for each in context.roster.slots):
        return False  # one at a time, also where nobody can be forked in its place
    if free_bytes is None or count_room(context) != 0:
        return False
    if owner is None or not owner.is_serving:
        return False
    text = (
        f"{free_bytes // MIB} MiB are free, and a worker has up to "
        f"{_find_largest(context) // MIB} MiB of its own: this one ends before its "
        "successor starts"
    )
    context.report("making_room", text, "WARNING", of=owner)
    slot.awaits = owner.worker
    step_worker(context, owner, Event.DRAIN)
    return True


def is_vacated(context: PlanContext, slot: Slot) -> bool:
    """Whether the worker that had to make room is gone by now, or none had to."""
    return slot.awaits is None or slot.awaits not in context.roster.workers


def _find_largest(context: PlanContext) -> int:
    """Return what the largest worker has of its own.

    One that has just begun was perhaps measured before it had all that it needs.
    """
    roster, settled, others = context.roster, [0], [0]
    for handle in roster.workers.values():
        size = handle.health.beat.memory_bytes if handle.health.beat else None
        is_settled = handle.is_stable(context.now, SETTLED_AFTER_S)
        (settled if is_settled else others).append(size or 0)
    largest = max(settled) or roster.largest_bytes
    roster.largest_bytes = max(largest, *others)
    return roster.largest_bytes
