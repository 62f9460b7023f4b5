"""The access log of all workers."""

from dataclasses import dataclass

from blazeio.errors import ConfigurationError
from blazeio.server.access_log import STANDARD_OUTPUT
from blazeio.server.log_format import compile_format
from blazeio_supervisor.options.kinds.texts import Parsed, Text
from blazeio_supervisor.options.option import Section, option
from blazeio_supervisor.options.sections.logs import check_log_path


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


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
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
        check_log_path(self, "access_log", self.access_log)
