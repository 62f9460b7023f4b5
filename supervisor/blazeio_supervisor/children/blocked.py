"""What is said of a worker whose loop stands still: where it does, told by itself."""

import asyncio

from blazeio_supervisor.children.record import Records, WorkerRecord
from blazeio_supervisor.children.worker_orders import WorkerOrders
from blazeio_supervisor.stacks.text import find_subject, trim_stacks


class BlockedReports:
    """Those under way.

    Args:
        records: Of the workers.
        orders: Ask them.
    """

    def __init__(self, records: Records, orders: WorkerOrders) -> None:
        self._records = records
        self._orders = orders
        self._open: set[asyncio.Task[None]] = set()

    def begin(self, worker: int, blocked_s: float) -> None:
        """Ask one for its stacks, and report it with them; of one that is gone: no."""
        record = self._records.get(worker)
        if record is not None and record.pid is not None:
            task = asyncio.create_task(self._report(record, blocked_s))
            self._open.add(task)
            task.add_done_callback(self._open.discard)

    async def _report(self, record: WorkerRecord, blocked_s: float) -> None:
        said = await self._orders.ask_stacks(record.worker)
        subject = find_subject(said.text)
        if not said.text:
            subject = "it says nothing: it is stopped"
        elif not subject:
            subject = "C code computes in it"
        text = (
            f"its loop has stood still for {blocked_s:.1f} s, no new connection goes "
            f"to it: {subject}"
        )
        record.note("blocked", text, "WARNING", trim_stacks(said.text))
