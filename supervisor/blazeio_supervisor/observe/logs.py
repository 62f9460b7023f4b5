"""The operator's log: one line for each fact, to standard error or a file."""

import logging
import logging.config
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from blazeio_supervisor.errors import UsageError
from blazeio_supervisor.files.opening import examine_to_append
from blazeio_supervisor.observe.events.noting import note
from blazeio_supervisor.observe.lines.formats import Origin, make_formatter
from blazeio_supervisor.observe.lines.handler import LineHandler
from blazeio_supervisor.observe.lines.strays import catch_strays
from blazeio_supervisor.observe.lines.terms import STDERR, LogTerms

ROOT = "blazeio"
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
FRAMES_KEPT_CHARS = 32_000  # two of the largest that a process may send


def configure_logs(
    terms: LogTerms, fd: int = STDERR, origin: Origin | None = None
) -> None:
    """Send the logs of this process to a descriptor, once.

    An app that configured logging itself, for everything or for ``blazeio``,
    is left alone.

    Args:
        terms: How they are written.
        fd: Where to.
        origin: Which process this is; None: the master.
    """
    logger = logging.getLogger(ROOT)
    if terms.config is not None or logger.handlers or logging.getLogger().handlers:
        return
    handler = make_handler(terms, fd, origin)
    handler.setLevel(terms.level)  # events below it are kept, though not printed
    logger.addHandler(handler)
    logger.setLevel(terms.level)
    logger.propagate = False


def apply_config(terms: LogTerms) -> None:
    """Configure all of logging as the operator's file says, if there is one.

    Raises:
        LoggingError: It cannot be so; says why in one line.
    """
    if terms.config is None:
        return
    try:
        if os.geteuid() == 0:
            _examine_files(terms.config)
        logging.config.dictConfig(terms.config)
    except Exception as error:  # of any class that the file names
        causes = [str(error)]
        if error.__cause__ is not None:
            causes.append(str(error.__cause__))
        line = " ".join(": ".join(causes).split())
        raise LoggingError(f"--log-config: {line}") from None


def _examine_files(config: Mapping[str, Any]) -> None:
    """See that handlers as root open no file that another user leads them to.

    They open it by its name, and follow links: now, and when they rotate.

    Raises:
        OSError: Such a file; says which.
    """
    for name, handler in dict(config.get("handlers") or {}).items():
        filename = handler.get("filename")
        if isinstance(filename, str):
            try:
                examine_to_append(filename)
            except OSError as error:
                raise OSError(f"handler {name!r}: {error.strerror}") from None


def configure_strays(
    terms: LogTerms, fd: int = STDERR, origin: Origin | None = None
) -> None:
    """Send there, too, what has no logger of ours; arguments as above."""
    handler = make_handler(terms, fd, origin)
    # As logging does it where nothing is configured.
    handler.setLevel(max(logging.WARNING, logging.getLevelName(terms.level)))
    catch_strays(handler)


def make_handler(terms: LogTerms, fd: int, origin: Origin | None) -> LineHandler:
    """Give what writes a record; arguments as above."""
    handler = LineHandler(fd, is_journal=terms.is_journal)
    handler.setFormatter(make_formatter(terms, origin))
    return handler


def set_level(level: str) -> None:
    """Print what is at least of this level from now on."""
    logger = logging.getLogger(ROOT)
    if not logger.handlers:
        return  # --log-config says it
    logger.setLevel(level)
    for handler in logger.handlers:
        handler.setLevel(level)


@contextmanager
def logs_configured(
    terms: LogTerms, fd: int = STDERR, origin: Origin | None = None
) -> Iterator[None]:
    """The same for a while: an app that is imported later decides by itself."""
    logger = logging.getLogger(ROOT)
    before = logger.handlers[:], logger.level, logger.propagate
    configure_logs(terms, fd, origin)
    try:
        yield
    finally:
        logger.handlers[:], logger.level, logger.propagate = before


class LoggingError(UsageError):
    """What ``--log-config`` asks for cannot be had."""


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
