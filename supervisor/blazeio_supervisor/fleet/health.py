"""The ladder for a blocked loop: avoid, cover, dump, end.

It is judged in rounds (each reading of the scoreboard), only by rows read in
that very turn: whoever was not looked at is not late. And it is relative:
when more than half of two or more serving workers are late at once, it is the
machine, and nobody new is avoided, covered for or ended. That excuse ends at
``machine_timeout_s``, or an app whose workers all block on the same thing
would hang for ever; and a single worker has no siblings to excuse it.
"""

import msgspec

from blazeio_supervisor.fleet.actions import Adopt, DumpStack, Release
from blazeio_supervisor.fleet.context import Failure, Turn
from blazeio_supervisor.fleet.facts import Beat
from blazeio_supervisor.fleet.roster import Roster, Slot, WorkerHandle
from blazeio_supervisor.fleet.transitions import step_worker
from blazeio_supervisor.fleet.worker_state import Event, State


class FrozenLadder(msgspec.Struct, frozen=True):
    """A ladder, as the next image of the master takes it over."""

    round_at: float
    is_machine: bool


class Ladder:
    """Judges every serving worker once a round."""

    def __init__(self) -> None:
        self._round_at = 0.0
        self._is_machine = False

    def run(self, turn: Turn) -> None:
        """Judge those who were read, unless the master itself was late."""
        serving = [w for w in turn.roster.workers.values() if w.is_serving]
        if not serving:
            return
        read = {fact.worker for fact in turn.facts if isinstance(fact, Beat)}
        if read or self._round_at <= turn.now:
            self._round_at = turn.now + turn.policy.beat_every_s
        if not turn.is_void:
            self._judge(turn, [handle for handle in serving if handle.worker in read])
        turn.wake(self._round_at)

    def freeze(self) -> FrozenLadder:
        """Give all that it knows; the rest is in the workers' pulses."""
        return FrozenLadder(self._round_at, self._is_machine)

    def thaw(self, frozen: FrozenLadder) -> None:
        """Go on from there."""
        self._round_at, self._is_machine = frozen.round_at, frozen.is_machine

    def _judge(self, turn: Turn, serving: list[WorkerHandle]) -> None:
        if not serving:
            return
        for handle in serving:
            silent_s = _silent_s(turn, handle)
            handle.pulse.is_late = silent_s >= turn.policy.steer_after_s
            if handle.pulse.is_late:
                handle.pulse.good_beats = 0
        self._note_machine(turn, serving)
        for handle in serving:
            _note_recovery(turn, handle)
            _mark(turn, handle, is_excused=self._is_machine)
            _escalate(turn, handle, is_excused=self._is_machine)

    def _note_machine(self, turn: Turn, serving: list[WorkerHandle]) -> None:
        late = sum(handle.pulse.is_late for handle in serving)
        is_machine = len(serving) > 1 and 2 * late > len(serving)
        if is_machine and not self._is_machine:
            text = (
                f"{late} of {len(serving)} workers are late at once: the machine is "
                "overloaded, or all wait for the same; none is replaced for it yet"
            )
            turn.report("machine_late", text, "WARNING")
        self._is_machine = is_machine


def _silent_s(turn: Turn, handle: WorkerHandle) -> float:
    return turn.now - max(handle.pulse.beat_at, handle.ready_at or 0.0)


def _mark(turn: Turn, handle: WorkerHandle, *, is_excused: bool) -> None:
    """Raise what must be raised; lower it only after good beats."""
    pulse = handle.pulse
    is_full = pulse.beat is not None and pulse.beat.is_full
    if is_full or (pulse.is_late and not is_excused):
        pulse.is_avoided = True
        if is_full or _silent_s(turn, handle) >= turn.policy.adopt_after_s:
            pulse.is_covered_for = True
    elif pulse.good_beats >= turn.policy.good_beats and not pulse.is_late:
        pulse.is_avoided = pulse.is_covered_for = False


def _escalate(turn: Turn, handle: WorkerHandle, *, is_excused: bool) -> None:
    policy, silent_s = turn.policy, _silent_s(turn, handle)
    limit_s = policy.machine_timeout_s if is_excused else policy.timeout_s
    may_dump = turn.now - handle.pulse.dumped_at >= policy.dump_every_s
    if silent_s >= limit_s:
        _dump(turn, handle, silent_s)
        reason = f"its loop has stood still for {silent_s:.1f} s (--timeout)"
        turn.failures.append(Failure(handle, reason, cause="blocked"))
        step_worker(turn, handle, Event.TERM)
    elif silent_s >= policy.dump_after_s and may_dump and not is_excused:
        _dump(turn, handle, silent_s)


def _note_recovery(turn: Turn, handle: WorkerHandle) -> None:
    """Say when one goes on that was said to stand still."""
    pulse = handle.pulse
    if not pulse.stood_s:
        return
    if pulse.is_late:
        pulse.stood_s = _silent_s(turn, handle)
        return
    text = f"its loop goes on, after {pulse.stood_s:.1f} s"
    turn.report("unblocked", text, of=handle)
    pulse.stood_s = 0.0


def _dump(turn: Turn, handle: WorkerHandle, silent_s: float) -> None:
    handle.pulse.dumped_at, handle.pulse.stood_s = turn.now, silent_s
    turn.act(DumpStack(handle.worker, silent_s))


# No queue without somebody who accepts from it.
#
# A slot whose owner does not accept (dead, booting, parked, blocked, full, or
# draining without a successor) is adopted by the least loaded healthy sibling.
# An adopter is kept while it is fit, so that slots do not wander; when it is not,
# the next one adopts before it releases.


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
