"""All sources together: command line > environment > file > defaults."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from blazeio_supervisor.control.verbs.words import PROGRAM
from blazeio_supervisor.errors import UsageError
from blazeio_supervisor.options.option import PREFIX, SettingError
from blazeio_supervisor.options.sources.command_line import read_command_line
from blazeio_supervisor.options.sources.config_file import (
    NO_FILE,
    find_config_file,
    read_config_file,
)
from blazeio_supervisor.options.sources.environment import read_environment
from blazeio_supervisor.options.sources.given import Given, choose
from blazeio_supervisor.options.surroundings import Surroundings
from blazeio_supervisor.settings import Settings, list_all_options

CONFIG_VARIABLE = f"{PREFIX}CONFIG"
OPTIONS = tuple(list_all_options())


@dataclass(frozen=True, slots=True)
class Configuration:
    """Every setting with its origin.

    Attributes:
        given: By the field of ``Settings``; one that must be said may be missing.
        path: Of the file that was read; "": there is none.
        surroundings: Where the service was started.
    """

    given: Mapping[str, Given]
    path: str
    surroundings: Surroundings

    def make_settings(self) -> Settings:
        """Check what only shows in several settings together.

        Raises:
            UsageError: Something is missing, or cannot be.
        """
        if "app" not in self.given:
            raise UsageError(
                f"APP is missing: write `{PROGRAM} module:attribute`, or app in a file"
                " (--help has examples)"
            )
        values = {field: each.value for field, each in self.given.items()}
        started, chdir = self.surroundings.folder, values["chdir"]
        settings = Settings(
            folder=os.path.join(started, chdir) if chdir else started,
            runtime_directory=self.surroundings.runtime_directory,
            manager=self.surroundings.manager,
            standard_error=self.surroundings.standard_error,
            **values,
        )
        try:
            settings.check()
        except SettingError as mistake:
            label = self.given[mistake.field].label
            raise UsageError(f"{label}: {mistake.reason}") from None
        return settings


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the settings of one service come from; may be read again.

    Attributes:
        words: What click found on the command line.
        environ: The environment, as it was at the start.
        surroundings: Where the service was started.
    """

    words: Mapping[str, Any]
    environ: Mapping[str, str]
    surroundings: Surroundings

    def read(self) -> Configuration:
        """Read them; of the file, what it says now.

        Raises:
            UsageError: A value cannot be read; the line names where it is.
        """
        path = self._find_file()
        ranked = (
            read_command_line(OPTIONS, self.words),
            read_environment(OPTIONS, self.environ),
            read_config_file(OPTIONS, path),
        )
        return Configuration(choose(OPTIONS, ranked), path, self.surroundings)

    def _find_file(self) -> str:
        typed = self.words.get("config")
        if self.words.get("no_config"):
            if typed:
                raise UsageError(f"--config and {NO_FILE}: one of them")
            return ""
        named = typed or self.environ.get(CONFIG_VARIABLE, "")
        return find_config_file(self.surroundings.folder, named)
