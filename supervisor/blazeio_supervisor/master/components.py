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
import os
import socket
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, get_origin

import msgspec
from msgspec import Struct, field

from blazeio_supervisor.config.settings import LiveSettings
from blazeio_supervisor.errors import SupervisorError
from blazeio_supervisor.fleet.planner import FleetState, Planner
from blazeio_supervisor.fleet.roster import Roster
from blazeio_supervisor.ipc.packing import (
    pack,
    unpack,
)
from blazeio_supervisor.ipc.protocol import find_protocol
from blazeio_supervisor.ipc.row_tables import AppTotals
from blazeio_supervisor.ipc.scoreboard import Row, RowAllocator, Tally
from blazeio_supervisor.log.setup import FramesPrinter
from blazeio_supervisor.master.children import ChildContext, OrphanReaper, Reaper
from blazeio_supervisor.master.control_server import ControlServer
from blazeio_supervisor.master.executor import (
    ActionExecutor,
    HealthChecks,
    Probes,
    StackReports,
)
from blazeio_supervisor.master.forkservers import ForkserverRecord, Forkservers
from blazeio_supervisor.master.listeners import (
    Binding,
    BoundState,
    ListenerModes,
    ListenerWatch,
    SlotListeners,
)
from blazeio_supervisor.master.loop import ControlLoop, FactQueue, LastResort, Shutdown
from blazeio_supervisor.master.output import (
    CapturedOutput,
    LogFile,
    LogReopener,
    OutputReader,
)
from blazeio_supervisor.master.reloads import Reloads
from blazeio_supervisor.master.resources import LoadWatch, MemorySampler
from blazeio_supervisor.master.status import (
    Banner,
    ControlState,
    EventHistory,
    EventRing,
    MetricsState,
    Naming,
    ServiceState,
)
from blazeio_supervisor.master.systemd import FdStore, SystemdNotifier
from blazeio_supervisor.master.upgrade.exec_new import UpgradeRun, Upgrades
from blazeio_supervisor.master.upgrade.image import ImageKeeper, KeptImage
from blazeio_supervisor.master.worker_record import (
    BroadcastCounts,
    TaskRuns,
    WorkerOrders,
    WorkerRecord,
)
from blazeio_supervisor.master.workers import WorkerReadings, Workers
from blazeio_supervisor.sockets.listeners import Listeners
from blazeio_supervisor.sockets.reuseport import Steerer
from blazeio_supervisor.version import find_version

if TYPE_CHECKING:
    from blazeio_supervisor.master.metrics import MetricsServer

# What one image of the master hands to the next: all that the disk does not hold.
#
# Everything that a master knows is one value, ``MasterState``: its parts work on it
# while it serves, and the next image goes on with a copy. Descriptors are written as
# their numbers, which an exec keeps; whatever the kernel knows (queues, the order of
# a group, its steering, unread messages) goes with them. Beside its own version the
# state has that of the protocol which the living workers speak: an image that speaks
# another cannot take over.


STATE_VERSION = 5
"""Raised by one when a part of the state changes its shape."""


class StateError(SupervisorError):
    """This image cannot go on where that one was."""


