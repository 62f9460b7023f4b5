"""What the master does for each endpoint of the control socket.

The master's loop runs the handlers, so a handler only looks at what is known and
tells the planner. It returns its answer, or None when it has sent one itself.
"""

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, cast

import msgspec

from blazeio.app.metric_series import CONTENT_TYPE
from blazeio.app.request import Request
from blazeio.protocol.request import BlazeioServerProtocol
from blazeio_supervisor.config.processes import WORKER_LIMIT
from blazeio_supervisor.fleet.facts import (
    ParkAsked,
    RecycleAsked,
    ResumeAsked,
    ScaleAsked,
)
from blazeio_supervisor.fleet.planner import SlotView, Snapshot, WorkerView
from blazeio_supervisor.ipc import control_api as api
from blazeio_supervisor.ipc import status_api
from blazeio_supervisor.ipc.socket_paths import Peer, read_peer
from blazeio_supervisor.ipc.status_api import Profiled, ProfileWish, Sampled
from blazeio_supervisor.log.formats import EventRecord, encode_json
from blazeio_supervisor.master.dashboard import (
    ask_stacks,
    describe_config,
    describe_dashboard,
    describe_progress,
    describe_service,
    describe_status,
    describe_upgrade,
)
from blazeio_supervisor.master.guarded_server import Lasting, RefusedError, show
from blazeio_supervisor.master.metrics import Exposition
from blazeio_supervisor.master.reloads import ReloadOutcome
from blazeio_supervisor.master.status import ServiceState

PROGRESS_EVERY_S = 0.1
ORDER_TIMEOUT_S = 5.0
"""An order whose content is not whole by then is given up."""
_LINES = {"Content-Type": "application/x-ndjson"}

RawHandler = Callable[[BlazeioServerProtocol], Awaitable[None]]
Route = tuple[api.ControlEndpoint[Any, Any], RawHandler]


