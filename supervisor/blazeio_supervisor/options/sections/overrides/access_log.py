"""The access log of all workers."""

import os
from dataclasses import dataclass

from blazeio.errors import ConfigurationError
from blazeio.server.lines.destination import STANDARD_OUTPUT
from blazeio.server.lines.format import compile_format
from blazeio_supervisor.options.kinds.texts import Parsed, Text
from blazeio_supervisor.options.option import Section, SettingError, option


def read_format(text: str) -> str:
    """Read ``--access-log-format``.

    Raises:
        ValueError: It cannot be read; says where.
    """
    try:
        compile_format(text, "")
    except ConfigurationError as error:
        raise ValueError(str(error)) from None
    return text


@dataclass(frozen=True, kw_only=True)
class AccessLog(Section):
    """One file for all workers."""

    title = "Access log"

    access_log: str | None = option(
        Text("PATH"),
        "Append a line for each response to this file, - for standard output. Rename "
        "it, then send USR1 to the master: it is opened anew.",
        default=None,
        default_text="the App's own, else none",
    )
    access_log_format: str | None = option(
        Parsed(read_format, "FORMAT"),
        "combined, json, json:ATOM,... or text with {atoms}; see docs/access-log.md.",
        default=None,
        default_text="the App's own, else combined",
    )

    def check(self) -> None:
        """Look for the folder of the file."""
        if self.access_log is None or self.access_log == STANDARD_OUTPUT:
            return
        path = os.path.join(self.folder, self.access_log)
        if not self.access_log or os.path.isdir(path):
            raise SettingError("access_log", "expected a file, or -")
        if not os.path.isdir(os.path.dirname(path)):
            raise SettingError(
                "access_log", f"there is no folder {os.path.dirname(path)}"
            )
