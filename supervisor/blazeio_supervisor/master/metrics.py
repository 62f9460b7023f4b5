"""The metrics of the service, as Prometheus reads them.

Histograms, which take many lines, are those of the whole service; what tells one
worker from another is by slot. Counters only grow: the counts of a dead worker stay
with its slot.
"""

import asyncio
import platform
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import accumulate

import msgspec

from blazeio.app.app import App
from blazeio.app.metric_series import (
    CONTENT_TYPE,
    ExposedFamily,
    counter,
    gauge,
    histogram,
    info,
    make_family,
    write_families,
)
from blazeio.protocol.request import BlazeioServerProtocol
from blazeio_supervisor.errors import BindError
from blazeio_supervisor.files import remove
from blazeio_supervisor.fleet.planner import Snapshot
from blazeio_supervisor.ipc.control_api import (
    ErrorAnswer,
)
from blazeio_supervisor.ipc.row_tables import AppTotals
from blazeio_supervisor.ipc.scoreboard import STATUS_CLASSES, Histogram, Tally
from blazeio_supervisor.log.formats import escape_answer, escape_line
from blazeio_supervisor.log.setup import note
from blazeio_supervisor.master.dashboard import Dashboard, ServiceSource
from blazeio_supervisor.master.guarded_server import (
    GuardedServer,
    Shares,
    identify_by_address,
    identify_by_user,
    show,
)
from blazeio_supervisor.master.status import MetricsState, ServiceState
from blazeio_supervisor.master.worker_record import BroadcastCounts
from blazeio_supervisor.sockets.address import (
    Address,
    UnixAddress,
    join_host_port,
    resolve,
)
from blazeio_supervisor.sockets.bind import (
    UNIX_MODE,
    identify_path,
    is_gone,
    open_first,
    open_unix,
)
from blazeio_supervisor.version import find_version

RESULTS = {
    "reload_ok": "ok",
    "reload_failed": "failed",
    "reload_superseded": "superseded",
}
"""The result of a reload, by the event that reports its end."""

FAULTS = ("turn_failed", "planner_failed", "action_failed")
"""Events of faults of the supervisor itself; there should be none."""

REASONS = (
    *("late", "blocked", "misbehaved", "asked", "requests", "lifetime", "memory"),
    *("SIGKILL", "SIGSEGV", "SIGABRT", "exit_1"),
)
"""Why workers are replaced. Of their exits the usual ones are there from the start, so
that Prometheus sees the first one as an increase; others, as they come to happen.
"""


def list_families(service: ServiceState) -> Iterator[ExposedFamily]:
    """Yield every metric as it is now."""
    snapshot = service.planner.snapshot()
    tallies = service.readings.read_tallies()
    yield from _describe(service, snapshot)
    yield from _list_requests(sum(tallies.values(), Tally()))
    yield from _list_changes(service.events.history.counts)
    yield from _list_slots(service, snapshot, tallies)
    yield from _list_workers(service, snapshot)
    yield from _list_tasks(service, snapshot)
    yield from _list_broadcasts(service.broadcast_counts)
    yield from _list_app(service.readings.read_app())


def _describe(service: ServiceState, snapshot: Snapshot) -> Iterator[ExposedFamily]:
    settings = service.settings
    yield info(
        "blazeio",
        "The service and what it runs on.",
        {
            "version": find_version(),
            "python": platform.python_version(),
            "loop": settings.usual_loop,
            "app": settings.app.text,
            "instance_name": service.name,
        },
    )
    started_at = time.time() - (time.monotonic() - service.started_at)
    for name, text, value in (
        (
            "start_time_seconds",
            "When the master began, Unix time.",
            started_at,
        ),
        ("generation", "Of the code that new workers run.", snapshot.generation),
        ("ready", "1: a balancer should send connections.", snapshot.is_ready),
        ("workers_wanted", "How many slots shall serve.", snapshot.wanted_count),
        ("workers_serving", "How many slots serve.", snapshot.serving_count),
    ):
        yield gauge(f"blazeio_{name}", text, round(value))