class ControlHandlers:
    """The handlers, one for each endpoint.

    Args:
        service: What is shown, and takes the orders.
        exposition: Writes the metrics.
        lasting: Counts the requests whose answer is not whole for a while.
    """

    def __init__(
        self, service: ServiceState, exposition: Exposition, lasting: Lasting
    ) -> None:
        self._service = service
        self._exposition = exposition
        self._lasting = lasting
        self._is_profiling = False

    def list_routes(self) -> list[Route]:
        """Pair each endpoint with what answers it."""
        return [
            route(api.SERVICE, self.service),
            route(api.STATUS, self.status),
            route(api.CONFIG, self.config),
            route(api.EVENTS, self.events),
            route(api.METRICS, self.metrics),
            route(api.DASHBOARD, self.dashboard),
            route(api.RELOAD, self.reload),
            route(api.SCALE, self.scale),
            route(api.RECYCLE, self.recycle),
            route(api.PARK, self.park),
            route(api.RESUME, self.resume),
            route(api.STACK, self.stack),
            route(api.PROFILE, self.profile),
            route(api.LAST_UPGRADE, self.last_upgrade),
            route(api.UPGRADE, self.upgrade),
            route(api.REOPEN_LOGS, self.reopen_logs),
            route(api.STOP, self.stop),
        ]

    async def service(
        self, _: api.Nothing, r: BlazeioServerProtocol
    ) -> api.ServiceAnswer:
        """Show which service this is."""
        return describe_service(self._service)

    async def status(
        self, _: api.Nothing, r: BlazeioServerProtocol
    ) -> status_api.StatusAnswer:
        """Show the whole service as it is now."""
        return describe_status(self._service)

    async def config(
        self, query: api.ConfigQuery, r: BlazeioServerProtocol
    ) -> api.ConfigAnswer:
        """Show every setting and where it came from."""
        return describe_config(self._service, shows_env=query.show_env)

    async def metrics(self, _: api.Nothing, r: BlazeioServerProtocol) -> None:
        """Return the metrics in Prometheus format."""
        r.reply(self._exposition.write(), headers={"Content-Type": CONTENT_TYPE})

    async def dashboard(
        self, query: api.DashboardQuery, r: BlazeioServerProtocol
    ) -> api.DashboardAnswer:
        """Show what the page shows."""
        return describe_dashboard(self._service, query.after)

    async def events(
        self, query: api.EventsQuery, r: BlazeioServerProtocol
    ) -> api.EventsAnswer | None:
        """Show what has happened, and to whoever follows also what happens."""
        ring = self._service.events
        events = ring.list_after(query.after, query.last)
        if not query.follow:
            return api.EventsAnswer(events=events)
        seq = events[-1].seq if events else ring.history.seq
        with self._lasting.answer():
            await r.prepare(_LINES)
            await _write_lines(r, events)
            async for newer in ring.follow(seq):
                await _write_lines(r, newer)
            await r.eof()
        return None

    async def reload(
        self, order: api.ReloadOrder, r: BlazeioServerProtocol
    ) -> api.ReloadAnswer | None:
        """Load the code anew; whoever waits for the end sees each step."""
        self._look_at_living()
        # The order is carried out whether its outcome is awaited or not; a client that
        # leaves meanwhile takes nothing back.
        if not order.wait:
            self._service.reloads.ask(name_client(r))
            return api.ReloadAnswer(is_over=False)
        with self._lasting.answer():
            await self._show_reload(r, self._service.reloads.ask(name_client(r)))
        return None

    async def _show_reload(
        self, r: BlazeioServerProtocol, outcome: asyncio.Future[ReloadOutcome]
    ) -> None:
        await r.prepare(_LINES)
        async for progress in self._follow(outcome):
            await r.write(encode_json(progress) + b"\n")
        ended = outcome.result()
        answer = api.ReloadAnswer(
            is_over=True,
            is_ok=ended.is_ok,
            generation=ended.generation,
            reason=ended.reason,
            output=ended.output,
            took_s=ended.took_s,
            needs_restart=ended.needs_restart,
            is_superseded=ended.is_superseded,
            way_back_s=ended.way_back_s,
        )
        await r.write(encode_json(answer) + b"\n")
        await r.eof()

    async def _follow(
        self, outcome: asyncio.Future[ReloadOutcome]
    ) -> AsyncIterator[status_api.Progress]:
        """Yield each new step of the reload until it is over."""
        last = None
        while not outcome.done():
            now = describe_progress(self._service.planner.snapshot())
            if now is not None and now != last:
                yield now
                last = now
            await asyncio.wait((outcome,), timeout=PROGRESS_EVERY_S)

    async def scale(
        self, order: api.ScaleOrder, r: BlazeioServerProtocol
    ) -> api.ScaleAnswer:
        """Change the number of workers."""
        snapshot = self._look_at_running()
        before = sum(not slot.is_parked for slot in snapshot.slots)
        count = (before if order.count is None else order.count) + order.change
        if not 1 <= count <= WORKER_LIMIT:
            raise RefusedError(f"{count} workers: expected 1 to {WORKER_LIMIT}", 400)
        if order.is_auto and self._service.settings.worker_range is None:
            text = "the load decides only where --workers says so, as 2..16"
            raise RefusedError(text, 400)
        asked = ScaleAsked(count=count, by=name_client(r), is_auto=order.is_auto)
        self._service.put_fact(asked)
        return api.ScaleAnswer(before, count)

    async def recycle(
        self, order: api.RecycleOrder, r: BlazeioServerProtocol
    ) -> api.RecycleAnswer:
        """Replace the worker of one slot, or of each."""
        snapshot = self._look_at_living()
        if snapshot.is_parked:
            raise RefusedError("the service is parked: there is no worker to replace")
        recycled = _choose_recycled(snapshot, order.slot)
        for each in recycled:
            self._service.put_fact(RecycleAsked(each.slot, name_client(r)))
        return api.RecycleAnswer(recycled)

    async def park(self, _: api.Nothing, r: BlazeioServerProtocol) -> api.ParkAnswer:
        """Let nobody serve until it is resumed."""
        snapshot = self._look_at_living()
        self._service.put_fact(ParkAsked(name_client(r)))
        waits_for = "reload" if snapshot.target is not None else ""
        return api.ParkAnswer(True, waits_for)

    async def resume(self, _: api.Nothing, r: BlazeioServerProtocol) -> api.ParkAnswer:
        """Serve again."""
        self._look_at_living()
        self._service.put_fact(ResumeAsked(name_client(r)))
        return api.ParkAnswer(False)

    async def stack(
        self, order: api.StackOrder, r: BlazeioServerProtocol
    ) -> api.StackAnswer:
        """Ask workers for their stacks."""
        return await ask_stacks(self._service, order.slot)

    async def profile(self, order: api.ProfileOrder, r: BlazeioServerProtocol) -> None:
        """Profile one worker; who asks sees how far it is."""
        snapshot = self._look_at_living()
        if self._is_profiling:
            raise RefusedError("a profile is being taken: one at a time")
        view = _find_owner(snapshot, order.slot)
        wish = ProfileWish(order.span_s, order.is_whole, order.is_of_memory)
        saying = self._service.orders.profile(view.worker, wish)
        if saying is None:
            raise RefusedError(f"slot {order.slot}: its worker cannot be asked now")
        self._is_profiling = True
        try:
            with self._lasting.answer():
                # Closed when the client leaves: that closes the socket to the worker,
                # which then stops its profile.
                async with aclosing(saying):
                    await self._show_profile(r, view, saying)
        finally:
            self._is_profiling = False

    async def _show_profile(
        self,
        r: BlazeioServerProtocol,
        view: WorkerView,
        saying: AsyncIterator[Sampled | Profiled],
    ) -> None:
        await r.prepare(_LINES)
        async for said in saying:
            line: msgspec.Struct
            if isinstance(said, Sampled):
                line = api.ProfileProgress(said.samples)
            else:
                line = api.ProfileAnswer(
                    slot=view.slot,
                    pid=view.pid,
                    generation=view.generation,
                    profile=said,
                )
            await r.write(encode_json(line) + b"\n")
        await r.eof()

    async def last_upgrade(
        self, _: api.Nothing, r: BlazeioServerProtocol
    ) -> api.UpgradeAnswer:
        """Show what became of the newest upgrade."""
        return describe_upgrade(self._service.upgrades.last)

    async def upgrade(
        self, order: api.UpgradeOrder, r: BlazeioServerProtocol
    ) -> api.UpgradeAnswer:
        """Go on with the installed code, or find out whether that could be done."""
        upgrades = self._service.upgrades
        do = upgrades.check if order.check else upgrades.upgrade
        with self._lasting.answer():
            outcome = await do(name_client(r))
        return describe_upgrade(outcome)

    async def reopen_logs(
        self, _: api.Nothing, r: BlazeioServerProtocol
    ) -> api.ReopenLogsAnswer:
        """Write to new log files, since the old ones were renamed."""
        failure = await self._service.reopen_logs()
        return api.ReopenLogsAnswer(not failure, failure)

    async def stop(self, order: api.StopOrder, r: BlazeioServerProtocol) -> None:
        """End the service; the answer is sent first."""
        by = name_client(r)
        # First: a quick stop may end the loop before the next turn could send it.
        show(r, api.StopAnswer(os.getpid()))
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
    """Return who has sent a request."""
    own: Any = r.transport.get_extra_info("socket")
    # Both loops hand out a stand-in (asyncio's TransportSocket, uvloop's PseudoSocket),
    # which is no ``socket.socket``.
    with socket.socket(fileno=os.dup(own.fileno())) as sock:
        return read_peer(sock)


