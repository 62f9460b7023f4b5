"""The master: facts to the planner, its actions to the hands. Never blocks.

Imports no app and runs no foreign code. It owns the listeners, the scoreboard
and every child; signals only note what was asked for.
"""

import asyncio
import os
import signal
import socket
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from setproctitle import setproctitle

from blazeio_supervisor.control.reloads import Reloads
from blazeio_supervisor.control.server import ControlServer
from blazeio_supervisor.control.status import Service
from blazeio_supervisor.errors import BindError, ExitCode, SupervisorError
from blazeio_supervisor.fleet.actions import (
    Action,
    Admit,
    Adopt,
    CheckHealth,
    DumpStack,
    End,
    Exit,
    LastCall,
    Notify,
    OpenSlot,
    Probe,
    Release,
    ReloadEnded,
    Report,
    Spawn,
    StartForkserver,
    Steer,
    StopForkserver,
)
from blazeio_supervisor.fleet.facts import (
    Fact,
    ParkAsked,
    ScaleAsked,
    StartAsked,
    StopAsked,
    Tick,
    WorkerExited,
)
from blazeio_supervisor.fleet.planner import Planner
from blazeio_supervisor.fleet.telling.words import count_of
from blazeio_supervisor.forkservers import Forkservers
from blazeio_supervisor.loading.watching import watch_files
from blazeio_supervisor.notify.probes import Probes
from blazeio_supervisor.notify.telling import Telling
from blazeio_supervisor.observe.banner import Banner
from blazeio_supervisor.observe.events.noting import note
from blazeio_supervisor.observe.events.ring import EventRing
from blazeio_supervisor.observe.health_path import HealthChecks
from blazeio_supervisor.observe.lines.captured import CapturedOutput
from blazeio_supervisor.observe.lines.log_file import LogFile
from blazeio_supervisor.observe.logs import FramesPrinter, set_level
from blazeio_supervisor.observe.memory import MemorySampler
from blazeio_supervisor.observe.metrics.exposition import Exposition
from blazeio_supervisor.observe.metrics.server import MetricsServer
from blazeio_supervisor.observe.scoreboard import RowLedger, Scoreboard, make_board
from blazeio_supervisor.options.in_force import SettingsInForce
from blazeio_supervisor.process.kernel import become_subreaper
from blazeio_supervisor.process.messages import Drain
from blazeio_supervisor.process.reaper import Reaper
from blazeio_supervisor.process.signals import has_terminal
from blazeio_supervisor.settings import Settings
from blazeio_supervisor.sockets.binding import Binding
from blazeio_supervisor.sockets.filters.steering import Steerer
from blazeio_supervisor.sockets.inherited import take_inherited
from blazeio_supervisor.sockets.listeners import Listeners
from blazeio_supervisor.upgrade.departure import Upgrades
from blazeio_supervisor.upgrade.parts import Parts
from blazeio_supervisor.upgrade.state import State
from blazeio_supervisor.workers import Workers

_STRANGERS_EVERY_S = 1.0


