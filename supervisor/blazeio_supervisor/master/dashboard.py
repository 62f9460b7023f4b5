"""The state of a service for whoever asks, and the page that shows it live.

The page is one file without anything from elsewhere. It is served at ``/dashboard`` of
``--metrics-bind`` where ``--dashboard`` is on, by the master; or by the verb
``dashboard``, on the machine of whoever looks. Both feed it by server-sent events,
one a second. It shows, and orders nothing, unless there is a token.
"""

import asyncio
import hashlib
import hmac
import os
import time
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import contextmanager
from typing import Any, Final, Protocol

from msgspec.structs import replace

from blazeio.app.app import App
from blazeio.app.deliver import Deliver, EventStream
from blazeio.app.request import Request
from blazeio.errors import Abort
from blazeio.protocol.request import BlazeioServerProtocol
from blazeio_supervisor.errors import SupervisorError
from blazeio_supervisor.files import read
from blazeio_supervisor.fleet.canary import Phase
from blazeio_supervisor.fleet.facts import RecycleAsked
from blazeio_supervisor.fleet.planner import SlotView, Snapshot, WorkerView
from blazeio_supervisor.fleet.roster import WANTED
from blazeio_supervisor.ipc.control_api import (
    ConfigAnswer,
    DashboardAnswer,
    ForkserverStack,
    ServiceAnswer,
    StackAnswer,
    UpgradeAnswer,
    WorkerStack,
)
from blazeio_supervisor.ipc.processes import read_cpu_s
from blazeio_supervisor.ipc.scoreboard import (
    LAG_EDGES_S,
    LATENCY_EDGES_S,
    NO_THREADS,
    STATUS_CLASSES,
    Tally,
)
from blazeio_supervisor.ipc.status_api import (
    BroadcastAnswer,
    ListenerMode,
    Progress,
    Role,
    SlotAnswer,
    StatusAnswer,
    TaskAnswer,
    WorkerAnswer,
)
from blazeio_supervisor.log.formats import encode_json
from blazeio_supervisor.master.guarded_server import RefusedError
from blazeio_supervisor.master.status import ServiceState
from blazeio_supervisor.master.upgrade.exec_new import UpgradeOutcome
from blazeio_supervisor.sockets.listeners import Listeners

EVERY_S: Final = 1.0
"""The page is told so often."""
VIEWER_COUNT: Final = 8
"""Pages that are fed at once; each costs one look at the service in a second."""
EVENT_COUNT: Final = 200
"""Events that a page is told at most when it is opened."""
_BY: Final = "the dashboard"


def describe_dashboard(service: ServiceState, after: int) -> DashboardAnswer:
    """Return what the page shows, with the events after this one."""
    tally = sum(service.readings.read_tallies().values(), Tally())
    return DashboardAnswer(
        at_s=time.time(),
        status=describe_status(service),
        responses={each: tally.latency(each).count for each in STATUS_CLASSES},
        latency_bounds_s=list(LATENCY_EDGES_S[1:-1]),
        latency_counts=list(tally.count_spans()),
        events=service.events.list_after(after, EVENT_COUNT),
    )


async def ask_stacks(service: ServiceState, slot: int | None) -> StackAnswer:
    """Ask the workers of a slot, or all, for their stacks.

    Raises:
        RefusedError: There is no worker.
    """
    views = service.planner.snapshot().workers
    asked = [
        (view, view.pid)
        for view in sorted(views, key=lambda view: (view.slot, view.worker))
        if view.pid is not None and slot in (None, view.slot)
    ]
    forkservers = service.forkservers
    importing = forkservers.list_booting() if slot is None else []
    if not (asked or importing):
        where = "" if slot is None else f"slot {slot}: "
        raise RefusedError(f"{where}no worker is there")
    ask = service.orders.ask_stacks
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
    return StackAnswer(stacks, imports)


class DashboardSource(Protocol):
    """Where a page has its facts from, and who takes its orders."""

    async def look(self, after: int) -> DashboardAnswer:
        """Look at the service; events after this one are told."""
        ...

    async def stack(self, slot: int) -> StackAnswer:
        """Ask where the workers of a slot are."""
        ...

    async def reload(self) -> None:
        """Load the code anew."""
        ...

    async def recycle(self, slot: int) -> None:
        """Replace the worker of a slot."""
        ...


