"""Which workers shall be replaced though they serve well.

Only marks them; the replacement lane replaces first and retires then.
"""

from blazeio_supervisor.fleet.context import Failure, Turn
from blazeio_supervisor.fleet.facts import RecycleAsked
from blazeio_supervisor.fleet.reasons import asked_for
from blazeio_supervisor.fleet.roster import Slot, WorkerHandle
from blazeio_supervisor.fleet.transitions import spawn, step_worker
from blazeio_supervisor.fleet.worker_state import Event

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


# Replace first, then retire: one slot at a time, whatever the cause.
#
# Reload, rollback and recycling all go through here, so together they never
# have more than one worker beyond the wanted count that boots or serves. The
# next slot does not wait for the old worker's drain.


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


# Every slot that wants a worker gets one: at once, then after backoff.


def note_failures(turn: Turn) -> None:
    """Count the failures of workers against their slots, and report them."""
    for failure in turn.failures:
        if isinstance(failure.who, WorkerHandle):
            _note(turn, failure, failure.who)


def respawn(turn: Turn) -> None:
    """Fork a worker for each slot without one, as far as backoff allows."""
    roster = turn.roster
    for slot in roster.active():
        if slot.owner is not None:
            _forgive(turn, slot, slot.owner)
        elif slot.backoff.next_at > turn.now:
            turn.wake(slot.backoff.next_at)
        elif roster.can_fork(roster.generation):
            slot.owner = spawn(turn, slot, roster.generation)


def _note(turn: Turn, failure: Failure, handle: WorkerHandle) -> None:
    words, word = failure.reason, failure.word
    if failure.is_forgiven:
        text = f"{words}; the reload fails by it"
        turn.report("worker_failed", text, "WARNING", of=handle, reason=word)
        return
    slot = turn.roster.slots[handle.slot]
    backoff = slot.backoff
    if handle.is_stable(turn.now, turn.policy.stable_after_s):
        slot.forgive()
    backoff.fail(turn.now, turn.policy, turn.rng)
    slot.fail(words, turn.now, was_ready=handle.ready_at is not None)
    wait_s = backoff.next_at - turn.now
    when = f"in {wait_s:.2f} s" if wait_s > 0 else "at once"
    text = f"{words}; another one starts {when}"
    turn.report("worker_failed", text, "WARNING", of=handle, reason=word)
    if backoff.failures == turn.policy.crash_loop_deaths:
        phase, how = _describe_loop(slot)
        text = (
            f"{backoff.failures} workers in a row {how}, the last one: "
            f"{failure.reason}; others are tried, with pauses of up to "
            f"{turn.policy.backoff_most_s:g} s"
        )
        turn.report("crash_loop", text, "ERROR", of=slot, reason=phase)


def _describe_loop(slot: Slot) -> tuple[str, str]:
    """Say when the workers of a slot failed, in one word and in a sentence."""
    while_serving = slot.deaths_serving
    at_start = slot.backoff.failures - while_serving
    if not while_serving:
        return "boot", "did not get ready"
    if not at_start:
        return "serving", "died while they served"
    return "mixed", (
        f"have failed, {at_start} before it was ready and {while_serving} while serving"
    )


def _forgive(turn: Turn, slot: Slot, owner: WorkerHandle) -> None:
    """Reset the backoff, but not of one whose successors fail."""
    is_current = owner.generation == turn.roster.generation
    is_content = is_current and not owner.retire_reason
    is_stable = owner.is_stable(turn.now, turn.policy.stable_after_s)
    if not (slot.backoff.failures and is_content and is_stable):
        return
    if slot.backoff.failures >= turn.policy.crash_loop_deaths:
        span_s = turn.policy.stable_after_s
        text = f"it has served for {span_s:g} s: its slot fails no more"
        turn.report("recovered", text, of=owner)
    slot.forgive()
