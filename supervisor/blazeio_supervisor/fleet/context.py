"""What all duties share in one call of ``plan``.

The context of the turn, the clock of the planner, and the transitions: how processes
are started, stepped from state to state, and ended.
"""

from random import Random

from msgspec import Struct, field

from blazeio_supervisor.errors import describe_exit, name_exit
from blazeio_supervisor.fleet.actions import (
    Action,
    AdmitWorker,
    AskStack,
    ReportBoot,
    ReportStatus,
    Spawn,
    StartForkserver,
    StopForkserver,
    StopMode,
    StopWorker,
)
from blazeio_supervisor.fleet.facts import (
    Beat,
    Fact,
    ForkserverExited,
    ForkserverMisbehaved,
    ForkserverReady,
    MemoryRead,
    WorkerExited,
    WorkerForked,
    WorkerMisbehaved,
    WorkerReady,
)
from blazeio_supervisor.fleet.policy import Policy
from blazeio_supervisor.fleet.roster import (
    FAILING,
    HAS_NO_PID,
    TABLE,
    WANTED,
    Event,
    ForkserverHandle,
    Roster,
    Slot,
    State,
    WorkerHandle,
)


class Failure(Struct):
    """A process that was wanted has failed: it died, or was late and is ended.

    Attributes:
        who: The process.
        reason: Why, in words.
        status: Its exit status; None when it was late.
        is_of_reload: The reload fails by it; the backoff of the slot does not count it.
        cause: Why it is ended: ``late`` (to be ready), ``blocked``, ``misbehaved``.
    """

    who: WorkerHandle | ForkserverHandle
    reason: str
    status: int | None = None
    is_of_reload: bool = False
    cause: str = "late"

    @property
    def sentence(self) -> str:
        """The reason, of a worker with its identity."""
        is_worker = isinstance(self.who, WorkerHandle)
        return f"{self.who}: {self.reason}" if is_worker else self.reason

    @property
    def word(self) -> str:
        """Why, as one of few: ``SIGKILL``, ``exit_3``, ``late``, ``blocked``."""
        return self.cause if self.status is None else name_exit(self.status)


class PlanContext(Struct):
    """One turn: what is known, and what the duties want done.

    Attributes:
        now: Steady time, seconds.
        clock_now: The clock's reading, only to be compared with ``Beat.at``.
        is_void: The master itself was late: nobody is judged in this turn.
        due_at: The earliest time at which a duty must look again.
    """

    now: float
    clock_now: float
    is_void: bool
    policy: Policy
    roster: Roster
    rng: Random
    facts: tuple[Fact, ...] = ()
    actions: list[Action] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    due_at: float = float("inf")

    def act(self, action: Action) -> None:
        """Add an action for the master."""
        self.actions.append(action)

    def report(
        self,
        event: str,
        text: str,
        level: str = "INFO",
        *,
        of: WorkerHandle | ForkserverHandle | Slot | None = None,
        reason: str = "",
    ) -> None:
        """Report an event to the operator; ``of`` is what it is about."""
        whom: dict[str, int | None] = {}
        match of:
            case WorkerHandle(worker, slot, generation):
                whom = {"worker": worker, "slot": slot, "generation": generation}
                whom["pid"] = of.pid
            case ForkserverHandle(generation):
                whom = {"generation": generation}
            case Slot(slot):
                whom = {"slot": slot}
        self.actions.append(ReportStatus(event, text, level, reason=reason, **whom))

    def has_come(self, at: float) -> bool:
        """Whether that time has come; if not, the next turn is not later.

        In a void turn it has not: what has come meanwhile may lie unread.
        """
        self.wake(at)
        return at <= self.now and not self.is_void

    def wake(self, at: float) -> None:
        """Have the next turn no later than this."""
        self.due_at = min(self.due_at, at)


# Steady time: the time in which the master itself could run.
#
# A master that was stopped, suspended or starved must not blame the workers for
# the time it slept through. So every deadline of the planner is kept in *steady*
# time: it runs with the clock, but of a turn that came later than it was asked
# for, the surplus is not counted. The first late turn is also *void*: what the
# workers have sent meanwhile may still lie unread, so no worker is judged by it. Only
# the first, or a master that is always late would never stop a worker.


RESOLUTION_S = 0.001  # a wait below it could round to none, and turn for ever