class ServiceSource:
    """The service of this master.

    Args:
        service: Its state.
    """

    def __init__(self, service: ServiceState) -> None:
        self._service = service

    async def look(self, after: int) -> DashboardAnswer:
        """Look at the service."""
        return describe_dashboard(self._service, after)

    async def stack(self, slot: int) -> StackAnswer:
        """Ask where the workers of a slot are."""
        return await ask_stacks(self._service, slot)

    async def reload(self) -> None:
        """Load the code anew."""
        self._service.reloads.ask(_BY)

    async def recycle(self, slot: int) -> None:
        """Replace the worker of a slot."""
        self._service.put_fact(RecycleAsked(slot, _BY))


PAGE: Final = "dashboard.html"
_JSON: Final = {"Content-Type": "application/json"}


def read_page() -> tuple[bytes, dict[str, str]]:
    """Read the page; return it with the fields that it is sent with.

    Its script is allowed by its hash, and nothing else can run in it or be loaded.
    """
    octets = read(os.path.join(os.path.dirname(__file__), PAGE), is_judged=False)
    script = octets.partition(b"<script>")[2].partition(b"</script>")[0]
    digest = b64encode(hashlib.sha256(script).digest()).decode()
    policy = (
        f"default-src 'none'; script-src 'sha256-{digest}'; style-src 'unsafe-inline'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )
    fields = {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": policy,
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
    }
    return octets, fields


class Dashboard:
    """The routes of the page.

    Args:
        source: Where the facts are from.
        token: Who has it may order; "": nobody may, and everybody may look.
        is_private: Who has no token may not even look.
    """

    def __init__(
        self, source: DashboardSource, token: str, *, is_private: bool = False
    ) -> None:
        self._source = source
        self._token = token.encode()
        self._is_private = is_private
        self._viewers = 0

    def add_routes(self, app: App) -> None:
        """Add the page to an app, at ``/dashboard``."""
        self._page, self._fields = read_page()
        app.add_route(self._show_page, "/dashboard", methods=["GET"])
        app.add_route(self._feed, "/dashboard/live", methods=["GET"])
        app.add_route(self._stack, "/dashboard/stack/{slot:int}", methods=["POST"])
        app.add_route(self._recycle, "/dashboard/recycle/{slot:int}", methods=["POST"])
        app.add_route(self._reload, "/dashboard/reload", methods=["POST"])

    async def _show_page(self, r: BlazeioServerProtocol) -> None:
        r.reply(self._page, headers=self._fields)

    async def _feed(self, r: BlazeioServerProtocol) -> None:
        token = (await Request.get_params(r)).get("token", "")
        can_order = self._is_token(token)
        if self._is_private and not can_order:
            raise Abort("the address of the page has a token, which is missing", 403)
        with self._viewer():
            async with EventStream(r, retry_ms=1000) as stream:
                last = stream.last_event_id
                async for answer in self._look_on(int(last) if last.isdecimal() else 0):
                    shown = replace(answer, can_order=can_order)
                    text = encode_json(shown).decode()
                    last = str(answer.events[-1].seq) if answer.events else last
                    await stream.send(text, event_id=last)

    async def _look_on(self, seq: int) -> AsyncIterator[DashboardAnswer]:
        while True:
            try:
                answer = await self._source.look(seq)
            except SupervisorError:
                return  # the service has ended: the page says that nothing comes
            if answer.events:
                seq = answer.events[-1].seq
            yield answer
            await asyncio.sleep(EVERY_S)

    @contextmanager
    def _viewer(self) -> Any:
        if self._viewers >= VIEWER_COUNT:
            text = f"{VIEWER_COUNT} pages are open, the most: close one of them"
            raise Abort(text, 503, {"Retry-After": "5"})
        self._viewers += 1
        try:
            yield
        finally:
            self._viewers -= 1

    async def _stack(self, r: BlazeioServerProtocol, slot: int) -> None:
        self._check(r)
        answer = await self._ask(self._source.stack(slot))
        r.reply(encode_json(answer), headers=_JSON)

    async def _recycle(self, r: BlazeioServerProtocol, slot: int) -> None:
        self._check(r)
        await self._ask(self._source.recycle(slot))
        await Deliver.no_content(r)

    async def _reload(self, r: BlazeioServerProtocol) -> None:
        self._check(r)
        await self._ask(self._source.reload())
        await Deliver.no_content(r)

    @staticmethod
    async def _ask(answer: Any) -> Any:
        try:
            return await answer
        except (RefusedError, SupervisorError) as error:
            raise Abort(str(error), 409) from None

    def _check(self, r: BlazeioServerProtocol) -> None:
        """Refuse an order without the token, which a foreign page cannot send."""
        # A field of our own and no cookie: a page of another site can have a browser
        # send cookies along, but no such field without a preflight, which is never
        # allowed here.
        if not self._is_token(r.headers.get("x-dashboard-token", "")):
            raise Abort("orders need the token", 403)

    def _is_token(self, given: str) -> bool:
        # In constant time: how long ``==`` takes tells how much of a guess is right.
        return bool(self._token) and hmac.compare_digest(given.encode(), self._token)


# The state of the service, put together from all parts of the master.


def describe_service(service: ServiceState) -> ServiceAnswer:
    """Return which service this is."""
    return ServiceAnswer(
        pid=os.getpid(),
        name=service.name,
        app=service.settings.app.text,
        addresses=service.listeners.addresses,
        wanted=service.settings.instance,
        alias=service.naming.alias,
        pid_namespace=service.naming.home.pid_namespace,
        root=service.naming.home.root,
    )


def describe_config(service: ServiceState, *, shows_env: bool = False) -> ConfigAnswer:
    """Return what every setting is, and where it came from.

    Args:
        service: The service.
        shows_env: With the values of ``--env``; else with the names alone.
    """
    from blazeio_supervisor.config.settings import format_settings, list_settings

    configuration = service.live_settings.configuration
    settings = list_settings(configuration, shows_env=shows_env)
    snapshot = service.planner.snapshot()
    wanted = sum(not slot.is_parked for slot in snapshot.slots)
    said, changed = service.settings.worker_range, []
    is_by_load = said is not None and not snapshot.is_scaled_by_hand
    if not is_by_load and wanted != service.settings.workers:
        before = service.settings.workers
        changed.append(f"workers: {wanted}, by `scale`; the settings say {before}")
        settings = [
            replace(each, value=wanted, origin="scale, at run time")
            if each.key == "workers"
            else each
            for each in settings
        ]
    elif is_by_load:
        changed.append(f"workers: {wanted} by load just now")
    if snapshot.is_parked:
        changed.append("parked: no worker serves until `resume` or a reload")
    return ConfigAnswer(
        settings=settings,
        needs_restart=list(service.live_settings.needs_restart),
        text=format_settings(settings),
        changed=changed,
        folder=service.settings.folder,
    )


def describe_upgrade(outcome: UpgradeOutcome) -> UpgradeAnswer:
    """Return what became of an upgrade."""
    return UpgradeAnswer(
        number=outcome.number,
        is_over=outcome.is_over,
        is_ok=outcome.is_ok,
        reason=outcome.reason,
        version=outcome.program,
        took_s=outcome.took_s,
    )


def describe_progress(snapshot: Snapshot) -> Progress | None:
    """Return how far a reload is; None without one."""
    if snapshot.target is None:
        return None
    active = [slot for slot in snapshot.slots if not slot.is_parked]
    done = [s for s in active if s.owner and s.owner.generation == snapshot.target]
    return Progress(
        step=snapshot.phase.value,
        generation=snapshot.target,
        replaced=0 if snapshot.phase is Phase.ROLLING_BACK else len(done),
        slots=len(active),
    )


def describe_status(service: ServiceState) -> StatusAnswer:
    """Return all that ``status`` shows."""
    snapshot = service.planner.snapshot()
    tallies = service.readings.read_tallies()
    has_preloaded = service.forkservers.has_preloaded(snapshot.generation)
    return StatusAnswer(
        pid=os.getpid(),
        name=service.name,
        app=service.settings.app.text,
        age_s=time.monotonic() - service.started_at,
        addresses=service.listeners.addresses,
        listeners=_describe_listeners(service.listeners),
        steering=service.settings.steering,
        is_steered=service.steerer.is_active,
        loading="once" if has_preloaded else "each worker",
        generation=snapshot.generation,
        has_served=snapshot.has_served,
        is_ready=snapshot.is_ready,
        is_parked=snapshot.is_parked,
        will_park=snapshot.will_park,
        is_leaving=snapshot.is_leaving,
        is_stopping=snapshot.is_stopping,
        reload=describe_progress(snapshot),
        slots=[
            _describe_slot(service, slot, snapshot, tallies.get(slot.index, Tally()))
            for slot in snapshot.slots
        ],
        workers=[
            _describe_worker(service, worker, snapshot)
            for worker in sorted(snapshot.workers, key=lambda w: (w.slot, w.worker))
        ],
        forkservers=list(snapshot.forkservers),
        lag_bounds_s=list(LAG_EDGES_S[1:-1]),
        dead_listeners=list(snapshot.dead_listeners),
        tasks=describe_tasks(service, snapshot),
        task_slot=_find_slot(snapshot, snapshot.task_holder),
        broadcasts=BroadcastAnswer(
            messages=service.broadcast_counts.messages,
            delivered=service.broadcast_counts.delivered,
            dropped=service.broadcast_counts.dropped,
        ),
    )


def describe_tasks(service: ServiceState, snapshot: Snapshot) -> list[TaskAnswer]:
    """Return the tasks that run once."""
    living, now = {worker.worker for worker in snapshot.workers}, time.time()
    answers = []
    for name, run in service.task_runs.by_name.items():
        is_running, next_at = run.is_running(living), run.next_at(living)
        has_ended = run.ended_at is not None and not is_running
        answers.append(
            TaskAnswer(
                name=name,
                schedule=str(run.schedule),
                is_running=is_running,
                slot=run.slot,
                began_s=now - run.began_at if run.count else None,
                took_s=(run.ended_at or 0.0) - run.began_at if has_ended else None,
                next_in_s=None if next_at is None else max(0.0, next_at - now),
                runs=run.count,
                failures=run.failures,
                failure=run.failure,
            )
        )
    return answers


def _find_slot(snapshot: Snapshot, worker: int | None) -> int | None:
    return next((w.slot for w in snapshot.workers if w.worker == worker), None)


def _describe_listeners(listeners: Listeners) -> ListenerMode:
    if listeners.has_own_queues:
        return "slots and shared" if listeners.has_shared_queues else "slots"
    return "shared" if listeners.has_shared_queues else "unbound"


def _describe_slot(
    service: ServiceState, slot: SlotView, snapshot: Snapshot, tally: Tally
) -> SlotAnswer:
    queue = service.listeners.queue_of(slot.index)
    adopters = [w.slot for w in snapshot.workers if w.worker == slot.adopted_by]
    return SlotAnswer(
        slot=slot.index,
        is_parked=slot.is_parked,
        adopted_by=adopters[0] if adopters else None,
        weight=slot.weight,
        failures=slot.failures,
        is_failing=slot.is_failing,
        failed_s=slot.failed_s,
        failure=slot.failure,
        retry_in_s=0.0 if slot.owner else slot.retry_in_s,
        requests=tally.requests,
        queue_length=None if queue is None else queue.length,
        queue_limit=None if queue is None else queue.limit,
    )


def _describe_worker(
    service: ServiceState,
    view: WorkerView,
    snapshot: Snapshot,
) -> WorkerAnswer:
    row = service.readings.read_row(view.worker)
    threads = row.threads if row else NO_THREADS
    lags = service.readings.read_lags(view.worker)
    longest = service.readings.read_longest(view.worker)
    memory = service.readings.recall_memory(view.worker)
    return WorkerAnswer(
        slot=view.slot,
        pid=view.pid,
        role=_find_role(view, snapshot.slots[view.slot]),
        state=view.state,
        generation=view.generation,
        age_s=view.age_s,
        in_flight=row.in_flight if row else 0,
        background=row.background if row else 0,
        threads=threads.count,
        threads_busy=threads.busy,
        waiting=threads.waiting,
        connections=row.connections if row else 0,
        requests=row.requests if row else 0,
        lag_s=row.lag_s if row else 0.0,
        lag_counts=list(lags.counts) if lags else [],
        cpu_s=read_cpu_s(view.pid) if view.pid is not None else None,
        longest=longest.text if longest else "",
        longest_s=time.monotonic() - longest.begun_at if longest else 0.0,
        silent_s=time.monotonic() - row.beat_at if row and row.beat_at else 0.0,
        is_late=view.is_late,
        own_bytes=memory.own_bytes if memory else None,
        shared_bytes=memory.shared_bytes if memory else None,
        retire_reason=view.retire_reason,
    )


def _find_role(view: WorkerView, slot: SlotView) -> Role:
    if view == slot.owner:
        return "owner"
    if view == slot.successor:
        return "successor"
    return "canary" if view.state in WANTED else "leaving"
