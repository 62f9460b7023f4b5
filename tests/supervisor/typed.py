"""What an operator says, and what is read of it."""

from collections.abc import Mapping
from pathlib import Path

from blazeio_supervisor.cli.serve import command
from blazeio_supervisor.config.environment import StartEnvironment
from blazeio_supervisor.config.settings import Configuration, Settings, Sources

NOWHERE = Path(__file__).parent
"""A folder without a settings file."""


def look_for_sources(
    *words: str, environ: Mapping[str, str] | None = None, folder: Path = NOWHERE
) -> Sources:
    """The sources of a command line, an environment and a folder."""
    typed = command.make_context("it", list(words)).params
    return Sources(typed, environ or {}, StartEnvironment(folder=str(folder)))


def configure(
    *words: str, environ: Mapping[str, str] | None = None, folder: Path = NOWHERE
) -> Configuration:
    """What they say together."""
    return look_for_sources(*words, environ=environ, folder=folder).read()


def read_settings(
    *words: str, environ: Mapping[str, str] | None = None, folder: Path = NOWHERE
) -> Settings:
    """The same, checked; of ``app:web``."""
    return configure("app:web", *words, environ=environ, folder=folder).make_settings()
