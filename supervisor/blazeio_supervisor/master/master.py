"""The master: a service from its first socket to its last worker. Never blocks.

Imports no app and runs no foreign code. It owns the listeners, the scoreboard
and every child; signals only note what was asked for.

::

    components    all parts, made and wired
    loop          facts go to the planner, its actions to the executor
    executor      each action is carried out: on children, slots, settings
    shutdown      the end of the service, and its last resort
"""

import asyncio
import os
import signal
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from blazeio_supervisor.config.settings import LiveSettings, Settings
from blazeio_supervisor.errors import BindError, UsageError
from blazeio_supervisor.fleet.actions import Action
from blazeio_supervisor.fleet.facts import ParkAsked, ScaleAsked, StartAsked
from blazeio_supervisor.ipc.processes import (
    become_subreaper,
    end_processes,
    list_children,
    list_orphans,
    reap,
)
from blazeio_supervisor.ipc.signals import (
    CHANGES,
    STOPS,
    has_terminal,
    hold,
    is_in_foreground,
    release,
)
from blazeio_supervisor.log.setup import note
from blazeio_supervisor.master.components import (
    Components,
    MasterState,
    UpgradeState,
    build_master,
)
from blazeio_supervisor.master.output import LogFile
from blazeio_supervisor.master.reloads import (
    choose_polling,
    list_mounts,
    name_master,
    watch_files,
)
from blazeio_supervisor.sockets.bind import take_inherited
from blazeio_supervisor.worker.starting import EarlyForkserver


def _claim_nothing() -> None:
    """Claim nothing: the default of ``claim``."""


async def serve(
    live_settings: LiveSettings,
    log_file: LogFile | None = None,
    claim: Callable[[], None] = _claim_nothing,
    early: EarlyForkserver | None = None,
) -> int:
    """Serve until the end; return the exit code.

    Args:
        live_settings: What the operator asked for, and asks for at each reload.
        log_file: Where the log goes; None: to standard error.
        claim: Called once the addresses are open that are known by then; what it
            raises (a ``UsageError``) ends the service.
        early: The interpreter of the first forkserver, started already.
    """
    loop, now = asyncio.get_running_loop(), time.monotonic()
    state = MasterState.begin(live_settings, now)
    components = build_master(state, log_file, loop)
    components.forkservers.early = early
    return await Master(components, claim).run()


_ORPHANS_S = 0.5  # between SIGTERM and SIGKILL
_KEEP_AFTER_S = 0.2  # from the order for the first worker
_POLL_EVERY_S = 0.25  # for a signal that stays blocked


