"""What one image of the master hands to the next: all that the disk does not hold.

Descriptors are named by their numbers, which an exec keeps; whatever the kernel
knows (queues, the order of a group, its steering, unread messages) goes with
them. Beside its own version the state has that of the protocol which the living
workers speak: an image that speaks another cannot take over.
"""

import asyncio
import socket
from collections.abc import Callable

import msgspec
from msgspec import Struct

from blazeio_supervisor.config.live_settings import FrozenSettings, LiveSettings
from blazeio_supervisor.errors import SupervisorError
from blazeio_supervisor.fleet.planner import FrozenPlanner, Planner
from blazeio_supervisor.ipc.messages import PROTOCOL, pack, unpack
from blazeio_supervisor.master.control_server import ControlServer, FrozenControl
from blazeio_supervisor.master.events import EventRing, FrozenRing
from blazeio_supervisor.master.forkservers import Forkservers, FrozenForkserver
from blazeio_supervisor.master.listeners import Binding
from blazeio_supervisor.master.metrics import FrozenMetrics, MetricsServer
from blazeio_supervisor.master.output import CapturedOutput, FrozenReader
from blazeio_supervisor.master.upgrade.exec_new import UpgradeRun
from blazeio_supervisor.master.upgrade.image import KeptImage
from blazeio_supervisor.master.workers import FrozenWorkers, Workers
from blazeio_supervisor.sockets.address import TcpAddress
from blazeio_supervisor.sockets.listeners import FrozenListeners, Listeners, Steerer
from blazeio_supervisor.version import find_version

VERSION = 3
"""Raised by one when a part of the state changes its shape."""


class StateError(SupervisorError):
    """This image cannot go on where that one was."""


class _Head(msgspec.Struct, frozen=True):
    """What can be read of any state, whatever its version."""

    version: int
    protocol: int
    program: str


class UpgradeState(msgspec.Struct, frozen=True, kw_only=True):
    """A master between two turns, with no reload under way.

    Attributes:
        program: The version of blazeio that wrote it.
        in_force: The settings as they are; nothing is read anew.
        started_at: Monotonic seconds: the age of the service.
        own_address: That of the app, if it is what is open.
        adopted: By which worker, for each such slot.
    """

    version: int = VERSION
    protocol: int = PROTOCOL
    program: str
    handover: UpgradeRun
    image: KeptImage
    in_force: FrozenSettings
    started_at: float
    planner: FrozenPlanner
    listeners: FrozenListeners
    steerer: tuple[bool, bool]
    own_address: TcpAddress | None
    adopted: dict[int, int]
    workers: FrozenWorkers
    forkservers: list[FrozenForkserver]
    control: FrozenControl
    metrics: FrozenMetrics | None
    events: FrozenRing
    captured: list[FrozenReader] = []

    def list_fds(self) -> list[int]:
        """List every descriptor that is named here."""
        return [
            *self.image.list_fds(),
            *self.listeners.list_fds(),
            *self.workers.list_fds(),
            *(forkserver.channel_fd for forkserver in self.forkservers),
            *(reader.fd for reader in self.captured),
            *self.control.list_fds(),
            *([] if self.metrics is None else self.metrics.fds),
        ]


def serialize_state(state: UpgradeState) -> bytes:
    """Give the octets that the next image reads."""
    return pack(state)


def parse_state(octets: bytes) -> UpgradeState:
    """Read what another image has written.

    Raises:
        StateError: It is of another version, or speaks another protocol, or is
            none at all.
    """
    try:
        return _decode(octets)
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError) as error:
        text = f"what the running one has written cannot be read: {error}"
        raise StateError(text.splitlines()[0]) from None


def _decode(octets: bytes) -> UpgradeState:
    head = unpack(octets, _Head)
    ours, theirs = (VERSION, PROTOCOL), (head.version, head.protocol)
    if ours != theirs:
        raise StateError(
            f"blazeio {find_version()} knows state {VERSION} and protocol {PROTOCOL}, "
            f"the running one ({head.program}) has state {head.version} and protocol "
            f"{head.protocol}: restart the service to use it"
        )
    return unpack(octets, UpgradeState)


# The parts of a master that go over an exec: each says how it is frozen.


class Parts(Struct, frozen=True, kw_only=True):
    """All of them, of one master.

    Attributes:
        started_at: Monotonic seconds.
        adopted: By which worker, for each such slot.
    """

    in_force: LiveSettings
    started_at: float
    planner: Planner
    listeners: Listeners
    steerer: Steerer
    binding: Binding
    adopted: dict[int, int]
    workers: Workers
    forkservers: Forkservers
    control: ControlServer
    metrics: MetricsServer
    events: EventRing
    captured: CapturedOutput | None

    def freeze(self, handover: UpgradeRun, image: KeptImage) -> UpgradeState:
        """Give all that the next image needs."""
        return UpgradeState(
            program=image.program,
            handover=handover,
            image=image,
            in_force=self.in_force.freeze(),
            started_at=self.started_at,
            planner=self.planner.freeze(),
            listeners=self.listeners.freeze(),
            steerer=self.steerer.freeze(),
            own_address=self.binding.own,
            adopted=self.adopted,
            workers=self.workers.freeze(),
            forkservers=self.forkservers.freeze(),
            control=self.control.freeze(),
            metrics=self.metrics.freeze(),
            events=self.events.freeze(),
            captured=[] if self.captured is None else self.captured.freeze(),
        )

    def pack(self, handover: UpgradeRun, image: KeptImage) -> tuple[bytes, list[int]]:
        """Give the same as octets, and every descriptor that is named in it."""
        state = self.freeze(handover, image)
        return serialize_state(state), state.list_fds()

    def thaw(
        self,
        state: UpgradeState,
        take: Callable[[int], socket.socket],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        """Go on with what another image had; no process hears of it.

        Args:
            state: By that one.
            take: Gives our own socket for a descriptor that is named there.
            loop: Of this master.
        """
        self.planner.thaw(state.planner)
        self.listeners.thaw(state.listeners, take)
        self.steerer.thaw(state.steerer)
        self.binding.thaw(state.own_address)
        self.adopted.update(state.adopted)
        self.workers.thaw(state.workers, take)
        self.forkservers.thaw(state.forkservers, take)
        self.control.thaw(state.control, take, loop)
        self.metrics.thaw(state.metrics, take, loop)
        if self.captured is not None:
            self.captured.thaw(state.captured, take)
        self.events.thaw(state.events)
