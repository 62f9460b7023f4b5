"""What an operator types, as the readers of the options get it."""

from typing import Any

from blazeio_supervisor.options.command_line import SECTIONS
from blazeio_supervisor.options.section import SectionedCommand

OPTIONS = [option for section in SECTIONS for option in section.options]


def given(*arguments: str) -> dict[str, Any]:
    """Each option by click's name for it."""
    command = SectionedCommand(name="it", sections=SECTIONS)
    return command.make_context("it", list(arguments)).params
