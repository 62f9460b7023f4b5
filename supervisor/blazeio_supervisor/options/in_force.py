"""The settings of a running service, and what a reload makes of them.

A reload reads them anew, and they are on trial as long as its generation is: if
the new code is not taken, neither are the new settings. What needs a restart
keeps its value, and is named.
"""

from collections.abc import Mapping
from dataclasses import replace

from blazeio_supervisor.observe.events.noting import note
from blazeio_supervisor.options.option import Change
from blazeio_supervisor.options.sources.configuration import (
    OPTIONS,
    Configuration,
    Sources,
)
from blazeio_supervisor.options.sources.given import Given
from blazeio_supervisor.settings import Settings


class SettingsInForce:
    """Settings that change as a whole, or not at all.

    Args:
        sources: Where they come from.

    Attributes:
        configuration: Each with its origin.
        settings: The same, checked.
        needs_restart: The keys that have another value in the file than here.

    Raises:
        UsageError: They cannot be.
    """

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._read: tuple[Configuration, Settings] | None = None
        self._trial: tuple[int, Configuration, Settings] | None = None
        self.configuration = sources.read()
        self.settings = self.configuration.make_settings()
        self.needs_restart: tuple[str, ...] = ()

    def read_again(self) -> None:
        """Read them for the next generation; called when a reload is asked for.

        Raises:
            UsageError: They cannot be; what is in force goes on.
        """
        found = self._sources.read()
        found.make_settings()  # also what needs a restart must be right
        self.needs_restart = self._find_stuck(found)
        if self.needs_restart:
            names = ", ".join(self.needs_restart)
            text = f"{names}: changed, and as before until the next start"
            note("needs_restart", text, "WARNING")
        kept = replace(found, given=self._keep_stuck(found.given))
        self._read = kept, kept.make_settings()

    def begin(self, generation: int) -> Settings:
        """Give the settings of a generation that is about to be loaded.

        Those that were read for it are on trial from now on; where nobody asked
        for a reload, those in force.
        """
        configuration, settings = self._read or (self.configuration, self.settings)
        self._read = None
        self._trial = generation, configuration, settings
        return settings

    def settings_of(self, generation: int) -> Settings:
        """Give the settings that a generation is loaded with."""
        if self._trial is not None and self._trial[0] == generation:
            return self._trial[2]
        return self.settings

    def end(self, generation: int, *, is_ok: bool) -> None:
        """Take what was on trial with a generation into force, or forget it."""
        if self._trial is not None and self._trial[0] == generation:
            if is_ok:
                _, self.configuration, self.settings = self._trial
            self._trial = None

    def _find_stuck(self, found: Configuration) -> tuple[str, ...]:
        return tuple(
            option.key
            for option in OPTIONS
            if option.change is Change.RESTART
            and found.given[option.field].value
            != self.configuration.given[option.field].value
        )

    def _keep_stuck(self, given: Mapping[str, Given]) -> dict[str, Given]:
        stuck = [option for option in OPTIONS if option.change is Change.RESTART]
        own = self.configuration.given
        return {**given, **{option.field: own[option.field] for option in stuck}}
