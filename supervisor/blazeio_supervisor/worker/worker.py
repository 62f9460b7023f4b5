"""Everything that a worker does after the fork, up to serving and beyond it.

    become a worker -> load the app -> serve (``serve.py``) -> exit

The loop is made here, after the fork: an event loop shared by two processes
passes the events of each to the other.
"""

import logging
import os
import signal
import socket
from time import monotonic  # an app may put another clock into ``time``
from typing import NoReturn

from setproctitle import setproctitle

from blazeio.app import runner
from blazeio.app.app import App
from blazeio.protocol.process import (
    get_loop,
    has_loop,
    run_through,
    use_loop,
)
from blazeio.protocol.tls import TlsConfig
from blazeio_supervisor import api
from blazeio_supervisor.config.command_line import AppPath
from blazeio_supervisor.errors import ExitCode
from blazeio_supervisor.ipc.channel import receive, send, take_listeners
from blazeio_supervisor.ipc.messages import (
    CHANNEL_CLOSED,
    Address,
    Failed,
    Fork,
    Importing,
    Listen,
    Load,
    ReopenLogs,
    WorkerEvent,
)
from blazeio_supervisor.ipc.processes import (
    end_processes,
    find_tracker,
    list_descendants,
    set_parent_death_signal,
)
from blazeio_supervisor.ipc.scoreboard import Row
from blazeio_supervisor.ipc.signals import PROFILE_SIGNAL, is_still, name_socket
from blazeio_supervisor.log.formats import escape_line
from blazeio_supervisor.log.setup import configure_logs
from blazeio_supervisor.sockets.reuseport import pair
from blazeio_supervisor.worker.import_app import (
    LoadError,
    describe_failure,
    load_app,
    run_script,
    suggest_module,
    suggest_package,
)
from blazeio_supervisor.worker.overrides import add_tasks, add_to_app, make_adopter
from blazeio_supervisor.worker.process import (
    OwnInstallations,
    Printing,
    disconnect_sockets,
    end_escaped_child,
    end_forked,
    end_now,
    leave_exit_steps_to_parent,
    run_exit_steps,
)
from blazeio_supervisor.worker.profiler import ProfileOrders
from blazeio_supervisor.worker.serve import WorkerServer
from blazeio_supervisor.worker.stack_dump import StackDump

log = logging.getLogger("blazeio.worker")

_IMPORTED_S = 0.5  # between SIGTERM and SIGKILL


