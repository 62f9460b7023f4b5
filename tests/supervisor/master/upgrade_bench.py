"""The parts of a master, and the state of one."""

import asyncio
from pathlib import Path

from blazeio_supervisor.master.control_server import ControlServer
from blazeio_supervisor.master.listeners import Binding
from blazeio_supervisor.master.metrics import Exposition, MetricsServer
from blazeio_supervisor.master.upgrade.exec_new import UpgradeRun
from blazeio_supervisor.master.upgrade.image import KeptImage
from blazeio_supervisor.master.upgrade.state import Parts, UpgradeState
from blazeio_supervisor.sockets.address import TcpAddress
from tests.supervisor.cli.desk import Desk

NO_IMAGE = KeptImage(
    archive_fd=-1, interpreter_fd=-1, extensions={}, home="", program="0"
)
HANDOVER = UpgradeRun(number=1, by="a test", began_at=0.0)


class Bench(Desk):
    """A desk whose parts may leave and arrive.

    Attributes:
        parts: Of a master that serves, on paper; its slots have sockets.
    """

    def __init__(self, folder: Path, slots: int = 2) -> None:
        super().__init__(folder, slots)
        service = self.service
        exposition = Exposition(service)
        self.control = ControlServer(service, exposition)
        self.metrics = MetricsServer(service, exposition)
        self.parts = Parts(
            in_force=service.in_force,
            started_at=service.started_at,
            planner=service.planner,
            listeners=service.listeners,
            steerer=service.steerer,
            binding=Binding(self.listeners, self._ignore, self._ignore),
            adopted={},
            workers=self.workers,
            forkservers=service.forkservers,
            control=self.control,
            metrics=self.metrics,
            events=service.events,
            captured=None,
        )

    def open(self) -> None:
        loop = asyncio.get_running_loop()
        self.control.open(loop)
        self.metrics.open(TcpAddress("127.0.0.1", 0), loop)

    def close(self) -> None:
        self.control.close()
        self.metrics.close()
        self.listeners.shut()

    def freeze(self, image: KeptImage = NO_IMAGE) -> UpgradeState:
        return self.parts.freeze(HANDOVER, image)

    def _ignore(self, *_: object) -> None:
        pass