class SteadyClock(Struct):
    """Steady time; it is equal to the clock until the first late turn.

    Attributes:
        time: Steady time, seconds.
        real: The last reading of the clock.
        asked_at: When, in clock time, the next turn is due; None before the first.
        is_late: The last turn came too late.
        is_void: It is the first late one.
    """

    time: float = 0.0
    real: float = 0.0
    asked_at: float | None = None
    is_late: bool = False
    is_void: bool = False

    def advance(self, now: float, late_tick_s: float) -> None:
        """Take the clock's reading at the start of a turn.

        Args:
            now: The reading, monotonic seconds.
            late_tick_s: How late a turn may be and still count whole.
        """
        if self.asked_at is None:
            self.time = now
        else:
            was_late = self.is_late
            surplus_s = max(0.0, now - self.asked_at - late_tick_s)
            # ``now < real`` should not be, since monotonic time does not run back
            # (clock_gettime(2)); nobody is judged in such a turn either.
            self.is_late = surplus_s > 0 or now < self.real
            self.is_void = self.is_late and not was_late
            # Steady time never runs back, since deadlines were made from it.
            self.time += max(0.0, now - self.real - surplus_s)
        self.real = now

    def ask(self, at: float) -> float:
        """Remember when (steady) the next turn is due; return it in clock time."""
        wait_s = max(at - self.time, RESOLUTION_S) if at > self.time else 0.0
        self.asked_at = self.real + wait_s
        return self.asked_at


# The table of states applied to processes: started, stepped, ended.
#
# Every change of a state goes through here, so that what belongs to it (the order sent,
# the deadline, the place in the slot, the failure noted) cannot be forgotten.


_LATE = frozenset({Event.OVERDUE, Event.TERM})  # TERM by name: its loop is blocked


def start_forkserver(
    context: PlanContext, generation: int, ticket: int | None = None
) -> ForkserverHandle:
    """Start the forkserver of a new generation; ``ticket`` as of the action."""
    deadline_at = context.now + context.policy.boot_timeout_s
    forkserver = ForkserverHandle(generation, deadline_at)
    context.roster.forkservers[generation] = forkserver
    context.act(StartForkserver(generation, ticket))
    return forkserver


def spawn(
    context: PlanContext, slot: Slot, generation: int, *, is_canary: bool = False
) -> WorkerHandle:
    """Fork a worker for a slot. The caller gives it its place."""
    handle = WorkerHandle(
        worker=context.roster.next_worker(),
        slot=slot.index,
        generation=generation,
        spawned_at=context.now,
        deadline_at=context.now + context.policy.boot_timeout_s,
        is_canary=is_canary,
        chance=context.rng.random(),
    )
    context.roster.workers[handle.worker] = handle
    context.act(Spawn(handle.worker, slot.index, generation, is_canary))
    return handle


def admit(context: PlanContext, handle: WorkerHandle) -> None:
    """Let a canary on standby accept from its slot."""
    context.act(AdmitWorker(handle.worker))
    step_worker(context, handle, Event.ADMITTED)


def step_worker(
    context: PlanContext,
    handle: WorkerHandle,
    event: Event,
    reason: str = "",
    status: int | None = None,
) -> None:
    """Apply one event to a worker."""
    before, step = handle.state, TABLE[handle.state, event]
    handle.state = step.state
    # Before the TERM: the handler of the app, or its default action, may be faster than
    # the answer.
    if event in _LATE and step.send is StopMode.TERM:
        context.act(AskStack(handle.worker))
    if step.send is not None:
        context.act(StopWorker(handle.worker, step.send))
    if step.state is State.SERVING and handle.ready_at is None:
        handle.ready_at = context.now
    if _keeps_deadline(before, step.state):
        # The boot deadline runs on from the Spawn: a forkserver that forks slowly must
        # not give its workers more time.
        pass
    elif step.state is not before:
        _set_deadline(context, handle, context.policy.grace_s)
    if before in WANTED and not handle.is_wanted:
        context.roster.vacate(handle)
        if event in FAILING:
            failure = Failure(handle, reason, status)
            context.failures.append(failure)
    if step.state is State.GONE:
        context.roster.workers.pop(handle.worker, None)