def _list_requests(tally: Tally) -> Iterator[ExposedFamily]:
    requests = counter(
        "blazeio_requests",
        "Requests that are over, by status class; none: the client was gone before "
        "an answer began.",
        labels=["status"],
    )
    duration = histogram(
        "blazeio_request_duration_seconds",
        "From the head of a request to the end of its response.",
        labels=["status"],
    )
    for status in STATUS_CLASSES:
        latency = tally.latency(status)
        requests.add([status], latency.count)
        duration.add_histogram([status], _accumulate(latency), latency.total_s)
    yield requests
    yield duration
    yield counter(
        "blazeio_http2_requests",
        "Requests begun that came by HTTP/2; all others by HTTP/1.",
        tally.http2_requests,
    )
    yield counter(
        "blazeio_request_content_bytes",
        "Octets of content received; heads and framing not counted.",
        tally.request_bytes,
    )
    yield counter(
        "blazeio_response_content_bytes",
        "Octets of content sent; heads and framing not counted.",
        tally.response_bytes,
    )
    lag = histogram(
        "blazeio_loop_lag_seconds",
        "How late the event loops ran, looked at 20 times a second in each worker.",
    )
    lag.add_histogram((), _accumulate(tally.lag), tally.lag.total_s)
    yield lag


def _accumulate(counted: Histogram) -> list[tuple[str, float]]:
    """Return cumulative buckets, as Prometheus has them."""
    ends = [*map(str, counted.bounds_s[:-1]), "+Inf"]
    return list(zip(ends, accumulate(counted.counts), strict=True))


def _list_changes(counts: Mapping[tuple[str, str], int]) -> Iterator[ExposedFamily]:
    respawns = counter(
        "blazeio_respawns",
        "Workers that died (SIGKILL, exit_3), were late (blocked; late: not ready in "
        "time), violated the internal protocol (misbehaved), or were replaced though "
        "they serve well (requests, lifetime, memory, asked).",
        labels=["reason"],
    )
    by_reason = dict.fromkeys(REASONS, 0)
    for (event, reason), count in counts.items():
        if event in ("worker_failed", "recycling"):
            by_reason[reason] = by_reason.get(reason, 0) + count
    for reason, count in by_reason.items():
        respawns.add([reason], count)
    yield respawns
    reloads = counter(
        "blazeio_reloads",
        "Orders to reload that are over: ok, failed, superseded.",
        labels=["result"],
    )
    for event, result in RESULTS.items():
        reloads.add([result], counts.get((event, ""), 0))
    yield reloads
    faults = counter(
        "blazeio_faults",
        "Turns of the supervisor that failed by a fault of its own, each an event with "
        "its traceback; there should be none.",
        labels=["event"],
    )
    for event in FAULTS:
        faults.add([event], counts.get((event, ""), 0))
    yield faults
    yield counter(
        "blazeio_adoptions",
        "Times that a worker began to take the queue of a slot that did not serve.",
        counts.get(("adopted", ""), 0),
    )


def _list_slots(
    service: ServiceState, snapshot: Snapshot, tallies: Mapping[int, Tally]
) -> Iterator[ExposedFamily]:
    requests = counter("blazeio_slot_requests", "Requests begun.", labels=["slot"])
    length = gauge(
        "blazeio_accept_queue_length",
        "Connections that wait to be accepted; of TCP addresses, since the kernel does "
        "not count them for unix sockets.",
        labels=["slot"],
    )
    limit = gauge(
        "blazeio_accept_queue_limit",
        "When so many wait, new ones are turned away.",
        labels=["slot"],
    )
    for slot in snapshot.slots:
        labels = [str(slot.index)]
        requests.add(labels, tallies.get(slot.index, Tally()).requests)
        queue = service.listeners.queue_of(slot.index)
        if queue is not None:
            length.add(labels, queue.length)
            limit.add(labels, queue.limit)
    yield requests
    yield length
    yield limit


