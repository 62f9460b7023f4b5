"""What nobody has a logger for becomes records of the log, too.

asyncio logs what it finds ("Task exception was never retrieved"), Python warns,
names exceptions that it cannot raise, and prints one that ends a thread or the
process. None of that knows of our log, so it would be text among JSON.

An app's own configuration counts: ``logging`` comes here only when no handler was
found, and each hook may be replaced.
"""

import logging
import sys
import threading
import warnings
from types import TracebackType
from typing import Any, TextIO

NAME = "python"
"""The logger of what Python itself says, in each record."""
_WARNINGS = "py.warnings"  # as logging.captureWarnings has it


def catch_strays(handler: logging.Handler) -> None:
    """Give the handler what would be printed to standard error.

    Once in a process and those that it forks: what the app has put in the place
    of a hook since then stays there.
    """
    logging.lastResort = handler
    strays = _Strays(handler)
    warnings.showwarning = strays.show_warning
    sys.excepthook = strays.note_end
    sys.unraisablehook = strays.note_unraisable
    threading.excepthook = strays.note_end_of_thread


class _Strays:
    def __init__(self, handler: logging.Handler) -> None:
        self._handler = handler

    def show_warning(
        self,
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        file: TextIO | None = None,
        line: str | None = None,
    ) -> None:
        text = f"{filename}:{lineno}: {category.__name__}: {message}"
        if file is None:
            self._log(_WARNINGS, logging.WARNING, text)
        else:
            file.write(f"{text}\n")

    def note_end(
        self,
        kind: type[BaseException],
        error: BaseException,
        trace: TracebackType | None,
    ) -> None:
        self._log(NAME, logging.ERROR, "an exception ends the process", error)

    def note_unraisable(self, found: Any) -> None:
        what = found.err_msg or "Exception ignored in"
        text = what if found.object is None else f"{what}: {found.object!r}"
        self._log(NAME, logging.ERROR, text, found.exc_value)

    def note_end_of_thread(self, found: Any) -> None:
        if found.exc_type is SystemExit:
            return  # as Python has it: that is how a thread is left
        name = "?" if found.thread is None else found.thread.name
        text = f"an exception ends the thread {name!r}"
        self._log(NAME, logging.ERROR, text, found.exc_value)

    def _log(
        self, name: str, level: int, text: str, error: BaseException | None = None
    ) -> None:
        if level < self._handler.level:
            return
        trace = None if error is None else (type(error), error, error.__traceback__)
        self._handler.handle(logging.LogRecord(name, level, "", 0, text, None, trace))
