"""The settings that the master goes by: in force, or on trial during a reload."""

from setproctitle import setproctitle

from blazeio_supervisor.escaping import escape_line
from blazeio_supervisor.fleet.actions import ReloadEnded
from blazeio_supervisor.fleet.facts import ScaleAsked
from blazeio_supervisor.fleet.planner import Planner
from blazeio_supervisor.observe.health_path import HealthChecks
from blazeio_supervisor.observe.logs import set_level
from blazeio_supervisor.options.in_force import SettingsInForce
from blazeio_supervisor.settings import Settings
from blazeio_supervisor.turns import Inbox
from blazeio_supervisor.upgrade.departure import Upgrades


class Rules:
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
        in_force: SettingsInForce,
        planner: Planner,
        health_checks: HealthChecks,
        upgrades: Upgrades,
        inbox: Inbox,
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
