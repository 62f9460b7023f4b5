"""What is said of a process that stands still: where it does, told by itself."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from blazeio_supervisor.children.forkservers import Forkservers
from blazeio_supervisor.children.record import Records, WorkerRecord
from blazeio_supervisor.children.worker_orders import WorkerOrders
from blazeio_supervisor.fleet.actions import ReportBoot
from blazeio_supervisor.observe.events.noting import note
from blazeio_supervisor.stacks.text import find_import, find_subject, trim_stacks


class StackReports:
    """Those under way.

    Args:
        records: Of the workers.
        orders: Ask them.
        forkservers: Ask one by its generation.
    """

    def __init__(
        self, records: Records, orders: WorkerOrders, forkservers: Forkservers
    ) -> None:
        self._records = records
        self._orders = orders
        self._forkservers = forkservers
        self._open: set[asyncio.Task[None]] = set()

    def begin(self, worker: int, blocked_s: float) -> None:
        """Ask one for its stacks, and report it with them; of one that is gone: no."""
        record = self._records.get(worker)
        if record is not None and record.pid is not None:
            self._run(self._report_blocked(record, blocked_s))

    def begin_boot(self, report: ReportBoot) -> None:
        """Likewise of one that boots for long."""
        self._run(self._report_boot(report))

    def cancel(self) -> None:
        """Report nothing more: the service has ended."""
        for task in self._open:
            task.cancel()

    def _run(self, report: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(report)
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _report_boot(self, report: ReportBoot) -> None:
        if report.worker is None:
            said = await self._forkservers.ask_stacks(report.generation)
        else:
            said = await self._orders.ask_stacks(report.worker)
        where = find_import(said.text) or "it does not say where it is"
        text = (
            f"not ready after {report.boot_s:.1f} of {report.timeout_s:g} s "
            f"(--boot-timeout): {where}"
        )
        record = None if report.worker is None else self._records.get(report.worker)
        stacks = trim_stacks(said.text)
        if record is not None:
            record.note("boot_slow", text, "WARNING", stacks)
        else:
            generation = report.generation
            note("boot_slow", text, "WARNING", generation=generation, traceback=stacks)

    async def _report_blocked(self, record: WorkerRecord, blocked_s: float) -> None:
        is_open = record.channel.is_open
        said = await self._orders.ask_stacks(record.worker)
        subject = find_subject(said.text)
        if not is_open:
            subject = "its channel is closed, by the app, or by an exec"
        elif not said.text:
            subject = "it says nothing: it is stopped"
        elif not subject:
            subject = "C code computes in it"
        text = (
            f"its loop has stood still for {blocked_s:.1f} s, no new connection goes "
            f"to it: {subject}"
        )
        record.note("blocked", text, "WARNING", trim_stacks(said.text))
