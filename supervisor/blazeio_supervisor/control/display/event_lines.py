"""Events as a person reads them."""

import time

from blazeio_supervisor.control.answers.events import EventsAnswer
from blazeio_supervisor.escaping import continue_lines, escape_line
from blazeio_supervisor.observe.events.vocabulary import EventRecord
from blazeio_supervisor.observe.lines.formats import format_identity


def format_events(answer: EventsAnswer) -> str:
    """Write each, the oldest first."""
    return "\n".join(map(format_event_line, answer.events))


def format_event_line(event: EventRecord) -> str:
    """Write one with its date and local time; a traceback below it."""
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.at_s))
    identity = format_identity(event)
    what = f"{event.event} {identity}".rstrip()
    text = escape_line(event.text)
    line = f"{at}.{int(event.at_s % 1 * 1000):03d} {event.level:7} {what}: {text}"
    return f"{line}\n{continue_lines(event.traceback)}" if event.traceback else line
