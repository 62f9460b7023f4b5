"""What the planner is told. Values only; the master makes them.

``worker`` is the serial number of one worker's life, given out by the planner
in ``Spawn`` and never used again. ``slot`` is a stable index. ``generation``
counts loads of the code.
"""

from dataclasses import dataclass, field
from typing import Any


def _by() -> Any:
    """Who asks, for the log: a signal, a pid; it makes no other fact of it."""
    return field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class StartAsked:
    """The master has bound its sockets and wants the service to begin.

    Attributes:
        slot_count: Slots that have sockets already, kept from an earlier life of
            the service. Those beyond the wanted count are parked.
    """

    slot_count: int = 0


@dataclass(frozen=True, slots=True)
class ForkserverReady:
    """The forkserver of this generation has imported the app and can fork."""

    generation: int


@dataclass(frozen=True, slots=True)
class ForkserverExited:
    """The forkserver is gone, asked or not.

    Attributes:
        status: Exit code, or minus the signal's number.
        reason: The last of what it said, for whoever asked; "" when unknown.
    """

    generation: int
    status: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class WorkerForked:
    """A ``Spawn`` was carried out; the worker is booting."""

    worker: int
    pid: int


@dataclass(frozen=True, slots=True)
class WorkerReady:
    """The worker has started its app and accepts from its slot."""

    worker: int


@dataclass(frozen=True, slots=True)
class WorkerExited:
    """The worker is gone and reaped (also when its fork failed).

    Attributes:
        status: Exit code, or minus the signal's number.
        reason: The last of what it said; "" when unknown.
    """

    worker: int
    status: int
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Beat:
    """What the scoreboard row of one worker says, read by the master.

    In each turn that the planner asked for, every row is read and told, also
    when nothing in it has changed: who is not told of is not judged.

    Attributes:
        at: Monotonic seconds of the worker's last loop beat; 0 before the
            first.
        lag_s: How late its loop ran, smoothed, seconds.
        in_flight: Requests being served.
        connections: Open connections.
        is_full: At its connection limit: it accepts nothing now.
        memory_bytes: Private memory (USS) when sampled, else None.
        requests: Requests begun in this life.
    """

    worker: int
    at: float
    lag_s: float = 0.0
    in_flight: int = 0
    connections: int = 0
    is_full: bool = False
    memory_bytes: int | None = None
    requests: int = 0


@dataclass(frozen=True, slots=True)
class HealthChecked:
    """The answer of the canary to ``CheckHealth``."""

    worker: int
    is_healthy: bool
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Answered:
    """The worker reacted to a ``Probe``; silence is never told."""

    worker: int


@dataclass(frozen=True, slots=True)
class ReloadAsked:
    """HUP or ``reload``. ``ticket`` comes back in ``ReloadEnded``."""

    ticket: int
    by: str = _by()


@dataclass(frozen=True, slots=True)
class ScaleAsked:
    """TTIN, TTOU or ``scale``: the wanted count, or a change of it."""

    count: int | None = None
    change: int = 0
    by: str = _by()


@dataclass(frozen=True, slots=True)
class RecycleAsked:
    """``recycle SLOT``: replace the worker of one slot, same code."""

    slot: int
    by: str = _by()


@dataclass(frozen=True, slots=True)
class ParkAsked:
    """WINCH or ``park``: nobody serves, connections wait in the queues."""

    by: str = _by()


@dataclass(frozen=True, slots=True)
class ResumeAsked:
    """``resume``: serve again after ``ParkAsked``. A ``ReloadAsked`` does so too."""

    by: str = _by()


@dataclass(frozen=True, slots=True)
class StopAsked:
    """TERM, QUIT (drain) or INT (quick: no grace beyond ``quick_grace_s``).

    A gentle one waits for ``drain_delay_s`` first; any second one ends that.
    """

    is_quick: bool = False
    by: str = _by()


@dataclass(frozen=True, slots=True)
class Tick:
    """Time has passed; nothing else happened."""


Fact = (
    StartAsked
    | ForkserverReady
    | ForkserverExited
    | WorkerForked
    | WorkerReady
    | WorkerExited
    | Beat
    | HealthChecked
    | Answered
    | ReloadAsked
    | ScaleAsked
    | RecycleAsked
    | ParkAsked
    | ResumeAsked
    | StopAsked
    | Tick
)
