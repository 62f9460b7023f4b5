"""Events as a person reads them."""

import time

from blazeio_supervisor.control.answers.events import (
    EventAnswer,
    EventsAnswer,
)
from blazeio_supervisor.observe.lines.formats import format_identity


def format_events(answer: EventsAnswer) -> str:
    """Write each, the oldest first."""
    return "\n".join(map(format_event_line, answer.events))


def format_event_line(event: EventAnswer) -> str:
    """Write one with its date and local time; a traceback below it."""
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.at_s))
    identity = format_identity(event)
    what = f"{event.event} {identity}".rstrip()
    line = f"{at}.{int(event.at_s % 1 * 1000):03d} {event.level:7} {what}: {event.text}"
    return f"{line}\n{event.traceback.rstrip()}" if event.traceback else line
