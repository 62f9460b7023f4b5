"""The verb that shows what has happened, and happens."""

import time
from collections.abc import Iterator

import click
import msgspec

from blazeio_supervisor.control.answers.events import EventsAnswer
from blazeio_supervisor.control.client import (
    BrokenOffError,
    Client,
    NotRunningError,
)
from blazeio_supervisor.control.display.event_lines import (
    format_event_line,
    format_events,
)
from blazeio_supervisor.control.verbs.declaring import Target, show, verb
from blazeio_supervisor.errors import ExitCode
from blazeio_supervisor.fleet.telling.words import count_of
from blazeio_supervisor.observe.events.vocabulary import EventRecord

_LAST_COUNT = 100
_EVENTS = msgspec.json.Decoder(EventRecord)
_AGAIN_S = 0.05
_GONE = "the service is gone, without a last word: was it killed?"


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

    --follow goes on over an upgrade. It ends with the service: 0 when that has
    stopped, 6 when it is gone without a word.
    """
    client = target.find()
    if not follow:
        path = f"/events?last={last}"
        return show(client.ask("GET", path, EventsAnswer), is_json, format_events)
    try:
        for event in _follow(client, last):
            show(event, is_json, format_event_line)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    click.echo("the service has ended", err=True)
    return ExitCode.OK


def _follow(client: Client, last: int) -> Iterator[EventRecord]:
    """Give the last events, then each as it happens, none twice.

    Raises:
        NotRunningError: The service is gone without a word.
        SupervisorError: As by ``Client.follow``.
    """
    pid = client.read_server().pid
    # One at least: its number is where to go on.
    past = client.ask("GET", f"/events?last={max(last, 1)}", EventsAnswer).events
    yield from past[len(past) - min(last, len(past)) :]
    seq = past[-1].seq if past else 0
    while True:
        try:
            for event in client.follow(f"/events?after={seq}&follow=true", _EVENTS):
                _say_missing(event.seq - seq - 1)
                seq = event.seq
                yield event
        except BrokenOffError:
            time.sleep(_AGAIN_S)  # an upgrade, or its end
        else:
            return
        if not _is_still(client, pid):
            raise NotRunningError(_GONE)


def _is_still(client: Client, pid: int) -> bool:
    """Whether that master is still there; another one counts anew."""
    try:
        return client.read_server().pid == pid
    except NotRunningError:
        return False


def _say_missing(count: int) -> None:
    if count > 0:
        text = f"{count_of(count, 'event')} missing here: too many came at once"
        click.echo(text, err=True)
