"""Who is replaced, by whom and when: the order of it, the backoff, the memory it takes.

First the workers that shall be replaced though they serve well. They are only marked;
further below their successors are started first; then they drain.
"""

from blazeio_supervisor.errors import asked_for, was_killed
from blazeio_supervisor.fleet.context import Failure, PlanContext, spawn
from blazeio_supervisor.fleet.facts import RecycleAsked
from blazeio_supervisor.fleet.health import retire
from blazeio_supervisor.fleet.roster import Slot, WorkerHandle

MIB = 1024 * 1024


def mark_for_recycling(context: PlanContext) -> None:
    """Mark the workers that were asked for or are over a limit."""
    for fact in context.facts:
        if isinstance(fact, RecycleAsked):
            _ask(context, fact)
    for handle in context.roster.serving():
        if not handle.retire_reason:
            _judge(context, handle, context.roster.slots[handle.slot])


def _ask(context: PlanContext, asked: RecycleAsked) -> None:
    slots, index = context.roster.slots, asked.slot
    if not 0 <= index < len(slots) or slots[index].is_parked:
        text = f"slot {index} is not in use: there is no worker to replace"
        context.report("recycle_refused", text, "WARNING")
        return
    slot = slots[index]
    if slot.owner is None:
        # The operator asks for a worker now, and does not want to wait for the backoff.
        slot.backoff.reset()
    elif slot.owner.is_serving and not slot.owner.retire_reason:
        _mark(context, slot.owner, asked_for(asked.by), "asked")


def _mark(context: PlanContext, handle: WorkerHandle, reason: str, word: str) -> None:
    handle.retire_reason = reason
    text = f"{reason}: its successor starts, then it drains"
    context.report("recycling", text, of=handle, reason=word)


def _judge(context: PlanContext, handle: WorkerHandle, slot: Slot) -> None:
    """Mark a worker that is too old, or has used too much."""
    reason = _find_age(context, handle)
    if reason:
        _mark(context, handle, reason, "lifetime")
        return
    use = _find_use(context, handle)
    if use is None:
        if handle.is_stable(context.now, context.policy.stable_after_s):
            slot.renewals.reset()
    elif slot.renewals.next_at > context.now:
        context.wake(slot.renewals.next_at)
    else:
        _mark(context, handle, *use)
        _slow_down(context, slot, use[0])


def _slow_down(context: PlanContext, slot: Slot, reason: str) -> None:
    """Wait longer each time, since a limit may be too low."""
    slot.renewals.fail(context.now, context.policy, context.rng)
    if slot.renewals.failures == context.policy.crash_loop_deaths:
        text = (
            f"{slot.renewals.failures} workers in a row were over a limit soon after"
            f" they began, the last one {reason}: the limit is too low; they are"
            f" replaced ever more slowly, every {context.policy.backoff_most_s:g} s at"
            " most"
        )
        context.report("recycling_loop", text, "WARNING", of=slot)


def _find_age(context: PlanContext, handle: WorkerHandle) -> str:
    policy = context.policy
    if policy.max_lifetime_s is None:
        return ""
    began_at = context.now if handle.ready_at is None else handle.ready_at
    jitter_s = policy.max_lifetime_jitter_s * handle.chance
    retire_at = began_at + policy.max_lifetime_s + jitter_s
    if retire_at <= context.now:
        return f"served for {context.now - began_at:.0f} s (--max-lifetime)"
    context.wake(retire_at)
    return ""


def _find_use(context: PlanContext, handle: WorkerHandle) -> tuple[str, str] | None:
    """Return which limit a worker is over, as a sentence and a word; None: none."""
    policy, beat = context.policy, handle.health.beat
    if beat is None:
        return None
    if policy.max_requests is not None:
        jitter = round(policy.max_requests_jitter * handle.chance)
        if beat.requests >= policy.max_requests + jitter:
            return f"served {beat.requests} requests (--max-requests)", "requests"
    # It was not sampled yet where there is no size: nothing to judge by.
    used_bytes = beat.memory_bytes or 0
    if policy.max_memory_bytes is not None and used_bytes > policy.max_memory_bytes:
        return f"uses {used_bytes / MIB:.0f} MiB (--max-memory)", "memory"
    return None


# Replace first, then retire: one slot at a time, whatever the cause; the other way
# round where there is no memory for both (``make_room``).
#
# Reload, rollback and recycling all go through here, so together they never
# have more than one worker beyond the wanted count that boots or serves. The
# next slot does not wait for the old worker's drain.


def swap_in_successors(context: PlanContext) -> None:
    """Let each successor that serves take its slot; the old one drains."""
    for slot in context.roster.slots:
        successor, owner = slot.successor, slot.owner
        if successor is not None and successor.is_serving and owner is not None:
            slot.owner, slot.successor = successor, None
            retire(context, owner)


