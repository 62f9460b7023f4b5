"""The settings of a running service, and what a reload makes of them.

A reload reads them anew, and takes them when its code is taken. What needs a
restart keeps its value, and is named.
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
from blazeio_supervisor.log.setup import note


class LiveSettings(Struct):
    """Settings that change as a whole, or not at all.

    Attributes:
        sources: Where they come from.
        configuration: Each with its origin.
        settings: The same, checked.
        needs_restart: The keys that have another value in the file than here.
    """

    sources: Sources
    configuration: Configuration
    settings: Settings
    needs_restart: tuple[str, ...] = ()

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

    def read_again(self) -> "LiveSettings":
        """Return what they are for the next generation, with what is kept.

        Raises:
            UsageError: They cannot be; what is in force goes on.
        """
        found = self.sources.read()
        # What needs a restart must be right as well: a mistake in it would else be
        # found only at the restart, when nobody expects one.
        found.make_settings()
        self.needs_restart = self._find_stuck(found)
        if self.needs_restart:
            names = ", ".join(self.needs_restart)
            text = f"{names}: changed, but in force from the next start only"
            note("needs_restart", text, "WARNING")
        kept = replace(found, given=self._keep_stuck(found.given))
        return LiveSettings(self.sources, kept, kept.make_settings())

    def take(self, other: "LiveSettings") -> None:
        """Put what was read again into force."""
        self.configuration, self.settings = other.configuration, other.settings

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
    # Both must differ: ``auto`` is counted anew at each reading, and what is written is
    # the same; a relative path is the same text, and another place.
    return one.value != other.value and one.written != other.written
