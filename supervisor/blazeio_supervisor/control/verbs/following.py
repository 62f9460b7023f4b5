"""The verb that shows what has happened, and happens."""

import click
import msgspec

from blazeio_supervisor.control.answers import EventAnswer, EventsAnswer
from blazeio_supervisor.control.display.event_lines import (
    format_event_line,
    format_events,
)
from blazeio_supervisor.control.verbs.declaring import Target, show, verb
from blazeio_supervisor.errors import ExitCode

_LAST_COUNT = 100
_EVENTS = msgspec.json.Decoder(EventAnswer)


@verb(
    click.option("--follow", "-f", is_flag=True, help="Then show each as it happens."),
    click.option(
        "--last",
        "-n",
        type=click.IntRange(0),
        default=_LAST_COUNT,
        metavar="N",
        help=f"So many of the past.  [default: {_LAST_COUNT}]",
    ),
)
def events(target: Target, is_json: bool, follow: bool, last: int) -> int:
    """Show what has happened: starts, reloads, deaths, blocked loops.

    Also what the log does not print at its level. The service remembers the last
    10,000; docs/events.md lists them all. With --follow and --json each is a line.
    """
    client = target.find()
    path = f"/events?last={last}"
    if not follow:
        return show(client.ask("GET", path, EventsAnswer), is_json, format_events)
    try:
        for event in client.follow(f"{path}&follow=true", _EVENTS):
            show(event, is_json, format_event_line)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    return ExitCode.OK
