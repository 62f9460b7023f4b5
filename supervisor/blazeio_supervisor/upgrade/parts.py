"""The parts of a master that go over an exec: each says how it is frozen."""

import asyncio
import socket
from collections.abc import Callable

from msgspec import Struct

from blazeio_supervisor.children.forkservers import Forkservers
from blazeio_supervisor.children.workers import Workers
from blazeio_supervisor.control.server import ControlServer
from blazeio_supervisor.fleet.planner import Planner
from blazeio_supervisor.observe.events.ring import EventRing
from blazeio_supervisor.observe.lines.captured import CapturedOutput
from blazeio_supervisor.observe.metrics.server import MetricsServer
from blazeio_supervisor.options.in_force import SettingsInForce
from blazeio_supervisor.sockets.binding import Binding
from blazeio_supervisor.sockets.filters.steering import Steerer
from blazeio_supervisor.sockets.listeners import Listeners
from blazeio_supervisor.upgrade.handover import Handover
from blazeio_supervisor.upgrade.image import KeptImage
from blazeio_supervisor.upgrade.state import State, serialize_state


class Parts(Struct, frozen=True, kw_only=True):
    """All of them, of one master.

    Attributes:
        started_at: Monotonic seconds.
        adopted: By which worker, for each such slot.
    """

    in_force: SettingsInForce
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

    def freeze(self, handover: Handover, image: KeptImage) -> State:
        """Give all that the next image needs."""
        return State(
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

    def pack(self, handover: Handover, image: KeptImage) -> tuple[bytes, list[int]]:
        """Give the same as octets, and every descriptor that is named in it."""
        state = self.freeze(handover, image)
        return serialize_state(state), state.list_fds()

    def thaw(
        self,
        state: State,
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
