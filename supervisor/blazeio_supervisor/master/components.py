"""All parts of a master, made and wired. Nothing begins here."""

import asyncio
from functools import partial

from msgspec import Struct

from blazeio_supervisor.fleet.planner import Planner
from blazeio_supervisor.ipc.scoreboard import RowAllocator
from blazeio_supervisor.log.setup import FramesPrinter
from blazeio_supervisor.master.children import ChildContext, Reaper
from blazeio_supervisor.master.control_server import ControlServer
from blazeio_supervisor.master.events import Banner, EventRing
from blazeio_supervisor.master.executor import ActionExecutor, StackReports
from blazeio_supervisor.master.forkservers import Forkservers
from blazeio_supervisor.master.listeners import (
    Binding,
    ListenerModes,
    ListenerWatch,
    SlotListeners,
)
from blazeio_supervisor.master.loop import ControlLoop, FactQueue
from blazeio_supervisor.master.memory import MemorySampler
from blazeio_supervisor.master.metrics import Exposition, MetricsServer
from blazeio_supervisor.master.output import CapturedOutput, LogFile, Reopening
from blazeio_supervisor.master.probes import HealthChecks, Probes
from blazeio_supervisor.master.reloads import Reloads
from blazeio_supervisor.master.shutdown import LastResort, Shutdown
from blazeio_supervisor.master.status import ServiceState
from blazeio_supervisor.master.systemd import FdStore, SystemdNotifier
from blazeio_supervisor.master.upgrade.exec_new import Upgrades
from blazeio_supervisor.master.upgrade.state import MasterState, dump_state
from blazeio_supervisor.master.worker_record import WorkerOrders
from blazeio_supervisor.master.workers import OrphanReaper, WorkerReadings, Workers


class Components(Struct, frozen=True, kw_only=True):
    """What a master itself has in hand.

    Attributes:
        state: All that the master knows.
        captured: None: nobody reads what the children print.
    """

    state: MasterState
    planner: Planner
    binding: Binding
    workers: Workers
    forkservers: Forkservers
    control: ControlServer
    metrics: MetricsServer
    events: EventRing
    captured: CapturedOutput | None
    inbox: FactQueue
    turns: ControlLoop
    ending: Shutdown
    banner: Banner
    telling: SystemdNotifier
    sampler: MemorySampler
    reloads: Reloads
    upgrades: Upgrades
    reopening: Reopening


def build_master(
    state: MasterState,
    log_file: LogFile | None,
    loop: asyncio.AbstractEventLoop,
) -> Components:
    """Make them.

    Args:
        state: Of a service that has not begun, or of the image before.
        log_file: Where the log goes; None: to standard error.
        loop: Which the master will run on; it need not run yet.
    """
    in_force = state.settings
    settings = in_force.settings
    planner = Planner(
        settings.make_policy(), settings.workers, settings.make_rng(), state.fleet
    )
    events = EventRing(state.events)
    frames = FramesPrinter()
    reaper = Reaper(loop)
    inbox = FactQueue(loop)
    telling = SystemdNotifier(settings.manager.address, loop)
    ending = Shutdown(inbox, telling)

    # What clients come in by
    listeners, steerer = state.listeners, state.steerer
    store = FdStore(telling, listeners, settings.manager.store_count)
    banner = Banner(settings, listeners)

    def note_bound() -> None:
        store.keep()
        banner.note_bound()

    binding = Binding(state.bound, listeners, note_bound, ending.give_up)

    # The children
    captured = None
    if settings.capture_output:
        captured = CapturedOutput(loop, settings.log_terms, state.captured)
    child_context = ChildContext(
        loop=loop,
        reaper=reaper,
        tell=inbox.tell,
        need_address=binding.need,
        note_scheme=banner.note_scheme,
        frames=frames,
        captured=captured,
    )
    ledger = RowAllocator(state.counted)
    workers = Workers(child_context, ledger, listeners, state.workers)
    orders = WorkerOrders(workers.records, reaper, listeners)
    readings = WorkerReadings(workers.records, ledger, workers.accuse)
    reloads = Reloads(inbox.tell, frames, in_force)
    forkservers = Forkservers(
        child_context, reloads.settings_of, workers, state.forkservers
    )
    reopening = Reopening(log_file, orders, forkservers)

    # What the planner wants is done
    pack = partial(dump_state, master=state)
    unsettled = (inbox, workers, forkservers, telling.notifier)
    upgrades = Upgrades(planner, unsettled, pack, reaper, settings.upgrade_timeout_s)
    health_checks = HealthChecks(settings.health_path, orders.connect, inbox.tell)
    slots = SlotListeners(listeners, steerer, orders, workers, store, state.adopted)
    executor = ActionExecutor(
        planner=planner,
        live_settings=in_force,
        upgrades=upgrades,
        tell=inbox.tell,
        forkservers=forkservers,
        orders=orders,
        stack_reports=StackReports(workers.records, orders, forkservers),
        health_checks=health_checks,
        probes=Probes(orders.connect, inbox.tell),
        slots=slots,
        binding=binding,
        reloads=reloads,
        banner=banner,
        telling=telling,
        shutdown=ending,
    )
    strangers = OrphanReaper(reaper, workers, child_context.oom_kills)
    attendance = ListenerWatch(
        listeners,
        workers,
        readings,
        slots,
        steerer,
        lambda: ending.is_final,
        inbox.tell,
    )
    modes = ListenerModes(listeners)
    watches = strangers, attendance, modes
    turns = ControlLoop(inbox, planner, executor.execute, readings, *watches)

    last_resort = LastResort(
        loop,
        reaper,
        lambda: planner.policy,
        lambda: ending.make_drain(planner.policy).grace_s,
        ending.leave,
    )
    ending.on_ask = last_resort.begin

    # What the operator sees, and orders
    service = ServiceState(
        in_force=in_force,
        planner=planner,
        listeners=listeners,
        steerer=steerer,
        orders=orders,
        readings=readings,
        forkservers=forkservers,
        reloads=reloads,
        upgrades=upgrades,
        events=events,
        tell=inbox.tell,
        stop=ending.ask,
        started_at=state.started_at,
        naming=state.naming,
        reopen_logs=reopening.reopen,
    )
    exposition = Exposition(service)
    sampler = MemorySampler(
        readings.list_pids,
        readings.note_memory,
        is_limited=planner.policy.max_memory_bytes is not None,
    )
    return Components(
        state=state,
        planner=planner,
        binding=binding,
        workers=workers,
        forkservers=forkservers,
        control=ControlServer(service, exposition, state.control),
        metrics=MetricsServer(service, exposition, state.metrics),
        events=events,
        captured=captured,
        inbox=inbox,
        turns=turns,
        ending=ending,
        banner=banner,
        telling=telling,
        sampler=sampler,
        reloads=reloads,
        upgrades=upgrades,
        reopening=reopening,
    )
