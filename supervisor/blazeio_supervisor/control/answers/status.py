"""The whole service at one moment, as ``status`` and ``top`` show it."""

from typing import Literal

import msgspec

from blazeio_supervisor.control.answers.service import SCHEMA

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
