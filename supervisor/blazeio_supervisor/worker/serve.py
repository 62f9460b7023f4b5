"""A worker's loop: boot, accept, obey the master, drain, stop.

What ends it: an order to drain, the channel's end (the master is gone), or
SIGTERM. The handler of SIGTERM is a plain one, not the loop's: it must stop the
accepting of a worker whose loop is blocked, too. Every drain arms an alarm, so
that nothing the app does can keep the process for ever.
"""

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Callable, Coroutine, Sequence
from time import monotonic  # an app may put another clock into ``time``
from typing import Any

from blazeio.app.app import App
from blazeio.app.metric_series import LocalCells
from blazeio.errors import ConfigurationError
from blazeio.loggers import Lines, get_logger
from blazeio.protocol.carrier import Transfer
from blazeio.protocol.process import CollectorTuning, raise_descriptor_limit
from blazeio.protocol.tls import TlsConfig
from blazeio.server.server import Server
from blazeio_supervisor.errors import ExitCode, count_of
from blazeio_supervisor.ipc.channel import LoopChannel, take_listeners
from blazeio_supervisor.ipc.messages import (
    Admit,
    Adopt,
    Broadcast,
    Drain,
    Fork,
    IgnoreTerm,
    Lease,
    Listen,
    Load,
    Message,
    Ready,
    Release,
    Renew,
    ReopenLogs,
    ServeConnection,
    TakeConnections,
    WorkerEvent,
)
from blazeio_supervisor.ipc.row_tables import RowCells
from blazeio_supervisor.ipc.scoreboard import Row
from blazeio_supervisor.sockets.reuseport import Queue, pair
from blazeio_supervisor.worker.connections import (
    TransferReceiver,
    TransferSender,
    WorkerListeners,
)
from blazeio_supervisor.worker.counting import Heartbeat, RouteCounter
from blazeio_supervisor.worker.import_app import LoadError, describe_failure
from blazeio_supervisor.worker.overrides import (
    LeasedTasks,
    configure_foreign,
    make_access_log,
    make_server,
    working_in,
)
from blazeio_supervisor.worker.process import (
    OwnInstallations,
    Printing,
    disconnect_sockets,
    end_escaped_task,
    find_epoll,
    forget_ready,
    replace_epolls,
)
from blazeio_supervisor.worker.prometheus_bridge import find_bridge
from blazeio_supervisor.worker.stack_dump import StackDump

log = get_logger("blazeio.worker")

_HOOKS_MOST_S = 10.0
_HOOKS_SHARE = 1 / 3
_CLEANUP_MOST_S = 1.0
_CLEANUP_SHARE = 1 / 10  # for handlers that were cancelled, before on_stop
_FAREWELL_SHARE = 4 / 5
_HURRY_AFTER_S = 0.5
_DRAIN_WAIT_S = 1.0  # for the master's order, where everybody was sent TERM
_ALARM_SLACK_S = 0.75  # the master's KILL comes before, after 0.5 s
_REST_S = 0.25  # for what the app left running on the loop
_STUCK_EVENTS = 5  # the master takes few from a worker; these are not the only ones
_STUCK_EVENTS_EARLY = 3  # how many of these may go before the drain


