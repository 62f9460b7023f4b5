"""Which workers shall be replaced though they serve well.

Only marks them; the replacement lane replaces first and retires then.

May import: the words of the fleet, the roster, the turn.
"""

from blazeio_supervisor.fleet.facts import RecycleAsked
from blazeio_supervisor.fleet.roster import WorkerHandle
from blazeio_supervisor.fleet.turns.turn import Turn

MIB = 1024 * 1024


def mark_for_recycling(turn: Turn) -> None:
    """Give a reason to retire to whoever was asked for or is over a limit."""
    for fact in turn.facts:
        if isinstance(fact, RecycleAsked):
            _ask(turn, fact.slot)
    for handle in turn.roster.serving():
        if not handle.retire_reason:
            reason = _find_reason(turn, handle)
            if reason:
                _mark(turn, handle, reason)


def _ask(turn: Turn, index: int) -> None:
    slots = turn.roster.slots
    if not 0 <= index < len(slots) or slots[index].is_parked:
        turn.report("recycle_refused", f"slot {index} has no worker", "WARNING")
        return
    slot = slots[index]
    if slot.owner is None:
        slot.backoff.reset()  # the operator does not want to wait for it
    elif slot.owner.is_serving and not slot.owner.retire_reason:
        _mark(turn, slot.owner, "asked for")


def _mark(turn: Turn, handle: WorkerHandle, reason: str) -> None:
    handle.retire_reason = reason
    turn.report("recycling", f"{handle} will be replaced: {reason}")


def _find_reason(turn: Turn, handle: WorkerHandle) -> str:
    policy, beat = turn.policy, handle.pulse.beat
    if policy.max_lifetime_s is not None:
        jitter_s = policy.max_lifetime_jitter_s * handle.chance
        retire_at = (handle.ready_at or turn.now) + policy.max_lifetime_s + jitter_s
        if retire_at <= turn.now:
            return f"served for {turn.now - (handle.ready_at or turn.now):.0f} s"
        turn.wake(retire_at)
    if beat is None:
        return ""
    if policy.max_requests is not None:
        jitter = round(policy.max_requests_jitter * handle.chance)
        if beat.requests >= policy.max_requests + jitter:
            return f"served {beat.requests} requests"
    used_bytes = beat.memory_bytes or 0  # not sampled: nothing to judge by
    if policy.max_memory_bytes is not None and used_bytes > policy.max_memory_bytes:
        return f"uses {used_bytes / MIB:.0f} MiB of its own"
    return ""
