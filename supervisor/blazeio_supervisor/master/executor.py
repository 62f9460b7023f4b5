"""Each action of the planner is carried out here."""

import asyncio
import re
import socket
from collections.abc import Callable, Coroutine
from typing import Any, assert_never

from msgspec import Struct

from blazeio_supervisor.config.settings import LiveSettings, Settings
from blazeio_supervisor.fleet.actions import (
    Action,
    AdmitWorker,
    AdoptQueue,
    AskStack,
    CheckHealth,
    CloseListeners,
    DumpStack,
    Exit,
    GrantLease,
    KeepServing,
    Notify,
    OpenSlot,
    Probe,
    ReleaseQueue,
    ReloadEnded,
    ReloadUndone,
    RenewConnections,
    ReportBoot,
    ReportStatus,
    Spawn,
    StartForkserver,
    Steer,
    StopForkserver,
    StopWorker,
)
from blazeio_supervisor.fleet.facts import Answered, Fact, HealthChecked, ScaleAsked
from blazeio_supervisor.fleet.planner import Planner
from blazeio_supervisor.log.formats import (
    find_import,
    find_subject,
    trim_stacks,
)
from blazeio_supervisor.log.setup import note, set_level
from blazeio_supervisor.master.forkservers import Forkservers
from blazeio_supervisor.master.listeners import Binding, SlotListeners
from blazeio_supervisor.master.loop import Shutdown
from blazeio_supervisor.master.reloads import Reloads, name_master
from blazeio_supervisor.master.status import Banner
from blazeio_supervisor.master.systemd import SystemdNotifier
from blazeio_supervisor.master.upgrade.exec_new import Upgrades
from blazeio_supervisor.master.worker_record import (
    Records,
    TaskRuns,
    WorkerOrders,
    WorkerRecord,
)

# Asking a worker for its health path, over a connection of the master's own.
#
# The canary accepts from nowhere yet, so one end of a socket pair is handed to
# it, and it serves that like any connection: what answers is the app's real code.
# HTTP/1.0, so that the answer ends where the connection does; plain HTTP, whatever
# the app speaks outside.


ANSWER_BYTES = 64 * 1024
"""More of an answer is not read."""

NEWS_OF_DEATH_S = 0.2
"""A worker that died while it was asked: its exit status says more."""

MOST_S = 600.0
"""An answer is not waited for any longer. The planner ends the worker long before
that; but a process that it has left behind may hold the connection."""

_LINE_CHARS = 200
_STATUS_LINE = re.compile(rb"HTTP/1\.\d (\d{3})[^\r\n]*\r\n")
_LOCATION = re.compile(rb"\r\nlocation:[ \t]*([^\r\n]+)", re.IGNORECASE)


async def ask(sock: socket.socket, path: str) -> tuple[bool, str]:
    """Send a GET for the path over a connected socket, which is closed in the end.

    Healthy is a 2xx, nothing else: a redirect says that somebody else may be.


    Returns:
        Whether it is healthy; if not, why, in one line.
    """
    reader, writer = await asyncio.open_connection(sock=sock, limit=ANSWER_BYTES)
    try:
        writer.write(_serialize_request(path))
        async with asyncio.timeout(MOST_S):
            octets = await _read(reader)
        # The worker has closed the connection without a word: perhaps it has died, and
        # then its exit status, which the reaper is about to read, says more than this.
        if not octets:
            await asyncio.sleep(NEWS_OF_DEATH_S)
    except TimeoutError:
        return False, f"GET {path}: no answer within {MOST_S:g} s"
    except OSError as error:
        return False, f"GET {path}: {error.strerror or error}"
    finally:
        writer.close()
    return judge(path, octets)


def judge(path: str, octets: bytes) -> tuple[bool, str]:
    """Judge an answer by its status; the reason has the first line of its body."""
    match = _STATUS_LINE.match(octets)
    if match is None:
        what = "an answer that is not HTTP" if octets else "no answer"
        return False, f"GET {path}: the connection ended with {what}"
    status = int(match[1])
    if 200 <= status <= 299:
        return True, ""
    head, _, body = octets.partition(b"\r\n\r\n")
    words = _first_line(body)
    location = _LOCATION.search(head)
    if location is not None:
        words = f"to {_first_line(location[1])}; only 2xx is healthy"
    reason = f"GET {path} answered {status}"
    return False, f"{reason}: {words}" if words else reason


def _serialize_request(path: str) -> bytes:
    fields = "Host: localhost\r\nUser-Agent: blazeio-supervisor\r\nAccept: */*"
    return f"GET {path} HTTP/1.0\r\n{fields}\r\n\r\n".encode("ascii")


async def _read(reader: asyncio.StreamReader) -> bytes:
    octets = b""
    while len(octets) < ANSWER_BYTES:
        more = await reader.read(ANSWER_BYTES - len(octets))
        if not more:
            break
        octets += more
    return octets


