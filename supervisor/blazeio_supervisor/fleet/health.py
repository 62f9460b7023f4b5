"""What is done about a blocked loop: steer away, adopt, dump, stop.

Workers are judged in rounds, at each reading of the scoreboard, and only by rows
that were read in that very turn. When more than half of two or more serving workers
are late at once, the machine is taken for the cause, and no other worker is steered
away from, adopted for or stopped. That ends at ``machine_timeout_s``, or an app
whose workers all block on the same thing would hang for ever; and for a single
worker it does not hold.

The lease of the tasks that run once is granted here too: to a worker whose loop turns.
"""

from msgspec import Struct, field

from blazeio_supervisor.fleet.actions import (
    AdoptQueue,
    DumpStack,
    GrantLease,
    ReleaseQueue,
    Steer,
)
from blazeio_supervisor.fleet.context import Failure, PlanContext, step_worker
from blazeio_supervisor.fleet.facts import Beat, LeaseReturned
from blazeio_supervisor.fleet.roster import Event, Roster, Slot, State, WorkerHandle


class LoopWatchdog(Struct):
    """Judges every serving worker once a round.

    Attributes:
        round_at: When the next round is due, steady time.
        is_machine: More than half of the workers were late at once.
        is_at_rest: All workers that there are serve, and rest.
    """

    round_at: float = 0.0
    is_machine: bool = False
    is_at_rest: bool = False

    def run(self, context: PlanContext) -> None:
        """Judge those who were read, unless the master itself was late."""
        workers = context.roster.workers.values()
        serving = [w for w in workers if w.is_serving]
        if not serving:
            return
        self.is_at_rest = len(serving) == len(workers) and all(map(_rests, serving))
        read = {fact.worker for fact in context.facts if isinstance(fact, Beat)}
        if read or self.round_at <= context.now:
            policy = context.policy
            span_s = policy.rest_every_s if self.is_at_rest else policy.beat_every_s
            self.round_at = context.now + span_s
        if not context.is_void:
            self._judge(
                context, [handle for handle in serving if handle.worker in read]
            )
        context.wake(self.round_at)

    def _judge(self, context: PlanContext, serving: list[WorkerHandle]) -> None:
        if not serving:
            return
        for handle in serving:
            silent_s = measure_silence_s(context, handle)
            # All are marked before any is judged: whether it is the machine depends on
            # how many are late, and not on the order in which they are looked at.
            handle.health.is_late = silent_s >= context.policy.steer_after_s
            if handle.health.is_late:
                handle.health.good_beats = 0
        self._note_machine(context, serving)
        for handle in serving:
            _note_recovery(context, handle)
            _mark(context, handle, is_excused=self.is_machine)
            _escalate(context, handle, is_excused=self.is_machine)

    def _note_machine(self, context: PlanContext, serving: list[WorkerHandle]) -> None:
        late = sum(handle.health.is_late for handle in serving)
        is_machine = len(serving) > 1 and 2 * late > len(serving)
        if is_machine and not self.is_machine:
            text = (
                f"{late} of {len(serving)} workers are late at once: the machine is "
                "overloaded, or all wait for the same; none is replaced for it yet"
            )
            context.report("machine_late", text, "WARNING")
        self.is_machine = is_machine


def _rests(handle: WorkerHandle) -> bool:
    return handle.health.beat is not None and handle.health.beat.rests


def measure_silence_s(context: PlanContext, handle: WorkerHandle) -> float:
    """Return for how long it has said nothing though it should."""
    if handle.ready_at is None:
        return 0.0  # it has its boot timeout
    # From the moment on at which it was ready, if that is later: it may boot for long
    # before its first beat.
    silent_s = context.now - max(handle.health.beat_at, handle.ready_at)
    return silent_s - context.policy.rest_every_s if _rests(handle) else silent_s


def hangs(context: PlanContext, handle: WorkerHandle) -> bool:
    """Whether it has said nothing for so long that it is given up."""
    return measure_silence_s(context, handle) >= context.policy.timeout_s


def retire(context: PlanContext, handle: WorkerHandle) -> None:
    """End a worker that is replaced: it drains, but for one that hangs.

    That would read no order to drain, and its clients would wait for its whole grace
    period. It may be there still where most hang at once (``LoopWatchdog``).
    """
    is_hung = hangs(context, handle)
    step_worker(context, handle, Event.TERM if is_hung else Event.DRAIN)


def find_standstill(context: PlanContext) -> str:
    """Return how many hang where most do, right behind a reload; "" otherwise.

    Where most workers are late at once, the machine is taken for the cause otherwise.
    Behind a reload the new code is the likelier one.
    """
    if context.is_void:
        return ""
    timeout_s = context.policy.timeout_s
    owners = [slot.owner for slot in context.roster.active() if slot.owner]
    count = sum(hangs(context, each) for each in owners)
    if 2 * count <= len(owners):
        return ""
    return (
        f"the loops of {count} of {len(owners)} workers have stood still for "
        f"{timeout_s:g} s (--timeout)"
    )


