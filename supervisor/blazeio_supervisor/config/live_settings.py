"""The settings of a running service, and what a reload makes of them.

A reload reads them anew, and they are on trial as long as its generation is: if
the new code is not taken, neither are the new settings. What needs a restart
keeps its value, and is named.
"""

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Self

import msgspec

from blazeio_supervisor.config.environment import StartEnvironment
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


class FrozenGiven(msgspec.Struct, frozen=True):
    """Where the value of a setting comes from; what it is, the settings have."""

    written: Any
    origin: str
    label: str


class FrozenSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings, as the next image of the master takes them over.

    Attributes:
        words: What was typed.
        path: Of the file; "": there is none.
        given: By the field of ``Settings``.
    """

    words: dict[str, Any]
    surroundings: StartEnvironment
    path: str
    given: dict[str, FrozenGiven]
    settings: Settings
    needs_restart: tuple[str, ...]


class LiveSettings:
    """Settings that change as a whole, or not at all.

    Args:
        sources: Where they come from.
        found: What has been read there already; None: they are read now.

    Attributes:
        configuration: Each with its origin.
        settings: The same, checked.
        needs_restart: The keys that have another value in the file than here.

    Raises:
        UsageError: They cannot be.
    """

    def __init__(
        self, sources: Sources, found: tuple[Configuration, Settings] | None = None
    ) -> None:
        self._sources = sources
        self._read: tuple[Configuration, Settings] | None = None
        self._trial: tuple[int, Configuration, Settings] | None = None
        if found is None:
            configuration = sources.read()
            found = configuration, configuration.make_settings()
        self.configuration, self.settings = found
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
            text = f"{names}: changed, but in force from the next start only"
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

    def freeze(self) -> FrozenSettings:
        """Give all that is in force; nothing is on trial."""
        given = {
            field: FrozenGiven(each.written, each.origin, each.label)
            for field, each in self.configuration.given.items()
        }
        typed = self._sources.words.items()
        return FrozenSettings(
            words={name: word for name, word in typed if word not in (None, ())},
            surroundings=self._sources.surroundings,
            path=self.configuration.path,
            given=given,
            settings=self.settings,
            needs_restart=self.needs_restart,
        )

    @classmethod
    def thaw(cls, frozen: FrozenSettings) -> Self:
        """Go on with what another one had; the environment is the same.

        An option that the other one did not know has its default.
        """
        given = {
            field: Given(
                getattr(frozen.settings, field), each.written, each.origin, each.label
            )
            for field, each in frozen.given.items()
            if hasattr(frozen.settings, field)
        }
        sources = Sources(frozen.words, dict(os.environ), frozen.surroundings)
        complete = choose(OPTIONS, [given])
        configuration = Configuration(complete, frozen.path, frozen.surroundings)
        thawed = cls(sources, (configuration, frozen.settings))
        thawed.needs_restart = frozen.needs_restart
        return thawed

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
