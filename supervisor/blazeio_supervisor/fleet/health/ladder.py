"""The ladder for a blocked loop: avoid, cover, dump, end.

It is judged in rounds (each reading of the scoreboard), only by rows read in
that very turn: whoever was not looked at is not late. And it is relative:
when more than half of two or more serving workers are late at once, it is the
machine, and nobody new is avoided, covered for or ended. That excuse ends at
``machine_timeout_s``, or an app whose workers all block on the same thing
would hang for ever; and a single worker has no siblings to excuse it.
"""

import msgspec

from blazeio_supervisor.fleet.actions import DumpStack
from blazeio_supervisor.fleet.facts import Beat
from blazeio_supervisor.fleet.roster import WorkerHandle
from blazeio_supervisor.fleet.turns.lives import step_worker
from blazeio_supervisor.fleet.turns.turn import Failure, Turn
from blazeio_supervisor.fleet.worker_state import Event


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