class Worker:
    """A worker process.

    Args:
        load: What the generation was started with.
        order: What this worker is.
        path: The APP argument.
        app: As the forkserver imported it; None: load it here.
        tls: What the operator's certificates make; None: the App's own count.
        fds: The channel's end, where the stacks go, this life's row of the
            scoreboard, where to print if that is captured, then the listeners.
        printing: Where this process writes.
        own: What is installed in it, and undone in what the app forks.
    """

    def __init__(
        self,
        load: Load,
        order: Fork,
        path: AppPath,
        app: App | None,
        tls: TlsConfig | None,
        fds: list[int],
        printing: Printing,
        own: OwnInstallations,
    ) -> None:
        self._own = own
        self._load = load
        self._order = order
        self._path = path
        self._app = app
        self._tls = tls
        self._row = Row(fds[2])
        # The mapping stays when its descriptor is closed (mmap(2)), and a worker then
        # has one descriptor less that the app could close.
        self._row.keep_mapping()
        self._channel = socket.socket(fileno=fds[0])
        self._channel.settimeout(None)  # whatever default the app has set
        self._channel_name = name_socket(self._channel)
        self._printing = printing
        first = len(fds) - len(order.terms)
        for output in fds[3:first]:
            printing.capture(output)
        self._queues = pair(take_listeners(fds[first:]), order.terms)
        self._title = (
            f"worker {order.slot} gen {load.generation} [{escape_line(path.text)}]"
        )
        self._has_served = False
        self._ends_at = float("inf")
        self._grace_s = load.graceful_timeout_s
        self._imported: list[int] = []
        name = f"worker={order.worker} slot={order.slot} gen={load.generation}"
        asker = socket.socket(fileno=fds[1])
        asker.settimeout(None)
        self._dump = StackDump(f"{name} pid={os.getpid()}", asker)
        self._profiles = ProfileOrders(asker, lambda: self._dump.loop)

    def run(self) -> NoReturn:
        """Run the worker; never returns."""
        self._become()
        try:
            self._load_and_serve()
        except LoadError as error:
            self._fail(error)
        if not self._own.is_at_home():  # a script has forked, or what it imports
            end_forked(None)
        latest = monotonic() + self._load.graceful_timeout_s
        run_exit_steps(min(self._ends_at, latest), self._report_cut)
        self._end_imported()
        end_now(ExitCode.OK)

    def _end_imported(self) -> None:
        """End the processes that the import has started, if it was this worker's."""
        left = set(self._imported) & set(list_descendants(os.getpid()))
        end_processes(left - {find_tracker()}, _IMPORTED_S)

    def _report_cut(self, text: str) -> None:
        line = f"the grace period of {self._grace_s:g} s is over, {text}"
        try:
            send(self._channel, WorkerEvent("threads_cut", line))
        except OSError:  # the master is gone
            log.warning("%s", line)

    def _become(self) -> None:
        """Become a worker, after the fork."""
        leave_exit_steps_to_parent()
        origin, order = self._printing.origin, self._order
        origin.worker, origin.slot, origin.pid = order.worker, order.slot, os.getpid()
        self._dump.arm(self._own)
        self._own.handle(PROFILE_SIGNAL, self._profiles.begin)
        self._own.undo_in_children(self._close_in_child)
        self._own.unblock(signal.SIGTERM)
        setproctitle(f"blazeio: {self._title}")
        for name, value in self._load.slot_env:
            os.environ[name] = value.replace("{slot}", str(order.slot))
        # A fork clears it, and so does a change of user (prctl(2), PR_SET_PDEATHSIG).
        # It tells of the parent of this moment, which is the master by now, so a look
        # at the parent follows: one that has died before this line sends no signal.
        set_parent_death_signal(signal.SIGTERM)
        if os.getppid() != self._load.master_pid:
            end_now(ExitCode.OK)  # it died before its death was watched for
        if self._load.cpus:
            cpus = self._load.cpus
            os.sched_setaffinity(0, {cpus[self._order.slot % len(cpus)]})

    def _close_in_child(self) -> None:
        """Close the channel and the listeners in a child of the worker."""
        listeners = (queue.sock.fileno() for queue in self._queues)
        disconnect_sockets(self._channel.fileno(), *listeners)
        setproctitle(f"blazeio: child of {self._title}")

    def _fail(self, error: LoadError) -> NoReturn:
        if not self._own.is_at_home():
            end_forked(error.__cause__ or error.__context__)
        self._require_channel()
        try:
            send(self._channel, Failed(error.code, error.reason, error.frames))
        except OSError:
            pass  # the master is gone; nobody is left to tell
        end_now(error.code)

    def _require_channel(self) -> None:
        """Exit if the app has closed the channel: its number may be another file."""
        if not is_still(self._channel, self._channel_name):
            end_now(CHANNEL_CLOSED)

    def _load_and_serve(self) -> None:
        if self._path.script:
            self._run_script()
            return
        if self._app is None:
            self._app = self._load_app()
            self._imported = list_descendants(os.getpid())
        self._serve(self._app)

    def _load_app(self) -> App:
        send(self._channel, Importing())
        return load_app(
            self._path, make_adopter(self._load), is_factory=self._load.is_factory
        )

    def _run_script(self) -> None:
        runner.run_hook.set(self._serve)
        send(self._channel, Importing())
        try:
            run_script(self._path)
        except LoadError:
            raise  # there is no such file
        except SystemExit as error:
            if self._has_served:
                return  # sys.exit() after runner(), as scripts do
            what = f"{self._path.text} exited before web.runner()"
            raise describe_failure(error, what, self._code()) from error
        except BaseException as error:
            what = f"{self._path.text} failed"
            failure = describe_failure(error, what, self._code())
            failure.reason += suggest_package(error, self._path.script)
            raise failure from error
        if not self._has_served:
            raise LoadError(
                ExitCode.NOT_IMPORTABLE,
                f"{self._path.text} ended without calling web.runner()"
                f"{suggest_module(self._path.script)}",
            )

    def _code(self) -> ExitCode:
        """Return what a script's failure is: of its import, until it serves."""
        return ExitCode.APP_FAILED if self._has_served else ExitCode.NOT_IMPORTABLE

    def _serve(self, app: App) -> None:
        """Serve until the end of this worker. Called by ``web.runner()`` too."""
        if not self._own.is_at_home():
            end_escaped_child()
        self._require_channel()
        printing = self._printing
        configure_logs(self._load.log, printing.log_fd, printing.origin)
        add_tasks(app, self._load.tasks)
        api.add_to(app)
        add_to_app(app, self._load.additions)
        # No address is known before the app says its own; with ``--bind`` the listeners
        # came with the order.
        if not self._order.is_bound:
            self._ask_for_listeners(app)
        self._has_served = True
        if self._load.loop is not None and not has_loop():
            use_loop(self._load.loop)  # the operator's choice, whatever the app says
        loop = get_loop()
        serving = WorkerServer(
            app,
            self._tls,
            self._load,
            self._order,
            self._row,
            self._channel,
            self._queues,
            self._dump,
            self._printing,
            self._own,
        )
        try:
            run_through(loop, loop.create_task(serving.run(loop)))
            self._ends_at, self._grace_s = serving.ends_at, serving.grace_s
        except LoadError as error:
            # Here, and not by raising it further: a script around us may catch
            # everything.
            self._fail(error)
        except BaseException as error:  # our fault, or a fork's end
            if not self._own.is_at_home():
                end_forked(error)
            what = f"{self._load.app} crashed"
            self._fail(describe_failure(error, what, ExitCode.CRASHED))

    def _ask_for_listeners(self, app: App) -> None:
        """Send the App's address; the master binds it, if it is not bound."""
        send(self._channel, Address(app.host, app.port))
        received = receive(self._channel)
        while received is not None and isinstance(received[0], ReopenLogs):
            self._printing.reopen(received[1])  # no access log is open yet
            received = receive(self._channel)
        if received is None or not isinstance(received[0], Listen):
            end_now(ExitCode.OK)  # the service ends before it began
        self._queues = pair(take_listeners(received[1]), received[0].terms)