def _list_workers(service: ServiceState, snapshot: Snapshot) -> Iterator[ExposedFamily]:
    in_flight = gauge(
        "blazeio_requests_in_flight", "Requests being served.", labels=["slot"]
    )
    connections = gauge("blazeio_connections", "Open connections.", labels=["slot"])
    background = gauge(
        "blazeio_requests_background",
        "Of requests_in_flight, those that are answered and run on: work of ASGI and "
        "WSGI apps after the response.",
        labels=["slot"],
    )
    threads = gauge(
        "blazeio_threads",
        "Threads of WSGI apps. busy: at work; idle: there may be so many more. No "
        "sample where no such app is served.",
        labels=["slot", "state"],
    )
    waiting = gauge(
        "blazeio_requests_waiting",
        "Requests that wait for a thread. No sample where no WSGI app is served.",
        labels=["slot"],
    )
    memory = gauge(
        "blazeio_memory_bytes",
        "rss: resident; pss: with its share of what several have; uss: what the end "
        "of the workers would give back.",
        labels=["slot", "kind"],
    )
    for slot in range(len(snapshot.slots)):
        workers = [each.worker for each in snapshot.workers if each.slot == slot]
        rows = [row for w in workers if (row := service.readings.read_row(w))]
        in_flight.add([str(slot)], sum(row.in_flight for row in rows))
        connections.add([str(slot)], sum(row.connections for row in rows))
        background.add([str(slot)], sum(row.background for row in rows))
        loads = [row.threads for row in rows if row.threads.count]
        if loads:
            busy = sum(load.busy for load in loads)
            idle = sum(load.count for load in loads) - busy
            threads.add([str(slot), "busy"], busy)
            threads.add([str(slot), "idle"], max(0, idle))
            waiting.add([str(slot)], sum(load.waiting for load in loads))
        sizes = [m for w in workers if (m := service.readings.recall_memory(w))]
        for kind, values in (
            ("rss", [each.resident_bytes for each in sizes]),
            ("pss", [each.shared_bytes for each in sizes]),
            ("uss", [each.own_bytes for each in sizes]),
        ):
            if values:
                memory.add([str(slot), kind], sum(values))
    yield in_flight
    yield background
    yield connections
    yield threads
    yield waiting
    yield memory


def _list_tasks(service: ServiceState, snapshot: Snapshot) -> Iterator[ExposedFamily]:
    runs = counter(
        "blazeio_task_runs", "Runs of a task that runs once.", labels=["task"]
    )
    failures = counter(
        "blazeio_task_failures", "Runs of it that have raised.", labels=["task"]
    )
    running = gauge("blazeio_task_running", "1: it runs now.", labels=["task"])
    began = gauge(
        "blazeio_task_last_run_time_seconds",
        "When its last run began, Unix time; 0 before the first.",
        labels=["task"],
    )
    living = {worker.worker for worker in snapshot.workers}
    for name, run in service.task_runs.by_name.items():
        runs.add([name], run.count)
        failures.add([name], run.failures)
        running.add([name], run.is_running(living))
        began.add([name], run.began_at if run.count else 0.0)
    yield from (runs, failures, running, began)


def _list_broadcasts(counts: BroadcastCounts) -> Iterator[ExposedFamily]:
    yield counter(
        "blazeio_broadcasts",
        "Messages that apps have sent to all workers.",
        counts.messages,
    )
    deliveries = counter(
        "blazeio_broadcast_deliveries",
        "What became of them, each counted for each other worker: sent; dropped: over "
        "a budget, or the worker did not read.",
        labels=["result"],
    )
    deliveries.add(["sent"], counts.delivered)
    deliveries.add(["dropped"], counts.dropped)
    yield deliveries


def _list_app(totals: AppTotals) -> Iterator[ExposedFamily]:
    yield counter(
        "blazeio_app_series_dropped",
        "Series of the app's own metrics whose workers are dead, and which had no room "
        "among the sums; there should be none.",
        totals.dropped,
    )
    for total in totals.families.values():
        family = total.family
        if family.combine == "slot":
            names = (*family.label_names, "slot")
            family = msgspec.structs.replace(family, label_names=names)
        yield make_family(family, total.series)


