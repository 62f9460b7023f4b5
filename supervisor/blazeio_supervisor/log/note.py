"""Noting an event: one record, which the ring keeps and the log prints.

It goes the way of every log record, so whoever notes something needs to know
neither; the record carries the event as ``record.event``.
"""

import logging
import time
from typing import Any

from blazeio_supervisor.log.events import EventRecord
from blazeio_supervisor.log.formats import escape_answer, format_event

TEXT_CHARS = 8_000
"""Of the text of one event; the rest is cut."""
TRACEBACK_CHARS = 32_000
"""Likewise of its traceback, of which the end says most."""

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