def step_forkserver(
    context: PlanContext,
    handle: ForkserverHandle,
    event: Event,
    reason: str = "",
    status: int | None = None,
) -> None:
    """Apply one event to a forkserver."""
    before, step = handle.state, TABLE[handle.state, event]
    handle.state = step.state
    if step.send is not None:
        context.act(StopForkserver(handle.generation, step.send))
    if step.state is not before:
        _set_deadline(context, handle, _find_forkserver_grace_s(context, handle))
    if before in WANTED and not handle.is_wanted and event in FAILING:
        failure = Failure(handle, reason, status)
        context.failures.append(failure)
    if step.state is State.GONE:
        del context.roster.forkservers[handle.generation]
        _give_up_forks(context, handle)


def _find_forkserver_grace_s(context: PlanContext, handle: ForkserverHandle) -> float:
    """Return how long it may take to end: it waits for the workers it has forked."""
    policy = context.policy
    workers = context.roster.workers.values()
    if any(worker.generation == handle.generation for worker in workers):
        return policy.grace_s + policy.kill_after_s + policy.forkserver_stop_s
    return min(policy.forkserver_stop_s, policy.grace_s)


def give_up_on(context: PlanContext, handle: ForkserverHandle, reason: str) -> None:
    """Kill a forkserver that no longer answers; it counts as failed."""
    if handle.is_wanted:
        context.failures.append(Failure(handle, reason))
    step_forkserver(context, handle, Event.KILL)


def stop_misbehaving(context: PlanContext, handle: WorkerHandle, reason: str) -> None:
    """Kill a worker that misbehaved; it counts as failed."""
    if handle.is_wanted:
        context.failures.append(Failure(handle, reason, cause="misbehaved"))
    step_worker(context, handle, Event.KILL)


def stop_late_fork(context: PlanContext, worker: int, pid: int) -> None:
    """Stop a worker that was forked after its fork was given up."""
    handle = WorkerHandle(worker, 0, 0, context.now, None, state=State.GONE, pid=pid)
    context.roster.workers[worker] = handle
    step_worker(context, handle, Event.FORKED)


def _give_up_forks(context: PlanContext, forkserver: ForkserverHandle) -> None:
    for handle in list(context.roster.workers.values()):
        is_its = handle.generation == forkserver.generation
        if is_its and handle.state in HAS_NO_PID:
            step_worker(
                context, handle, Event.EXITED, "the process that forks it is gone"
            )


def _keeps_deadline(before: State, after: State) -> bool:
    return before in HAS_NO_PID and after in {State.BOOTING, State.CANCELLED}


def _set_deadline(
    context: PlanContext, handle: WorkerHandle | ForkserverHandle, grace_s: float
) -> None:
    """Bound the new state of a process that is on its way out.

    Whatever it was told, it is killed ``kill_after_s`` after its grace period.
    """
    policy = context.policy
    # KILLING has no deadline: a process in an uninterruptible sleep (state D, ps(1))
    # dies when the kernel lets it, and no further signal helps.
    handle.deadline_at = None
    if handle.state is State.DRAINING:
        handle.deadline_at = context.now + grace_s
        handle.kill_at = handle.deadline_at + policy.kill_after_s
    elif handle.state is State.TERMINATING:
        kill_at = handle.kill_at or context.now + grace_s + policy.kill_after_s
        handle.deadline_at = min(context.now + policy.term_s, kill_at)


# Facts into the roster: what happened to which process.
#
# Facts about the unknown are ignored, since messages come late and twice; but a
# fork that was given up on and is answered after all is ended.


def apply_facts(context: PlanContext, fact: Fact) -> None:
    """Bring the roster up to date with one fact.

    Others are left: where somebody asks for something, the duties read it.
    """
    match fact:
        case ForkserverReady() | ForkserverExited():
            _apply_forkserver(context, fact)
        case ForkserverMisbehaved(generation, reason):
            forkserver = context.roster.forkservers.get(generation)
            if forkserver is not None:
                give_up_on(context, forkserver, f"it misbehaved: {reason}")
        case MemoryRead(free_bytes):
            context.roster.free_bytes = free_bytes
            context.roster.read_at = context.now
        case WorkerForked(worker, pid):
            _apply_forked(context, worker, pid)
        case WorkerReady() | WorkerExited() | WorkerMisbehaved() | Beat():
            handle = context.roster.workers.get(fact.worker)
            if handle is not None:
                _apply_worker(context, handle, fact)


def _apply_forkserver(
    context: PlanContext, fact: ForkserverReady | ForkserverExited
) -> None:
    handle = context.roster.forkservers.get(fact.generation)
    if handle is None:
        return
    if isinstance(fact, ForkserverReady):
        step_forkserver(context, handle, Event.READY)
    else:
        words = describe_exit(fact.status, fact.reason)
        step_forkserver(context, handle, Event.EXITED, words, fact.status)


