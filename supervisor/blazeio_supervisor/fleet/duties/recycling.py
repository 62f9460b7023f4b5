"""Which workers shall be replaced though they serve well.

Only marks them; the replacement lane replaces first and retires then.
"""

from blazeio_supervisor.fleet.facts import RecycleAsked
from blazeio_supervisor.fleet.roster import Slot, WorkerHandle
from blazeio_supervisor.fleet.telling.words import asked_for
from blazeio_supervisor.fleet.turns.turn import Turn

MIB = 1024 * 1024


def mark_for_recycling(turn: Turn) -> None:
    """Give a reason to retire to whoever was asked for or is over a limit."""
    for fact in turn.facts:
        if isinstance(fact, RecycleAsked):
            _ask(turn, fact)
    for handle in turn.roster.serving():
        if not handle.retire_reason:
            _judge(turn, handle, turn.roster.slots[handle.slot])


def _ask(turn: Turn, asked: RecycleAsked) -> None:
    slots, index = turn.roster.slots, asked.slot
    if not 0 <= index < len(slots) or slots[index].is_parked:
        text = f"slot {index} is not in use: there is no worker to replace"
        turn.report("recycle_refused", text, "WARNING")
        return
    slot = slots[index]
    if slot.owner is None:
        slot.backoff.reset()  # the operator does not want to wait for it
    elif slot.owner.is_serving and not slot.owner.retire_reason:
        _mark(turn, slot.owner, asked_for(asked.by), "asked")


def _mark(turn: Turn, handle: WorkerHandle, reason: str, word: str) -> None:
    handle.retire_reason = reason
    text = f"{reason}: its successor starts, then it drains"
    turn.report("recycling", text, of=handle, reason=word)


def _judge(turn: Turn, handle: WorkerHandle, slot: Slot) -> None:
    """Mark it when it is too old, or has used too much."""
    reason = _find_age(turn, handle)
    if reason:
        _mark(turn, handle, reason, "lifetime")
        return
    reason, word = _find_use(turn, handle)
    if not reason:
        if handle.is_stable(turn.now, turn.policy.stable_after_s):
            slot.renewals.reset()
    elif slot.renewals.next_at > turn.now:
        turn.wake(slot.renewals.next_at)
    else:
        _mark(turn, handle, reason, word)
        _slow_down(turn, slot, reason)


def _slow_down(turn: Turn, slot: Slot, reason: str) -> None:
    """Wait longer each time: a limit that is too low must not be all we do."""
    slot.renewals.fail(turn.now, turn.policy, turn.rng)
    if slot.renewals.failures == turn.policy.crash_loop_deaths:
        text = (
            f"{slot.renewals.failures} workers in a row were over a limit soon after"
            f" they began, the last one {reason}: the limit is too low; they are"
            f" replaced ever more slowly, every {turn.policy.backoff_most_s:g} s at"
            " most"
        )
        turn.report("recycling_loop", text, "WARNING", of=slot)


def _find_age(turn: Turn, handle: WorkerHandle) -> str:
    policy = turn.policy
    if policy.max_lifetime_s is None:
        return ""
    began_at = turn.now if handle.ready_at is None else handle.ready_at
    jitter_s = policy.max_lifetime_jitter_s * handle.chance
    retire_at = began_at + policy.max_lifetime_s + jitter_s
    if retire_at <= turn.now:
        return f"served for {turn.now - began_at:.0f} s (--max-lifetime)"
    turn.wake(retire_at)
    return ""


def _find_use(turn: Turn, handle: WorkerHandle) -> tuple[str, str]:
    """What it has used up, in words and as one word; "" when nothing."""
    policy, beat = turn.policy, handle.pulse.beat
    if beat is None:
        return "", ""
    if policy.max_requests is not None:
        jitter = round(policy.max_requests_jitter * handle.chance)
        if beat.requests >= policy.max_requests + jitter:
            return f"served {beat.requests} requests (--max-requests)", "requests"
    used_bytes = beat.memory_bytes or 0  # not sampled: nothing to judge by
    if policy.max_memory_bytes is not None and used_bytes > policy.max_memory_bytes:
        return f"uses {used_bytes / MIB:.0f} MiB (--max-memory)", "memory"
    return "", ""
