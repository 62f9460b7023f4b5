"""What a service answers on its control socket: the schema of ``--json``.

HTTP/1.1 with JSON. Fields may be added within one ``SCHEMA``; a field that
changes its meaning or goes away makes a new number. Spans are seconds, sizes
octets, counts plain numbers; null is what is not known.

Each ``ControlEndpoint`` below is one method and path, with what is sent and what is
answered. A GET sends its query by the fields of a struct; a POST its order as JSON.
Two can answer by lines of JSON: ``RELOAD``, which writes a ``Progress`` line for each
step and then one ``ReloadAnswer``, and ``EVENTS``, which writes an ``EventRecord`` line
for each event until the service ends. ``METRICS`` answers text for Prometheus.

An order that cannot be carried out is answered by an ``ErrorAnswer``: 400, a
number is out of bounds; 403, of another user; 409, the service is stopping.
"""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar

import msgspec

from blazeio_supervisor.log.events import EventRecord

ANSWER_TIMEOUT_S = 5.0
"""How long a verb waits for an answer, which comes at once: else the master is stopped
or starved."""

OrderT = TypeVar("OrderT", bound=msgspec.Struct)
AnswerT = TypeVar("AnswerT")


@dataclass(frozen=True, slots=True)
class ControlEndpoint(Generic[OrderT, AnswerT]):
    """One method and path of the control socket.

    Attributes:
        order: What is sent; each of its fields has a default, so that it may be
            left out.
        answer: What is answered with status 200.
    """

    method: Literal["GET", "POST"]
    path: str
    order: type[OrderT]
    answer: type[AnswerT]


class Nothing(msgspec.Struct, frozen=True):
    """The order of an endpoint that needs no more than its path."""


class ReloadOrder(msgspec.Struct, frozen=True):
    """Load the code anew.

    Attributes:
        wait: Answer when it is over.
    """

    wait: bool = False


class ReloadAnswer(
    msgspec.Struct, frozen=True, kw_only=True, tag="reload", tag_field="kind"
):
    """How a reload ended, or that it was asked for.

    Attributes:
        is_over: False: nobody waits for it.
        is_ok: The new code serves in every slot.
        reason: Why it does not; the old code goes on.
        output: What the new code's processes raised: the app's traceback.
        took_s: From the order to the end.
        needs_restart: Settings that have changed, and not in this service.
        is_superseded: A later order took its place before it was over: this is
            how that one ended.
    """

    is_over: bool
    is_ok: bool = False
    generation: int = 0
    reason: str = ""
    output: str = ""
    took_s: float = 0.0
    needs_restart: tuple[str, ...] = ()
    is_superseded: bool = False


RELOAD = ControlEndpoint("POST", "/reload", ReloadOrder, ReloadAnswer)


class ScaleOrder(msgspec.Struct, frozen=True):
    """Change the number of workers.

    Attributes:
        count: How many; None: as many as are wanted by now.
        change: So many more, or less if it is negative.
    """

    count: int | None = None
    change: int = 0


class ScaleAnswer(msgspec.Struct, frozen=True):
    """How many were wanted before, and now."""

    before: int
    count: int


SCALE = ControlEndpoint("POST", "/scale", ScaleOrder, ScaleAnswer)


class RecycleOrder(msgspec.Struct, frozen=True):
    """Replace workers, with the same code.

    Attributes:
        slot: Whose worker; None: of every slot, one after the other.
    """

    slot: int | None = None


class Recycled(msgspec.Struct, frozen=True):
    """Whose place is taken; None: nobody's, a worker is tried at once."""

    slot: int
    pid: int | None


class RecycleAnswer(msgspec.Struct, frozen=True):
    """Each slot that gets a new worker."""

    slots: list[Recycled]


RECYCLE = ControlEndpoint("POST", "/recycle", RecycleOrder, RecycleAnswer)


class ParkAnswer(msgspec.Struct, frozen=True):
    """What was asked for.

    Attributes:
        is_parked: It shall be parked, or else serve.
        waits_for: What comes first: ``reload``; "": nothing.
    """

    is_parked: bool
    waits_for: str = ""


PARK = ControlEndpoint("POST", "/park", Nothing, ParkAnswer)
RESUME = ControlEndpoint("POST", "/resume", Nothing, ParkAnswer)


class StackOrder(msgspec.Struct, frozen=True):
    """Ask workers for their stacks.

    Attributes:
        slot: All workers of this slot; None: of every slot.
    """

    slot: int | None = None


class WorkerStack(msgspec.Struct, frozen=True, kw_only=True):
    """Where one worker is.

    Attributes:
        text: The stacks of its threads, then of its asyncio tasks.
        is_whole: With its tasks; else C code computes in it, or it is stopped.
    """

    # Which fields hold several lines, for `escape_answer`.
    lines: ClassVar[frozenset[str]] = frozenset({"text"})

    slot: int
    pid: int
    generation: int
    state: str
    text: str
    is_whole: bool