def _apply_worker(
    context: PlanContext,
    handle: WorkerHandle,
    fact: WorkerReady | WorkerExited | WorkerMisbehaved | Beat,
) -> None:
    match fact:
        case WorkerReady():
            handle.has_tasks = fact.has_tasks
            event = Event.STOOD_BY if handle.is_canary else Event.READY
            step_worker(context, handle, event)
        case WorkerExited(_, status, reason):
            words = describe_exit(status, reason)
            step_worker(context, handle, Event.EXITED, words, status)
        case WorkerMisbehaved(_, reason):
            stop_misbehaving(context, handle, f"it misbehaved: {reason}")
        case _:
            fresh_s = context.policy.steer_after_s
            if fact.rests:
                fresh_s += context.policy.rest_every_s
            handle.health.take(fact, context.now, context.clock_now, fresh_s)


def _apply_forked(context: PlanContext, worker: int, pid: int) -> None:
    handle = context.roster.workers.get(worker)
    if handle is not None:
        handle.pid = pid
        step_worker(context, handle, Event.FORKED)
    # Only a number that was given out: a forkserver that names any other one lies, and
    # the master has refused it by then.
    elif context.roster.was_given_out(worker):
        stop_late_fork(context, worker, pid)


# What is done when the deadline of a state has passed.


def escalate(context: PlanContext) -> None:
    """Boot deadline -> TERM, grace period -> TERM, TERM -> KILL.

    In a void turn nobody is judged.
    """
    if context.is_void:
        return
    roster = context.roster
    for handle in roster.handles():
        if handle.state is State.BOOTING:
            _report_boot(context, handle)
    for forkserver in list(roster.forkservers.values()):
        if _is_overdue(context, forkserver):
            step_forkserver(
                context, forkserver, Event.OVERDUE, _describe_delay(context)
            )
    for worker in list(roster.workers.values()):
        if _is_overdue(context, worker):
            _escalate_worker(context, worker)


def wake_for_deadlines(context: PlanContext) -> None:
    """Ask for a turn when the first deadline passes."""
    for handle in context.roster.handles():
        if handle.deadline_at is not None:
            context.wake(handle.deadline_at)
        if handle.state is State.BOOTING and not handle.boot_reports:
            context.wake(_slow_at(context, handle))


def _report_boot(context: PlanContext, handle: WorkerHandle | ForkserverHandle) -> None:
    """Report it after a third of the boot timeout, and at its end, before TERM."""
    if handle.deadline_at is None:
        return
    if not handle.boot_reports and context.now >= _slow_at(context, handle):
        handle.boot_reports = 1
        _act_report(context, handle)
    elif handle.boot_reports == 1 and _is_overdue(context, handle):
        handle.boot_reports = 2
        _act_report(context, handle)
        handle.deadline_at += context.policy.boot_stack_s


def _act_report(context: PlanContext, handle: WorkerHandle | ForkserverHandle) -> None:
    assert handle.deadline_at is not None
    span_s = context.policy.boot_timeout_s
    boot_s = span_s - (handle.deadline_at - context.now)
    worker = handle.worker if isinstance(handle, WorkerHandle) else None
    context.act(ReportBoot(handle.generation, worker, boot_s, span_s))


def _slow_at(context: PlanContext, handle: WorkerHandle | ForkserverHandle) -> float:
    assert handle.deadline_at is not None
    return handle.deadline_at - context.policy.boot_timeout_s * 2 / 3


def _is_overdue(context: PlanContext, handle: WorkerHandle | ForkserverHandle) -> bool:
    return handle.deadline_at is not None and handle.deadline_at <= context.now


def _escalate_worker(context: PlanContext, handle: WorkerHandle) -> None:
    was_forked = handle.state not in HAS_NO_PID
    step_worker(context, handle, Event.OVERDUE, _describe_delay(context))
    forkserver = context.roster.forkservers.get(handle.generation)
    if not was_forked and forkserver is not None:
        give_up_on(context, forkserver, "it does not fork any more")


def _describe_delay(context: PlanContext) -> str:
    span_s = context.policy.boot_timeout_s
    return f"not ready within {span_s:g} s (--boot-timeout); event=boot_slow says where"
