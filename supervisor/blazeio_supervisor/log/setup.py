"""The operator's log: one line for each fact, to standard error or a file."""

import logging
import os
import select
import sys
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import Any, TextIO

from blazeio_supervisor.errors import UsageError
from blazeio_supervisor.files import examine_to_append
from blazeio_supervisor.log.formats import (
    STDERR,
    EventRecord,
    LogConfig,
    LogOrigin,
    escape_answer,
    format_event,
    make_formatter,
)

# Noting an event: one record, which the ring keeps and the log prints.
#
# It goes the way of every log record, so whoever notes something needs to know
# neither; the record carries the event as ``record.event``.


TEXT_CHARS = 8_000
"""The longest text of one event; the rest is cut."""
TRACEBACK_CHARS = 32_000
"""The longest traceback of one event; the end of a longer one is kept."""

EVENT_LOG = logging.getLogger("blazeio.master")


class EventText:
    """An event as text, made when somebody wants to read it."""

    __slots__ = ("_event",)

    def __init__(self, event: EventRecord) -> None:
        self._event = event

    def __str__(self) -> str:
        return format_event(self._event)


def note(
    event: str,
    text: str,
    level: str = "INFO",
    *,
    worker: int | None = None,
    slot: int | None = None,
    generation: int | None = None,
    pid: int | None = None,
    reason: str = "",
    traceback: str = "",
    **fields: Any,
) -> None:
    """Note what has happened.

    Args:
        event: A word of the vocabulary.
        text: For a person, without the identity: what, why, and what is next.
        level: DEBUG, INFO, WARNING or ERROR.
        worker: Serial number of its life.
        slot: Its number.
        generation: Of the code.
        pid: Of the process.
        reason: Why, as one of few words: it is counted by them.
        traceback: Of the app, or of a fault of ours.
        fields: Further figures, for programs.
    """
    number = logging.getLevelNamesMapping()[level]
    if not EVENT_LOG.isEnabledFor(number):
        return
    # Here, and not by each reader: what is kept and counted has been escaped.
    noted = escape_answer(
        EventRecord(
            at_s=time.time(),
            event=event,
            level=level,
            text=text[:TEXT_CHARS],
            worker=worker,
            slot=slot,
            generation=generation,
            pid=pid,
            reason=reason,
            traceback=traceback[-TRACEBACK_CHARS:],
            fields=fields,
        )
    )
    EVENT_LOG.log(number, "%s", EventText(noted), extra={"event": noted})


# Writes each record to a descriptor by one write, whole lines whoever writes too.
#
# The kernel appends one write after another to a file opened with O_APPEND, and
# to a pipe as long as it is no more than 4,096 octets.


UNREAD_S = 0.2
"""A line that nobody reads for so long is lost, where the log does not block."""

_PRIORITIES = {"DEBUG": 7, "INFO": 6, "WARNING": 4, "ERROR": 3, "CRITICAL": 2}


class LineHandler(logging.Handler):
    """A logging handler that writes to a descriptor by its number.

    Args:
        fd: The descriptor of the log.
        is_journal: Each line begins with its priority, ``<3>``: the journal takes
            it, and would else give the level of the stream to all.
    """

    def __init__(self, fd: int = STDERR, *, is_journal: bool = False) -> None:
        super().__init__()
        self._fd = fd
        self._is_journal = is_journal

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record; called by ``logging``."""
        try:
            text = self.format(record)
            if self._is_journal:
                priority = f"<{_PRIORITIES.get(record.levelname, 6)}>"
                text = priority + text.replace("\n", f"\n{priority}")
            write_all(self._fd, f"{text}\n".encode("utf-8", "backslashreplace"))
        except Exception:
            self.handleError(record)


def write_all(fd: int, octets: bytes) -> None:
    """Write octets, by one call where the kernel takes them whole.

    What cannot be written is lost: there is nobody left to tell.
    """
    try:
        while octets:
            try:
                octets = octets[os.write(fd, octets) :]
            except BlockingIOError:
                # O_NONBLOCK is set by whoever shares the pipe or terminal.
                if not _wait_writable(fd):
                    return
    except OSError:
        pass  # a full disk, a reader that left


def _wait_writable(fd: int) -> bool:
    poller = select.poll()
    poller.register(fd, select.POLLOUT)
    return bool(poller.poll(UNREAD_S * 1000))


# What nobody has a logger for becomes records of the log, too.
#
# asyncio logs what it finds ("Task exception was never retrieved"), Python warns,
# names exceptions that it cannot raise, and prints one that ends a thread or the
# process. None of that knows of our log, so it would be text among JSON.
#
# An app's own configuration counts: ``logging`` comes here only when no handler was
# found, and each hook may be replaced.


NAME = "python"
"""The logger of what Python itself says, in each record."""
_WARNINGS = "py.warnings"  # as logging.captureWarnings has it


def install_excepthooks(handler: logging.Handler) -> None:
    """Log what Python would print to standard error: warnings, uncaught exceptions.

    Once in a process and those that it forks: what the app has put in the place
    of a hook since then stays there.
    """
    logging.lastResort = handler
    hooks = _ExceptHooks(handler)
    warnings.showwarning = hooks.show_warning
    sys.excepthook = hooks.note_uncaught
    sys.unraisablehook = hooks.note_unraisable
    threading.excepthook = hooks.note_uncaught_in_thread


class _ExceptHooks:
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

    def note_uncaught(
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

    def note_uncaught_in_thread(self, found: Any) -> None:
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


ROOT = "blazeio"
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
FRAMES_KEPT_CHARS = 32_000  # two of the largest that a process may send


def configure_logs(
    terms: LogConfig, fd: int = STDERR, origin: LogOrigin | None = None
) -> None:
    """Send the logs of this process to a descriptor, once.

    An app that configured logging itself, for everything or for ``blazeio``,
    is left alone.

    Args:
        terms: How they are written.
        fd: The descriptor that the log goes to.
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


