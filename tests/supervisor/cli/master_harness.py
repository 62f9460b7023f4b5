"""The parts of a master, without its processes: for whoever looks and orders."""

import asyncio
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from blazeio_supervisor.config.settings import LiveSettings
from blazeio_supervisor.fleet.facts import Fact
from blazeio_supervisor.ipc.scoreboard import RowAllocator
from blazeio_supervisor.ipc.socket_paths import SocketPath
from blazeio_supervisor.log.setup import FramesPrinter
from blazeio_supervisor.master.children import ChildContext, Reaper
from blazeio_supervisor.master.forkservers import Forkservers
from blazeio_supervisor.master.reloads import Reloads
from blazeio_supervisor.master.status import EventRing, ServiceState
from blazeio_supervisor.master.upgrade.exec_new import Upgrades
from blazeio_supervisor.master.upgrade.image import ImageKeeper
from blazeio_supervisor.master.worker_record import WorkerOrders
from blazeio_supervisor.master.workers import WorkerReadings, Workers
from blazeio_supervisor.sockets.listeners import Listeners
from blazeio_supervisor.sockets.reuseport import Steerer
from tests.supervisor.fleet.driver import Driver
from tests.supervisor.typed import look_for_sources

US = f"pid {os.getpid()}"
"""Who asks on the socket, as the log says it."""


class MasterHarness:
    """Slots that serve, as far as the planner knows.

    Attributes:
        driver: Says what happens; its workers exist only on paper.
        facts: What was ordered.
        is_obeyed: What is ordered happens, all of it at once.
        stops: Whether each order to stop was a quick one.
    """

    def __init__(
        self,
        folder: Path,
        slots: int = 2,
        control: str = "c.sock",
        words: Sequence[str] = (),
    ) -> None:
        loop = asyncio.get_running_loop()
        self.place = SocketPath(control if control[0] == "@" else str(folder / control))
        self.driver = Driver(slots, canary_hold_s=0.5, hold_s=0.0).start()
        self.facts: list[Fact] = []
        self.is_obeyed = False
        self.stops: list[bool] = []
        self.frames = FramesPrinter()
        self.events = EventRing()
        self.reopened = 0
        self.reopen_failure = ""
        self.listeners = Listeners(slots)
        typed = ["app:web", f"--workers={slots}", f"--control={self.place}", *words]
        self.live_settings = LiveSettings.read(look_for_sources(*typed, folder=folder))
        self.reloads = Reloads(self.facts.append, self.frames, self.live_settings)
        ledger, reaper = RowAllocator(), Reaper(loop)
        keeper = ImageKeeper(reaper, uses_it=False)
        keeper.cancel()  # nobody leaves from here
        keeper.settled.set()
        child_context = ChildContext(
            loop=loop,
            reaper=reaper,
            put_fact=self.facts.append,
            need_address=self._need_address,
            note_scheme=self._note_scheme,
            frames=self.frames,
        )
        self.workers = Workers(child_context, ledger, self.listeners)
        self.readings = WorkerReadings(
            self.workers.records, ledger, self.workers.report_fault
        )
        self.service = ServiceState(
            live_settings=self.live_settings,
            planner=self.driver.planner,
            listeners=self.listeners,
            steerer=Steerer(),
            orders=WorkerOrders(self.workers.records, reaper, self.listeners),
            readings=self.readings,
            task_runs=self.workers.task_runs,
            broadcast_counts=self.workers.broadcasts.counts,
            forkservers=Forkservers(
                child_context, self.reloads.settings_of, self.workers
            ),
            reloads=self.reloads,
            events=self.events,
            upgrades=Upgrades(
                self.driver.planner,
                [],
                self._pack,
                reaper,
                keeper,
                timeout_s=1.0,
            ),
            started_at=time.monotonic(),
            reopen_logs=self._reopen_logs,
            put_fact=self._tell,
            stop=self._stop,
        )

    async def _reopen_logs(self) -> str:
        self.reopened += 1
        return self.reopen_failure

    def _need_address(self, *_: object) -> None:
        raise AssertionError("nobody has an address here")

    def _note_scheme(self, *_: object, **__: object) -> None:
        raise AssertionError("nobody has a scheme here")

    def _pack(self, *_: object) -> NoReturn:
        raise AssertionError("nobody leaves from here")

    def _tell(self, fact: Fact) -> None:
        self.facts.append(fact)
        if self.is_obeyed:
            self.driver.roll(self.driver.tell(fact))

    def _stop(self, is_quick: bool, by: str) -> None:
        self.stops.append(is_quick)