def replace_next(context: PlanContext, *, may_recycle: bool) -> None:
    """Boot a successor for the next slot that needs one, when none boots yet.

    Args:
        may_recycle: Workers with a reason to retire are replaced too, not
            only those of another generation.
    """
    roster = context.roster
    if roster.is_replacing() or not roster.can_fork(roster.generation):
        return
    for owner in roster.serving():
        slot = roster.slots[owner.slot]
        is_outdated = owner.generation != roster.generation
        is_due = is_outdated or (may_recycle and owner.retire_reason)
        if slot.is_parked or not is_due:
            continue
        if slot.backoff.next_at <= context.now:
            if awaits_reading(context):
                return
            if not make_room(context, slot):
                slot.successor = spawn(context, slot, roster.generation)
            return
        context.wake(slot.backoff.next_at)


# Every slot that wants a worker gets one: at once, then after backoff.


def note_failures(context: PlanContext) -> None:
    """Count the failures of workers against their slots, and report them."""
    for failure in context.failures:
        if isinstance(failure.who, WorkerHandle):
            _note(context, failure, failure.who)


def respawn(context: PlanContext, *, reserved: Slot | None = None) -> None:
    """Fork a worker for each slot without one, as far as backoff allows.

    Args:
        context: The present turn.
        reserved: A slot in which a canary is tried, and the old worker had to make
            room for it.
    """
    roster = context.roster
    for slot in roster.active():
        if slot.owner is not None and slot.owner.is_serving:
            slot.awaits = None
        if slot is reserved or not (slot.owner or is_vacated(context, slot)):
            continue
        if slot.owner is not None:
            _reset_failures(context, slot, slot.owner)
        elif slot.backoff.next_at > context.now:
            context.wake(slot.backoff.next_at)
        elif roster.can_fork(roster.generation):
            slot.owner = spawn(context, slot, roster.generation)


def _note(context: PlanContext, failure: Failure, handle: WorkerHandle) -> None:
    words, word = failure.reason, failure.word
    if failure.is_of_reload:
        text = f"{words}; the reload fails by it"
        context.report("worker_failed", text, "WARNING", of=handle, reason=word)
        return
    slot = context.roster.slots[handle.slot]
    backoff = slot.backoff
    # Before this failure is counted: after a worker that has served for long it is the
    # first one again, and the next worker starts at once.
    if handle.is_stable(context.now, context.policy.stable_after_s):
        slot.reset_failures()
    backoff.fail(context.now, context.policy, context.rng)
    if was_killed(failure.status) and handle.is_stable(
        context.now, context.policy.canary_hold_s
    ):
        backoff.next_at = context.now  # it has not failed to start
    slot.fail(words, context.now, was_ready=handle.ready_at is not None)
    wait_s = backoff.next_at - context.now
    when = f"in {wait_s:.2f} s" if wait_s > 0 else "at once"
    text = f"{words}; another one starts {when}"
    context.report("worker_failed", text, "WARNING", of=handle, reason=word)
    if backoff.failures == context.policy.crash_loop_deaths:
        phase, how = _describe_loop(slot)
        text = (
            f"{backoff.failures} workers in a row {how}, the last one: "
            f"{failure.reason}; others are tried, with pauses of up to "
            f"{context.policy.backoff_most_s:g} s"
        )
        context.report("crash_loop", text, "ERROR", of=slot, reason=phase)


def _describe_loop(slot: Slot) -> tuple[str, str]:
    """Return when the workers of a slot failed, as a word and as a sentence."""
    while_serving = slot.deaths_serving
    at_start = slot.backoff.failures - while_serving
    if not while_serving:
        return "boot", "did not get ready"
    if not at_start:
        return "serving", "died while they served"
    return "mixed", (
        f"have failed, {at_start} before it was ready and {while_serving} while serving"
    )


def _reset_failures(context: PlanContext, slot: Slot, owner: WorkerHandle) -> None:
    """Reset the backoff, but not of one whose successors fail."""
    is_current = owner.generation == context.roster.generation
    is_content = is_current and not owner.retire_reason
    is_stable = owner.is_stable(context.now, context.policy.stable_after_s)
    if not (slot.backoff.failures and is_content and is_stable):
        return
    if slot.backoff.failures >= context.policy.crash_loop_deaths:
        span_s = context.policy.stable_after_s
        text = f"it has served for {span_s:g} s: its slot fails no more"
        context.report("recovered", text, of=owner)
    slot.reset_failures()


# Whether there is memory for another worker, and how a slot does without.
#
# A worker is replaced by another one that starts beside it. Where both do not fit,
# below the limit of the control group or into the machine, it goes the other way round
# for that slot: the old one drains and ends, then the new one starts; siblings take its
# queue meanwhile. What a new worker will take is what the largest one has of its own.


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
    retire(context, owner)
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