def _first_line(octets: bytes) -> str:
    lines = octets.strip().splitlines()
    line = lines[0].decode("utf-8", "replace") if lines else ""
    return "".join(c if c.isprintable() else "?" for c in line)[:_LINE_CHARS]


class HealthChecks:
    """The health checks under way; the planner bounds them.

    Args:
        path: What is asked for.
        connect: Returns a connection to a worker; None: it is gone.
        put_fact: Takes the answer as a fact.

    Attributes:
        path: As given; a reload may bring another one.
    """

    def __init__(
        self,
        path: str,
        connect: Callable[[int], socket.socket | None],
        put_fact: Callable[[Fact], None],
    ) -> None:
        self.path = path
        self._connect = connect
        self._put_fact = put_fact
        self._tasks: set[asyncio.Task[None]] = set()

    def begin(self, worker: int) -> None:
        """Ask one worker; a worker that ends closes the connection."""
        sock = self._connect(worker)
        if sock is not None:
            task = asyncio.create_task(self._ask(worker, sock))
            # The loop refers to its tasks weakly (asyncio.create_task).
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _ask(self, worker: int, sock: socket.socket) -> None:
        is_healthy, reason = await ask(sock, self.path)
        self._put_fact(HealthChecked(worker, is_healthy, reason))


# Probes: does a worker serve, tried over a connection of the master's own.
#
# The master ends the connection at once, without a request, and a worker that serves
# closes it too. That takes a loop that runs and the code that serves, runs no handler
# of the app, and counts as no request.


class Probes:
    """The probes under way: at most one for each worker.

    Args:
        connect: Returns a connection to a worker; None: it is gone.
        put_fact: Takes the answer as a fact; silence is none.
    """

    def __init__(
        self,
        connect: Callable[[int], socket.socket | None],
        put_fact: Callable[[Fact], None],
    ) -> None:
        self._connect = connect
        self._put_fact = put_fact
        self._open: dict[int, asyncio.Task[None]] = {}

    def begin(self, worker: int) -> None:
        """Ask one worker; one that has yet to answer is not asked again."""
        sock = None if worker in self._open else self._connect(worker)
        if sock is not None:
            self._open[worker] = asyncio.create_task(self._ask(worker, sock))

    async def _ask(self, worker: int, sock: socket.socket) -> None:
        # The worker reads the end of file, and closes a connection that has brought no
        # request: its close is the answer.
        sock.shutdown(socket.SHUT_WR)
        reader, writer = await asyncio.open_connection(sock=sock)
        try:
            async with asyncio.timeout(MOST_S):
                await reader.read(1)
        except OSError:  # also TimeoutError
            return
        finally:
            writer.close()
            del self._open[worker]
        # The end of a worker closes it too: then the news of that come first.
        await asyncio.sleep(NEWS_OF_DEATH_S)
        self._put_fact(Answered(worker))


# Reports of processes whose loop is blocked or that boot for long, with their stacks.


class StackReports:
    """The reports under way.

    Args:
        records: Of the workers.
        orders: Ask a worker for its stacks.
        forkservers: Ask a forkserver by its generation.
    """

    def __init__(
        self, records: Records, orders: WorkerOrders, forkservers: Forkservers
    ) -> None:
        self._records = records
        self._orders = orders
        self._forkservers = forkservers
        self._open: set[asyncio.Task[None]] = set()

    def begin(self, worker: int, blocked_s: float) -> None:
        """Ask a worker for its stacks, and report it with them, unless it is gone."""
        record = self._records.get(worker)
        if record is not None and record.pid is not None:
            self._run(self._report_blocked(record, blocked_s))

    def begin_boot(self, report: ReportBoot) -> None:
        """Report a process that boots for long in the same way."""
        self._run(self._report_boot(report))

    def cancel(self) -> None:
        """Report nothing more: the service has ended."""
        for task in self._open:
            task.cancel()

    def _run(self, report: Coroutine[Any, Any, None]) -> None:
        # The loop refers to its tasks weakly: one that nobody holds may be collected
        # before it is done (asyncio.create_task).
        task = asyncio.create_task(report)
        self._open.add(task)
        task.add_done_callback(self._open.discard)

    async def _report_boot(self, report: ReportBoot) -> None:
        if report.worker is None:
            said = await self._forkservers.ask_stacks(report.generation)
        else:
            said = await self._orders.ask_stacks(report.worker)
        where = find_import(said.text) or "it does not say where it is"
        text = (
            f"not ready after {report.boot_s:.1f} of {report.timeout_s:g} s "
            f"(--boot-timeout): {where}"
        )
        record = None if report.worker is None else self._records.get(report.worker)
        stacks = trim_stacks(said.text)
        if record is not None:
            record.note("boot_slow", text, "WARNING", stacks)
        else:
            generation = report.generation
            note("boot_slow", text, "WARNING", generation=generation, traceback=stacks)

    async def _report_blocked(self, record: WorkerRecord, blocked_s: float) -> None:
        is_open = record.channel.is_open
        said = await self._orders.ask_stacks(record.worker)
        subject = find_subject(said.text)
        if not is_open:
            subject = "its channel is closed, by the app, or by an exec"
        elif not said.text:
            subject = "it says nothing: it is stopped"
        elif not subject:
            subject = "C code computes in it"
        text = (
            f"its loop has stood still for {blocked_s:.1f} s, no new connection goes "
            f"to it: {subject}"
        )
        record.note("blocked", text, "WARNING", trim_stacks(said.text))


