"""Who asked for a reload, and what became of it.

The planner knows tickets; here each belongs to somebody, who is told. May
import: the words of the fleet.
"""

import asyncio
import time
from collections.abc import Callable

from msgspec import Struct, field
from msgspec.structs import replace
from setproctitle import setproctitle

from blazeio_supervisor.config.live_settings import LiveSettings
from blazeio_supervisor.config.settings import Settings
from blazeio_supervisor.errors import UsageError
from blazeio_supervisor.fleet.actions import SUPERSEDED, ReloadEnded
from blazeio_supervisor.fleet.facts import Fact, ReloadAsked, ScaleAsked
from blazeio_supervisor.fleet.planner import Planner
from blazeio_supervisor.log.formats import escape_line
from blazeio_supervisor.log.note import note
from blazeio_supervisor.log.setup import FramesPrinter, set_level
from blazeio_supervisor.master.loop import FactQueue
from blazeio_supervisor.master.probes import HealthChecks
from blazeio_supervisor.master.upgrade.exec_new import Upgrades


class ReloadOutcome(Struct, frozen=True):
    """How a reload ended.

    Attributes:
        output: What the app raised in the new processes; "" when it is ok.
        needs_restart: Settings that have changed, and not in this service.
        is_superseded: A later ask took its place before it was over: this is how
            that one ended.
    """

    generation: int
    is_ok: bool
    reason: str
    output: str
    took_s: float
    needs_restart: tuple[str, ...] = ()
    is_superseded: bool = False


class _Ask(Struct, frozen=True):
    """One that is open.

    Attributes:
        superseded: Those whose place it has taken: they end as it does.
    """

    by: str
    at: float
    outcome: asyncio.Future[ReloadOutcome]
    superseded: list["_Ask"] = field(default_factory=list)


class Reloads:
    """The asks that are open.

    Args:
        tell: Takes the fact.
        frames: Knows what the app raised.
        in_force: The settings, which are read again with each ask.
    """

    def __init__(
        self,
        tell: Callable[[Fact], None],
        frames: FramesPrinter,
        in_force: LiveSettings,
    ) -> None:
        self._tell = tell
        self._frames = frames
        self._in_force = in_force
        self._tickets = 0
        self._open: dict[int, _Ask] = {}

    def ask(self, by: str) -> asyncio.Future[ReloadOutcome]:
        """Ask for a reload; settings that cannot be fail it at once.

        Args:
            by: Who, for the log.

        Returns:
            Its outcome, which nobody has to await.
        """
        self._tickets += 1
        outcome = asyncio.get_running_loop().create_future()
        try:
            self._in_force.read_again()
        except UsageError as error:
            text = f"{by} asked for a reload, nothing has changed: {error}"
            note("reload_failed", text, "ERROR")
            outcome.set_result(ReloadOutcome(0, False, str(error), "", 0.0))
            return outcome
        self._open[self._tickets] = _Ask(by, time.monotonic(), outcome)
        self._tell(ReloadAsked(self._tickets, by))
        return outcome

    def end(self, ended: ReloadEnded) -> None:
        """Tell whoever asked; of one that is superseded, when its heir is over."""
        ask = self._open.pop(ended.ticket)
        heir = self._find_heir(ended)
        if heir is not None:
            text = f"the reload that {ask.by} asked for is overtaken by {heir.by}"
            note("reload_superseded", text, generation=ended.generation)
            heir.superseded.extend([ask, *ask.superseded])
            return
        took_s = time.monotonic() - ask.at
        generation = ended.generation
        by = f"the reload that {ask.by} asked for"
        if ended.is_ok:
            note("reload_ok", f"{by} took {took_s:.1f} s", generation=generation)
        elif not ended.is_reported:  # else whoever decided it has said why
            # It was superseded by one that is over, too; or the service ends.
            is_superseded = ended.reason == SUPERSEDED
            event = "reload_superseded" if is_superseded else "reload_failed"
            note(event, f"{by} has failed: {ended.reason}", generation=generation)
        output = "" if ended.is_ok else self._frames.said_by(ended.generation)
        outcome = ReloadOutcome(
            generation,
            ended.is_ok,
            ended.reason,
            output,
            took_s,
            self._in_force.needs_restart,
        )
        _answer(ask, outcome)
        for each in ask.superseded:
            took_s = time.monotonic() - each.at
            _answer(each, replace(outcome, took_s=took_s, is_superseded=True))

    def _find_heir(self, ended: ReloadEnded) -> _Ask | None:
        """Give the ask that is next in turn, if one has superseded what ended."""
        if ended.reason != SUPERSEDED:
            return None
        later = [ticket for ticket in self._open if ticket > ended.ticket]
        return self._open[min(later)] if later else None


def _answer(ask: _Ask, outcome: ReloadOutcome) -> None:
    if not ask.outcome.done():  # else whoever waited has left
        ask.outcome.set_result(outcome)


# The settings that the master goes by: in force, or on trial during a reload.


class SettingsTransaction:
    """Hands them to those who go by them.

    Args:
        in_force: The settings, and those on trial.
        planner: Has its policy from them.
        health_checks: Have their path from them.
        upgrades: Have their timeout from them.
        inbox: The planner learns here of another number of workers.
    """

    def __init__(
        self,
        in_force: LiveSettings,
        planner: Planner,
        health_checks: HealthChecks,
        upgrades: Upgrades,
        inbox: FactQueue,
    ) -> None:
        self._in_force = in_force
        self._planner = planner
        self._health_checks = health_checks
        self._upgrades = upgrades
        self._inbox = inbox

    def try_out(self, generation: int) -> None:
        """Go by the settings of a generation that is about to be loaded."""
        self._apply(self._in_force.begin(generation))

    def decide(self, ended: ReloadEnded) -> Settings:
        """Keep what was tried out, or go back to what was before; gives it."""
        before = self._in_force.settings
        self._in_force.end(ended.generation, is_ok=ended.is_ok)
        now = self._in_force.settings
        self._apply(now)
        set_level(now.log_level)
        name_master(now)
        if now.workers != before.workers:
            self._inbox.tell(ScaleAsked(count=now.workers, by="the new settings"))
        return now

    def _apply(self, settings: Settings) -> None:
        self._planner.policy = settings.make_policy()
        self._health_checks.path = settings.health_path
        self._upgrades.timeout_s = settings.upgrade_timeout_s


def name_master(settings: Settings) -> None:
    """Have ``ps`` show what is served."""
    setproctitle(f"blazeio: master [{escape_line(settings.app.text)}]")