class Master:
    """One service, from its first socket to its last worker.

    Args:
        in_force: What the operator asked for, and asks for at each reload.
        log_file: Where the log goes; None: to standard error.
    """

    def __init__(
        self, in_force: SettingsInForce, log_file: LogFile | None = None
    ) -> None:
        self._in_force = in_force
        self._log_file = log_file
        self._settings = settings = in_force.settings
        self._policy = settings.make_policy()
        self._planner = Planner(self._policy, settings.workers, settings.make_rng())
        self._listeners = Listeners(
            settings.workers,
            unix_mode=settings.unix_mode,
            unix_owner=settings.unix_owner,
            backlog=settings.backlog,
        )
        self._steerer = Steerer(self._listeners)
        self._adopted: dict[int, int] = {}
        self._facts: list[Fact] = []
        self._timer: asyncio.TimerHandle | None = None
        self._beats_at = 0.0
        self._strangers_at = 0.0
        self._events = EventRing()
        self._has_begun = False
        self._is_quick = False
        self._is_stopping = False
        self._exit_code = ExitCode.OK

    async def run(self) -> int:
        """Serve until the end; gives the exit code."""
        self._events.attach()
        become_subreaper()
        self._listeners.inherit(take_inherited(self._settings.given_fds))
        self._knows_addresses = self._listeners.is_bound or bool(self._settings.binds)
        self._hire(asyncio.get_running_loop(), make_board(), time.monotonic())
        self._watch_signals()
        self._control.open(self._loop)
        if self._opens_metrics():
            if self._knows_addresses:
                self._binding.begin(self._settings.binds)
            else:
                self._begin()
        return await self.run_on()

    async def run_on(self) -> int:
        """Serve until the end, once it is begun or taken over."""
        setproctitle(f"blazeio: master [{self._settings.app.text}]")
        self._set_timer()
        beside = [self._loop.create_task(self._sampler.run())]
        if self._settings.reload:
            beside.append(self._loop.create_task(self._watch_code()))
        try:
            code = await self._over
        finally:
            for task in beside:
                task.cancel()
            await asyncio.wait(beside)
            self._listeners.shut()
            self._events.detach()
            self._metrics.close()
            if self._captured is not None:
                self._captured.close()
            await self._control.drain()
            self._control.close()
            await self._telling.end()
        return self._exit_code or code

    # Another image of the master

    def take_over(
        self,
        loop: asyncio.AbstractEventLoop,
        state: State,
        take: Callable[[int], socket.socket],
    ) -> None:
        """Go on where another one was frozen; no process hears of it yet."""
        self._hire(loop, os.dup(state.board_fd), state.started_at)
        self._events.attach()
        self._banner.note_taken_over()
        self._parts.thaw(state, take, loop)
        self._has_begun = True

    def rehearse(self, now: float) -> list[Action]:
        """Say what the planner wants first, at that time."""
        return self._planner.plan([*self._workers.read_beats(), Tick()], now)

    def watch_again(self) -> None:
        """Watch signals and processes in the place of the other one."""
        self._watch_signals()
        self._workers.watch_again()
        self._forkservers.watch_again()

    def note_arrival(self, state: State, failure: str) -> None:
        """It is done; ``failure`` as of ``Upgrades.note_arrival``."""
        workers = len(state.workers.workers)
        self._upgrades.note_arrival(state.handover, state.image, workers, failure)

    # The hands

    def _hire(
        self, loop: asyncio.AbstractEventLoop, board_fd: int, started_at: float
    ) -> None:
        self._loop = loop
        self._over: asyncio.Future[int] = loop.create_future()
        self._telling = Telling(self._settings.manager.address, loop)
        # Signals are for the main thread, which an exec leaves as the only one.
        loop.set_default_executor(ThreadPoolExecutor(1, "blazeio", _block_signals))
        frames = FramesPrinter()
        self._captured = None
        if self._settings.capture_output:
            terms = self._settings.log_terms
            self._captured = CapturedOutput(self._loop, terms)
        ledger = RowLedger(Scoreboard(board_fd))
        self._reaper = Reaper(self._loop)
        self._banner = Banner(self._settings, self._listeners)
        self._binding = Binding(self._listeners, self._note_bound, self._give_up)
        self._workers = Workers(
            self._loop,
            ledger,
            self._listeners,
            self._reaper,
            self._tell,
            self._binding.need,
            self._banner.note_scheme,
            frames,
            self._captured,
        )
        self._health_checks = HealthChecks(
            self._settings.health_path, self._workers.connect, self._tell
        )
        self._probes = Probes(self._workers.connect, self._tell)
        self._forkservers = Forkservers(
            self._loop,
            self._in_force.settings_of,
            board_fd,
            self._reaper,
            self._workers,
            self._tell,
            self._binding.need,
            self._banner.note_scheme,
            frames,
            self._captured,
        )
        self._sampler = MemorySampler(
            self._workers.list_pids,
            self._workers.note_memory,
            is_limited=self._policy.max_memory_bytes is not None,
        )
        self._reloads = Reloads(self._tell, frames, self._in_force)
        self._upgrades = Upgrades(
            self._planner,
            self._is_settled,
            lambda handover, image: self._parts.pack(handover, image),
            self._reaper,
            self._settings.upgrade_timeout_s,
        )
        service = Service(
            in_force=self._in_force,
            planner=self._planner,
            listeners=self._listeners,
            steerer=self._steerer,
            workers=self._workers,
            forkservers=self._forkservers,
            reloads=self._reloads,
            upgrades=self._upgrades,
            events=self._events,
            tell=self._tell,
            stop=self._stop,
            started_at=started_at,
            reopen_logs=self._reopen_logs,
        )
        exposition = Exposition(service)
        self._control = ControlServer(service, exposition)
        self._metrics = MetricsServer(service, exposition)

        self._parts = Parts(
            in_force=self._in_force,
            started_at=started_at,
            board_fd=board_fd,
            planner=self._planner,
            listeners=self._listeners,
            steerer=self._steerer,
            binding=self._binding,
            adopted=self._adopted,
            workers=self._workers,
            forkservers=self._forkservers,
            control=self._control,
            metrics=self._metrics,
            captured=self._captured,
            events=self._events,
        )

    def _opens_metrics(self) -> bool:
        address = self._settings.metrics_bind
        try:
            if address is not None:
                self._metrics.open(address, self._loop)
        except BindError as error:
            self._give_up(error)
            return False
        return True

    def _note_bound(self) -> None:
        self._store_listeners()
        self._banner.note_bound()
        if self._knows_addresses:
            self._begin()

    def _begin(self) -> None:
        self._has_begun = True
        self._tell(StartAsked(self._listeners.slot_count))
        # While the forkserver imports the app, this takes none of the start.
        self._loop.call_soon(self._upgrades.keep_image)

    def _store_listeners(self) -> None:
        """Have the service manager keep them, so that they outlive a restart."""
        for name in self._listeners.give_up_stored():
            self._telling.forget(name)
        room = self._settings.manager.store_count
        for name, sockets in self._listeners.lend(room):
            self._telling.store(name, sockets)
        left = self._listeners.count_own()
        if room and left:
            text = (
                f"{count_of(left, 'listener')} will not outlive a restart: "
                f"the unit's FileDescriptorStoreMax= is {room}"
            )
            note("not_stored", text, "WARNING")

    def _give_up(self, error: SupervisorError) -> None:
        """End at once: what the service needs cannot be had."""
        note("cannot_bind", str(error), "ERROR")
        cause = error.__cause__
        self._telling.fail(str(error), getattr(cause, "errno", None))
        self._exit_code = error.exit_code
        if self._has_begun:
            self._stop(True, "")
        else:
            self._over.set_result(error.exit_code)

    # Signals: they only note

    def _watch_signals(self) -> None:
        watch = self._loop.add_signal_handler
        watch(signal.SIGTERM, self._stop, False, "SIGTERM")
        watch(signal.SIGQUIT, self._stop, False, "SIGQUIT")
        watch(signal.SIGINT, self._stop, True, "SIGINT")
        watch(signal.SIGUSR1, self._reopen_logs)
        watch(signal.SIGHUP, self._reloads.ask, "SIGHUP")
        watch(signal.SIGUSR2, self._upgrades.ask, "SIGUSR2")
        watch(signal.SIGTTIN, self._tell, ScaleAsked(change=1, by="SIGTTIN"))
        watch(signal.SIGTTOU, self._tell, ScaleAsked(change=-1, by="SIGTTOU"))
        watch(signal.SIGWINCH, self._park)

    def _reopen_logs(self) -> str:
        failure = self._log_file.reopen() if self._log_file else ""
        if failure:
            note("logs_reopened", failure, "ERROR")
        else:
            note("logs_reopened", "the log and every access log are opened anew")
        files = [self._log_file.open_again()] if self._log_file else []
        self._workers.reopen_logs(files)
        self._forkservers.reopen_logs(files)
        for file in files:
            file.close()
        return failure

    def _park(self) -> None:
        if not has_terminal():  # else its window was resized
            self._tell(ParkAsked("SIGWINCH"))

    def _is_settled(self) -> bool:
        """Whether every fact was taken, and every order sent."""
        are_told = self._workers.is_settled and self._forkservers.is_settled
        return are_told and self._telling.notifier.is_settled and not self._facts

    def _stop(self, is_quick: bool, by: str) -> None:
        self._is_quick |= is_quick
        self._tell(StopAsked(is_quick, by))

    def _call_last(self) -> None:
        self._is_stopping = True
        self._binding.cancel()
        self._listeners.unlink()
        # Each worker empties its queue once more, and shuts it. A slot without
        # one refuses from now on, instead of leaving clients waiting for the
        # end of the service.
        attended = self._workers.serving_slots | self._adopted.keys()
        self._listeners.shut_slots_except(attended)
        self._stop_handshakes()

    def _stop_handshakes(self) -> None:
        try:
            self._listeners.stop_handshakes()
        except OSError as error:
            note(
                "not_held_off",
                "cannot hold off new connections while the last ones are taken: "
                f"{error.strerror}; one that comes in this instant may be reset",
            )

    async def _watch_code(self) -> None:
        """Have the code loaded anew whenever it changes, until cancelled."""
        settings = self._settings
        folders, patterns = settings.watched_folders, settings.reload_includes
        note("watching", f"{' '.join(folders)}: what changes there is loaded anew")
        await watch_files(
            folders, patterns, lambda names: self._reloads.ask(f"--reload ({names})")
        )

    # Facts in

    def _tell(self, fact: Fact) -> None:
        if not self._facts:
            self._loop.call_soon(self._turn)
        self._facts.append(fact)

    def _set_timer(self) -> None:
        at = self._beats_at + self._policy.beat_every_s
        deadline = self._planner.next_deadline_at()
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(min(at, deadline or at), self._note_time)

    def _note_time(self) -> None:
        now = time.monotonic()
        if now >= self._beats_at + self._policy.beat_every_s:
            self._beats_at = now
            self._facts += self._workers.read_beats()
        if now >= self._strangers_at and not self._workers.is_forking:
            self._strangers_at = now + _STRANGERS_EVERY_S
            self._workers.forget_old_kills(now)
            for pid in self._reaper.reap_strangers():
                note("reaped_stranger", "no process of ours", "DEBUG", pid=pid)
        self._facts.append(Tick())
        self._turn()

    def _turn(self) -> None:
        facts, self._facts = self._facts, []
        if not facts or self._over.done():
            return
        try:
            actions = self._planner.plan(facts, time.monotonic())
        except Exception:
            _note_fault("planner_failed", f"a fault of the supervisor, at {facts!r}")
            actions = []
        for action in actions:
            self._try(action)
        self._set_timer()

    # Actions out

    def _try(self, action: Action) -> None:
        try:
            self._perform(action)
        except Exception as error:
            text = f"a fault of the supervisor, at {action!r}: {error}"
            _note_fault("action_failed", text)
            if isinstance(action, Spawn):
                reason = f"{type(error).__name__}: {error}"
                self._tell(WorkerExited(action.worker, ExitCode.CRASHED, reason))

    def _perform(self, action: Action) -> None:  # noqa: C901 - one case per action
        match action:
            case StartForkserver(generation):
                self._apply(self._in_force.begin(generation))
                self._forkservers.start(generation)
            case StopForkserver(generation, ending):
                self._forkservers.stop(generation, ending)
            case Spawn():
                self._forkservers.fork(action)
            case Admit(worker):
                self._workers.admit(worker)
            case End(worker, ending):
                self._workers.end(worker, ending, self._make_drain())
            case DumpStack(worker, blocked_s):
                self._workers.dump_stack(worker, blocked_s)
            case CheckHealth(worker):
                self._health_checks.begin(worker)
            case OpenSlot(slot):
                self._listeners.open_slot(slot)
                self._store_listeners()
            case Adopt(slot, by):
                text = f"worker={by} accepts from its queue as well"
                note("adopted", text, "DEBUG", slot=slot)
                self._adopted[slot] = by
                self._workers.adopt(slot, by)
            case Release(slot, by):
                text = f"worker={by} no longer accepts from its queue"
                note("released", text, "DEBUG", slot=slot)
                if self._adopted.get(slot) == by:  # else it has a newer adopter
                    del self._adopted[slot]
                self._workers.release(slot, by)
            case Steer(weights):
                text = f"new connections by weights: {' '.join(map(str, weights))}"
                note("steered", text, "DEBUG")
                self._steerer.apply(weights)
            case LastCall():
                self._call_last()
            case Report():
                _note_report(action)
            case ReloadEnded():
                self._end_reload(action)
            case Notify():
                self._telling.tell(action)
            case Probe(worker):
                self._probes.begin(worker)
            case Exit(code, reason):
                if reason:
                    self._telling.fail(reason, None)
                note("stopped", f"all of the service has ended: exit code {code}")
                self._over.set_result(code)
            case _:
                raise TypeError("no hand knows it")

    def _make_drain(self) -> Drain:
        policy = self._policy
        grace_s = policy.quick_grace_s if self._is_quick else policy.grace_s
        return Drain(grace_s, is_final=self._is_stopping)

    # Settings that change

    def _apply(self, settings: Settings) -> None:
        """Decide by these settings, which may be on trial."""
        self._policy = self._planner.policy = settings.make_policy()
        self._health_checks.path = settings.health_path
        self._upgrades.timeout_s = settings.upgrade_timeout_s

    def _end_reload(self, ended: ReloadEnded) -> None:
        before = self._in_force.settings
        self._in_force.end(ended.generation, is_ok=ended.is_ok)
        now = self._settings = self._in_force.settings
        self._apply(now)
        set_level(now.log_level)
        setproctitle(f"blazeio: master [{now.app.text}]")
        if now.workers != before.workers:
            self._tell(ScaleAsked(count=now.workers, by="the new settings"))
        self._reloads.end(ended)


def _note_report(report: Report) -> None:
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


def _note_fault(event: str, text: str) -> None:
    note(event, text, "ERROR", traceback=traceback.format_exc())


def _block_signals() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