def name_client(r: BlazeioServerProtocol) -> str:
    """Return a name for whoever has sent a request, for the log."""
    return f"pid {read_client(r).pid}"


def route(
    endpoint: api.ControlEndpoint[api.OrderT, api.AnswerT],
    handle: Callable[
        [api.OrderT, BlazeioServerProtocol], Awaitable[api.AnswerT | None]
    ],
) -> Route:
    """Make a handler for the router: it reads the order and sends the answer.

    An order that is refused is answered with the reason.
    """

    async def handle_raw(r: BlazeioServerProtocol) -> None:
        try:
            answer = await handle(await read_order(r, endpoint), r)
        except RefusedError as error:
            show(r, api.ErrorAnswer(str(error)), error.status)
        else:
            if answer is not None:
                show(r, cast(msgspec.Struct, answer))

    return endpoint, handle_raw


async def read_order(
    r: BlazeioServerProtocol, endpoint: api.ControlEndpoint[api.OrderT, Any]
) -> api.OrderT:
    """Read the query of a question, or the content of an order.

    Raises:
        RefusedError: It cannot be read.
    """
    if endpoint.order is api.Nothing:
        return endpoint.order()
    try:
        if endpoint.method == "GET":
            query = dict(await Request.get_params(r))
            return msgspec.convert(query, endpoint.order, strict=False)
        async with asyncio.timeout(ORDER_TIMEOUT_S):
            content = await r.read()
        return msgspec.json.decode(content or b"{}", type=endpoint.order)
    except TimeoutError:
        text = f"the order was not whole within {ORDER_TIMEOUT_S:g} s"
        raise RefusedError(text, 408) from None
    # RecursionError: JSON that is nested very deeply, of which a few kilobytes are
    # enough.
    except (msgspec.MsgspecError, RecursionError) as error:
        what = "query" if endpoint.method == "GET" else "order"
        raise RefusedError(f"the {what} cannot be read: {error}", 400) from None


async def _write_lines(r: BlazeioServerProtocol, events: list[EventRecord]) -> None:
    await r.write(b"".join(encode_json(each) + b"\n" for each in events))


def _find_owner(snapshot: Snapshot, wanted: int) -> WorkerView:
    slots = snapshot.slots
    if not 0 <= wanted < len(slots):
        raise RefusedError(f"slot {wanted}: expected 0 to {len(slots) - 1}", 400)
    owner = slots[wanted].owner
    if owner is None or owner.state != "serving":
        raise RefusedError(f"slot {wanted}: no worker serves there")
    return owner


def _choose_recycled(snapshot: Snapshot, wanted: int | None) -> list[api.Recycled]:
    # Parked are always the last ones: the number of a slot is its place in the kernel's
    # group of sockets, so a fleet gets smaller from the end.
    slots = [slot for slot in snapshot.slots if not slot.is_parked]
    if wanted is None:
        free = [slot for slot in slots if not _is_changing(slot)]
        if not free:
            raise RefusedError("every slot is just getting a new worker")
        return [api.Recycled(each.index, _pid_of(each)) for each in free]
    if not 0 <= wanted < len(slots):
        text = f"slot {wanted}: expected 0 to {len(slots) - 1}"
        raise RefusedError(text, 400)
    if _is_changing(slots[wanted]):
        raise RefusedError(f"slot {wanted} is just getting a new worker")
    return [api.Recycled(wanted, _pid_of(slots[wanted]))]


def _is_changing(slot: SlotView) -> bool:
    owner = slot.owner
    is_booting = owner is not None and owner.state != "serving"
    return is_booting or slot.successor is not None


def _pid_of(slot: SlotView) -> int | None:
    return None if slot.owner is None else slot.owner.pid