class WorkerServer:
    """Serves one app on the running loop.

    Args:
        app: Its hooks, limits and handler are used.
        tls: Spoken instead of the App's own.
        load: What the generation was started with.
        order: What this worker is.
        row: This life's row of the scoreboard.
        channel: To the master.
        queues: Of the own slot.
        dump: Learns what is being served.
        printing: Where this process writes.
        own: What is installed in it, and undone in what the app forks.

    Attributes:
        ends_at: When its grace period is over, monotonic seconds; until it is told
            to drain, never.
        grace_s: How long that is.
    """

    def __init__(
        self,
        app: App,
        tls: TlsConfig | None,
        load: Load,
        order: Fork,
        row: Row,
        channel: socket.socket,
        queues: list[Queue],
        dump: StackDump,
        printing: Printing,
        own: OwnInstallations,
    ) -> None:
        self._own = own
        self._app = app
        self._tls = tls
        self._load = load
        self._order = order
        self._row = row
        self._channel_sock = channel
        self._queues = queues
        self._dump = dump
        self._printing = printing
        self._arrivals: set[asyncio.Task[Any]] = set()
        self._heir: TransferSender | None = None
        self._hurry_at = float("inf")
        self.ends_at = float("inf")
        self.grace_s = load.graceful_timeout_s
        self._stays = False
        self._has_closed = False
        self._stuck_told = 0
        self._leased = LeasedTasks(app.once_tasks, self._send)
        app.broadcasts.carrier = self._carry

    def _carry(self, octets: bytes) -> bool:
        """Give a message to the master for all others; False: there is no room."""
        return self._channel.offer(Broadcast(octets))

    def _send(self, message: Message) -> None:
        if self._channel.is_open:  # else the master is gone
            self._channel.send(message)

    async def run(self, loop: asyncio.AbstractEventLoop) -> None:
        """Run from boot to the last ``on_stop`` hook.

        Raises:
            LoadError: An ``on_start`` hook raised.
        """
        self._loop = loop
        self._drain_order: asyncio.Future[Drain] = loop.create_future()
        self._taking_queue: asyncio.Task[None] | None = None
        raise_descriptor_limit()
        self._place_metrics()
        self._server = self._make_server(loop)
        self._check_schemes()
        if self._load.counts_routes:
            self._server.record_responses(RouteCounter(self._row.routes))
        self._heartbeat = Heartbeat(self._row, self._server, self._gateways, loop)
        self._dump.watch(self._server, loop)
        self._listeners = WorkerListeners(self._server, self._queues, self._is_orphan)
        self._channel = LoopChannel(
            self._channel_sock, loop, self._handle_message, self._on_master_gone
        )
        self._thread = threading.get_ident()
        self._own.undo_in_children(self._close_in_child)
        if not await self._boots():
            return
        collector = CollectorTuning(None, is_wanted=self._app.tune_gc)
        with collector:
            await self._accept_until_told(collector.look)

    async def _accept_until_told(self, on_beat: Callable[[], object]) -> None:
        # Not before: until the hooks have run, a TERM ends the process by its default
        # action, and there is nothing to drain.
        self._own.handle(signal.SIGTERM, self._on_term)
        self._heartbeat.begin(on_beat)
        if not self._order.is_canary:
            self._listeners.open()
        is_tls = bool(self._tls or self._app.tls)
        self._channel.send(Ready(is_tls, self._leased.describe()))
        await self._end(await self._drain_order)
        self._heartbeat.count()  # of the last requests no beat has told

    def _place_metrics(self) -> None:
        """Put the metrics of the app where they outlive this worker."""
        table, bridge = self._app.metrics.table, find_bridge()
        store = RowCells(self._row.app)
        try:
            table.move(store)
        except ConfigurationError as error:
            reason = f"{self._load.app}: {error}"
            raise LoadError(ExitCode.APP_FAILED, reason) from error
        # What the app forks must not write over what its parent counts.
        self._own.undo_in_children(lambda: table.move(LocalCells()))
        if bridge is not None:
            bridge.move(store)
            self._own.undo_in_children(bridge.leave)

    def _check_schemes(self) -> None:
        schemes = {queue.terms.scheme for queue in self._queues}
        if "https" in schemes and not self._server.speaks_tls:
            raise LoadError(
                ExitCode.USAGE,
                "--bind https://...: there is no certificate: give --certfile, or the "
                "App its tls",
            )

    def _make_server(self, loop: asyncio.AbstractEventLoop) -> Server:
        overrides = self._load.overrides
        self._gateways = configure_foreign(self._app, self._load.gateway)
        for gateway in self._gateways:
            gateway.on_stuck = self._tell_stuck
        try:
            self._access_log = make_access_log(
                self._app, overrides, loop, str(self._order.slot), self._load.folder
            )
            with working_in(self._load.folder):
                return make_server(
                    self._app,
                    overrides,
                    loop,
                    tls=self._tls,
                    access_log=self._access_log,
                )
        except ConfigurationError as error:
            reason = f"{self._load.app}: {error}"
            raise LoadError(ExitCode.APP_FAILED, reason) from error

    async def _boots(self) -> bool:
        """Run the app's ``on_start`` hooks; False when told to end meanwhile."""
        boot = self._loop.create_task(self._app.init())
        await asyncio.wait(
            (boot, self._drain_order), return_when=asyncio.FIRST_COMPLETED
        )
        # Told to end while the hooks run: they get a moment for their ``finally``
        # blocks, and what they do not finish is left to the exit of the process.
        if not boot.done():
            boot.cancel()
            await asyncio.wait((boot,), timeout=_HURRY_AFTER_S)
            return False
        try:
            # BaseException: a hook that calls ``sys.exit`` has failed to start, and the
            # master must hear why.
            boot.result()
        except BaseException as error:
            raise describe_failure(error, f"{self._load.app} failed to start") from None
        return True

    def _close_in_child(self) -> None:
        """Close what is the worker's in a child that the app has forked.

        A child that comes back to the loop would serve beside the worker, from
        the same connections: it is ended there.
        """
        disconnect_sockets(*self._server.list_sockets())
        replace_epolls(find_epoll(self._loop), *self._server.list_epolls())
        if threading.get_ident() == self._thread:
            forget_ready(self._loop)
            self._loop.call_soon(end_escaped_task, asyncio.current_task(self._loop))

    # What the master says

    def _handle_message(self, message: Message, fds: list[int]) -> None:  # noqa: C901 - a table
        if isinstance(message, ReopenLogs):
            self._reopen_logs(fds)
            return
        sockets = take_listeners(fds)
        match message:
            case Drain():
                self._ask_to_drain(message, sockets)
                return
            case TakeConnections():
                self._take_connections(sockets)
                return
            case IgnoreTerm():
                self._ignore_term()
            case Renew(count):
                self._server.renew_connections(count)
            case Lease(last):
                self._leased.begin(last)
            case Broadcast(payload):
                self._app.broadcasts.receive(payload)
            case Admit() if not self._drain_order.done():
                self._listeners.open()
            case Adopt(slot, terms) if not self._drain_order.done():
                self._listeners.adopt(slot, pair(sockets, terms))
                return
            case Listen(terms) if not self._drain_order.done():
                self._replace_listeners(pair(sockets, terms))
                return
            case ServeConnection():
                self._serve(sockets)
                return
            case Release(slot):
                self._listeners.release(slot)
            case Admit() | Adopt() | Listen():
                pass  # too late: it is about to leave
            case _:
                log.warning("an unknown order from the master is ignored: %r", message)
        for sock in sockets:
            sock.close()

    def _replace_listeners(self, queues: list[Queue]) -> None:
        try:
            self._listeners.replace(queues)
        except OSError as error:  # of a descriptor that the app has closed, or reused
            log.error("cannot accept from its listener again: %s", error.strerror)

    def _ignore_term(self) -> None:
        self._stays = True
        if self._has_closed and not self._drain_order.done():
            self._listeners.reopen()  # a TERM to all was faster than the master's word

    def _reopen_logs(self, fds: list[int]) -> None:
        self._printing.reopen(fds)
        if self._access_log is not None:
            self._access_log.reopen()

    def _serve(self, connections: list[socket.socket]) -> None:
        for sock in connections:
            self._begin_serving(self._server.serve(sock))

    def _begin_serving(self, arrival: Coroutine[Any, Any, object]) -> None:
        task = self._loop.create_task(arrival)
        self._arrivals.add(task)
        task.add_done_callback(self._arrivals.discard)

    # How it ends

    def _take_connections(self, sockets: list[socket.socket]) -> None:
        def resume(connection: socket.socket, transfer: Transfer) -> None:
            self._begin_serving(self._server.resume(connection, transfer))

        for sock in sockets:
            TransferReceiver(sock, self._loop, resume)

    def _ask_to_drain(
        self, order: Drain, sockets: Sequence[socket.socket] = ()
    ) -> None:
        for sock in sockets:
            self._heir = TransferSender(sock)
            self._server.send_connections(self._heir.send)
        if not self._drain_order.done():
            self._drain_order.set_result(order)
        elif order.is_final and self._taking_queue is None:
            # It drains already, by its own TERM: on a busy machine the master may
            # read its own TERM later. Nobody else will take the queue.
            self._taking_queue = self._loop.create_task(self._take_queue())

    async def _take_queue(self) -> None:
        if not self._drain_order.result().is_final:
            await self._listeners.accept_last()

    async def _drained_by(self, ends_at: float) -> bool:
        """Wait until everything is answered; False: by then it was not."""
        is_drained = await self._server.drained_within(ends_at - self._loop.time())
        if self._taking_queue is not None:
            await self._taking_queue
            is_drained = await self._server.drained_within(ends_at - self._loop.time())
        return is_drained

    def _on_master_gone(self) -> None:
        self._printing.release()
        if not self._drain_order.done():
            log.warning(
                "the master is gone: this worker answers what it has, then ends"
            )
        self._ask_to_drain(Drain(self._load.graceful_timeout_s, is_final=True))

    def _is_orphan(self) -> bool:
        # The kernel gives the children of a process that has died to another one before
        # it sends them the death signal, so the parent tells which TERM one is.
        return os.getppid() != self._load.master_pid

    def _on_term(self, *_: Any) -> None:
        """Handle SIGTERM, between any two bytecodes, in a blocked loop too.

        An orphan takes its whole queue, since nobody else will. Otherwise the
        master says what is to be done: it may have been sent TERM as well.
        """
        is_orphan = self._is_orphan()
        if is_orphan:
            self._listeners.take_all_and_shut()
            grace_s = self._load.graceful_timeout_s
            if not self._drain_order.done():
                signal.setitimer(signal.ITIMER_REAL, grace_s + _ALARM_SLACK_S)
        elif not self._stays:
            self._has_closed = True
            self._listeners.close()
        # Only this wakes a loop that waits for its sockets: after the handler Python
        # takes up the interrupted system call again (PEP 475).
        self._loop.call_soon_threadsafe(self._term_in_loop, is_orphan)

    def _term_in_loop(self, is_orphan: bool) -> None:
        # When everybody was sent TERM, the master's own order is under way, and
        # says more: that nobody comes after, and the queue must be taken; or that
        # the service serves on for its delay.
        wait_s = 0.0 if is_orphan else _DRAIN_WAIT_S
        self._loop.call_later(wait_s, self._drain_by_term, is_orphan)
        # A second word from the master is TERM too: the grace period is over.
        # Not so the TERM that systemd sends to everybody at the same time.
        if self._loop.time() >= self._hurry_at:
            self._server.cancel()

    def _drain_by_term(self, is_orphan: bool) -> None:
        if is_orphan or not self._stays:
            self._ask_to_drain(Drain(self._load.graceful_timeout_s, is_orphan))

    async def _end(self, order: Drain) -> None:
        began_at = self._loop.time()
        self.grace_s = order.grace_s
        self.ends_at = monotonic() + order.grace_s
        hooks_s = min(_HOOKS_MOST_S, order.grace_s * _HOOKS_SHARE)
        cleanup_s = min(_CLEANUP_MOST_S, order.grace_s * _CLEANUP_SHARE)
        self._hurry_at = began_at + _HURRY_AFTER_S
        # The default action ends the process, whatever Python code or C code is at
        # work: a handler would wait for the interpreter. An app that has its own alarm
        # loses it here.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, order.grace_s + _ALARM_SLACK_S)
        idle_s = self._load.drain_idle_s
        # Who is told last still needs time to say its own farewell.
        room_s = (order.grace_s - hooks_s - cleanup_s - idle_s) * _FAREWELL_SHARE
        farewell_s = min(self._load.farewell_window_s, max(room_s, 0.0))
        self._server.start_draining(idle_s, farewell_s)
        hooks = self._loop.create_task(self._app.drain_hooks())
        self._returning = self._loop.create_task(self._leased.end())
        # Otherwise the queue belongs to the worker that comes after, and stays open.
        if order.is_final:
            await self._listeners.accept_last()
        else:
            self._listeners.close()
        ends_at = began_at + order.grace_s - hooks_s - cleanup_s
        if not await self._drained_by(ends_at):
            count = self._server.in_flight
            left = count_of(count, "request") if count else "what is left"
            text = (
                f"the share of requests in the grace period of {order.grace_s:g} s "
                f"is over, cutting {left}"
            )
            self._send_event(WorkerEvent("requests_cut", text))
            self._server.cancel()
            await self._server.drained_within(cleanup_s)
        # The drain hooks may run for the whole drain, not longer: the ``on_stop`` hooks
        # follow in time that was kept for them.
        hooks.cancel()
        self._tell_of_transfers()
        await self._stop_app(hooks_s)
        self._server.close()
        await self._join_executor()

    def _tell_of_transfers(self) -> None:
        if self._heir is not None and self._heir.count:
            what = count_of(self._heir.count, "connection")
            log.info("%s went on in another worker", what)

    async def _join_executor(self) -> None:
        """Wait for the threads of the loop's executor, while the loop still runs.

        They may wait for it themselves.
        """
        # A task of its own, which goes on when the wait for it is over. To cancel
        # ``shutdown_default_executor`` would have it join its thread in a ``finally``,
        # without an end.
        over = self._loop.create_task(self._loop.shutdown_default_executor())
        await asyncio.wait((over,), timeout=max(self._left_s(), 0.0))

    def _left_s(self) -> float:
        return self.ends_at - monotonic()

    def _tell_stuck(self, text: str, stack: str) -> None:
        """Tell of threads that do not come back, in the log from some events on."""
        self._stuck_told += 1
        is_over = self._drain_order.done()
        if self._stuck_told > (_STUCK_EVENTS if is_over else _STUCK_EVENTS_EARLY):
            log.warning("%s\n%s", text, Lines(stack.rstrip()))
        else:
            self._send_event(WorkerEvent("thread_stuck", text, stack))

    def _send_event(self, said: WorkerEvent) -> None:
        """Send an event to the master; when it is gone, log it."""
        if self._channel.is_open:
            self._channel.send(said)
        else:
            log.warning("%s", said.text)
            if said.traceback:
                log.warning("with:\n%s", Lines(said.traceback.rstrip()))

    async def _stop_app(self, hooks_s: float) -> None:
        try:
            async with asyncio.timeout(hooks_s):
                await self._app.stop_hooks()
        except TimeoutError:
            text = f"on_stop hooks took longer than {hooks_s:.1f} s: they are cut"
            self._send_event(WorkerEvent("stop_hook_failed", text))
        except (Exception, SystemExit) as error:
            if not self._own.is_at_home():
                raise  # the end of what a hook has forked
            failure = describe_failure(error, "an on_stop hook raised")
            text = f"{failure.reason}; the worker goes on ending"
            self._send_event(WorkerEvent("stop_hook_failed", text, failure.frames))
        # After the hooks, which may need tasks of the app until then.
        rest = asyncio.all_tasks(self._loop) - {asyncio.current_task()}
        for task in rest:
            task.cancel()
        if rest:
            await asyncio.wait(rest, timeout=_REST_S)