FRESH_FOR_S = 1.0
"""Who asks again meanwhile gets the same text: with 256 slots one takes 20 ms of
the master's loop."""


class Exposition:
    """The figures as text; nothing is kept, each is made of what is there.

    Args:
        service: What is measured.
    """

    def __init__(self, service: ServiceState) -> None:
        self._service = service
        self._text = b""
        self._made_at = -FRESH_FOR_S

    def write(self) -> bytes:
        """Return the text, at most ``FRESH_FOR_S`` old."""
        now = time.monotonic()
        if now >= self._made_at + FRESH_FOR_S:
            self._text = write_families(map(_escape, list_families(self._service)))
            self._made_at = now
        return self._text


def _escape(family: ExposedFamily) -> ExposedFamily:
    family.help = escape_line(family.help)
    for sample in family.samples:
        sample.labels = escape_answer(sample.labels)
    return family


# ``--metrics-bind``: ``/metrics``, ``/livez`` and ``/readyz``, for anybody who asks.
#
# A blazeio App on the master's loop. A connection that sends nothing, or half a
# request, gives way to one that asks; ``/metrics`` is answered to a few at once, so
# that there are places left for the probes; and who reads slowly is cut.


CONNECTION_COUNT = 64
"""Connections that it has at most; a scraper gone wild must not take the master's
descriptors."""
PEER_CONNECTION_COUNT = 16
"""Connections of one address (of IPv6, one /64) or of one user at most."""
METRICS_COUNT = 32
"""Answers of ``/metrics`` under way at most: the other places are the probes'."""
PEER_METRICS_COUNT = 8
"""Answers of ``/metrics`` to one address or user at most."""
REQUEST_TIMEOUT_S = 5.0
"""A request that is not whole by then is given up."""
ANSWER_TIMEOUT_S = 30.0
"""An answer that is not read by then is cut."""
LOOK_EVERY_S = 1.0
"""How often it is looked whether the path of a unix socket is still there."""
REMOVALS_NOTED_EVERY_S = 60.0
"""That it was not is noted at most so often."""
_RETRY_AFTER = {"Retry-After": "1"}
_CONTENT_BYTES = 1024


class Health(msgspec.Struct, frozen=True):
    """The answer of ``/livez`` and ``/readyz``.

    Attributes:
        reason: Why the service is not ready; "" when it is.
    """

    ok: bool
    reason: str
    workers_serving: int
    workers_wanted: int


