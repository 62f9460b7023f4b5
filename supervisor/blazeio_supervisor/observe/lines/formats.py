"""Log records as text for people, or as JSON for programs.

A record may have an ``event``, a ``origin`` (whose output it is) or an exception;
what becomes of it is one string, for one write.
"""

import logging
import time
from typing import Any, Protocol

from msgspec import Struct

from blazeio_supervisor.escaping import (
    continue_lines,
    encode_json,
    escape_line,
    escape_lines,
)
from blazeio_supervisor.observe.events.vocabulary import EventRecord
from blazeio_supervisor.observe.lines.terms import LogTerms

_COLORS = {"DEBUG": "2", "WARNING": "33", "ERROR": "31", "CRITICAL": "31"}
_BOLD = "1"
_OURS = "blazeio"


class Identified(Protocol):
    """What an event is about, or whose line it is."""

    @property
    def worker(self) -> int | None: ...  # noqa: D102
    @property
    def slot(self) -> int | None: ...  # noqa: D102
    @property
    def generation(self) -> int | None: ...  # noqa: D102
    @property
    def pid(self) -> int | None: ...  # noqa: D102


class Origin(Struct):
    """The process whose line it is.

    Attributes:
        worker: Serial number of its life; None: it is no worker.
        pid: None as long as it is not known.
    """

    worker: int | None = None
    slot: int | None = None
    generation: int | None = None
    pid: int | None = None


def format_identity(who: Identified) -> str:
    """Write whom it is about: ``worker=3 slot=0 gen=1 pid=4711``."""
    parts = (
        ("worker", who.worker),
        ("slot", who.slot),
        ("gen", who.generation),
        ("pid", who.pid),
    )
    return " ".join(f"{name}={value}" for name, value in parts if value is not None)


def make_formatter(terms: LogTerms, origin: Origin | None = None) -> logging.Formatter:
    """Give the one that was asked for.

    Args:
        terms: Say which.
        origin: Of all lines of this process; None: it is the master.
    """
    if terms.is_json:
        return JsonFormatter(origin)
    return TextFormatter(terms, origin)


class TextFormatter(logging.Formatter):
    """``2026-01-31T12:00:00.123+0100 INFO    event=ready slot=0: it serves``.

    Without the time for the journal, which has it. A traceback follows its line.

    Args:
        terms: Colours, and whether the time is wanted.
        origin: See ``make_formatter``.
    """

    def __init__(self, terms: LogTerms, origin: Origin | None = None) -> None:
        super().__init__()
        self._has_time = not terms.is_journal
        self._has_color = terms.has_color
        self._origin = origin

    def format(self, record: logging.LogRecord) -> str:
        """Write a record; of several lines if it has a traceback, or was captured."""
        head = self._paint(f"{record.levelname:7}", _COLORS.get(record.levelname))
        if self._has_time:
            head = f"{_write_local_time(record.created)} {head}"
        origin = getattr(record, "origin", None)
        if isinstance(origin, Origin):
            identity = format_identity(origin)
            lines = _split_printed(record.getMessage())
            return "\n".join(
                f"{head} {identity} | {escape_lines(line)}" for line in lines
            )
        event = getattr(record, "event", None)
        if isinstance(event, EventRecord):
            name = self._paint(f"event={escape_line(event.event)}", _BOLD)
            return f"{head} {name} {_format_rest(event)}"
        text, _, rest = record.getMessage().partition("\n")
        if record.exc_info:
            rest = f"{rest}\n{self.formatException(record.exc_info)}".lstrip("\n")
        who = [] if self._origin is None else [format_identity(self._origin)]
        if not record.name.startswith(_OURS) or text.startswith("event="):
            who.append(escape_line(record.name))  # asyncio's, or what Python says
        line = f"{head} {': '.join([*who, escape_line(text)])}"
        return f"{line}\n{continue_lines(rest)}" if rest else line

    def _paint(self, text: str, color: str | None) -> str:
        return f"\x1b[{color}m{text}\x1b[0m" if self._has_color and color else text


class JsonFormatter(logging.Formatter):
    """An object on each line; what does not apply is left out.

    Args:
        origin: See ``make_formatter``.
    """

    def __init__(self, origin: Origin | None = None) -> None:
        super().__init__()
        self._origin = origin

    def format(self, record: logging.LogRecord) -> str:
        """Write a record; what was captured as an object for each line."""
        origin = getattr(record, "origin", None)
        if isinstance(origin, Origin):
            lines = _split_printed(record.getMessage())
            return "\n".join(self._write(record, line, origin) for line in lines)
        event = getattr(record, "event", None)
        if isinstance(event, EventRecord):
            return self._write(record, event.text, event, _list_rest(event))
        rest = {}
        if record.exc_info:
            rest["traceback"] = self.formatException(record.exc_info)
        return self._write(record, record.getMessage(), self._origin, rest)

    def _write(
        self,
        record: logging.LogRecord,
        text: str,
        who: Identified | None,
        rest: dict[str, Any] | None = None,
    ) -> str:
        moment = time.gmtime(record.created)
        at = time.strftime("%Y-%m-%dT%H:%M:%S", moment)
        line: dict[str, Any] = {
            "time": f"{at}.{int(record.created % 1 * 1000):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "text": text,
        }
        if who is not None:
            names = ("worker", "slot", "generation", "pid")
            values = ((name, getattr(who, name)) for name in names)
            line |= {name: value for name, value in values if value is not None}
        return encode_json(line | (rest or {})).decode()


def _list_rest(event: EventRecord) -> dict[str, Any]:
    """What is not in every line: the name first, the further figures last."""
    rest = {"event": event.event, "reason": event.reason, "traceback": event.traceback}
    return {name: value for name, value in rest.items() if value} | event.fields


def format_event(event: EventRecord) -> str:
    """Write it as it stands in the log: ``event=ready slot=0: serving``."""
    return f"event={escape_line(event.event)} {_format_rest(event)}"


def _format_rest(event: EventRecord) -> str:
    identity = format_identity(event)
    line = f"{f'{identity}: ' if identity else ''}{escape_line(event.text)}"
    if not event.traceback:
        return line
    return f"{line}\n{continue_lines(event.traceback)}"


def _split_printed(text: str) -> list[str]:
    """Give what was printed line by line; a terminal's line end is one, too."""
    lines = text.removesuffix("\n").split("\n")
    return [line.removesuffix("\r") for line in lines]


def _write_local_time(at_s: float) -> str:
    """As ISO 8601 has it, with milliseconds and offset."""
    moment = time.localtime(at_s)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", moment)
    return f"{text}.{int(at_s % 1 * 1000):03d}{time.strftime('%z', moment)}"
