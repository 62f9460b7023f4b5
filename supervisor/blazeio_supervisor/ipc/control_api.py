"""What a service answers on its control socket: the schema of ``--json``.

HTTP/1.1 with JSON. Fields may be added within one ``SCHEMA``; a field that
changes its meaning or goes away makes a new number. Spans are seconds, sizes
octets, counts plain numbers; null is what is not known.

Each ``ControlEndpoint`` below is one method and path, with what is sent and what is
answered. A GET sends its query by the fields of a struct; a POST its order as JSON.
Three can answer by lines of JSON: ``RELOAD``, which writes a ``Progress`` line for
each step and then one ``ReloadAnswer``, ``PROFILE`` likewise, and ``EVENTS``, which
writes an ``EventRecord`` line for each event until the service ends. ``METRICS``
answers text for Prometheus.

An order that cannot be carried out is answered by an ``ErrorAnswer``: 400, a
number is out of bounds; 403, of another user; 409, the service is stopping.
"""

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Generic, Literal, TypeVar

import msgspec

from blazeio_supervisor.ipc.status_api import (
    MOST_SECONDS,
    SCHEMA,
    Profiled,
    StatusAnswer,
)
from blazeio_supervisor.log.formats import EventRecord

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
        wait: Answer when the reload is over, and write its steps until then.
    """

    wait: bool = False


class ReloadAnswer(
    msgspec.Struct, frozen=True, kw_only=True, tag="reload", tag_field="kind"
):
    """How a reload ended, or that it was asked for.

    Attributes:
        is_over: Whether it has ended; false where nobody waits for it.
        is_ok: Whether the new code serves in every slot.
        generation: The generation of the new code.
        reason: Why the new code does not serve; the old code goes on.
        output: What the processes of the new code raised: the traceback of the app.
        took_s: The time from the order to the end.
        needs_restart: Settings that have changed, and that only a restart applies.
        is_superseded: Whether a later order took the place of this one before it was
            over: then this is how the later one ended.
        way_back_s: How long the code before is kept at most: if the new code fails
            by then, all slots go back to it.
    """

    is_over: bool
    is_ok: bool = False
    generation: int = 0
    reason: str = ""
    output: str = ""
    took_s: float = 0.0
    needs_restart: tuple[str, ...] = ()
    is_superseded: bool = False
    way_back_s: float = 0.0


RELOAD = ControlEndpoint("POST", "/reload", ReloadOrder, ReloadAnswer)


class ScaleOrder(msgspec.Struct, frozen=True):
    """Change the number of workers.

    Attributes:
        count: How many; None: as many as are wanted now.
        change: How many more, or fewer if it is negative.
        is_auto: The load decides from now on, where the settings let it.
    """

    count: int | None = None
    change: int = 0
    is_auto: bool = False


class ScaleAnswer(msgspec.Struct, frozen=True):
    """How many were wanted before, and now."""

    before: int
    count: int


SCALE = ControlEndpoint("POST", "/scale", ScaleOrder, ScaleAnswer)


class RecycleOrder(msgspec.Struct, frozen=True):
    """Replace workers, with the same code.

    Attributes:
        slot: The slot whose worker is replaced; None: every slot, one by one.
    """

    slot: int | None = None


class Recycled(msgspec.Struct, frozen=True):
    """A slot that gets a new worker.

    Attributes:
        pid: The worker that is replaced; None: the slot has none, and a worker is
            started at once.
    """

    slot: int
    pid: int | None


class RecycleAnswer(msgspec.Struct, frozen=True):
    """Each slot that gets a new worker."""

    slots: list[Recycled]


RECYCLE = ControlEndpoint("POST", "/recycle", RecycleOrder, RecycleAnswer)


class ParkAnswer(msgspec.Struct, frozen=True):
    """What the service will do.

    Attributes:
        is_parked: Whether it will be parked, or else serve.
        waits_for: What comes first: ``reload``; "": nothing.
    """

    is_parked: bool
    waits_for: str = ""


PARK = ControlEndpoint("POST", "/park", Nothing, ParkAnswer)
RESUME = ControlEndpoint("POST", "/resume", Nothing, ParkAnswer)


class StackOrder(msgspec.Struct, frozen=True):
    """Ask workers for their stacks.

    Attributes:
        slot: The slot whose workers are asked; None: every slot.
    """

    slot: int | None = None


class WorkerStack(msgspec.Struct, frozen=True, kw_only=True):
    """The stacks of one worker.

    Attributes:
        text: The stacks of its threads, then of its asyncio tasks.
        is_whole: Whether its tasks are there; else C code computes in it, or it is
            stopped.
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
    """The stacks of a forkserver that imports the app.

    Attributes:
        text: The stacks of its threads.
    """

    lines: ClassVar[frozenset[str]] = frozenset({"text"})

    pid: int
    generation: int
    text: str


class StackAnswer(msgspec.Struct, frozen=True):
    """The stacks of each worker that has a pid, and of each import under way."""

    workers: list[WorkerStack]
    forkservers: list[ForkserverStack] = []


STACK = ControlEndpoint("POST", "/stack", StackOrder, StackAnswer)