# All actions.


class ActionExecutor(Struct, frozen=True, kw_only=True):
    """Carries out the actions of the planner, each with the part that it is about."""

    planner: Planner
    forkservers: Forkservers
    orders: WorkerOrders
    task_runs: TaskRuns
    stack_reports: StackReports
    health_checks: HealthChecks
    probes: Probes
    slots: SlotListeners
    binding: Binding
    live_settings: LiveSettings
    reloads: Reloads
    upgrades: Upgrades
    put_fact: Callable[[Fact], None]
    banner: Banner
    notifier: SystemdNotifier
    shutdown: Shutdown

    def execute(self, action: Action) -> None:  # noqa: C901 - a table, which mypy knows to be total
        """Carry out one action.

        Raises:
            Exception: It cannot be done.
        """
        match action:
            case StartForkserver(generation, ticket):
                # The policy of the new settings holds from the trial on, so that
                # ``--boot-timeout`` or the health path of a reload count for that
                # reload.
                self._go_by(self.reloads.begin(generation, ticket))
                self.forkservers.start(generation)
            case StopForkserver(generation, mode):
                self.forkservers.stop(generation, mode)
            case Spawn():
                self.forkservers.fork(action)
            case AdmitWorker(worker):
                self.orders.admit(worker)
            case RenewConnections(worker, count):
                self.orders.renew_connections(worker, count)
            case GrantLease(worker):
                self.orders.grant_lease(worker, self.task_runs)
            case StopWorker(worker, mode):
                # Made now and not kept: a quick stop shortens the grace period of
                # workers that are told after it.
                drain = self.shutdown.make_drain(self.planner.policy)
                stops = self.shutdown.is_asked
                self.orders.end(worker, mode, drain, has_heir=not stops)
            case DumpStack(worker, blocked_s):
                self.stack_reports.begin(worker, blocked_s)
            case AskStack(worker):
                self.orders.begin_stacks(worker)
            case ReportBoot():
                self.stack_reports.begin_boot(action)
            case CheckHealth(worker):
                self.health_checks.begin(worker)
            case Probe(worker):
                self.probes.begin(worker)
            case OpenSlot(slot):
                self.slots.open(slot)
            case AdoptQueue(slot, by):
                self.slots.adopt(slot, by)
            case ReleaseQueue(slot, by):
                self.slots.release(slot, by)
            case Steer(weights):
                self.slots.steer(weights)
            case KeepServing():
                self.orders.stay()
            case CloseListeners():
                self._close_listeners()
            case ReloadEnded():
                self._end_reload(action)
            case ReloadUndone():
                before = self.live_settings.settings
                self._take_settings(self.reloads.undo(), before)
            case ReportStatus():
                _note_report(action)
            case Notify():
                self.notifier.notify(action)
            case Exit(code, reason):
                self.stack_reports.cancel()
                self.shutdown.end(code, reason)
            case _:
                assert_never(action)

    def _end_reload(self, ended: ReloadEnded) -> None:
        before = self.live_settings.settings
        settings = self.reloads.end(ended)
        self._take_settings(settings, before)
        if ended.is_ok:
            self.banner.take(ended.generation, settings)

    def _take_settings(self, settings: Settings, before: Settings) -> None:
        self._go_by(settings)
        set_level(settings.log_level)
        name_master(settings)
        # Only where the settings have changed: a number that an operator has ordered by
        # ``scale`` outlives a reload.
        if settings.workers != before.workers:
            is_auto = settings.worker_range is not None
            count = None if is_auto else settings.worker_count
            asked = ScaleAsked(count=count, by="the new settings", is_auto=is_auto)
            self.put_fact(asked)

    def _go_by(self, settings: Settings) -> None:
        self.planner.policy = settings.make_policy()
        self.health_checks.path = settings.health_path
        self.upgrades.timeout_s = settings.upgrade_timeout_s

    def _close_listeners(self) -> None:
        self.shutdown.be_final()
        # A start that still waits for its address must not open it behind the end.
        self.binding.cancel()
        self.slots.close()


def _note_report(report: ReportStatus) -> None:
    note(
        report.event,
        report.text,
        report.level,
        worker=report.worker,
        slot=report.slot,
        generation=report.generation,
        pid=report.pid,
        reason=report.reason,
    )
