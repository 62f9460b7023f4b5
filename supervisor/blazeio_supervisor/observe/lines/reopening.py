"""Writing to new log files, since the old ones were renamed."""

from collections.abc import Sequence
from typing import Protocol

from blazeio_supervisor.observe.events.noting import note
from blazeio_supervisor.observe.lines.log_file import LogFile
from blazeio_supervisor.process.channel import Sendable


class Writers(Protocol):
    """Other processes that write logs."""

    def reopen_logs(self, files: Sequence[Sendable]) -> None:
        """Have them do it too; ``files``: the new one of the log, if that is a file."""


class Reopening:
    """Does it, here and everywhere.

    Args:
        log_file: Of the master; None: it writes to standard error.
        writers: All others.
    """

    def __init__(self, log_file: LogFile | None, *writers: Writers) -> None:
        self._log_file = log_file
        self._writers = writers

    def reopen(self) -> str:
        """Do it now; say why the log itself is not in a new file, or ""."""
        failure = self._log_file.reopen() if self._log_file else ""
        if failure:
            note("logs_reopened", failure, "ERROR")
        else:
            note("logs_reopened", "the log and every access log are opened anew")
        files = [self._log_file.open_again()] if self._log_file else []
        for writers in self._writers:
            writers.reopen_logs(files)
        for file in files:
            file.close()
        return failure