class Master:
    """One service.

    Args:
        components: Its parts, idle yet.
        claim: As of ``serve``.
    """

    def __init__(
        self, components: Components, claim: Callable[[], None] = _claim_nothing
    ) -> None:
        self._components = components
        self._claim = claim
        self._state = components.state
        self._loop = components.facts.loop
        # With `stty tostop` a terminal sends it whenever something is logged, unless
        # it is blocked.
        self._polled = {signal.SIGTTOU} if has_terminal() else set()
        self._ends_with_terminal = False
        self._known_children: list[int] | None = None

    @property
    def _settings(self) -> Settings:
        return self._state.settings.settings

    async def run(self) -> int:
        """Serve until the end; return the exit code."""
        # The order is that of need. Events are kept before anything can happen; orphans
        # come to us before the first child is forked; what was inherited is known
        # before anybody asks which addresses are open; and the signals, blocked since
        # the start of the program, are let through only now that each has a handler, so
        # that none can end us unheard.
        self._components.events.attach()
        # A shell that has exec'd us may have left children in the background: they are
        # not of the app, and are not ended with it.
        self._known_children = list_children(os.getpid())
        become_subreaper()
        self._state.listeners.inherit(take_inherited(self._settings.given_fds))
        # Who is started by nohup(1) is to go on.
        is_held = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        self._ends_with_terminal = is_in_foreground() and not is_held
        if self._ends_with_terminal:
            self._watch_terminal(0)
        self._watch_signals()
        release((STOPS | CHANGES) - self._polled)
        self._components.control.open(self._loop)
        # A failure here is one of the operator's settings: it is found before an
        # address of the service is open, so no client was let into a queue that nobody
        # will serve.
        if self._opens_metrics():
            self._bind()
        return await self.run_on()

    async def run_on(self) -> int:
        """Serve until the end, once the service has begun or was taken over."""
        name_master(self._settings)
        # The kernel gives a signal to any thread that does not block it (signal(7)). In
        # this one its C handler would only make a note for the main thread, which an
        # exec would then lose: ``_signals_blocked`` of an upgrade blocks them in the
        # main thread alone.
        executor = ThreadPoolExecutor(1, "blazeio", _block_signals)
        self._loop.set_default_executor(executor)
        beside = [self._loop.create_task(self._components.sampler.run())]
        if self._settings.reload:
            beside.append(self._loop.create_task(self._watch_code()))
        # Last: from here on each fact has the planner act, and what acts must be there.
        self._components.control_loop.begin()
        try:
            return await self._components.shutdown.wait()
        finally:
            self._components.control_loop.end()
            for task in beside:
                task.cancel()
            # Awaited, since asyncio reports a task that is destroyed while it is
            # pending as a fault ("Task was destroyed but it is pending!").
            await asyncio.wait(beside)
            await self._close()

    async def _close(self) -> None:
        components = self._components
        # The port is refused first. Then what the app has left behind is ended, which
        # may print until then; then those who follow the events read that all is over.
        self._state.listeners.shut()
        components.upgrades.keeper.cancel()
        self._end_orphans()
        components.events.detach()
        if components.metrics is not None:
            components.metrics.close()
        if components.captured is not None:
            components.captured.close()
        await components.control.drain()
        components.control.close()
        await components.notifier.end()

    def _end_orphans(self) -> None:
        """End what the app has left behind in the process group of the service.

        After an upgrade nobody knows whom the starter had begun.
        """
        if self._known_children is not None:
            orphans = list_orphans(self._known_children)
            # Behind a grace period that was used up there is no time left.
            is_late = self._components.shutdown.is_forced
            end_processes(orphans, 0.0 if is_late else _ORPHANS_S)
            reap(orphans)

    # The start

    def _opens_metrics(self) -> bool:
        address, metrics = self._settings.metrics_bind, self._components.metrics
        try:
            if address is not None and metrics is not None:
                metrics.open(address, self._loop)
        except BindError as error:
            self._components.shutdown.give_up(error)
            return False
        return True

    def _bind(self) -> None:
        binds = self._settings.binds
        if binds or self._state.listeners.is_bound:
            self._components.binding.begin(binds, self._begin)
        else:
            self._begin()  # the app will say its own address

    def _begin(self) -> None:
        try:
            # The file with our pid is written only now: a second service that is
            # started by mistake has failed to bind by then, and has left the file of
            # the first one alone.
            self._claim()
        except UsageError as error:
            self._components.shutdown.give_up(error, "pid_file_taken")
            return
        self._components.shutdown.has_begun = True
        self._components.facts.put_fact(StartAsked(self._state.listeners.slot_count))
        # Not beside the boot of the first worker, which it would delay.
        self._components.forkservers.on_first = partial(
            self._loop.call_later, _KEEP_AFTER_S, self._components.upgrades.keeper.begin
        )

    # Another image of the master

    def resume(self) -> None:
        """Go on where the image before has stopped; nothing is read or sent yet.

        The readers that this adds to the loop are not called yet, since the loop runs
        only after the point of no return. If the image before has to come back, it
        finds every message still unread.
        """
        components = self._components
        components.events.attach()
        components.banner.note_taken_over()
        components.workers.resume()
        components.forkservers.resume()
        components.control.resume(self._loop)
        if components.metrics is not None:
            components.metrics.resume(self._loop)
        if components.captured is not None:
            components.captured.resume()
        components.shutdown.has_begun = True

    def rehearse(self, now: float) -> list[Action]:
        """Return what the planner wants first at that time."""
        return self._components.control_loop.rehearse(now)

    def watch_again(self) -> None:
        """Watch signals and processes in the place of the image before.

        An exec closes the pidfds, but a child stays the child of this pid; and one that
        has died meanwhile stays a zombie until it is waited for (wait(2)), so no end is
        missed.
        """
        self._watch_signals()
        self._components.workers.watch_again()
        self._components.forkservers.watch_again()

    def note_outcome(self, state: UpgradeState, failure: str) -> None:
        """Report the upgrade; ``failure`` as of ``Upgrades.note_outcome``."""
        self._components.upgrades.note_outcome(
            state.run, state.image, len(self._state.workers), failure
        )
        if not failure:
            # The loop runs behind the point of no return: until then nobody may be
            # started.
            self._loop.call_soon(self._components.upgrades.keeper.begin)

    # What is asked for from outside

    def _watch_signals(self) -> None:
        watch, components = self._loop.add_signal_handler, self._components
        watch(signal.SIGTERM, components.shutdown.ask, False, "SIGTERM")
        watch(signal.SIGQUIT, components.shutdown.ask, False, "SIGQUIT")
        watch(signal.SIGINT, components.shutdown.ask, True, "SIGINT")
        changes: dict[signal.Signals, Callable[[], object]] = {
            signal.SIGUSR1: components.log_reopener.reopen,
            signal.SIGHUP: self._hang_up,
            signal.SIGUSR2: partial(components.upgrades.ask, "SIGUSR2"),
            signal.SIGTTIN: partial(self._scale, 1, "SIGTTIN"),
            signal.SIGTTOU: partial(self._scale, -1, "SIGTTOU"),
            signal.SIGWINCH: self._park,
        }
        for number, call in changes.items():
            if number in self._polled:
                self._poll_for(number, call)
            else:
                watch(number, self._change, call)
        components.shutdown.hold = hold

    def _change(self, call: Callable[[], object]) -> None:
        """Carry out a signal, unless one that came with it has stopped the service."""
        if not self._components.shutdown.is_asked:
            call()

    def _poll_for(self, number: signal.Signals, call: Callable[[], object]) -> None:
        """Carry out a signal that stays blocked, now and from now on.

        The kernel sends SIGTTOU to a background process for each write to its terminal
        (with ``stty tostop``), unless the signal is blocked or ignored; then the write
        is done (POSIX 11.1.4). A handler that logs would be sent the next one by its
        own line.
        """
        hold([number])
        while signal.sigtimedwait([number], 0) is not None:
            self._change(call)
        self._loop.call_later(_POLL_EVERY_S, self._poll_for, number, call)

    def _scale(self, change: int, by: str) -> None:
        self._components.facts.put_fact(ScaleAsked(change=change, by=by))

    def _watch_terminal(self, looks_without: int) -> None:
        # One that went without SIGHUP had been left before (bg and disown of a shell):
        # whatever comes later is an operator's.
        if looks_without == 2:
            self._ends_with_terminal = False
            return
        count = 0 if has_terminal() else looks_without + 1
        self._loop.call_later(_POLL_EVERY_S, self._watch_terminal, count)

    def _hang_up(self) -> None:
        # The kernel sends SIGHUP to the foreground process group of a terminal that
        # goes away (POSIX 11.1.10), and takes it from the session. Whoever has closed
        # the window wants no new code, and could neither see the service any more nor
        # stop it by ^C; it would only keep the address.
        if self._ends_with_terminal and not has_terminal():
            self._components.shutdown.ask(False, "SIGHUP, its terminal is gone")
        else:
            self._components.reloads.ask("SIGHUP")

    def _park(self) -> None:
        # A terminal sends SIGWINCH to its foreground process group for each change of
        # its size (ioctl_tty(2)): there it says nothing about the service.
        if not is_in_foreground():  # else the window was resized
            self._components.facts.put_fact(ParkAsked("SIGWINCH"))

    async def _watch_code(self) -> None:
        """Have the code reloaded whenever it changes, until cancelled."""
        watch = choose_polling(self._settings.make_watch(), list_mounts())
        how = ", by looking at the files" if watch.polls else ""
        where = " ".join(watch.folders)
        note("watching", f"{where}: what changes there is reloaded{how}")
        ask = self._components.reloads.ask
        await watch_files(watch, lambda names: ask(f"--reload ({names})"))


def _block_signals() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