def _mark(context: PlanContext, handle: WorkerHandle, *, is_excused: bool) -> None:
    """Steer away from and adopt for a late worker; end that after good beats."""
    health = handle.health
    is_full = health.beat is not None and health.beat.is_full
    # A full worker accepts nothing until one of its connections ends, so its queue
    # needs somebody at once.
    if is_full or (health.is_late and not is_excused):
        health.is_avoided = True
        silence_s = measure_silence_s(context, handle)
        if is_full or silence_s >= context.policy.adopt_after_s:
            health.needs_adopter = True
    # Several good beats, since a loop that is blocked again and again has single good
    # ones in between, and each change of the weights costs a call into the kernel.
    elif health.good_beats >= context.policy.good_beats and not health.is_late:
        health.is_avoided = health.needs_adopter = False


def _escalate(context: PlanContext, handle: WorkerHandle, *, is_excused: bool) -> None:
    policy, silent_s = context.policy, measure_silence_s(context, handle)
    limit_s = policy.machine_timeout_s if is_excused else policy.timeout_s
    may_dump = context.now - handle.health.dumped_at >= policy.dump_every_s
    # The stacks are asked for before the TERM, while it still stands where it is
    # blocked.
    if silent_s >= limit_s:
        _dump(context, handle, silent_s)
        reason = f"its loop has stood still for {silent_s:.1f} s (--timeout)"
        context.failures.append(Failure(handle, reason, cause="blocked"))
        step_worker(context, handle, Event.TERM)
    elif silent_s >= policy.dump_after_s and may_dump and not is_excused:
        _dump(context, handle, silent_s)


def _note_recovery(context: PlanContext, handle: WorkerHandle) -> None:
    """Report when the loop of a worker that was reported as blocked runs again."""
    health = handle.health
    if not health.stalled_s:
        return
    if health.is_late:
        health.stalled_s = measure_silence_s(context, handle)
        return
    text = f"its loop goes on, after {health.stalled_s:.1f} s"
    context.report("unblocked", text, of=handle)
    health.stalled_s = 0.0


def _dump(context: PlanContext, handle: WorkerHandle, silent_s: float) -> None:
    handle.health.dumped_at, handle.health.stalled_s = context.now, silent_s
    context.act(DumpStack(handle.worker, silent_s))


# Each queue has a worker that accepts from it.
#
# A slot whose owner does not accept (dead, booting, parked, blocked, full, or
# draining without a successor) is adopted by the least loaded healthy sibling.
# An adopter is kept while it is fit, so that adoptions change seldom; when it is not,
# the next one adopts before it releases.


def adopt_queues(context: PlanContext) -> None:
    """Adopt and release until every slot is served by its owner or a sibling.

    Nothing is done in a void turn, nor where all share one listener.
    """
    if context.policy.is_shared_listener or context.is_void:
        return
    for slot in context.roster.slots:
        if _accepts(slot):
            _release(context, slot)
        elif slot.adopter is None or not _is_fit(context.roster, slot.adopter):
            _change_adopter(context, slot)


def _accepts(slot: Slot) -> bool:
    owner = slot.owner
    return owner is not None and owner.is_serving and not owner.health.needs_adopter


def _is_fit(roster: Roster, handle: WorkerHandle) -> bool:
    """Whether a worker may be an adopter."""
    is_owner = roster.slots[handle.slot].owner is handle
    return is_owner and handle.is_serving and not handle.health.is_avoided


def _change_adopter(context: PlanContext, slot: Slot) -> None:
    roster, before = context.roster, slot.adopter
    fit = [
        handle
        for handle in roster.serving()
        if _is_fit(roster, handle)
        and not handle.health.is_late
        and _beats(context, handle)
    ]
    if fit:
        adopter = min(fit, key=lambda handle: _find_burden(roster, handle))
        # Adopt first, then release: there is no moment in which nobody accepts from the
        # queue.
        context.act(AdoptQueue(slot.index, adopter.worker))
        _release(context, slot)
        slot.adopter = adopter
    elif before is not None and not before.is_serving:
        _release(context, slot)  # nobody is fit: a late adopter is better than none


def _beats(context: PlanContext, handle: WorkerHandle) -> bool:
    """Whether it has beaten just now: that it is ready may be old news."""
    policy, silent_s = context.policy, context.now - handle.health.beat_at
    rest_s = policy.rest_every_s if _rests(handle) else 0.0
    return silent_s < policy.adopt_after_s + rest_s


def _find_burden(roster: Roster, handle: WorkerHandle) -> tuple[float, float, int]:
    """Return the load of an adopter: a queue counts as a request in flight."""
    adopted = sum(slot.adopter is handle for slot in roster.slots)
    # The slot last, so that of equal ones the same is chosen each time, and a
    # simulation can be repeated.
    return (handle.health.in_flight + adopted, handle.health.lag_s, handle.slot)


