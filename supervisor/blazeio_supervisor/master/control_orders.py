"""What can be ordered on the control socket.

A handler only looks at what is known, and tells the planner: the master's loop
runs it.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from typing import Any, TypeVar

import msgspec

from blazeio.protocol.request import BlazeioServerProtocol
from blazeio_supervisor.config.processes import WORKER_LIMIT
from blazeio_supervisor.fleet.facts import (
    ParkAsked,
    RecycleAsked,
    ResumeAsked,
    ScaleAsked,
)
from blazeio_supervisor.fleet.snapshot import SlotView, Snapshot
from blazeio_supervisor.ipc.control_api import (
    ForkserverStack,
    ParkAnswer,
    Progress,
    RecycleAnswer,
    Recycled,
    RecycleOrder,
    ReloadAnswer,
    ReloadOrder,
    ReopenLogsAnswer,
    ScaleAnswer,
    ScaleOrder,
    StackAnswer,
    StackOrder,
    StopAnswer,
    StopOrder,
    UpgradeOrder,
    WorkerStack,
)
from blazeio_supervisor.ipc.socket_paths import Peer, read_peer
from blazeio_supervisor.log.formats import encode_json
from blazeio_supervisor.master.guarded_server import Lasting, RefusedError, show
from blazeio_supervisor.master.reloads import ReloadOutcome
from blazeio_supervisor.master.status import (
    ServiceState,
    describe_progress,
    describe_upgrade,
)

PROGRESS_EVERY_S = 0.1
ORDER_TIMEOUT_S = 5.0
"""An order whose content is not whole by then is given up."""
GivenT = TypeVar("GivenT")


class Orders:
    """The handlers, one for each order.

    Args:
        service: What is ordered about.
        lasting: Counts those who wait for the end of an order.
    """

    def __init__(self, service: ServiceState, lasting: Lasting) -> None:
        self._service = service
        self._lasting = lasting

    async def reload(self, r: BlazeioServerProtocol) -> None:
        """Load the code anew; who waits for it sees its steps."""
        order = await read_order(r, ReloadOrder)
        self._look_at_living()
        if not order.wait:
            self._service.reloads.ask(name_client(r))
            show(r, ReloadAnswer(is_over=False))
            return
        with self._lasting.answer():
            await self._show_reload(r, self._service.reloads.ask(name_client(r)))

    async def _show_reload(
        self, r: BlazeioServerProtocol, outcome: asyncio.Future[ReloadOutcome]
    ) -> None:
        await r.prepare({"Content-Type": "application/x-ndjson"})
        async for progress in self._follow(outcome):
            await r.write(encode_json(progress) + b"\n")
        ended = outcome.result()
        answer = ReloadAnswer(
            is_over=True,
            is_ok=ended.is_ok,
            generation=ended.generation,
            reason=ended.reason,
            output=ended.output,
            took_s=ended.took_s,
            needs_restart=ended.needs_restart,
            is_superseded=ended.is_superseded,
        )
        await r.write(encode_json(answer) + b"\n")
        await r.eof()

    async def _follow(
        self, outcome: asyncio.Future[ReloadOutcome]
    ) -> AsyncIterator[Progress]:
        """Give each new step of the reload until it is over."""
        last = None
        while not outcome.done():
            now = describe_progress(self._service.planner.snapshot())
            if now is not None and now != last:
                yield now
                last = now
            await asyncio.wait((outcome,), timeout=PROGRESS_EVERY_S)

    async def scale(self, r: BlazeioServerProtocol) -> None:
        """Have so many workers."""
        order = await read_order(r, ScaleOrder)
        snapshot = self._look_at_running()
        before = sum(not slot.is_parked for slot in snapshot.slots)
        count = (before if order.count is None else order.count) + order.change
        if not 1 <= count <= WORKER_LIMIT:
            raise RefusedError(f"{count} workers: expected 1 to {WORKER_LIMIT}", 400)
        self._service.tell(ScaleAsked(count=count, by=name_client(r)))
        show(r, ScaleAnswer(before, count))

    async def recycle(self, r: BlazeioServerProtocol) -> None:
        """Replace the worker of one slot, or of each."""
        order = await read_order(r, RecycleOrder)
        snapshot = self._look_at_living()
        if snapshot.is_parked:
            raise RefusedError("the service is parked: there is no worker to replace")
        recycled = _choose_recycled(snapshot, order.slot)
        for each in recycled:
            self._service.tell(RecycleAsked(each.slot, name_client(r)))
        show(r, RecycleAnswer(recycled))

    async def park(self, r: BlazeioServerProtocol) -> None:
        """Let nobody serve until it is resumed."""
        snapshot = self._look_at_living()
        self._service.tell(ParkAsked(name_client(r)))
        waits_for = "reload" if snapshot.target is not None else ""
        show(r, ParkAnswer(True, waits_for))

    async def resume(self, r: BlazeioServerProtocol) -> None:
        """Serve again."""
        self._look_at_living()
        self._service.tell(ResumeAsked(name_client(r)))
        show(r, ParkAnswer(False))

    async def stack(self, r: BlazeioServerProtocol) -> None:
        """Ask workers where they are."""
        order = await read_order(r, StackOrder)
        views = self._service.planner.snapshot().workers
        asked = [
            (view, view.pid)
            for view in sorted(views, key=lambda view: (view.slot, view.worker))
            if view.pid is not None and order.slot in (None, view.slot)
        ]
        forkservers = self._service.forkservers
        importing = forkservers.list_booting() if order.slot is None else []
        if not (asked or importing):
            where = "" if order.slot is None else f"slot {order.slot}: "
            raise RefusedError(f"{where}no worker is there")
        ask = self._service.orders.ask_stacks
        answers = await asyncio.gather(*(ask(view.worker) for view, _ in asked))
        stacks = [
            WorkerStack(
                slot=view.slot,
                pid=pid,
                generation=view.generation,
                state=view.state,
                text=said.text,
                is_whole=said.is_whole,
            )
            for (view, pid), said in zip(asked, answers, strict=True)
        ]
        imports = [
            ForkserverStack(
                pid=pid,
                generation=generation,
                text=(await forkservers.ask_stacks(generation)).text,
            )
            for generation, pid in importing
        ]
        show(r, StackAnswer(stacks, imports))

    async def upgrade(self, r: BlazeioServerProtocol) -> None:
        """Go on with the installed code, or find out whether it could."""
        order = await read_order(r, UpgradeOrder)
        upgrades = self._service.upgrades
        do = upgrades.check if order.check else upgrades.upgrade
        with self._lasting.answer():
            outcome = await do(name_client(r))
        show(r, describe_upgrade(outcome))

    async def reopen_logs(self, r: BlazeioServerProtocol) -> None:
        """Write to new log files, since the old ones were renamed."""
        failure = self._service.reopen_logs()
        show(r, ReopenLogsAnswer(not failure, failure))

    async def stop(self, r: BlazeioServerProtocol) -> None:
        """End the service; the answer comes first."""
        order, by = await read_order(r, StopOrder), name_client(r)
        show(r, StopAnswer(os.getpid()))
        self._service.stop(order.is_quick, by)

    def _look_at_running(self) -> Snapshot:
        snapshot = self._service.planner.snapshot()
        if snapshot.is_ending:
            raise RefusedError("the service is stopping")
        return snapshot

    def _look_at_living(self) -> Snapshot:
        snapshot = self._look_at_running()
        if not snapshot.has_served:
            raise RefusedError("the service has not started yet")
        return snapshot


def read_client(r: BlazeioServerProtocol) -> Peer:
    """Tell who asks."""
    own: Any = r.transport.get_extra_info("socket")
    # The transport's is a stand-in that differs between the loops.
    with socket.socket(fileno=os.dup(own.fileno())) as sock:
        return read_peer(sock)


def name_client(r: BlazeioServerProtocol) -> str:
    """Name who asks, for the log."""
    return f"pid {read_client(r).pid}"


async def read_order(r: BlazeioServerProtocol, kind: type[GivenT]) -> GivenT:
    """Read the content of an order.

    Raises:
        RefusedError: It is none.
    """
    try:
        async with asyncio.timeout(ORDER_TIMEOUT_S):
            content = await r.read()
    except TimeoutError:
        text = f"the order was not whole within {ORDER_TIMEOUT_S:g} s"
        raise RefusedError(text, 408) from None
    try:
        return msgspec.json.decode(content or b"{}", type=kind)
    except (msgspec.MsgspecError, RecursionError) as error:
        raise RefusedError(f"the order cannot be read: {error}", 400) from None


def _choose_recycled(snapshot: Snapshot, wanted: int | None) -> list[Recycled]:
    # Parked are always the last ones.
    slots = [slot for slot in snapshot.slots if not slot.is_parked]
    if wanted is None:
        free = [slot for slot in slots if not _is_changing(slot)]
        if not free:
            raise RefusedError("every slot is just getting a new worker")
        return [Recycled(each.index, _pid_of(each)) for each in free]
    if not 0 <= wanted < len(slots):
        text = f"slot {wanted}: expected 0 to {len(slots) - 1}"
        raise RefusedError(text, 400)
    if _is_changing(slots[wanted]):
        raise RefusedError(f"slot {wanted} is just getting a new worker")
    return [Recycled(wanted, _pid_of(slots[wanted]))]


def _is_changing(slot: SlotView) -> bool:
    owner = slot.owner
    is_booting = owner is not None and owner.state != "serving"
    return is_booting or slot.successor is not None


def _pid_of(slot: SlotView) -> int | None:
    return None if slot.owner is None else slot.owner.pid
