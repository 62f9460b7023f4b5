"""The reloads of a service: who has asked, with which settings, and the outcome.

Which reload runs, and how it ends, is decided in ``fleet/rollout.py``, which knows
each by its ticket.
"""

import asyncio
import time
from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace
from setproctitle import setproctitle

from blazeio_supervisor.config.settings import LiveSettings, Settings
from blazeio_supervisor.errors import UsageError
from blazeio_supervisor.fleet.actions import ReloadEnded
from blazeio_supervisor.fleet.facts import Fact, ReloadAsked
from blazeio_supervisor.log.formats import escape_line
from blazeio_supervisor.log.setup import FramesPrinter, note


class ReloadOutcome(Struct, frozen=True):
    """How a reload ended.

    Attributes:
        output: What the app raised in the new processes; "" when it is ok.
        needs_restart: Settings that have changed, and not in this service.
        is_superseded: A later reload took its place before it was over: this is how
            that one ended.
        way_back_s: How long the code before is kept at most.
    """

    generation: int
    is_ok: bool
    reason: str
    output: str
    took_s: float
    needs_restart: tuple[str, ...] = ()
    is_superseded: bool = False
    way_back_s: float = 0.0


class Reload(Struct, frozen=True):
    """A reload that somebody has asked for.

    Attributes:
        at: When it was asked for, monotonic seconds.
        trial: The settings that were read for it.
    """

    by: str
    at: float
    trial: LiveSettings
    outcome: asyncio.Future[ReloadOutcome]


class Reloads:
    """The reloads that are not over; which of them runs is decided by the planner.

    Args:
        put_fact: Takes the fact that one was asked for.
        frames: Knows what the app raised.
        live: The settings in force.
    """

    def __init__(
        self,
        put_fact: Callable[[Fact], None],
        frames: FramesPrinter,
        live: LiveSettings,
    ) -> None:
        self._put_fact = put_fact
        self._frames = frames
        self._live = live
        self._tickets = 0
        self._open: dict[int, Reload] = {}
        self._trial: tuple[int, LiveSettings] | None = None
        self._before: LiveSettings | None = None

    def ask(self, by: str) -> asyncio.Future[ReloadOutcome]:
        """Ask for a reload; settings that cannot be fail it at once.

        Args:
            by: Who asks, for the log.

        Returns:
            Its outcome, which nobody has to await.
        """
        outcome = asyncio.get_running_loop().create_future()
        try:
            # Read at the time of the order: what the operator sees in the file now is
            # what is tried, also where the reload has to wait for another one.
            trial = self._live.read_again()
        except UsageError as error:
            text = f"{by} asked for a reload, nothing has changed: {error}"
            note("reload_failed", text, "ERROR")
            outcome.set_result(ReloadOutcome(0, False, str(error), "", 0.0))
            return outcome
        self._tickets += 1
        self._open[self._tickets] = Reload(by, time.monotonic(), trial, outcome)
        self._put_fact(ReloadAsked(self._tickets, by))
        return outcome

    def begin(self, generation: int, ticket: int | None) -> Settings:
        """Return the settings of a generation that is about to be loaded.

        Those of a reload are on trial from now on: if its code is not taken, they
        are not either.
        """
        # Without a ticket nobody has asked for new settings: a generation that is
        # loaded because a forkserver was lost has those in force, whatever was on
        # trial.
        self._trial = None
        if ticket is not None:
            self._trial = generation, self._open[ticket].trial
        return self.settings_of(generation)

    def settings_of(self, generation: int) -> Settings:
        """Return the settings that a generation is loaded with."""
        # Workers of the old generation are still forked while the new one is on trial,
        # and need the settings that they were loaded with.
        if self._trial is not None and self._trial[0] == generation:
            return self._trial[1].settings
        return self._live.settings

    def end(self, ended: ReloadEnded) -> Settings:
        """Answer all who have asked; return the settings in force from now on."""
        if self._trial is not None and self._trial[0] == ended.generation:
            if ended.is_ok:
                # A copy: ``take`` changes the object in place, which others hold.
                self._before = replace(self._live)
                self._live.take(self._trial[1])
            self._trial = None
        for ticket in ended.tickets:
            self._answer(self._open.pop(ticket), ended, ticket in ended.superseded)
        return self._live.settings

    def undo(self) -> Settings:
        """Put the settings of before the last reload into force again; return them.

        After an upgrade of the supervisor, those in force stay.
        """
        if self._before is not None:
            self._live.take(self._before)
            self._before = None
        return self._live.settings

    def _answer(self, reload: Reload, ended: ReloadEnded, is_superseded: bool) -> None:
        outcome = ReloadOutcome(
            generation=ended.generation,
            is_ok=ended.is_ok,
            reason=ended.reason,
            output="" if ended.is_ok else self._frames.printed_by(ended.generation),
            took_s=time.monotonic() - reload.at,
            way_back_s=ended.way_back_s,
            needs_restart=self._live.needs_restart,
            is_superseded=is_superseded,
        )
        if not (is_superseded or ended.is_reported):  # else there is an event of it
            _note_end(reload, outcome)
        if not reload.outcome.done():  # else whoever waited has left
            reload.outcome.set_result(outcome)


def _note_end(reload: Reload, outcome: ReloadOutcome) -> None:
    generation, by = outcome.generation, f"the reload that {reload.by} asked for"
    if outcome.is_ok:
        note("reload_ok", f"{by} took {outcome.took_s:.1f} s", generation=generation)
    else:
        text = f"{by} has failed: {outcome.reason}"
        note("reload_failed", text, generation=generation)


def name_master(settings: Settings) -> None:
    """Set the title of the process, so that ``ps`` shows what is served."""
    setproctitle(f"blazeio: master [{escape_line(settings.app.text)}]")
