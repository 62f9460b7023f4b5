"""The master's side of the forkservers: one per generation.

Decides nothing: what happens becomes a fact for the planner.
"""

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence

from msgspec import Struct

from blazeio_supervisor.config.settings import Settings
from blazeio_supervisor.errors import ExitCode, count_of, describe_exit
from blazeio_supervisor.fleet.actions import Spawn, StopMode
from blazeio_supervisor.fleet.facts import (
    ForkserverExited,
    ForkserverMisbehaved,
    ForkserverReady,
)
from blazeio_supervisor.ipc.channel import ChildChannel, ChildFault, Sendable, send
from blazeio_supervisor.ipc.inspection import StackCall, Stacks
from blazeio_supervisor.ipc.messages import (
    Failed,
    Forked,
    ForkFailed,
    FromForkserver,
    Importing,
    Load,
    Loaded,
    Quit,
    ReopenLogs,
    Unsafe,
)
from blazeio_supervisor.ipc.packing import parse_from_forkserver
from blazeio_supervisor.ipc.protocol import find_protocol
from blazeio_supervisor.ipc.signals import STACK_SIGNAL, make_child_pair
from blazeio_supervisor.isolation import list_too_late
from blazeio_supervisor.log.formats import LogOrigin
from blazeio_supervisor.log.setup import note
from blazeio_supervisor.master.children import (
    CLOSED_ITS_CHANNEL,
    ChildContext,
    end_orphans_of,
    name_children_of,
)
from blazeio_supervisor.master.worker_record import explain_silence
from blazeio_supervisor.master.workers import Workers
from blazeio_supervisor.worker.starting import EarlyForkserver, spawn_forkserver

# The order by which a forkserver loads a generation, and a description of it.


def describe_loading(why_not_once: str) -> str:
    """Describe which process imports the app, and why not the forkserver."""
    if not why_not_once:
        return "once for all workers"
    return (
        f"by each worker ({why_not_once}): one that is replaced runs the code that is "
        "on the disk by then"
    )


def make_load(settings: Settings, generation: int, *, is_preload: bool) -> Load:
    """Return the order by which a forkserver loads a generation."""
    return Load(
        generation=generation,
        app=settings.app.text,
        folder=settings.folder,
        app_dir=settings.import_folder,
        is_preload=is_preload,
        loop=settings.loop,
        graceful_timeout_s=settings.graceful_timeout_s,
        drain_idle_s=settings.drain_s,
        farewell_window_s=settings.farewell_s,
        log=settings.log_terms,
        master_pid=os.getpid(),
        overrides=settings.overrides,
        identity=settings.identity,
        umask=settings.umask,
        is_factory=settings.factory,
        cpus=settings.cpu_affinity,
        is_forced=settings.preload is True,
        gateway=settings.gateway,
        bridges_prometheus=settings.bridge_prometheus,
        counts_routes=settings.rollback_5xx is not None,
        slot_env=settings.slot_env,
        warm=settings.warm,
        tasks=settings.tasks,
        additions=settings.additions,
    )


MOST_FORKS_UNREAD = 4096
"""Orders that wait for a forkserver: it carries out one after the other."""
_NO_WORD = (
    "blazeio itself could not be started, the log has why: is its installation whole?"
)


class ForkserverRecord(Struct):
    """What the master has of one forkserver: a value that goes over an upgrade.

    Attributes:
        is_preload: It imports the app; else its workers do.
        loading: Which process imports the app, and why, in words.
        is_importing: It runs code of the app.
        has_loaded: It forks by now.
        has_failed: It has sent ``Failed``, its last message.
        has_misbehaved: It did what none of ours does, and is being ended.
        is_unsafe: Its import cannot be forked; another one takes its place.
        is_stopped: It was ordered to end.
        stacks: Asks it for its stacks, until it has loaded.
    """

    generation: int
    pid: int
    channel: ChildChannel[FromForkserver]
    is_preload: bool
    loading: str
    has_loaded: bool = False
    is_unsafe: bool = False
    is_stopped: bool = False
    reason: str = ""
    has_failed: bool = False
    has_misbehaved: bool = False
    stacks: StackCall | None = None
    is_importing: bool = False

    def close_stacks(self) -> None:
        """Close the socket for stacks: it has loaded, or is gone."""
        if self.stacks is not None:
            self.stacks.close()
            self.stacks = None

    def check(self, message: FromForkserver) -> None:
        """Note that this message has come, and whether it may come.

        Raises:
            ChildFault: A forkserver sends no such message, or not now.
        """
        is_over = self.has_failed or self.is_unsafe
        match message:
            case Importing():
                is_due = not (is_over or self.has_loaded or self.is_importing)
                self.is_importing = True
            case Loaded():
                is_due = not (is_over or self.has_loaded)
            case Unsafe():
                is_due = self.is_preload and not (is_over or self.has_loaded)
            case Forked() | ForkFailed():
                is_due = self.has_loaded and not is_over
            case Failed():
                is_due, self.has_failed = not is_over, True
        if not is_due:
            raise ChildFault(f"it said {type(message).__name__} when none does")


