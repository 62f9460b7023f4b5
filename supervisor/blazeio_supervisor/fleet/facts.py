"""The facts that the planner decides on. Values only; the master makes them.

``worker`` is the serial number of one worker's life, given out by the planner
in ``Spawn`` and never used again. ``slot`` is a stable index. ``generation``
counts loads of the code. ``by`` says who asks, for the log: a signal, a pid.
"""

from msgspec import Struct


class StartAsked(Struct, frozen=True):
    """The master has bound its sockets and wants the service to begin.

    Attributes:
        slot_count: Slots that have sockets already, kept from an earlier life of
            the service. Those beyond the wanted count are parked.
    """

    slot_count: int = 0


class ForkserverReady(Struct, frozen=True):
    """The forkserver of this generation has imported the app and can fork."""

    generation: int


class ForkserverExited(Struct, frozen=True):
    """The forkserver is gone, asked or not.

    Attributes:
        status: Exit code, or minus the signal's number.
        reason: Why it ended, by its last message; "" when unknown.
    """

    generation: int
    status: int
    reason: str = ""


class WorkerForked(Struct, frozen=True):
    """A ``Spawn`` was carried out; the worker is booting."""

    worker: int
    pid: int


class WorkerReady(Struct, frozen=True):
    """The worker has started its app and accepts from its slot.

    It is told after ``WorkerForked``. The two come over different channels, so the
    master holds this back until the forkserver has answered.

    Attributes:
        has_tasks: Its app has tasks that run once.
    """

    worker: int
    has_tasks: bool = False


class LeaseReturned(Struct, frozen=True):
    """The tasks that run once have ended in this worker; it begins none any more."""

    worker: int


class WorkerExited(Struct, frozen=True):
    """The worker is gone and reaped (also when its fork failed).

    Attributes:
        status: Exit code, or minus the signal's number.
        reason: Why it ended, by its last message; "" when unknown.
        is_oom: The kernel has killed it for lack of memory.
    """

    worker: int
    status: int
    reason: str = ""
    is_oom: bool = False


class WorkerMisbehaved(Struct, frozen=True):
    """The worker did what none of ours does; nothing more is read from it.

    Attributes:
        reason: What it did.
    """

    worker: int
    reason: str


class ForkserverMisbehaved(Struct, frozen=True):
    """The forkserver did what none of ours does; nothing more is read from it."""

    generation: int
    reason: str


SPAN_EDGES_S = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    float("inf"),
)
"""The upper ends of the buckets of ``Beat.spans``, inclusive."""


class RouteCounts(Struct, frozen=True):
    """How one route was answered by one worker, in its life.

    Attributes:
        key: The same for a route in each process.
        answered: Responses with a status below 400.
        failed: Those with a status of 500 or above.
        text: Which route it is; "" where it never failed.
    """

    key: int
    answered: int = 0
    failed: int = 0
    text: str = ""


class Beat(Struct, frozen=True):
    """What the scoreboard row of one worker says, read by the master.

    In each turn that the planner asked for, every row is read and told, also
    when nothing in it has changed: who is not told of is not judged.

    Attributes:
        at: Monotonic seconds of the worker's last loop beat; 0 before the
            first.
        lag_s: How late its loop ran, smoothed, seconds.
        in_flight: Requests being served.
        connections: Open connections.
        is_full: New connections are better with others: it is at its connection limit,
            or no thread of its WSGI apps comes back.
        memory_bytes: Private memory (USS) when sampled, else None.
        requests: Requests begun in this life.
        errors: Of their responses, those with a status of 500 or above.
        rests: Nobody asks it: it beats once in ``Policy.rest_every_s``.
        spans: How many responses took how long, by the buckets of ``SPAN_EDGES_S``;
            empty where ``Planner.wants_spans`` does not ask for it.
        routes: How its routes were answered; empty as ``spans`` are.
    """

    worker: int
    at: float
    lag_s: float = 0.0
    in_flight: int = 0
    connections: int = 0
    is_full: bool = False
    memory_bytes: int | None = None
    requests: int = 0
    errors: int = 0
    rests: bool = False
    spans: tuple[int, ...] = ()
    routes: tuple[RouteCounts, ...] = ()

    @property
    def answered(self) -> int:
        """Requests that are over."""
        return max(0, self.requests - self.in_flight)


class LoadRead(Struct, frozen=True):
    """What a worker that serves has to do, once a second, where the load decides.

    Attributes:
        cpu_s: What it has computed in its life, seconds.
        queued: Connections that wait in the queue of its slot.
    """

    worker: int
    cpu_s: float
    queued: int = 0


class MemoryRead(Struct, frozen=True):
    """How much memory may still be used, where ``Planner.wants_memory``.

    Attributes:
        free_bytes: By the limits of the control groups and by the machine; None:
            nobody knows.
    """

    free_bytes: int | None


class HealthChecked(Struct, frozen=True):
    """The answer of the canary to ``CheckHealth``."""

    worker: int
    is_healthy: bool
    reason: str = ""


class Answered(Struct, frozen=True):
    """The worker answered a ``Probe``; that it did not is never reported."""

    worker: int


class ReloadAsked(Struct, frozen=True):
    """HUP or ``reload``. ``ticket`` comes back in the actions."""

    ticket: int
    by: str = ""


class ScaleAsked(Struct, frozen=True):
    """TTIN, TTOU or ``scale``: the wanted count, or a change of it.

    Attributes:
        is_auto: From now on the load decides, where the settings let it.
    """

    count: int | None = None
    change: int = 0
    by: str = ""
    is_auto: bool = False


class RecycleAsked(Struct, frozen=True):
    """``recycle SLOT``: replace the worker of one slot, same code."""

    slot: int
    by: str = ""


class ParkAsked(Struct, frozen=True):
    """WINCH or ``park``: nobody serves, connections wait in the queues."""

    by: str = ""


class ResumeAsked(Struct, frozen=True):
    """``resume``: serve again after ``ParkAsked``. A ``ReloadAsked`` does so too."""

    by: str = ""


class StopAsked(Struct, frozen=True):
    """TERM, QUIT (drain) or INT (quick: no grace beyond ``quick_grace_s``).

    A gentle one waits for ``drain_delay_s`` first; any second one ends that.
    """

    is_quick: bool = False
    by: str = ""


class ListenersDead(Struct, frozen=True):
    """Listeners that accept nothing and could not be recreated; none: all accept.

    Attributes:
        reasons: The address of each, and why.
    """

    reasons: tuple[str, ...] = ()


class Tick(Struct, frozen=True):
    """Time has passed; nothing else happened."""


Fact = (
    StartAsked
    | ForkserverReady
    | ForkserverExited
    | WorkerForked
    | WorkerReady
    | LeaseReturned
    | WorkerExited
    | WorkerMisbehaved
    | ForkserverMisbehaved
    | Beat
    | LoadRead
    | MemoryRead
    | HealthChecked
    | Answered
    | ReloadAsked
    | ScaleAsked
    | RecycleAsked
    | ParkAsked
    | ResumeAsked
    | StopAsked
    | ListenersDead
    | Tick
)
