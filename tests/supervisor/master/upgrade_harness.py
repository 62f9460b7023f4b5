"""The parts of a master, and the state of one."""

import asyncio
from pathlib import Path

from blazeio_supervisor.master.components import MasterState
from blazeio_supervisor.master.control_server import ControlServer
from blazeio_supervisor.master.metrics import Exposition, MetricsServer
from blazeio_supervisor.master.upgrade.exec_new import UpgradeRun
from blazeio_supervisor.master.upgrade.image import KeptImage
from blazeio_supervisor.sockets.address import TcpAddress
from tests.supervisor.cli.master_harness import MasterHarness

NO_IMAGE = KeptImage(
    archive_fd=-1, interpreter_fd=-1, extensions={}, home="", program="0"
)
RUN = UpgradeRun(number=1, by="a test", began_at=0.0)


class UpgradeHarness(MasterHarness):
    """The parts of a master, which may go over to another image.

    Attributes:
        state: Of a master that serves, on paper; its slots have sockets.
    """

    def __init__(self, folder: Path, slots: int = 2) -> None:
        super().__init__(folder, slots)
        service = self.service
        self.state = MasterState(
            settings=self.live_settings,
            started_at=service.started_at,
            fleet=self.driver.planner.state,
            listeners=self.listeners,
            steerer=service.steerer,
            workers=self.workers.records,
            naming=service.naming,
            events=self.events.history,
        )
        exposition, state = Exposition(service), self.state
        self.control = ControlServer(service, state.control)
        self.metrics = MetricsServer(service, exposition, state.metrics)

    def open(self) -> None:
        loop = asyncio.get_running_loop()
        self.control.open(loop)
        self.metrics.open(TcpAddress("127.0.0.1", 0), loop)

    def close(self) -> None:
        self.control.close()
        self.metrics.close()
        self.listeners.shut()
