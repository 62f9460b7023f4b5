"""Each order, and how it is answered."""

from typing import ClassVar

import msgspec


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


class ScaleOrder(msgspec.Struct, frozen=True):
    """Have so many workers.

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


class ParkAnswer(msgspec.Struct, frozen=True):
    """What was asked for.

    Attributes:
        is_parked: It shall be parked, or else serve.
        waits_for: What comes first: ``reload``; "": nothing.
    """

    is_parked: bool
    waits_for: str = ""


class StackOrder(msgspec.Struct, frozen=True):
    """Say where workers are.

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


class StopOrder(msgspec.Struct, frozen=True):
    """End the service.

    Attributes:
        is_quick: Within about a second, whatever is in flight.
    """

    is_quick: bool = False


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


class ReopenLogsAnswer(msgspec.Struct, frozen=True):
    """Whether the log is written to a new file; the access logs follow by themselves.

    Attributes:
        reason: Why it is not, and the old one is written on.
    """

    is_ok: bool
    reason: str = ""


class StopAnswer(msgspec.Struct, frozen=True):
    """The master that will be gone."""

    pid: int