class MasterState(Struct, kw_only=True):
    """All that a master knows; each of its parts works on its own piece.

    Attributes:
        settings: Those in force; nothing is read anew.
        started_at: Monotonic seconds: the age of the service.
        adopted: By which worker, for each such slot.
        counted: By slot, what its earlier workers have counted.
        app_counted: What the app has counted in earlier workers.
        task_runs: When the tasks that run once have run.
        broadcast_counts: What became of messages between workers.
        workers: By serial number.
        forkservers: By generation.
        captured: One for each process whose output is read.
    """

    settings: LiveSettings
    started_at: float
    fleet: FleetState
    listeners: Listeners
    steerer: Steerer = field(default_factory=Steerer)
    bound: BoundState = field(default_factory=BoundState)
    adopted: dict[int, int] = field(default_factory=dict)
    counted: dict[int, Tally] = field(default_factory=dict)
    app_counted: AppTotals = field(default_factory=AppTotals)
    task_runs: TaskRuns = field(default_factory=TaskRuns)
    broadcast_counts: BroadcastCounts = field(default_factory=BroadcastCounts)
    workers: dict[int, WorkerRecord] = field(default_factory=dict)
    forkservers: dict[int, ForkserverRecord] = field(default_factory=dict)
    naming: Naming = field(default_factory=Naming)
    control: ControlState = field(default_factory=ControlState)
    metrics: MetricsState = field(default_factory=MetricsState)
    events: EventHistory = field(default_factory=EventHistory)
    captured: list[OutputReader] = field(default_factory=list)

    @classmethod
    def begin(cls, live: LiveSettings, started_at: float) -> "MasterState":
        """Return the state of a service that has not begun."""
        settings = live.settings
        return cls(
            settings=live,
            started_at=started_at,
            fleet=FleetState(roster=Roster.with_slots(settings.worker_count)),
            listeners=Listeners(
                settings.worker_count,
                unix_mode=settings.unix_mode,
                unix_owner=settings.unix_owner,
                backlog=settings.backlog,
            ),
        )


class _Head(Struct, frozen=True):
    """What can be read of any state, whatever its version."""

    version: int
    protocol: str | int  # it was a number once
    program: str


class UpgradeState(Struct, frozen=True, kw_only=True):
    """A master between two turns, with no reload under way.

    Attributes:
        program: The version of blazeio that wrote it.
    """

    version: int = STATE_VERSION
    protocol: str = field(default_factory=find_protocol)
    program: str
    run: UpgradeRun
    image: KeptImage
    master: MasterState


def dump_state(
    run: UpgradeRun, image: KeptImage, master: MasterState
) -> tuple[bytes, list[int]]:
    """Write what the next image reads.

    Returns:
        The octets, and every descriptor that is named there, each once.
    """
    fds = dict.fromkeys(image.list_fds())

    def name(part: Any) -> int:
        fd: int = part.fileno()
        fds[fd] = None
        return fd

    state = UpgradeState(program=image.program, run=run, image=image, master=master)
    return pack(state, name), list(fds)


def load_state(
    octets: bytes, take: Callable[[int], socket.socket]
) -> tuple[UpgradeState, list[int]]:
    """Read what another image has written.

    Args:
        octets: By that one.
        take: Returns our own socket for a descriptor that is named there.

    Returns:
        The state, and the descriptors that are named there, each once.

    Raises:
        StateError: It is of another version, or speaks another protocol, or is
            none at all.
    """
    fds: dict[int, None] = {}

    def read(kind: type, fd: int) -> Any:
        fds[fd] = None
        return take_part(kind, fd, take)

    try:
        # First, and by a structure that reads of any version only what it needs: the
        # whole state of another version would fail in a field, which says nothing to an
        # operator.
        _check_versions(unpack(octets, _Head))
        state = unpack(octets, UpgradeState, read)
    except (
        msgspec.MsgspecError,
        ValueError,
        OverflowError,
        RecursionError,
        OSError,
    ) as error:
        text = f"what the running one has written cannot be read: {error}"
        raise StateError(text.splitlines()[0]) from None
    return state, list(fds | dict.fromkeys(state.image.list_fds()))


def take_part(kind: type, fd: int, take: Callable[[int], socket.socket]) -> Any:
    """Return a part that is not a value, from its descriptor."""
    if kind is Row:
        # The image before may come back and has this number.
        return Row(os.dup(fd))
    sock = take(fd)
    return sock if kind is socket.socket else (get_origin(kind) or kind)(sock)


def _check_versions(head: _Head) -> None:
    own = find_protocol()
    ours, theirs = (STATE_VERSION, own), (head.version, head.protocol)
    if ours != theirs:
        raise StateError(
            f"blazeio {find_version()} knows state {STATE_VERSION} and protocol "
            f"{own}, the running one ({head.program}) has state {head.version} "
            f"and protocol {head.protocol}: restart the service to use it"
        )


# All parts.


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
