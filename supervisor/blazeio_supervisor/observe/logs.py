"""The operator's log: one line per fact, to standard error."""

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from blazeio_supervisor.observe.events.noting import note

ROOT = "blazeio"
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
FRAMES_KEPT_CHARS = 32_000  # two of the largest that a process may send


class LineFormatter(logging.Formatter):
    """``2026-01-31T12:00:00.123 INFO  event=ready slot=0 ...``."""

    def formatTime(  # noqa: N802 - the name is logging's
        self, record: logging.LogRecord, datefmt: str | None = None
    ) -> str:
        """Give local time with milliseconds and offset, as ISO 8601 has it."""
        moment = time.localtime(record.created)
        return (
            time.strftime("%Y-%m-%dT%H:%M:%S", moment)
            + f".{int(record.msecs):03d}"
            + time.strftime("%z", moment)
        )


def configure_logs(level: str) -> None:
    """Send the logs of this process to standard error, once.

    An app that configured logging itself, for everything or for ``blazeio``,
    is left alone.
    """
    logger = logging.getLogger(ROOT)
    if logger.handlers or logging.getLogger().handlers:
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(LineFormatter("%(asctime)s %(levelname)-7s %(message)s"))
    handler.setLevel(level)  # events below it are kept, though not printed
    logger.addHandler(handler)
    logger.setLevel(level)
    logger.propagate = False


def set_level(level: str) -> None:
    """Print what is at least of this level from now on."""
    logger = logging.getLogger(ROOT)
    logger.setLevel(level)
    for handler in logger.handlers:
        handler.setLevel(level)


@contextmanager
def logs_configured(level: str) -> Iterator[None]:
    """The same for a while: an app that is imported later decides by itself."""
    logger = logging.getLogger(ROOT)
    before = logger.handlers[:], logger.level, logger.propagate
    configure_logs(level)
    try:
        yield
    finally:
        logger.handlers[:], logger.level, logger.propagate = before


class FramesPrinter:
    """Notes what an app raised, each once in a row, and keeps the newest.

    Eight workers that fail to start say the same thing eight times.
    """

    def __init__(self) -> None:
        self._last = ("", 0)
        self._generation = 0
        self._said = ""

    def print(self, frames: str, generation: int) -> None:
        """Note one, as Python would print it.

        Args:
            frames: A traceback; "": the same failure may be noted again.
            generation: Whose code raised.
        """
        if frames and (frames, generation) != self._last:
            text = "the app raised while it was imported or started"
            note("app_raised", text, "ERROR", generation=generation, traceback=frames)
            self._keep(frames, generation)
        self._last = (frames, generation)

    def said_by(self, generation: int) -> str:
        """Give what was printed of a generation; only the newest is kept."""
        return self._said if generation == self._generation else ""

    def _keep(self, frames: str, generation: int) -> None:
        if generation > self._generation:
            self._generation, self._said = generation, ""
        if generation == self._generation:
            self._said = (self._said + frames)[:FRAMES_KEPT_CHARS]