class ProfileOrder(msgspec.Struct, frozen=True):
    """A worker is profiled while it serves.

    Attributes:
        slot: Whose worker; one profile of a service is taken at a time.
        span_s: How long it shall take.
        is_whole: Count threads and tasks that wait, too.
        is_of_memory: Compare what is allocated before and after instead.
    """

    slot: int = 0
    span_s: Annotated[float, msgspec.Meta(gt=0, le=MOST_SECONDS)] = 10.0
    is_whole: bool = False
    is_of_memory: bool = False


class ProfileProgress(msgspec.Struct, frozen=True, tag="progress", tag_field="kind"):
    """How far a profile is.

    Attributes:
        samples: How often the threads were looked at so far.
    """

    samples: int


class ProfileAnswer(
    msgspec.Struct, frozen=True, kw_only=True, tag="ended", tag_field="kind"
):
    """A profile, or why there is none.

    Attributes:
        pid: The pid of the worker.
        profile: What was found; its ``failure`` says why nothing was.
    """

    slot: int
    pid: int | None
    generation: int
    profile: Profiled


PROFILE = ControlEndpoint("POST", "/profile", ProfileOrder, ProfileAnswer)


class UpgradeOrder(msgspec.Struct, frozen=True):
    """Go on with the code of the supervisor that is installed now.

    Attributes:
        check: Only find out whether that would work.
    """

    check: bool = False


class UpgradeAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an upgrade.

    Attributes:
        number: Which upgrade of this master it is, from 1 on; 0: there was none.
        is_over: Whether it has ended; else the rehearsal went well, and the upgrade
            happens now: connections to this socket are closed, and the next request
            is answered when it is over.
        is_ok: Whether the installed code runs; after a check: whether it could.
        reason: Why it does not; the old code goes on.
        version: The version of the installed code; "" when it is not known.
        took_s: The time from the order to the end.
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
    """Whether every process writes to new files, the access logs included.

    Attributes:
        reason: Why one does not; an old file is still written.
    """

    is_ok: bool
    reason: str = ""


REOPEN_LOGS = ControlEndpoint("POST", "/reopen-logs", Nothing, ReopenLogsAnswer)


class StopOrder(msgspec.Struct, frozen=True):
    """End the service.

    Attributes:
        is_quick: Whether to end within about a second, whatever is in flight.
    """

    is_quick: bool = False


class StopAnswer(msgspec.Struct, frozen=True):
    """The master that ends.

    Attributes:
        pid: The pid of the master.
    """

    pid: int


STOP = ControlEndpoint("POST", "/stop", StopOrder, StopAnswer)
"""Answered at once, before the service stops."""


# The settings in force.


class ConfigQuery(msgspec.Struct, frozen=True):
    """How the settings are shown.

    Attributes:
        show_env: Whether the values of variables are shown, or only their names.
    """

    show_env: bool = False


class SettingAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """One setting in force.

    Attributes:
        key: Its name in a TOML file.
        value: Its value as a TOML file has it; null: none was given.
        origin: A flag, a variable, the path of a file, or ``default``.
        meaning: The default in words, where there is no value.
        is_hidden: Whether the values of variables are left out: ``NAME=...``.
    """

    key: str
    value: Any
    origin: str
    meaning: str = ""
    is_hidden: bool = False


class ConfigAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The settings in force.

    Attributes:
        needs_restart: The keys that have another value by now, which only a restart
            applies.
        text: The settings as a TOML file.
        changed: What was changed at run time and holds until the next start, a
            sentence for each change.
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


# Who answers, or refuses.


class ErrorAnswer(msgspec.Struct, frozen=True):
    """An order was refused.

    Attributes:
        error: The reason, in one line.
    """

    error: str


class ServiceAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Which service this is.

    Attributes:
        pid: The pid of the master.
        name: The name of the service, for ``--instance``.
        wanted: The name that was asked for; it differs if that was taken.
        alias: The name that was asked for, if the service has it in its own container;
            else "".
        pid_namespace: The pid namespace of the master; "" where it is not known.
        root: Device and inode of its root directory; "" where they are not known.
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
    """Which events are wanted.

    Attributes:
        after: Only events with a higher ``seq`` than this.
        last: At most so many of them, the newest ones; null: all.
        follow: Whether to go on with the events that come.
    """

    after: int = 0
    last: Annotated[int, msgspec.Meta(ge=0)] | None = None
    follow: bool = False


class EventsAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What has happened, the oldest first."""

    schema: int = SCHEMA
    events: list[EventRecord]


EVENTS = ControlEndpoint("GET", "/events", EventsQuery, EventsAnswer)


STATUS = ControlEndpoint("GET", "/status", Nothing, StatusAnswer)
METRICS = ControlEndpoint("GET", "/metrics", Nothing, str)

# The page


class DashboardQuery(msgspec.Struct, frozen=True):
    """What the page shows.

    Attributes:
        after: The number of the last event that is known already.
    """

    after: int = 0


class DashboardAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """All that the page shows, at one moment.

    Attributes:
        at_s: When that is, seconds since 1970.
        responses: How many responses are over, by status class.
        latency_bounds_s: The upper end of each bucket but the last.
        latency_counts: How many responses took so long, by bucket.
        events: Those after the one that is known, the last ones at most.
        can_order: Whether orders of the page are carried out.
    """

    at_s: float
    status: StatusAnswer
    responses: dict[str, int]
    latency_bounds_s: list[float]
    latency_counts: list[int]
    events: list[EventRecord]
    can_order: bool = False


DASHBOARD = ControlEndpoint("GET", "/dashboard", DashboardQuery, DashboardAnswer)