class ForkserverStack(msgspec.Struct, frozen=True, kw_only=True):
    """Where a process is that imports the app of a generation.

    Attributes:
        text: The stacks of its threads.
    """

    lines: ClassVar[frozenset[str]] = frozenset({"text"})

    pid: int
    generation: int
    text: str


class StackAnswer(msgspec.Struct, frozen=True):
    """One for each worker that has a pid, and one for each import under way."""

    workers: list[WorkerStack]
    forkservers: list[ForkserverStack] = []


STACK = ControlEndpoint("POST", "/stack", StackOrder, StackAnswer)


class UpgradeOrder(msgspec.Struct, frozen=True):
    """Go on with the code of the supervisor that is installed now.

    Attributes:
        check: Only find out whether it could.
    """

    check: bool = False


class UpgradeAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an upgrade.

    Attributes:
        number: Of the upgrades of this master; 0: none was begun.
        is_over: False: it was rehearsed well, and happens now. Its connections
            are closed; whoever asks next is answered when it is over.
        is_ok: The installed code runs; of a check: it could.
        reason: Why not; the old code goes on.
        version: Of the installed code; "" when it is not known.
        took_s: From the order on.
    """

    number: int
    is_over: bool
    is_ok: bool
    reason: str
    version: str
    took_s: float


UPGRADE = ControlEndpoint("POST", "/upgrade", UpgradeOrder, UpgradeAnswer)
"""Answered when the new code is rehearsed."""
LAST_UPGRADE = ControlEndpoint("GET", "/upgrade", Nothing, UpgradeAnswer)


class ReopenLogsAnswer(msgspec.Struct, frozen=True):
    """Whether the log is written to a new file; the access logs follow by themselves.

    Attributes:
        reason: Why it is not, and the old one is written on.
    """

    is_ok: bool
    reason: str = ""


REOPEN_LOGS = ControlEndpoint("POST", "/reopen-logs", Nothing, ReopenLogsAnswer)


class StopOrder(msgspec.Struct, frozen=True):
    """End the service.

    Attributes:
        is_quick: Within about a second, whatever is in flight.
    """

    is_quick: bool = False


class StopAnswer(msgspec.Struct, frozen=True):
    """The master that will be gone."""

    pid: int


STOP = ControlEndpoint("POST", "/stop", StopOrder, StopAnswer)
"""Answered at once, before the service stops."""


# The settings in force.


class ConfigQuery(msgspec.Struct, frozen=True):
    """How the settings are shown.

    Attributes:
        show_env: With the values of variables; else with their names alone.
    """

    show_env: bool = False


class SettingAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One setting in force.

    Attributes:
        key: Its name in a TOML file.
        value: As a TOML file has it; None: nobody says anything.
        origin: A flag, a variable, a file's path, or ``default``.
        meaning: The default in words, where there is no value.
        is_hidden: The values of variables are left out: ``NAME=...``.
    """

    key: str
    value: Any
    origin: str
    meaning: str = ""
    is_hidden: bool = False


class ConfigAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The settings in force.

    Attributes:
        needs_restart: The keys that have another value by now, which a reload
            does not take over.
        text: The same as a TOML file.
        changed: What was changed at run time, and holds until the next start, one
            sentence for each.
        folder: Where relative paths in the settings start.
    """

    # Which fields hold several lines, for `escape_answer`.
    lines: ClassVar[frozenset[str]] = frozenset({"text"})

    settings: list[SettingAnswer]
    needs_restart: list[str]
    text: str
    changed: list[str] = []
    folder: str = ""


CONFIG = ControlEndpoint("GET", "/config", ConfigQuery, ConfigAnswer)


# Who answers, or refuses; and the number of the schema.


SCHEMA = 1


class ErrorAnswer(msgspec.Struct, frozen=True):
    """An order was refused."""

    error: str


class ServiceAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Which service this is.

    Attributes:
        pid: Of the master.
        name: Of the instance: for ``--instance``.
        wanted: The name that was asked for; another one if that was taken.
        alias: The same, when its own container knows it by that; else "".
        pid_namespace: Where its pid counts; "" where that is not known.
        root: Device and inode of its root directory; likewise.
    """

    schema: int = SCHEMA
    pid: int
    name: str
    app: str
    addresses: list[str]
    wanted: str = ""
    alias: str = ""
    pid_namespace: str = ""
    root: str = ""


SERVICE = ControlEndpoint("GET", "/service", Nothing, ServiceAnswer)


# What has happened: the events that are kept, and those that come.


class EventsQuery(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True
):
    """Which events.

    Attributes:
        after: Those with a higher ``seq``.
        last: Not more than so many of them, the newest; null: all.
        follow: Those that come yet, too.
    """

    after: int = 0
    last: Annotated[int, msgspec.Meta(ge=0)] | None = None
    follow: bool = False


class EventsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What has happened, the oldest first."""

    schema: int = SCHEMA
    events: list[EventRecord]


EVENTS = ControlEndpoint("GET", "/events", EventsQuery, EventsAnswer)


# The whole service at one moment, as ``status`` and ``top`` show it.


ListenerMode = Literal["unbound", "slots", "shared", "slots and shared"]


Loading = Literal["once", "each worker"]


Steering = Literal["load", "even", "off"]


Role = Literal["owner", "successor", "canary", "leaving"]


class WorkerAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One living process of a slot, also one that only drains.

    Attributes:
        role: ``owner`` of its slot; ``successor``, which takes its place when
            it is ready; ``canary``, the first of new code; ``leaving``, no
            longer wanted.
        age_s: Since it was asked for.
        in_flight: Requests being served.
        requests: Begun in its life.
        lag_s: How late its event loop runs, smoothed.
        lag_counts: How many beats of its loop came late by at most the span of
            that place in ``lag_bounds_s``; the last ones by more.
        cpu_s: Processor time in its life.
        longest: The request that has been in flight for longest.
        longest_s: How long it has been.
        silent_s: Since the last beat of its loop: how long that is blocked.
        is_late: It gets no new connections for that.
        own_bytes: Memory that its end would give back (USS).
        shared_bytes: That, and its share of what several have (PSS).
        retire_reason: Why it will be replaced; "" when it will not.
    """

    slot: int
    pid: int | None
    role: Role
    state: str
    generation: int
    age_s: float
    in_flight: int = 0
    connections: int = 0
    requests: int = 0
    lag_s: float = 0.0
    lag_counts: list[int] = []
    cpu_s: float | None = None
    longest: str = ""
    longest_s: float = 0.0
    silent_s: float = 0.0
    is_late: bool = False
    own_bytes: int | None = None
    shared_bytes: int | None = None
    retire_reason: str = ""


class SlotAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One slot.

    Attributes:
        is_parked: Scaled away; its queue is adopted.
        adopted_by: The slot whose worker takes its queue meanwhile.
        weight: Its share of new connections; 100 is an even one; 0: none, or
            the kernel shares them out.
        failures: In a row; forgotten when a worker has served for long enough.
        is_failing: Several in a row: another worker did not mend it.
        failed_s: Since the last failure; null without one.
        failure: What that was, in words.
        retry_in_s: Until the next try, when it has no worker.
        requests: Begun by all its workers, dead ones too.
        queue_length: Connections that wait to be accepted; None: it has no TCP
            queue of its own.
        queue_limit: The most that can.
    """

    slot: int
    is_parked: bool
    adopted_by: int | None
    weight: int
    failures: int
    retry_in_s: float
    requests: int
    queue_length: int | None = None
    queue_limit: int | None = None
    is_failing: bool = False
    failed_s: float | None = None
    failure: str = ""


class Progress(
    msgspec.Struct, frozen=True, kw_only=True, tag="progress", tag_field="kind"
):
    """How far a reload is.

    Attributes:
        step: ``importing``, ``canary`` (boots), ``checking`` (its health path),
            ``probation`` (serves beside an old worker), ``rolling``,
            ``holding``, ``rolling_back``.
        generation: The one that it spreads.
        replaced: Slots whose owner is of that generation.
        slots: Slots that want a worker.
    """

    step: str
    generation: int
    replaced: int
    slots: int


class StatusAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The whole service at one moment.

    Attributes:
        pid: Of the master.
        name: Of the instance: for ``--instance``.
        age_s: Of the master.
        listeners: A queue per slot, or one shared by all workers.
        steering: What was asked for: the slots' weights follow their load,
            are even, or are not used.
        is_steered: The kernel follows the weights.
        loading: The app is imported once, by the forkserver, or by each worker.
        generation: The one that new workers are of.
        is_ready: Half of the workers serve, and the service is about to stay:
            whether a balancer should send connections.
        is_parked: Nobody serves until it is resumed; connections wait.
        will_park: It will be parked, after the reload that is under way.
        is_leaving: Told to stop, and still serving, for ``--drain-delay``.
        is_stopping: It drains.
        reload: None when none is under way.
        forkservers: Generation and state of each.
        lag_bounds_s: See ``WorkerAnswer``.
        dead_listeners: Those that accept nothing and cannot be made anew, and why.
    """

    schema: int = SCHEMA
    pid: int
    name: str
    app: str
    age_s: float
    addresses: list[str]
    listeners: ListenerMode
    steering: Steering
    is_steered: bool
    loading: Loading
    generation: int
    has_served: bool
    is_ready: bool
    is_parked: bool
    will_park: bool
    is_leaving: bool
    is_stopping: bool
    reload: Progress | None
    slots: list[SlotAnswer]
    workers: list[WorkerAnswer]
    forkservers: list[tuple[int, str]]
    lag_bounds_s: list[float] = []
    dead_listeners: list[str] = []


STATUS = ControlEndpoint("GET", "/status", Nothing, StatusAnswer)
METRICS = ControlEndpoint("GET", "/metrics", Nothing, str)