def _release(context: PlanContext, slot: Slot) -> None:
    adopter, slot.adopter = slot.adopter, None
    if adopter is not None and adopter.state is not State.GONE:
        context.act(ReleaseQueue(slot.index, adopter.worker))


# Where the kernel sends new connections: one weight for each slot.
#
# A slot whose owner does not serve, is late or full gets none, at once; a canary that
# is alone in its slot counts as the owner of it. Among
# the others, by ``steering``, weights follow the load: a step of ten every
# ``steer_every_s``, between half and one and a half of the even share, so that a
# burst is not chased and nobody starves; or all have the same.


EVEN, LEAST, MOST, STEP = 100, 50, 150, 10


class Steering(Struct):
    """Remembers each worker's weight and what was last sent.

    Attributes:
        weights: As last sent, one for each slot; empty before the first.
        shares: The weight of each worker, by its serial number.
        moved_at: When the shares last followed the load, steady time.
    """

    weights: tuple[int, ...] = ()
    shares: dict[int, int] = field(default_factory=dict)
    moved_at: float = 0.0

    def run(self, context: PlanContext) -> None:
        """Send new weights when they differ; never with a single slot."""
        policy, slots = context.policy, context.roster.slots
        if policy.steering == "off" or policy.is_shared_listener:
            return
        if context.is_void or len(slots) < 2:
            return
        live = _choose_live(context)
        # With no weight at all the shell detaches its program (``reuseport.steer``);
        # before the first one there is none to detach.
        if not live and not self.weights:
            return  # nothing to take back yet
        self.shares = {
            handle.worker: self.shares.get(handle.worker, EVEN) for handle in live
        }
        if policy.steering == "load":
            self._follow_load(context, live)
        by_slot = {handle.slot: self.shares[handle.worker] for handle in live}
        weights = tuple(by_slot.get(slot.index, 0) for slot in slots)
        if weights != self.weights:
            self.weights = weights
            context.act(Steer(weights))

    def _follow_load(self, context: PlanContext, live: list[WorkerHandle]) -> None:
        if not live or context.now < self.moved_at + context.policy.steer_every_s:
            return
        self.moved_at = context.now
        mean = sum(handle.health.load for handle in live) / len(live)
        for handle in live:
            # Bounded on both sides: a load is an estimate, and a wrong one may cost
            # half of a share, and no more.
            target = min(max(EVEN * mean / handle.health.load, LEAST), MOST)
            share = self.shares[handle.worker]
            if target >= share + STEP:
                self.shares[handle.worker] = share + STEP
            elif target <= share - STEP:
                self.shares[handle.worker] = share - STEP


def _choose_live(context: PlanContext) -> list[WorkerHandle]:
    """Choose who gets connections; when all are late, all of those."""
    serving = list(context.roster.serving())
    canary = context.roster.lone_canary()
    if canary is not None:
        serving.append(canary)  # else nobody asks it, and nothing is known of its code
    return [handle for handle in serving if not handle.health.is_avoided] or serving


# Which worker runs the tasks that run once: a lease, which one has at a time.
#
# It is granted to a worker that serves, and is free again only when that worker has
# said that its tasks have ended, or has ended itself. So two workers never run them at
# once, whatever happens; a worker that is blocked keeps the lease until it is gone.
# Whoever is told to drain gives it back by itself, before its last requests are
# answered.


class TaskLease(Struct):
    """The lease.

    Attributes:
        holder: The serial number of the worker that has it; None: it is free.
    """

    holder: int | None = None

    def run(self, context: PlanContext) -> None:
        """Take the lease back from a worker that has ended; grant it if it is free."""
        for fact in context.facts:
            if isinstance(fact, LeaseReturned):
                self._return(context, fact.worker)
        # A worker is in the roster until it was reaped, so its tasks cannot run any
        # more when the lease goes to another one.
        if self.holder is not None and self.holder not in context.roster.workers:
            self.holder = None
        if self.holder is None:
            self._grant(context)

    def _return(self, context: PlanContext, worker: int) -> None:
        handle = context.roster.workers.get(worker)
        if handle is not None and worker == self.holder:
            # It is about to end, even where its order to drain is still to come.
            handle.has_returned_lease = True
            self.holder = None

    def _grant(self, context: PlanContext) -> None:
        able = [
            handle
            for handle in context.roster.serving()
            if handle.has_tasks and not handle.has_returned_lease
        ]
        if not able:
            return
        chosen = min(able, key=lambda handle: _rank(context, handle))
        self.holder = chosen.worker
        context.act(GrantLease(chosen.worker))
        text = "it runs the tasks that run once, from now on"
        context.report("tasks_leased", text, of=chosen)


def _rank(context: PlanContext, handle: WorkerHandle) -> tuple[bool, bool, bool, int]:
    """Rank a worker; the lowest is taken: new code, a turning loop, none that ends."""
    is_outdated = handle.generation != context.roster.generation
    is_late = handle.health.is_late or handle.health.is_avoided
    return is_outdated, is_late, bool(handle.retire_reason), handle.slot
