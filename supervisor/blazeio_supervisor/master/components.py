"""All parts of a master, made and wired. Nothing begins here.

They are made in the order in which they need each other, group by group; no group
needs a later one::

    _BaseParts    facts, the planner that decides on them, the end of the service
    _Addresses    the sockets of the service, and who is told when they are open
    _Children     workers and forkservers, and what is asked of them
    ControlLoop   gives facts to the planner and carries out its actions
    ServiceState  what the control socket and the metrics show and order
"""

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from msgspec import Struct

from blazeio_supervisor.fleet.planner import Planner
from blazeio_supervisor.ipc.scoreboard import RowAllocator
from blazeio_supervisor.log.setup import FramesPrinter
from blazeio_supervisor.master.children import ChildContext, OrphanReaper, Reaper
from blazeio_supervisor.master.control_server import ControlServer
from blazeio_supervisor.master.executor import (
    ActionExecutor,
    HealthChecks,
    Probes,
    StackReports,
)
from blazeio_supervisor.master.forkservers import Forkservers
from blazeio_supervisor.master.listeners import (
    Binding,
    ListenerModes,
    ListenerWatch,
    SlotListeners,
)
from blazeio_supervisor.master.loop import ControlLoop, FactQueue, LastResort, Shutdown
from blazeio_supervisor.master.output import CapturedOutput, LogFile, LogReopener
from blazeio_supervisor.master.reloads import Reloads
from blazeio_supervisor.master.resources import LoadWatch, MemorySampler
from blazeio_supervisor.master.status import Banner, EventRing, ServiceState
from blazeio_supervisor.master.systemd import FdStore, SystemdNotifier
from blazeio_supervisor.master.upgrade.exec_new import Upgrades
from blazeio_supervisor.master.upgrade.keeping import ImageKeeper
from blazeio_supervisor.master.upgrade.state import MasterState, dump_state
from blazeio_supervisor.master.worker_record import WorkerOrders
from blazeio_supervisor.master.workers import WorkerReadings, Workers

if TYPE_CHECKING:
    from blazeio_supervisor.master.metrics import MetricsServer


class Components(Struct, frozen=True, kw_only=True):
    """What a master itself uses of its parts.

    Attributes:
        state: All that the master knows.
        metrics: None: nothing is answered there (``--metrics-bind``).
        captured: Reads what the children print; None: that is not captured.
    """

    state: MasterState
    planner: Planner
    binding: Binding
    workers: Workers
    forkservers: Forkservers
    control: ControlServer
    metrics: "MetricsServer | None"
    events: EventRing
    captured: CapturedOutput | None
    facts: FactQueue
    control_loop: ControlLoop
    shutdown: Shutdown
    banner: Banner
    notifier: SystemdNotifier
    sampler: MemorySampler
    reloads: Reloads
    upgrades: Upgrades
    log_reopener: LogReopener


class _BaseParts(Struct, frozen=True, kw_only=True):
    loop: asyncio.AbstractEventLoop
    planner: Planner
    facts: FactQueue
    reaper: Reaper
    notifier: SystemdNotifier
    shutdown: Shutdown


class _Addresses(Struct, frozen=True, kw_only=True):
    store: FdStore
    banner: Banner
    binding: Binding


class _Children(Struct, frozen=True, kw_only=True):
    context: ChildContext
    workers: Workers
    orders: WorkerOrders
    readings: WorkerReadings
    reloads: Reloads
    forkservers: Forkservers


def build_master(
    state: MasterState,
    log_file: LogFile | None,
    loop: asyncio.AbstractEventLoop,
) -> Components:
    """Make all parts.

    Args:
        state: Of a service that has not begun, or of the image before.
        log_file: Where the log goes; None: to standard error.
        loop: Which the master will run on; it need not run yet.
    """
    base = _build_base(state, loop)
    addresses = _build_addresses(state, base)
    children = _build_children(state, base, addresses)
    upgrades = _build_upgrades(state, base, children)
    control_loop = _build_control_loop(state, base, addresses, children, upgrades)
    log_reopener = LogReopener(log_file, children.orders, children.forkservers)
    events = EventRing(state.events)
    service = ServiceState(
        live_settings=state.settings,
        planner=base.planner,
        listeners=state.listeners,
        steerer=state.steerer,
        orders=children.orders,
        readings=children.readings,
        task_runs=children.workers.task_runs,
        broadcast_counts=state.broadcast_counts,
        forkservers=children.forkservers,
        reloads=children.reloads,
        upgrades=upgrades,
        events=events,
        put_fact=base.facts.put_fact,
        stop=base.shutdown.ask,
        started_at=state.started_at,
        naming=state.naming,
        reopen_logs=log_reopener.reopen_everywhere,
    )
    metrics = _make_metrics(service, state)
    return Components(
        state=state,
        planner=base.planner,
        binding=addresses.binding,
        workers=children.workers,
        forkservers=children.forkservers,
        control=ControlServer(
            service,
            state.control,
            None if metrics is None else metrics.exposition,
            upgrades.keeper.wait,
        ),
        metrics=metrics,
        events=events,
        captured=children.context.captured,
        facts=base.facts,
        control_loop=control_loop,
        shutdown=base.shutdown,
        banner=addresses.banner,
        notifier=base.notifier,
        sampler=MemorySampler(
            children.readings.list_pids,
            children.readings.note_memory,
            is_limited=base.planner.policy.max_memory_bytes is not None,
        ),
        reloads=children.reloads,
        upgrades=upgrades,
        log_reopener=log_reopener,
    )


