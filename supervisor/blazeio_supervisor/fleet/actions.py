"""What the planner wants done. Values only; the master carries them out."""

from enum import StrEnum

from msgspec import Struct


class StopMode(StrEnum):
    """How a worker or forkserver is stopped."""

    DRAIN = "drain"  # over the channel: stop accepting, answer, exit 0
    TERM = "term"  # SIGTERM, to one that no longer listens
    KILL = "kill"  # SIGKILL


class StartForkserver(Struct, frozen=True):
    """Start the forkserver of a new generation; answer ForkserverReady/Exited.

    Attributes:
        ticket: The reload whose settings it is loaded with; None: those in force.
    """

    generation: int
    ticket: int | None = None


class StopForkserver(Struct, frozen=True):
    """End this generation's forkserver; its workers live on.

    Escalates like ``StopWorker``, and is never repeated with the same mode. After
    its end answer ForkserverExited; a ``Spawn`` that it never answered is void
    then, so the shell closes that worker's channel.
    """

    generation: int
    mode: StopMode = StopMode.DRAIN


class Spawn(Struct, frozen=True):
    """Fork a worker for a slot; answer WorkerForked, then Ready or Exited.

    Attributes:
        worker: The serial number of the new worker, never used again.
        is_canary: It must not accept from its slot before ``AdmitWorker``, since the
            health check comes first.
    """

    worker: int
    slot: int
    generation: int
    is_canary: bool = False


class CheckHealth(Struct, frozen=True):
    """Ask the canary's health path; answer HealthChecked."""

    worker: int


class AdmitWorker(Struct, frozen=True):
    """The canary passed: it accepts from its slot from now on."""

    worker: int


class RenewConnections(Struct, frozen=True):
    """Have clients of a worker connect anew: some of them come to the canary.

    Attributes:
        count: Of so many connections the next response is the last.
    """

    worker: int
    count: int


class GrantLease(Struct, frozen=True):
    """The worker runs the tasks that run once, until LeaseReturned or its end."""

    worker: int


class StopWorker(Struct, frozen=True):
    """Stop a worker; it is never repeated with the same mode.

    It may name a worker whose exit was told in the same turn: then it is void.
    """

    worker: int
    mode: StopMode


class DumpStack(Struct, frozen=True):
    """Report that a worker is blocked, and where; this is rate-limited already."""

    worker: int
    blocked_s: float


class AskStack(Struct, frozen=True):
    """Ask a worker for its stacks, for the report of its death.

    It has not ended in time, and is killed soon unless it ends now.
    """

    worker: int


class ReportBoot(Struct, frozen=True):
    """Report that a process boots for long, and where it stands.

    Attributes:
        generation: The generation whose code it imports.
        worker: The worker that boots; None: the forkserver, which imports.
        boot_s: How long it has booted.
        timeout_s: How long it may boot.
    """

    generation: int
    worker: int | None
    boot_s: float
    timeout_s: float


class OpenSlot(Struct, frozen=True):
    """Make the listeners of a slot that never existed before."""

    slot: int


class AdoptQueue(Struct, frozen=True):
    """``by`` accepts from the slot's queue too, until released.

    The adopter's exit or drain's end releases by itself: a ``ReleaseQueue`` is sent
    only to a worker that lives.

    Attributes:
        by: The serial number of the adopting worker, not its slot.
    """

    slot: int
    by: int


class ReleaseQueue(Struct, frozen=True):
    """``by`` no longer accepts from the slot's queue. As in ``AdoptQueue``."""

    slot: int
    by: int


class Steer(Struct, frozen=True):
    """New weights for new connections, one per slot, 0 = none.

    All zero is never sent as such: the shell detaches the program.
    """

    weights: tuple[int, ...]


class KeepServing(Struct, frozen=True):
    """Every worker serves on until its ``StopWorker``, whoever sends it SIGTERM."""


class CloseListeners(Struct, frozen=True):
    """The service ends: no connection may begin any more.

    Each ``StopWorker`` from here on is the last one of its slot: nobody comes after
    that worker, so it takes what waits in its queue.
    """


class ReloadEnded(Struct, frozen=True):
    """A reload is over, for all who have asked for it.

    Attributes:
        tickets: One for each who has asked, also of superseded reloads.
        generation: The generation that was loaded for it.
        reason: Why it was not; "" when it was.
        superseded: Tickets whose place a later one has taken; they end as that does.
        is_reported: There is an event of its failure by now.
        way_back_s: How long the code before is kept at most, to come back to.
    """

    tickets: tuple[int, ...]
    generation: int
    is_ok: bool
    reason: str = ""
    superseded: tuple[int, ...] = ()
    is_reported: bool = False
    way_back_s: float = 0.0


class ReloadUndone(Struct, frozen=True):
    """A generation whose reload had ended well was taken back: so are its settings."""

    generation: int


class ReportStatus(Struct, frozen=True):
    """An event for the operator: for the log, ``events`` and the metrics.

    Attributes:
        event: A stable word: ``ready``, ``worker_failed``, ``crash_loop`` ...
        text: The sentence for a person: what, why, and what comes next.
        level: A ``logging`` level name: INFO, WARNING or ERROR.
        worker: The worker that it is about, if there is one.
        slot: The slot, if there is one.
        generation: The generation, if there is one.
        pid: The process, if there is one.
        reason: Why, as one of few words: it is counted by them.
    """

    event: str
    text: str
    level: str = "INFO"
    worker: int | None = None
    slot: int | None = None
    generation: int | None = None
    pid: int | None = None
    reason: str = ""


class Stage(StrEnum):
    """Where the service is in its life, for whoever started it."""

    BOOTING = "booting"
    READY = "ready"
    RELOADING = "reloading"
    STOPPING = "stopping"


class Notify(Struct, frozen=True):
    """Notify the service manager (systemd); without one this does nothing.

    Attributes:
        stage: The new one; None: as before.
        status: The new line for ``systemctl status``; None: as before.
        is_alive: A worker has served since the last such notice: feed the watchdog.
        extend_s: Ask the manager to wait so long (EXTEND_TIMEOUT_USEC); None: no need.
    """

    stage: Stage | None = None
    status: str | None = None
    is_alive: bool = False
    extend_s: float | None = None


class Probe(Struct, frozen=True):
    """Ask a worker anything over HTTP; answer Answered, whatever it says."""

    worker: int


class Exit(Struct, frozen=True):
    """The service is over: everything of ours has ended. Exit with ``code``."""

    code: int
    reason: str = ""


Action = (
    StartForkserver
    | StopForkserver
    | Spawn
    | CheckHealth
    | AdmitWorker
    | RenewConnections
    | GrantLease
    | StopWorker
    | DumpStack
    | AskStack
    | ReportBoot
    | OpenSlot
    | AdoptQueue
    | ReleaseQueue
    | Steer
    | KeepServing
    | CloseListeners
    | ReloadEnded
    | ReloadUndone
    | ReportStatus
    | Notify
    | Probe
    | Exit
)
