"""What the master tells of the service: its events, and its state."""

import asyncio
import logging
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable

from msgspec import Struct, field
from msgspec.structs import replace

from blazeio_supervisor.config.settings import LiveSettings, Settings
from blazeio_supervisor.fleet.canary import Phase
from blazeio_supervisor.fleet.facts import Fact
from blazeio_supervisor.fleet.planner import Planner, SlotView, Snapshot, WorkerView
from blazeio_supervisor.fleet.roster import WANTED
from blazeio_supervisor.ipc.control_api import (
    ConfigAnswer,
    ServiceAnswer,
    UpgradeAnswer,
)
from blazeio_supervisor.ipc.processes import read_cpu_s
from blazeio_supervisor.ipc.scoreboard import LAG_EDGES_S, NO_THREADS, Tally
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
from blazeio_supervisor.log.events import EventRecord
from blazeio_supervisor.log.setup import EVENT_LOG, note
from blazeio_supervisor.master.forkservers import Forkservers
from blazeio_supervisor.master.reloads import Reloads
from blazeio_supervisor.master.service_name import Naming
from blazeio_supervisor.master.upgrade.exec_new import UpgradeOutcome, Upgrades
from blazeio_supervisor.master.worker_record import (
    BroadcastCounts,
    TaskRuns,
    WorkerOrders,
)
from blazeio_supervisor.master.workers import WorkerReadings
from blazeio_supervisor.sockets.listeners import Listeners
from blazeio_supervisor.sockets.reuseport import Steerer

# The last events of the service, printed or not, and the counts of all.


EVENTS_KEPT_COUNT = 10_000
"""More events than this are not kept: the oldest are forgotten."""
EVENTS_KEPT_BYTES = 8 * 1024 * 1024
"""The oldest are forgotten as well when all take more memory than this."""
_EVENT_BYTES = 600  # of one without its texts: the object, its numbers, its place


class EventHistory(Struct):
    """The last events, and counts of all.

    Attributes:
        seq: The number of the last event.
        events: The last ones, the oldest first.
        counts: How often each event was noted, by event and reason.
    """

    seq: int = 0
    events: list[EventRecord] = field(default_factory=list)
    counts: dict[tuple[str, str], int] = field(default_factory=dict)