def apply_config(terms: LogConfig) -> None:
    """Configure all of logging as the operator's file says, if there is one.

    Raises:
        LoggingError: The file cannot be used.
    """
    if terms.config is None:
        return
    try:
        if os.geteuid() == 0:
            _examine_files(terms.config)
        from logging.config import dictConfig  # few have such a file

        dictConfig(terms.config)
    except Exception as error:  # of any class that the file names
        causes = [str(error)]
        if error.__cause__ is not None:
            causes.append(str(error.__cause__))
        line = " ".join(": ".join(causes).split())
        raise LoggingError(f"--log-config: {line}") from None


def _examine_files(config: Mapping[str, Any]) -> None:
    """Check that handlers of root open no file that another user can replace.

    They open it by its name, and follow links: now, and when they rotate.

    Raises:
        OSError: There is such a file.
    """
    for name, handler in dict(config.get("handlers") or {}).items():
        filename = handler.get("filename")
        if isinstance(filename, str):
            try:
                examine_to_append(filename)
            except OSError as error:
                raise OSError(f"handler {name!r}: {error.strerror}") from None


def configure_other_logs(
    terms: LogConfig, fd: int = STDERR, origin: LogOrigin | None = None
) -> None:
    """Send warnings and other loggers there too; arguments as above."""
    handler = make_handler(terms, fd, origin)
    # As logging does it where nothing is configured.
    handler.setLevel(max(logging.WARNING, logging.getLevelName(terms.level)))
    install_excepthooks(handler)


def make_handler(terms: LogConfig, fd: int, origin: LogOrigin | None) -> LineHandler:
    """Return the handler; arguments as above."""
    handler = LineHandler(fd, is_journal=terms.is_journal)
    handler.setFormatter(make_formatter(terms, origin))
    return handler


def set_level(level: str) -> None:
    """Set the level of the log."""
    logger = logging.getLogger(ROOT)
    if not logger.handlers:
        return  # --log-config says it
    logger.setLevel(level)
    for handler in logger.handlers:
        handler.setLevel(level)


@contextmanager
def logs_configured(
    terms: LogConfig, fd: int = STDERR, origin: LogOrigin | None = None
) -> Iterator[None]:
    """Configure the logs for a while; an app that is imported later decides itself."""
    logger = logging.getLogger(ROOT)
    before = logger.handlers[:], logger.level, logger.propagate
    configure_logs(terms, fd, origin)
    try:
        yield
    finally:
        logger.handlers[:], logger.level, logger.propagate = before


class LoggingError(UsageError):
    """The file of ``--log-config`` cannot be used."""


class FramesPrinter:
    """Prints what an app raised, each once in a row, and keeps the newest.

    Eight workers that fail to start say the same thing eight times.
    """

    def __init__(self) -> None:
        self._last = ("", 0)
        self._generation = 0
        self._said = ""

    def print(self, frames: str, generation: int) -> None:
        """Print a traceback, as Python would.

        Args:
            frames: A traceback; "": the same failure may be noted again.
            generation: The generation whose code raised it.
        """
        if frames and (frames, generation) != self._last:
            text = "the app raised while it was imported or started"
            note("app_raised", text, "ERROR", generation=generation, traceback=frames)
            self._keep(frames, generation)
        self._last = (frames, generation)

    def printed_by(self, generation: int) -> str:
        """Return what was printed of a generation; only the newest is kept."""
        return self._said if generation == self._generation else ""

    def _keep(self, frames: str, generation: int) -> None:
        if generation > self._generation:
            self._generation, self._said = generation, ""
        if generation == self._generation:
            self._said = (self._said + frames)[:FRAMES_KEPT_CHARS]
