"""The settings of a running service, and what a reload makes of them.

A reload reads them anew, and they are on trial as long as its generation is: if
the new code is not taken, neither are the new settings. What needs a restart
keeps its value, and is named.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Self

from msgspec import Struct

from blazeio_supervisor.config.option import Change
from blazeio_supervisor.config.settings import Settings
from blazeio_supervisor.config.sources import (
    OPTIONS,
    Configuration,
    Given,
    Sources,
    choose,
)
from blazeio_supervisor.log.note import note


class LiveSettings(Struct):
    """Settings that change as a whole, or not at all.

    Attributes:
        sources: Where they come from.
        configuration: Each with its origin.
        settings: The same, checked.
        needs_restart: The keys that have another value in the file than here.
        pending: Read for the next generation.
        trial: Of a generation that is loaded, and not taken yet.
    """

    sources: Sources
    configuration: Configuration
    settings: Settings
    needs_restart: tuple[str, ...] = ()
    pending: tuple[Configuration, Settings] | None = None
    trial: tuple[int, Configuration, Settings] | None = None

    @classmethod
    def read(cls, sources: Sources) -> Self:
        """Read them for the first time.

        Raises:
            UsageError: They cannot be.
        """
        found = sources.read()
        return cls(sources, found, found.make_settings())

    def __post_init__(self) -> None:
        """Take each value from the settings: of those that were decoded only these
        have types. An option that another image did not know has its default.
        """
        given = {
            field: replace(each, value=getattr(self.settings, field))
            for field, each in self.configuration.given.items()
            if hasattr(self.settings, field)
        }
        complete = choose(OPTIONS, [given])
        self.configuration = replace(self.configuration, given=complete)

    def read_again(self) -> None:
        """Read them for the next generation; called when a reload is asked for.

        Raises:
            UsageError: They cannot be; what is in force goes on.
        """
        found = self.sources.read()
        found.make_settings()  # also what needs a restart must be right
        self.needs_restart = self._find_stuck(found)
        if self.needs_restart:
            names = ", ".join(self.needs_restart)
            text = f"{names}: changed, but in force from the next start only"
            note("needs_restart", text, "WARNING")
        kept = replace(found, given=self._keep_stuck(found.given))
        self.pending = kept, kept.make_settings()

    def begin(self, generation: int) -> Settings:
        """Give the settings of a generation that is about to be loaded.

        Those that were read for it are on trial from now on; where nobody asked
        for a reload, those in force.
        """
        configuration, settings = self.pending or (self.configuration, self.settings)
        self.pending = None
        self.trial = generation, configuration, settings
        return settings

    def settings_of(self, generation: int) -> Settings:
        """Give the settings that a generation is loaded with."""
        if self.trial is not None and self.trial[0] == generation:
            return self.trial[2]
        return self.settings

    def end(self, generation: int, *, is_ok: bool) -> None:
        """Take what was on trial with a generation into force, or forget it."""
        if self.trial is not None and self.trial[0] == generation:
            if is_ok:
                _, self.configuration, self.settings = self.trial
            self.trial = None

    def _find_stuck(self, found: Configuration) -> tuple[str, ...]:
        return tuple(
            option.key
            for option in OPTIONS
            if option.change is Change.RESTART
            and _differs(
                found.given[option.field], self.configuration.given[option.field]
            )
        )

    def _keep_stuck(self, given: Mapping[str, Given]) -> dict[str, Given]:
        stuck = [option for option in OPTIONS if option.change is Change.RESTART]
        own = self.configuration.given
        return {**given, **{option.field: own[option.field] for option in stuck}}


def _differs(one: Given, other: Given) -> bool:
    """Whether another thing is said; a relative path may be read otherwise by now."""
    return one.value != other.value and one.written != other.written