class MetricsServer:
    """Answers on one address of its own.

    Args:
        service: What is measured.
        exposition: Writes the figures.
        state: Of the image before, or blank; it is shared with this object.

    Attributes:
        exposition: As given.
    """

    def __init__(
        self,
        service: ServiceState,
        exposition: Exposition,
        state: MetricsState | None = None,
    ) -> None:
        self._service = service
        self.exposition = exposition
        self._state = MetricsState() if state is None else state
        self._server: GuardedServer | None = None
        self._look_timer: asyncio.TimerHandle | None = None
        self._removal_noted_at = -REMOVALS_NOTED_EVERY_S
        self._answering = 0

    def open(self, address: Address, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to answer.

        Raises:
            BindError: The address cannot be opened.
        """
        try:
            self._bind(address)
        except ValueError as error:
            raise BindError(f"cannot bind {address}: {error}") from None
        self._serve(loop)
        note(
            "metrics", f"/metrics, /livez and /readyz are at {self._describe(address)}"
        )

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        shares = Shares(CONNECTION_COUNT, PEER_CONNECTION_COUNT)
        identify = identify_by_address if self._state.path is None else identify_by_user
        self._server = GuardedServer(self._make_app(), shares, identify, loop)
        for sock in self._state.sockets:
            self._server.accept_from(sock)
        if self._state.path is not None:
            self._look_timer = loop.call_later(LOOK_EVERY_S, self._look, loop)

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        """Make the path of a unix socket anew where somebody has removed it.

        Who probes the service there would take it for dead.
        """
        self._look_timer = loop.call_later(LOOK_EVERY_S, self._look, loop)
        assert self._server is not None
        assert self._state.path is not None
        path, _ = self._state.path
        if not is_gone(path):
            return
        now, text = time.monotonic(), "it is made anew"
        try:
            sock = open_unix(UnixAddress(path), self._choose_mode())
        except BindError as error:
            text = f"nobody can ask for them: {error}"
        else:
            self._state.path = (path, identify_path(path))
            (before,) = self._state.sockets
            self._state.sockets[:] = [sock]
            self._server.stop_accepting(before)
            self._server.accept_from(sock)
            before.close()
        if now >= self._removal_noted_at + REMOVALS_NOTED_EVERY_S:
            self._removal_noted_at = now
            note("metrics", f"unix:{path} was removed: {text}", "WARNING")

    def resume(self, loop: asyncio.AbstractEventLoop) -> None:
        """Answer where the image before has answered, if it has."""
        if self._state.sockets:
            self._serve(loop)

    def _bind(self, address: Address) -> None:
        if isinstance(address, UnixAddress):
            self._state.sockets.append(open_unix(address, self._choose_mode()))
            self._state.path = (address.path, identify_path(address.path))
            return
        for endpoint in resolve(address):
            self._state.sockets.append(open_first(endpoint))

    def _choose_mode(self) -> int:
        return UNIX_MODE & ~(self._service.settings.umask or 0)

    def _describe(self, address: Address) -> str:
        if isinstance(address, UnixAddress):
            return str(address)
        names = [sock.getsockname() for sock in self._state.sockets]
        return " ".join(join_host_port(*name[:2]) for name in names)

    def close(self) -> None:
        """Stop answering, and remove the path if it is still ours."""
        if self._look_timer is not None:
            self._look_timer.cancel()
        if self._server is not None:
            self._server.close()
        for sock in self._state.sockets:
            sock.close()
        if self._state.path is not None:
            with suppress(OSError):  # it stays, as its folder is not ours any more
                remove(*self._state.path)

    def _make_app(self) -> App:
        app = App(
            connections=2 * CONNECTION_COUNT,
            content_bytes=_CONTENT_BYTES,
            head_timeout_s=REQUEST_TIMEOUT_S,
            handler_timeout_s=ANSWER_TIMEOUT_S,
        )
        app.add_route(self._show_metrics, "/metrics", methods=["GET"])
        app.add_route(self._show_life, "/livez", methods=["GET"])
        app.add_route(self._show_readiness, "/readyz", methods=["GET"])
        if self._service.settings.dashboard:
            source = ServiceSource(self._service)
            Dashboard(source, self._service.settings.read_token()).add_routes(app)
        return app

    async def _show_metrics(self, r: BlazeioServerProtocol) -> None:
        assert self._server is not None
        peer = self._server.peer_of(r)  # its own request is among those counted
        is_over_share = self._server.count_answering(peer) > PEER_METRICS_COUNT
        if is_over_share or self._answering >= METRICS_COUNT:
            text = "as many answers as there may be are under way"
            show(r, ErrorAnswer(text), 503, _RETRY_AFTER)
            return
        self._answering += 1
        try:
            await r.prepare({"Content-Type": CONTENT_TYPE}, compress=True)
            await r.write(self.exposition.write())
        finally:
            self._answering -= 1

    async def _show_life(self, r: BlazeioServerProtocol) -> None:
        """Answer that the master lives, whatever its workers do."""
        await self._show(r, "")

    async def _show_readiness(self, r: BlazeioServerProtocol) -> None:
        await self._show(r, self._service.planner.snapshot().why_not_ready)

    async def _show(self, r: BlazeioServerProtocol, reason: str) -> None:
        snapshot = self._service.planner.snapshot()
        health = Health(
            not reason, reason, snapshot.serving_count, snapshot.wanted_count
        )
        show(r, health, 503 if reason else 200)
