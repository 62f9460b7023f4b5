"""What is shown of a service: all of it at one moment, and a profile of one worker."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

SCHEMA = 1
"""The version of everything that is answered on the control socket."""

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
        age_s: The time since it was asked for.
        in_flight: How many requests it is answering.
        background: How many of them are answered, and run on: work of ASGI and WSGI
            apps after the response.
        threads: How many requests of WSGI apps it runs at once; 0: it has none.
        threads_busy: How many of these threads are at work.
        waiting: How many requests wait for a thread.
        requests: How many requests it has begun in its life.
        lag_s: How late its event loop runs, smoothed.
        lag_counts: How many beats of its loop were late by at most the span at the
            same place in ``lag_bounds_s``; the last count is of those that were later.
        cpu_s: Its processor time.
        longest: The request that has been in flight for longest.
        longest_s: How long that request has been in flight.
        silent_s: The time since the last beat of its loop: how long it is blocked.
        is_late: Whether it gets no new connections because its loop is blocked.
        own_bytes: Memory that its end would give back (USS).
        shared_bytes: The same, with its share of memory that several have (PSS).
        retire_reason: Why it will be replaced; "" when it will not.
    """

    slot: int
    pid: int | None
    role: Role
    state: str
    generation: int
    age_s: float
    in_flight: int = 0
    background: int = 0
    threads: int = 0
    threads_busy: int = 0
    waiting: int = 0
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
        is_parked: Whether it was scaled away; then its queue is adopted.
        adopted_by: The slot whose worker accepts from its queue meanwhile.
        weight: Its share of new connections: 100 is an even one; 0: it gets none, or
            the kernel distributes them.
        failures: How many workers have failed in a row; 0 once a worker has served
            for long enough.
        is_failing: Whether several workers have failed in a row.
        failed_s: The time since the last failure; null without one.
        failure: What that failure was, in words.
        retry_in_s: The time until the next try, when the slot has no worker.
        requests: How many requests its workers have begun, dead ones too.
        queue_length: How many connections wait to be accepted; null: it has no TCP
            queue of its own.
        queue_limit: How many can wait at most.
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


class TaskAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """A task that runs once in the service.

    Attributes:
        schedule: ``every 900 s``, ``at 03:00``; "" when it runs from the start on.
        is_running: Whether it runs now.
        slot: Where it runs, or ran last; null: nowhere so far.
        began_s: The time since its last run began; null before the first.
        took_s: How long that run took; null while it runs.
        next_in_s: The time until it is due; null when it runs, or has no schedule.
        runs: How many runs have begun.
        failures: How many runs have raised.
        failure: What the last run has raised; "" when nothing.
    """

    name: str
    schedule: str
    is_running: bool
    slot: int | None
    began_s: float | None
    took_s: float | None
    next_in_s: float | None
    runs: int
    failures: int
    failure: str


class BroadcastAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """Messages of workers to all others.

    Attributes:
        messages: How many the workers have sent.
        delivered: How often a worker was given one.
        dropped: How often one was not, for want of room.
    """

    messages: int = 0
    delivered: int = 0
    dropped: int = 0


class Progress(
    msgspec.Struct, frozen=True, kw_only=True, tag="progress", tag_field="kind"
):
    """How far a reload has come.

    Attributes:
        step: ``importing``, ``canary`` (boots), ``checking`` (its health path),
            ``probation`` (serves beside an old worker), ``rolling``,
            ``holding``, ``rolling_back``.
        generation: The generation of the new code.
        replaced: How many slots have an owner of that generation.
        slots: How many slots want a worker.
    """

    step: str
    generation: int
    replaced: int
    slots: int


class StatusAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """The whole service at one moment.

    Attributes:
        pid: The pid of the master.
        name: The name of the service, for ``--instance``.
        age_s: The age of the service.
        listeners: Whether there is a queue for each slot, or one for all workers.
        steering: What was asked for: the weights of the slots follow their load, are
            even, or are not used.
        is_steered: Whether the kernel follows the weights.
        loading: Whether the app is imported once, by the forkserver, or by each worker.
        generation: The generation of new workers.
        has_served: Whether a worker has ever served.
        is_ready: Whether a load balancer should send connections: half of the workers
            serve, and the service is not about to stop.
        is_parked: Whether nobody serves until it is resumed; connections wait.
        will_park: Whether it will be parked after the reload that is under way.
        is_leaving: Whether it was told to stop and still serves (``--drain-delay``).
        is_stopping: Whether it drains.
        reload: The reload that is under way; null when there is none.
        forkservers: Generation and state of each forkserver.
        lag_bounds_s: The bounds of ``lag_counts`` of a worker.
        dead_listeners: The listeners that accept nothing and cannot be recreated, with
            the reason.
        tasks: Those that run once in the service.
        task_slot: The slot whose worker runs them; null: none does.
        broadcasts: What became of messages between workers.
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
    tasks: list[TaskAnswer] = []
    task_slot: int | None = None
    broadcasts: BroadcastAnswer = BroadcastAnswer()


# A profile of one worker: what is ordered, and what comes back. Values only.


RATE_HZ = 100
"""Samples a second of each thread."""
MOST_SECONDS = 600
"""The longest that one profile may take."""
DEPTH_COUNT = 100
"""Frames of one stack; of a deeper one the innermost are kept."""
STACK_COUNT = 5_000
"""Different stacks; what more there are is counted as one."""
NAME_CHARS = 200
"""The longest name of a frame."""
LINE_COUNT = 50
"""Lines of code that are named in a profile of the memory."""
ANSWER_BYTES = 8 * 1024 * 1024
"""The longest answer; a longer profile is given up."""
PROGRESS_EVERY_S = 0.5

Text = Annotated[str, Meta(max_length=2 * NAME_CHARS)]
Count = Annotated[int, Meta(ge=0, le=2**53)]
Amount = Annotated[int, Meta(ge=-(2**53), le=2**53)]


class ProfileWish(Struct, frozen=True):
    """What a worker is ordered.

    Attributes:
        seconds: How long it shall take.
        is_whole: Count what waits, too.
        is_of_memory: Compare the memory before and after instead.
    """

    seconds: float
    is_whole: bool = False
    is_of_memory: bool = False


class Sampled(Struct, frozen=True, tag="sampled"):
    """How far a profile is.

    Attributes:
        samples: Taken so far.
    """

    samples: Count


class MemoryLine(Struct, frozen=True, array_like=True):
    """What one line of code has allocated.

    Attributes:
        place: File and line.
        grown_bytes: How much more it has than before; negative: less.
        grown_count: How many more blocks.
        size_bytes: What it has now.
    """

    place: Text
    grown_bytes: Amount
    grown_count: Amount
    size_bytes: Amount


class Profiled(Struct, frozen=True, tag="profiled"):
    """A whole profile.

    Attributes:
        samples: How often the threads were looked at.
        took_s: How long that was.
        names: Of frames; a stack has their places in this list.
        stacks: Each with how often it was seen, the outermost frame first.
        waiting: Stacks seen that only waited, and are not among those.
        own_cpu_s: What the profile itself has cost.
        memory: What grew most, for a profile of the memory.
        failure: Why there is none; "" when there is one.
    """

    samples: Count = 0
    took_s: float = 0.0
    names: Annotated[list[Text], Meta(max_length=200_000)] = []
    stacks: Annotated[
        list[tuple[list[Count], Count]], Meta(max_length=STACK_COUNT + 1)
    ] = []
    waiting: Count = 0
    own_cpu_s: float = 0.0
    memory: Annotated[list[MemoryLine], Meta(max_length=LINE_COUNT)] = []
    failure: Text = ""


_decoder: msgspec.json.Decoder[Sampled | Profiled] = msgspec.json.Decoder(
    Sampled | Profiled
)


def parse_profile(line: bytes) -> Sampled | Profiled:
    """Read one line of a worker, which runs foreign code.

    Raises:
        ValueError: It is nothing that a worker sends.
    """
    try:
        said = _decoder.decode(line)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(str(error)) from None
    if isinstance(said, Profiled):
        most = len(said.names)
        if any(place >= most for stack, _ in said.stacks for place in stack):
            message = "a stack has a frame without a name"
            raise ValueError(message)
    return said
