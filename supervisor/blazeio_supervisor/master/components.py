"""All parts of a master, made and wired. Nothing begins here."""

import asyncio

from msgspec import Struct

from blazeio_supervisor.config.live_settings import LiveSettings
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
from blazeio_supervisor.master.reloads import Reloads, SettingsTransaction
from blazeio_supervisor.master.shutdown import LastResort, Shutdown
from blazeio_supervisor.master.status import ServiceState
from blazeio_supervisor.master.systemd import FdStore, SystemdNotifier
from blazeio_supervisor.master.upgrade.exec_new import UpgradeRun, Upgrades
from blazeio_supervisor.master.upgrade.image import KeptImage
from blazeio_supervisor.master.upgrade.state import Parts
from blazeio_supervisor.master.worker_record import WorkerOrders
from blazeio_supervisor.master.workers import OrphanReaper, WorkerReadings, Workers
from blazeio_supervisor.sockets.listeners import Listeners, Steerer


class Components(Struct, frozen=True, kw_only=True):
    """What a master itself has in hand.

    Attributes:
        parts: Those that go over an exec.
    """

    parts: Parts
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
    in_force: LiveSettings,
    log_file: LogFile | None,
    loop: asyncio.AbstractEventLoop,
    started_at: float,
) -> Components:
    """Make them.

    Args:
        in_force: What the operator asked for, and asks for at each reload.
        log_file: Where the log goes; None: to standard error.
        loop: Which the master will run on; it need not run yet.
        started_at: When the service was, monotonic seconds.
    """
    settings = in_force.settings
    planner = Planner(settings.make_policy(), settings.workers, settings.make_rng())
    events = EventRing()
    frames = FramesPrinter()
    reaper = Reaper(loop)
    inbox = FactQueue(loop)
    telling = SystemdNotifier(settings.manager.address, loop)
    ending = Shutdown(inbox, telling)

    # What clients come in by
    listeners = Listeners(
        settings.workers,
        unix_mode=settings.unix_mode,
        unix_owner=settings.unix_owner,
        backlog=settings.backlog,
    )
    steerer = Steerer(listeners)
    store = FdStore(telling, listeners, settings.manager.store_count)
    banner = Banner(settings, listeners)

    def note_bound() -> None:
        store.keep()
        banner.note_bound()

    binding = Binding(listeners, note_bound, ending.give_up)

    # The children
    captured = None
    if settings.capture_output:
        captured = CapturedOutput(loop, settings.log_terms)
    child_context = ChildContext(
        loop=loop,
        reaper=reaper,
        tell=inbox.tell,
        need_address=binding.need,
        note_scheme=banner.note_scheme,
        frames=frames,
        captured=captured,
    )
    ledger = RowAllocator()
    workers = Workers(child_context, ledger, listeners)
    orders = WorkerOrders(workers.records, reaper, listeners)
    readings = WorkerReadings(workers.records, ledger, workers.accuse)
    forkservers = Forkservers(child_context, in_force.settings_of, workers)
    reopening = Reopening(log_file, orders, forkservers)

    # What the planner wants is done
    def pack(handover: UpgradeRun, image: KeptImage) -> tuple[bytes, list[int]]:
        # Only here is a ring: the control server, which orders an upgrade, is
        # itself of the parts that go over.
        return parts.pack(handover, image)

    unsettled = (inbox, workers, forkservers, telling.notifier)
    upgrades = Upgrades(planner, unsettled, pack, reaper, settings.upgrade_timeout_s)
    reloads = Reloads(inbox.tell, frames, in_force)
    health_checks = HealthChecks(settings.health_path, orders.connect, inbox.tell)
    slots = SlotListeners(listeners, steerer, orders, workers, store)
    executor = ActionExecutor(
        planner=planner,
        rules=SettingsTransaction(in_force, planner, health_checks, upgrades, inbox),
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
        ending=ending,
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
        started_at=started_at,
        reopen_logs=reopening.reopen,
    )
    exposition = Exposition(service)
    parts = Parts(
        in_force=in_force,
        started_at=started_at,
        planner=planner,
        listeners=listeners,
        steerer=steerer,
        binding=binding,
        adopted=slots.adopted,
        workers=workers,
        forkservers=forkservers,
        control=ControlServer(service, exposition),
        metrics=MetricsServer(service, exposition),
        captured=captured,
        events=events,
    )
    sampler = MemorySampler(
        readings.list_pids,
        readings.note_memory,
        is_limited=planner.policy.max_memory_bytes is not None,
    )
    return Components(
        parts=parts,
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
