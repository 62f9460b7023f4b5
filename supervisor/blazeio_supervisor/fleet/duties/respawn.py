"""Every slot that wants a worker gets one: at once, then after backoff."""

from blazeio_supervisor.fleet.roster import Slot, WorkerHandle
from blazeio_supervisor.fleet.turns.lives import spawn
from blazeio_supervisor.fleet.turns.turn import Failure, Turn


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
