"""What the supervisor says of itself, and where."""

import os
from dataclasses import dataclass
from typing import Any, Literal, get_args

from blazeio_supervisor.observe.lines.terms import LogTerms
from blazeio_supervisor.observe.logs import LEVELS
from blazeio_supervisor.options.kinds.kind import Flag
from blazeio_supervisor.options.kinds.texts import Choice, Text
from blazeio_supervisor.options.log_config import LogConfigError, read_log_config
from blazeio_supervisor.options.option import Change, Section, SettingError, option
from blazeio_supervisor.options.surroundings import Surroundings

LogFormat = Literal["text", "json"]


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class Logs(Section):
    """The supervisor's own log; the app's ``logging`` is its own matter."""

    title = "Log"

    log_level: str = option(
        Choice(LEVELS, "LEVEL"),
        "Of the supervisor's own log, on standard error: debug, info, warning or "
        "error.",
        default="INFO",
    )
    log_format: LogFormat = option(
        Choice(get_args(LogFormat), "FORMAT"),
        "text: a line for people, in colour on a terminal; json: an object on each "
        "line.",
        default="text",
        change=Change.RESTART,
    )
    log_file: str | None = option(
        Text("PATH"),
        "Append the log to this file. Rename it, then send USR1 to the master: it is "
        "opened anew.",
        default=None,
        default_text="standard error",
        change=Change.RESTART,
    )
    log_config: str | None = option(
        Text("FILE"),
        "Configure all of logging by this file, in the master and in the app's "
        "processes, as logging.config.dictConfig does: .toml, .json, or .yaml where "
        "PyYAML is installed. The other options of this section then count for "
        "nothing, except --capture-output. As root, its handlers write no file in a "
        "folder that others may write.",
        default=None,
        change=Change.RESTART,
    )
    capture_output: bool = option(
        Flag(),
        "Put what the app's processes print into the log, line by line, with the "
        "worker's name; else it goes where the supervisor's own output goes.",
        default=False,
        change=Change.RESTART,
    )

    @property
    def log_path(self) -> str | None:
        """Where the log goes, from the root on; None: to standard error."""
        return self.log_file and os.path.join(self.folder, self.log_file)

    @property
    def log_terms(self) -> LogTerms:
        """How the log is written, by all our processes."""
        is_file = self.log_file is not None
        return LogTerms(
            level=self.log_level,
            is_json=self.log_format == "json",
            has_color=self.standard_error.has_color and not is_file,
            is_journal=self.standard_error.is_journal and not is_file,
            config=self._read_config(),
        )

    def _read_config(self) -> dict[str, Any] | None:
        if self.log_config is None:
            return None
        try:
            return read_log_config(os.path.join(self.folder, self.log_config))
        except LogConfigError as error:
            raise SettingError("log_config", str(error)) from None

    def check(self) -> None:
        """Look for the folder of the file."""
        if self.log_file is not None:
            check_log_path(self, "log_file", self.log_file)
        self._read_config()


def check_log_path(around: Surroundings, field: str, given: str) -> None:
    """See that a file could be appended to.

    Args:
        around: A relative path starts from its folder.
        field: Of ``Settings``.
        given: The path.

    Raises:
        SettingError: It is a folder, or in none.
    """
    path = os.path.join(around.folder, given)
    if not given or os.path.isdir(path):
        raise SettingError(field, "expected a file")
    if not os.path.isdir(os.path.dirname(path)):
        raise SettingError(field, f"there is no folder {os.path.dirname(path)}")
