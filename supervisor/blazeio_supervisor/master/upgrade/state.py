"""What one image of the master hands to the next: all that the disk does not hold.

Everything that a master knows is one value, ``MasterState``: its parts work on it
while it serves, and the next image goes on with a copy. Descriptors are written as
their numbers, which an exec keeps; whatever the kernel knows (queues, the order of
a group, its steering, unread messages) goes with them. Beside its own version the
state has that of the protocol which the living workers speak: an image that speaks
another cannot take over.
"""

import os
import socket
from collections.abc import Callable
from typing import Any, get_origin

import msgspec
from msgspec import Struct, field

from blazeio_supervisor.config.settings import LiveSettings
from blazeio_supervisor.errors import SupervisorError
from blazeio_supervisor.fleet.planner import FleetState
from blazeio_supervisor.fleet.roster import Roster
from blazeio_supervisor.ipc.packing import (
    pack,
    unpack,
)
from blazeio_supervisor.ipc.row_tables import AppTotals
from blazeio_supervisor.ipc.scoreboard import Row, Tally
from blazeio_supervisor.master.forkservers import ForkserverRecord
from blazeio_supervisor.master.listeners import BoundState
from blazeio_supervisor.master.output import OutputReader
from blazeio_supervisor.master.service_name import ControlState, MetricsState, Naming
from blazeio_supervisor.master.status import EventHistory
from blazeio_supervisor.master.upgrade.exec_new import UpgradeRun
from blazeio_supervisor.master.upgrade.image import KeptImage
from blazeio_supervisor.master.worker_record import (
    BroadcastCounts,
    TaskRuns,
    WorkerRecord,
)
from blazeio_supervisor.sockets.listeners import Listeners, Steerer
from blazeio_supervisor.version import PROTOCOL, find_version

VERSION = 5
"""Raised by one when a part of the state changes its shape."""


class StateError(SupervisorError):
    """This image cannot go on where that one was."""


class MasterState(Struct, kw_only=True):
    """All that a master knows; each of its parts works on its own piece.

    Attributes:
        settings: Those in force; nothing is read anew.
        started_at: Monotonic seconds: the age of the service.
        adopted: By which worker, for each such slot.
        counted: By slot, what its earlier workers have counted.
        app_counted: What the app has counted in earlier workers.
        task_runs: When the tasks that run once have run.
        broadcast_counts: What became of messages between workers.
        workers: By serial number.
        forkservers: By generation.
        captured: One for each process whose output is read.
    """

    settings: LiveSettings
    started_at: float
    fleet: FleetState
    listeners: Listeners
    steerer: Steerer = field(default_factory=Steerer)
    bound: BoundState = field(default_factory=BoundState)
    adopted: dict[int, int] = field(default_factory=dict)
    counted: dict[int, Tally] = field(default_factory=dict)
    app_counted: AppTotals = field(default_factory=AppTotals)
    task_runs: TaskRuns = field(default_factory=TaskRuns)
    broadcast_counts: BroadcastCounts = field(default_factory=BroadcastCounts)
    workers: dict[int, WorkerRecord] = field(default_factory=dict)
    forkservers: dict[int, ForkserverRecord] = field(default_factory=dict)
    naming: Naming = field(default_factory=Naming)
    control: ControlState = field(default_factory=ControlState)
    metrics: MetricsState = field(default_factory=MetricsState)
    events: EventHistory = field(default_factory=EventHistory)
    captured: list[OutputReader] = field(default_factory=list)

    @classmethod
    def begin(cls, live: LiveSettings, started_at: float) -> "MasterState":
        """Return the state of a service that has not begun."""
        settings = live.settings
        return cls(
            settings=live,
            started_at=started_at,
            fleet=FleetState(roster=Roster.with_slots(settings.worker_count)),
            listeners=Listeners(
                settings.worker_count,
                unix_mode=settings.unix_mode,
                unix_owner=settings.unix_owner,
                backlog=settings.backlog,
            ),
        )


class _Head(Struct, frozen=True):
    """What can be read of any state, whatever its version."""

    version: int
    protocol: int
    program: str


class UpgradeState(Struct, frozen=True, kw_only=True):
    """A master between two turns, with no reload under way.

    Attributes:
        program: The version of blazeio that wrote it.
    """

    version: int = VERSION
    protocol: int = PROTOCOL
    program: str
    run: UpgradeRun
    image: KeptImage
    master: MasterState


def dump_state(
    run: UpgradeRun, image: KeptImage, master: MasterState
) -> tuple[bytes, list[int]]:
    """Write what the next image reads.

    Returns:
        The octets, and every descriptor that is named there, each once.
    """
    fds = dict.fromkeys(image.list_fds())

    def name(part: Any) -> int:
        fd: int = part.fileno()
        fds[fd] = None
        return fd

    state = UpgradeState(program=image.program, run=run, image=image, master=master)
    return pack(state, name), list(fds)


def load_state(
    octets: bytes, take: Callable[[int], socket.socket]
) -> tuple[UpgradeState, list[int]]:
    """Read what another image has written.

    Args:
        octets: By that one.
        take: Returns our own socket for a descriptor that is named there.

    Returns:
        The state, and the descriptors that are named there, each once.

    Raises:
        StateError: It is of another version, or speaks another protocol, or is
            none at all.
    """
    fds: dict[int, None] = {}

    def read(kind: type, fd: int) -> Any:
        fds[fd] = None
        return take_part(kind, fd, take)

    try:
        # First, and by a structure that reads of any version only what it needs: the
        # whole state of another version would fail in a field, which says nothing to an
        # operator.
        _check_versions(unpack(octets, _Head))
        state = unpack(octets, UpgradeState, read)
    except (
        msgspec.MsgspecError,
        ValueError,
        OverflowError,
        RecursionError,
        OSError,
    ) as error:
        text = f"what the running one has written cannot be read: {error}"
        raise StateError(text.splitlines()[0]) from None
    return state, list(fds | dict.fromkeys(state.image.list_fds()))


def take_part(kind: type, fd: int, take: Callable[[int], socket.socket]) -> Any:
    """Return a part that is not a value, from its descriptor."""
    if kind is Row:
        # The image before may come back and has this number.
        return Row(os.dup(fd))
    sock = take(fd)
    return sock if kind is socket.socket else (get_origin(kind) or kind)(sock)


def _check_versions(head: _Head) -> None:
    ours, theirs = (VERSION, PROTOCOL), (head.version, head.protocol)
    if ours != theirs:
        raise StateError(
            f"blazeio {find_version()} knows state {VERSION} and protocol {PROTOCOL}, "
            f"the running one ({head.program}) has state {head.version} and protocol "
            f"{head.protocol}: restart the service to use it"
        )