class Forkservers:
    """Every forkserver that lives.

    Args:
        child_context: What every child needs.
        settings_of: Returns the settings that a generation is loaded with.
        workers: Keep the workers that they fork.
        records: Of the image before, by generation; they are shared with this object.

    Attributes:
        early: The interpreter of the first one, where it was started already.
        on_first: Called once, when the first worker was ordered.
    """

    def __init__(
        self,
        child_context: ChildContext,
        settings_of: Callable[[int], Settings],
        workers: Workers,
        records: dict[int, ForkserverRecord] | None = None,
    ) -> None:
        self._child_context = child_context
        self._settings_of = settings_of
        self._workers = workers
        self._records = {} if records is None else records
        self.early: EarlyForkserver | None = None
        self.on_first: Callable[[], object] | None = None

    def start(self, generation: int) -> None:
        """Start the interpreter of a new generation."""
        settings = self._settings_of(generation)
        if settings.app.script:
            self._start(generation, is_preload=False, why="a script")
        elif settings.preload is not False:
            self._start(generation, is_preload=True)
        else:
            self._start(generation, is_preload=False, why="--no-preload")

    def _start(self, generation: int, *, is_preload: bool, why: str = "") -> None:
        settings = self._settings_of(generation)
        load = make_load(settings, generation, is_preload=is_preload)
        if settings.is_privileged:
            _warn_of_late(settings, generation)
        asker, answerer = socket.socketpair()
        ends: list[Sendable] = [answerer]
        origin = LogOrigin(generation=generation)
        if self._child_context.captured is not None:
            ends.append(self._child_context.captured.open(origin))
        try:
            own, pid = self._spawn(settings)
            # It cannot block, since the buffer of a new socket (net.core.wmem_default,
            # 208 KiB) holds more than the longest message, 64 KiB.
            with contextlib.suppress(ConnectionError):  # its exit is told
                send(own, load, [end.fileno() for end in ends])
        except OSError as error:
            asker.close()
            program = settings.interpreter or sys.executable
            reason = f"cannot start {program}: {error.strerror}"
            self._child_context.put_fact(
                ForkserverExited(generation, ExitCode.CRASHED, reason)
            )
            return
        finally:
            for end in ends:
                end.close()
        origin.pid = pid
        loading, channel = describe_loading(why), ChildChannel[FromForkserver](own)
        record = ForkserverRecord(generation, pid, channel, is_preload, loading)
        record.stacks = StackCall(asker)
        self._records[generation] = record
        self._listen(record)
        record.stacks.start(
            self._child_context.loop, lambda reason: self._report_fault(record, reason)
        )
        self._watch(record)

    def _spawn(self, settings: Settings) -> tuple[socket.socket, int]:
        """Start the interpreter, or take the one that was started early.

        Returns:
            The master's end of its channel, and its pid.
        """
        variables, interpreter = settings.environment, settings.interpreter
        is_privileged = settings.is_privileged
        early, self.early = self.early, None
        if early is not None:
            taken = early.take(
                variables,
                is_privileged=is_privileged,
                interpreter=interpreter,
                protocol=find_protocol(),
            )
            if taken is not None:
                return taken
        own, theirs = make_child_pair()
        # The end of a channel is only seen when nobody has its other end open.
        with theirs:
            try:
                pid = spawn_forkserver(
                    theirs,
                    variables,
                    is_privileged=is_privileged,
                    interpreter=interpreter,
                    protocol=find_protocol(),
                )
            except OSError:
                own.close()
                raise
        return own, pid

    def _listen(self, record: ForkserverRecord) -> None:
        self._child_context.listen(
            record.channel,
            parse_from_forkserver,
            lambda message, _: self._on_message(record, message),
            lambda reason: self._report_fault(record, reason),
            lambda: self._on_channel_closed(record),
            lambda: record.pid,
            MOST_FORKS_UNREAD,
        )

    def _on_channel_closed(self, record: ForkserverRecord) -> None:
        if not record.is_stopped:
            self._report_fault(record, CLOSED_ITS_CHANNEL)

    def _report_fault(self, record: ForkserverRecord, reason: str) -> None:
        """End a forkserver after a fault; nothing more is read from it."""
        is_there = self._records.get(record.generation) is record
        if not is_there or record.has_misbehaved:
            return
        record.has_misbehaved = True
        record.channel.close()
        record.reason = f"it misbehaved: {reason}"
        note(
            "misbehaved",
            f"what forks the workers is ended: {reason}",
            "WARNING",
            generation=record.generation,
            pid=record.pid,
        )
        self._child_context.put_fact(ForkserverMisbehaved(record.generation, reason))

    def _watch(self, record: ForkserverRecord) -> None:
        self._child_context.child_faults.add(
            record.pid, lambda reason: self._report_fault(record, reason)
        )
        self._child_context.reaper.watch(
            record.pid, lambda status: self._on_exit(record, status)
        )

    # Another image of the master

    @property
    def is_settled(self) -> bool:
        """Whether every channel is open, and no order waits to be sent."""
        return all(
            record.channel.is_settled and record.stacks is None
            for record in self._records.values()
        )

    def resume(self) -> None:
        """Read the channels that were taken over from the image before."""
        for record in self._records.values():
            self._listen(record)

    def watch_again(self) -> None:
        """Watch the end of each, also where it has ended meanwhile."""
        for record in list(self._records.values()):
            self._watch(record)

    def fork(self, spawn: Spawn) -> None:
        """Order a forkserver to fork a worker."""
        order, sockets = self._workers.prepare(spawn)
        record = self._records.get(spawn.generation)
        if record is not None:
            record.channel.send(order, sockets)
            if self.on_first is not None:
                self._child_context.loop.call_soon(self.on_first)
                self.on_first = None
        # The last ones are the listeners, which stay open in the master for the life of
        # their slot. What waits to be sent has duplicates, so the others may be closed
        # in any case.
        for theirs in sockets[: len(sockets) - len(order.terms)]:
            theirs.close()
        if record is None:
            self._workers.note_fork_failed(
                spawn.worker, "the process that forks it is gone"
            )

    def reopen_logs(self, files: Sequence[Sendable]) -> None:
        """Send the new log files, for the workers that are forked from now on."""
        for record in self._records.values():
            record.channel.send(ReopenLogs(), files)

    def list_unread(self) -> list[str]:
        """List those that have not read their orders."""
        records = self._records.values()
        return [f"gen={r.generation}" for r in records if r.channel.has_unread]

    def stop(self, generation: int, mode: StopMode) -> None:
        """End a forkserver; its workers live on."""
        record = self._records.get(generation)
        if record is None:
            return
        record.is_stopped = True
        if mode is StopMode.KILL:
            self._child_context.reaper.send_signal(record.pid, signal.SIGKILL)
        elif mode is StopMode.DRAIN and record.has_loaded:
            # In the queue behind the forks that it still owes: a signal would overtake
            # them.
            record.channel.send(Quit())
        else:
            # In the midst of an import it cannot listen, and has no children.
            self._child_context.reaper.send_signal(record.pid, signal.SIGTERM)

    def list_booting(self) -> list[tuple[int, int]]:
        """Return generation and pid of each that has not loaded yet."""
        records = self._records.values()
        return [
            (each.generation, each.pid) for each in records if each.stacks is not None
        ]

    async def ask_stacks(self, generation: int) -> Stacks:
        """Ask a forkserver that boots for its stacks; works during the import too."""
        record = self._records.get(generation)
        if record is None or record.stacks is None or not record.channel.is_open:
            return Stacks("", False)  # another program has taken its place, perhaps
        pid = record.pid
        return await record.stacks.ask(
            lambda: self._child_context.reaper.send_signal(pid, STACK_SIGNAL)
        )

    def has_preloaded(self, generation: int) -> bool:
        """Whether its workers share one import of the app."""
        record = self._records.get(generation)
        return record is not None and record.is_preload

    def _on_message(self, record: ForkserverRecord, message: FromForkserver) -> None:
        record.check(message)
        match message:
            case Importing():
                pass  # it is kept in the record
            case Loaded():
                self._note_loaded(record, message)
            case Forked(worker, pid):
                uid = self._find_uid(record.generation)
                self._workers.note_forked(worker, pid, record.generation, uid)
            case ForkFailed(worker, reason):
                self._workers.note_refused(worker, reason, record.generation)
            case Unsafe():
                self._note_unsafe(record, message)
            case Failed(_, reason, frames):
                record.reason = reason
                self._child_context.frames.print(frames, record.generation)

    def _find_uid(self, generation: int) -> int | None:
        identity = self._settings_of(generation).identity
        return None if identity is None else identity.uid

    def _note_loaded(self, record: ForkserverRecord, loaded: Loaded) -> None:
        record.has_loaded = True
        record.close_stacks()
        text = f"the app is imported {record.loading}"
        if loaded.warm_count:
            text += f", and was warmed {count_of(loaded.warm_count, 'time')}"
        note("loaded", text, generation=record.generation)
        if loaded.cold:
            text = f"not warm, each worker does it anew: {'; '.join(loaded.cold)}"
            note("warm_failed", text, "WARNING", generation=record.generation)

        def put_fact() -> None:
            # Called later, when the address is bound: by then this forkserver may have
            # ended, and another one may load the same generation.
            if self._records.get(record.generation) is record:
                self._child_context.put_fact(ForkserverReady(record.generation))

        if loaded.host is None:
            put_fact()
        else:
            self._child_context.note_scheme(record.generation, is_tls=loaded.is_tls)
            self._child_context.need_address(loaded.host, loaded.port, put_fact)

    def _note_unsafe(self, record: ForkserverRecord, unsafe: Unsafe) -> None:
        found = ", ".join(unsafe.findings)
        if unsafe.is_forced:
            what = (
                "all workers share it, as --preload says: answers may be mixed up, and "
                "threads are in none of them"
            )
        else:
            record.is_unsafe = True
            record.reason = found
            what = (
                "so each worker imports the app by itself, with more memory and a "
                "slower start"
            )
        note(
            "fork_unsafe",
            f"after the import {found}: {what}; what an on_start hook begins does no "
            "harm (--preload and --no-preload decide)",
            "WARNING",
            generation=record.generation,
        )

    def _on_exit(self, record: ForkserverRecord, status: int) -> None:
        # Its end is seen before what it wrote last is read, as of a worker.
        record.channel.read_rest()
        record.close_stacks()
        self._child_context.child_faults.forget(record.pid)
        del self._records[record.generation]
        if status < 0:
            title = name_children_of("forkserver", 0, record.generation)
            end_orphans_of(self._child_context.loop, title)
        # The same generation again, by an interpreter that leaves the import to its
        # workers. The planner does not hear of the first one, so the time to boot goes
        # on.
        if record.is_unsafe and not (record.is_stopped or record.has_misbehaved):
            why = record.reason
            self._start(record.generation, is_preload=False, why=why)
            return
        self._workers.forget_unanswered(record.generation)
        reason = record.reason
        if not record.is_stopped:
            reason = reason or self._child_context.oom_kills.explain(status)
            if reason or record.has_loaded:
                pass
            elif record.is_importing:
                status, reason = explain_silence(status, is_importing=True)
            elif status == ExitCode.CRASHED:
                reason = _NO_WORD
        # Before it has forked, the planner reports it, with what comes next.
        is_loss = record.has_loaded and not record.is_stopped
        note(
            "forkserver_exited",
            f"what forks the workers has ended: {describe_exit(status, reason)}",
            "WARNING" if is_loss else "DEBUG",
            generation=record.generation,
            pid=record.pid,
        )
        self._child_context.put_fact(
            ForkserverExited(record.generation, status, reason)
        )


def _warn_of_late(settings: Settings, generation: int) -> None:
    late = list_too_late(sorted(settings.environment))
    if late:
        text = (
            f"{', '.join(late)} (--env, --env-file): without effect, since with --user "
            "it is set in a program that runs already; set it for the supervisor itself"
        )
        note("variable_too_late", text, "WARNING", generation=generation)