def _make_metrics(service: ServiceState, state: MasterState) -> "MetricsServer | None":
    if service.settings.metrics_bind is None:
        return None
    # It serves by an App, which most masters do without.
    from blazeio_supervisor.master.metrics import Exposition, MetricsServer

    return MetricsServer(service, Exposition(service), state.metrics)


def _build_base(state: MasterState, loop: asyncio.AbstractEventLoop) -> _BaseParts:
    settings = state.settings.settings
    policy, rng = settings.make_policy(), settings.make_rng()
    facts = FactQueue(loop)
    notifier = SystemdNotifier(settings.manager.address, loop)
    planner = Planner(policy, settings.worker_count, rng, state.fleet)
    reaper = Reaper(loop)
    shutdown = Shutdown(facts, notifier)
    # Set afterwards, since each of the two needs the other one.
    shutdown.on_ask = LastResort(loop, reaper, planner, shutdown).begin
    return _BaseParts(
        loop=loop,
        planner=planner,
        facts=facts,
        reaper=reaper,
        notifier=notifier,
        shutdown=shutdown,
    )


def _build_addresses(state: MasterState, base: _BaseParts) -> _Addresses:
    settings, listeners = state.settings.settings, state.listeners
    store = FdStore(base.notifier, listeners, settings.manager.store_count)
    banner = Banner(settings, listeners)
    told = store.keep, banner.note_bound
    binding = Binding(state.bound, listeners, told, base.shutdown.give_up)
    return _Addresses(store=store, banner=banner, binding=binding)


def _build_children(
    state: MasterState, base: _BaseParts, addresses: _Addresses
) -> _Children:
    settings, frames = state.settings.settings, FramesPrinter()
    captured = None
    if settings.capture_output:
        captured = CapturedOutput(base.loop, settings.log_terms, state.captured)
    context = ChildContext(
        loop=base.loop,
        reaper=base.reaper,
        put_fact=base.facts.put_fact,
        need_address=addresses.binding.need,
        note_scheme=addresses.banner.note_scheme,
        frames=frames,
        captured=captured,
    )
    rows = RowAllocator(state.counted, state.app_counted)
    shared = state.workers, state.task_runs, state.broadcast_counts
    workers = Workers(context, rows, state.listeners, *shared)
    reloads = Reloads(base.facts.put_fact, frames, state.settings)
    return _Children(
        context=context,
        workers=workers,
        orders=WorkerOrders(workers.records, base.reaper, state.listeners),
        readings=WorkerReadings(workers.records, rows, workers.report_fault),
        reloads=reloads,
        forkservers=Forkservers(
            context, reloads.settings_of, workers, state.forkservers
        ),
    )


def _build_upgrades(
    state: MasterState, base: _BaseParts, children: _Children
) -> Upgrades:
    # When another image takes over, nothing may wait in these: facts, orders that a
    # child has not read, messages to systemd. An exec loses what lies in the memory of
    # this process; it keeps what lies unread in a socket.
    parties = (
        base.facts,
        children.workers,
        children.forkservers,
        base.notifier.notifier,
    )
    pack = partial(dump_state, master=state)
    timeout_s = state.settings.settings.upgrade_timeout_s
    keeper = ImageKeeper(base.reaper)
    return Upgrades(base.planner, parties, pack, base.reaper, keeper, timeout_s)


def _build_control_loop(
    state: MasterState,
    base: _BaseParts,
    addresses: _Addresses,
    children: _Children,
    upgrades: Upgrades,
) -> ControlLoop:
    put_fact, listeners = base.facts.put_fact, state.listeners
    orders, workers = children.orders, children.workers
    slots = SlotListeners(
        listeners, state.steerer, orders, workers, addresses.store, state.adopted
    )
    path = state.settings.settings.health_path
    executor = ActionExecutor(
        planner=base.planner,
        live_settings=state.settings,
        upgrades=upgrades,
        put_fact=put_fact,
        forkservers=children.forkservers,
        orders=orders,
        task_runs=workers.task_runs,
        stack_reports=StackReports(workers.records, orders, children.forkservers),
        health_checks=HealthChecks(path, orders.connect, put_fact),
        probes=Probes(orders.connect, put_fact),
        slots=slots,
        binding=addresses.binding,
        reloads=children.reloads,
        banner=addresses.banner,
        notifier=base.notifier,
        shutdown=base.shutdown,
    )
    watches = (
        OrphanReaper(
            base.reaper, lambda: workers.is_forking, children.context.oom_kills
        ),
        ListenerWatch(
            listeners,
            workers,
            children.readings,
            slots,
            state.steerer,
            lambda: base.shutdown.is_final,
            put_fact,
        ),
        ListenerModes(listeners),
        LoadWatch(base.planner, workers.records, listeners, put_fact),
    )
    return ControlLoop(
        base.facts, base.planner, executor.execute, children.readings, watches
    )