class EventRing(logging.Handler):
    """A logging handler that keeps each event that is noted while it is attached.

    Args:
        history: Of the image before; it is shared with this object.

    Attributes:
        history: What has happened so far.
    """

    def __init__(self, history: EventHistory | None = None) -> None:
        super().__init__(logging.DEBUG)
        self.history = EventHistory() if history is None else history
        self._kept_bytes = sum(map(measure, self.history.events))
        self._waiting: list[asyncio.Future[None]] = []
        self._is_closed = False
        self._level_before = logging.NOTSET

    def attach(self) -> None:
        """Keep events from now on, also those below the level of the log."""
        self._level_before = EVENT_LOG.level
        EVENT_LOG.setLevel(logging.DEBUG)
        EVENT_LOG.addHandler(self)

    def detach(self) -> None:
        """Keep no more events; for those who follow, this is the end."""
        EVENT_LOG.removeHandler(self)
        EVENT_LOG.setLevel(self._level_before)
        self._is_closed = True
        self._wake()

    @property
    def is_followed(self) -> bool:
        """Whether a client waits for the next event."""
        return bool(self._waiting)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the event of a record; called by ``logging``."""
        event = getattr(record, "event", None)
        if isinstance(event, EventRecord):
            history, key = self.history, (event.event, event.reason)
            history.seq += 1
            history.counts[key] = history.counts.get(key, 0) + 1
            self._keep(replace(event, seq=history.seq))
            self._wake()

    def _keep(self, event: EventRecord) -> None:
        events = self.history.events
        events.append(event)
        self._kept_bytes += measure(event)
        while len(events) > 1 and (
            len(events) > EVENTS_KEPT_COUNT or self._kept_bytes > EVENTS_KEPT_BYTES
        ):
            # A list and no deque, since it goes over an upgrade as it is; to take the
            # first of 10,000 takes 1 us.
            self._kept_bytes -= measure(events.pop(0))

    def list_after(self, seq: int, most: int | None = None) -> list[EventRecord]:
        """Return the events after ``seq``, of more than ``most`` the last ones."""
        found = [event for event in self.history.events if event.seq > seq]
        return found if most is None else found[max(len(found) - most, 0) :]

    async def follow(self, seq: int) -> AsyncIterator[list[EventRecord]]:
        """Yield the events after ``seq`` as they are noted, until ``detach``.

        Who is slower than the ring turns misses some: their numbers are missing.
        """
        while True:
            events = self.list_after(seq)
            if events:
                seq = events[-1].seq
                yield events
            elif self._is_closed:
                return
            else:
                waiter = asyncio.get_running_loop().create_future()
                self._waiting.append(waiter)
                await waiter

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)


def measure(event: EventRecord) -> int:
    """Estimate how many octets of memory an event takes, whatever is in it."""
    texts = (event.event, event.text, event.reason, event.traceback)
    size = _EVENT_BYTES + sum(map(sys.getsizeof, texts))
    return size + sum(
        sys.getsizeof(name) + sys.getsizeof(value)
        for name, value in event.fields.items()
    )


# The line ``event=listening``, once all that it says is known.
#
# The addresses are bound before the App is imported, and only the App knows whether it
# speaks TLS, unless the operator has said so. A reload may change that.


_FIRST = 1
_SCHEMES = {False: "http", True: "https"}
_ALONE = {
    "0.0.0.0": "0.0.0.0 is IPv4 alone, `--bind :PORT` is both",
    "::": "[::] is IPv6 alone, `--bind :PORT` is both",
}


class Banner:
    """Prints the line once the addresses and the scheme are known.

    Args:
        settings: The settings in force.
        listeners: Their scheme is set here.
    """

    def __init__(self, settings: Settings, listeners: Listeners) -> None:
        self._settings = settings
        self._listeners = listeners
        self._is_bound = False
        self._is_scheme_known = False
        self._spoken: dict[int, bool] = {}
        if settings.overrides.tls is not None:
            self.note_scheme(_FIRST, is_tls=True)

    def note_taken_over(self) -> None:
        """Note that the image before has printed the line."""
        self._is_bound = self._is_scheme_known = True

    def note_bound(self) -> None:
        """Note that every address is open."""
        self._is_bound = True
        if not self._is_scheme_known:
            count = len(self._listeners.addresses)
            where = "1 address is" if count == 1 else f"{count} addresses are"
            note("bound", f"{where} open; connections wait for the app to start")
        self._print()

    def note_scheme(self, generation: int, *, is_tls: bool) -> None:
        """Note whether a generation speaks TLS: a process of it or the operator says.

        At the start the first word counts. Of a later generation it is the last
        one, when that serves: its workers know more than its forkserver.
        """
        self._spoken[generation] = is_tls
        if not self._is_scheme_known:
            self._is_scheme_known = True
            self._listeners.scheme = _SCHEMES[is_tls]
            self._print()

    def take(self, generation: int, settings: Settings) -> None:
        """Note that a generation serves in every slot by now, with these settings."""
        self._settings = settings
        is_tls = self._spoken.get(generation)
        self._spoken.clear()
        if is_tls is not None and self._listeners.scheme != _SCHEMES[is_tls]:
            self._listeners.scheme = _SCHEMES[is_tls]
            self._print()

    def _print(self) -> None:
        if not (self._is_bound and self._is_scheme_known):
            return
        settings = self._settings
        where = " ".join(self._listeners.addresses)
        note(
            "listening",
            f"{settings.app.text} on {where}: {settings.describe_workers()}, "
            f"{self._listeners.mode}, {settings.usual_loop}, pid {os.getpid()}"
            f"{self._describe_family()}",
        )

    def _describe_family(self) -> str:
        """Say which family "everywhere" leaves out: a browser may come by the other."""
        hosts = {group.endpoint.host for group in self._listeners.groups}
        for host, text in _ALONE.items():
            if host in hosts and hosts.isdisjoint(_ALONE.keys() - {host}):
                return f"; {text}"
        return ""


# The state of the service, put together from all parts of the master.


class ServiceState(Struct, frozen=True, kw_only=True):
    """The parts of a master that can be seen, and what takes its orders.

    Attributes:
        put_fact: Takes facts for the planner.
        stop: Stops the service; True: quickly.
        reopen_logs: Opens every log file anew; returns why that failed, or "".
        started_at: Monotonic seconds.
        naming: The names of the service.
    """

    live_settings: LiveSettings
    planner: Planner
    listeners: Listeners
    steerer: Steerer
    orders: WorkerOrders
    readings: WorkerReadings
    task_runs: TaskRuns
    broadcast_counts: BroadcastCounts
    forkservers: Forkservers
    reloads: Reloads
    events: EventRing
    upgrades: Upgrades
    put_fact: Callable[[Fact], None]
    stop: Callable[[bool, str], None]
    reopen_logs: Callable[[], Awaitable[str]]
    started_at: float
    naming: Naming = field(default_factory=Naming)

    @property
    def name(self) -> str:
        """The name of the service, which no other one has."""
        return self.naming.name or self.settings.instance

    @property
    def settings(self) -> Settings:
        """The settings in force now."""
        return self.live_settings.settings


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
