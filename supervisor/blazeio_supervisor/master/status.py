"""The state of the service, put together from all parts of the master."""

import os
import time
from collections.abc import Awaitable, Callable

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
from blazeio_supervisor.master.app_services import BroadcastCounts, TaskRuns
from blazeio_supervisor.master.events import EventRing
from blazeio_supervisor.master.forkservers import Forkservers
from blazeio_supervisor.master.reloads import Reloads
from blazeio_supervisor.master.service_name import Naming
from blazeio_supervisor.master.upgrade.exec_new import UpgradeOutcome, Upgrades
from blazeio_supervisor.master.worker_record import WorkerOrders
from blazeio_supervisor.master.workers import WorkerReadings
from blazeio_supervisor.sockets.listeners import Listeners, Steerer


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
