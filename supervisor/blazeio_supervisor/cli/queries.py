"""The verbs that look."""

import os
import shutil
import sys
import time
from collections.abc import Iterator

import click
import msgspec

from blazeio_supervisor.cli.client import BrokenOffError, ControlClient, NotRunningError
from blazeio_supervisor.cli.doctor.findings import DoctorReport, Finding, format_report
from blazeio_supervisor.cli.doctor.machine import examine_bounds, examine_machine
from blazeio_supervisor.cli.doctor.service import examine_service, read_endpoint
from blazeio_supervisor.cli.output import (
    format_config,
    format_event_line,
    format_events,
    format_stacks,
)
from blazeio_supervisor.cli.status_table import format_status
from blazeio_supervisor.cli.verbs import ServiceTarget, read_slots, show, verb
from blazeio_supervisor.errors import ExitCode, UsageError
from blazeio_supervisor.fleet.reasons import count_of
from blazeio_supervisor.ipc.control_api import (
    ConfigAnswer,
    EventsAnswer,
    StackAnswer,
    StackOrder,
    StatusAnswer,
)
from blazeio_supervisor.log.events import EventRecord
from blazeio_supervisor.log.formats import escape_lines
from blazeio_supervisor.sockets.bind import BACKLOG

WHOLE_WIDTH = 10_000
"""Columns where no terminal sets a bound: nothing is left out or cut."""


@verb()
def status(target: ServiceTarget, is_json: bool) -> int:
    """Show the service: addresses, workers and their load, a reload under way.

    \b
    in flight  requests being answered now, 2? when a late worker last said so;
               conns: open connections
    queue      connections that wait to be accepted, of at most so many
    lag        how late the worker's event loop runs
    USS        memory of its own, which the worker's end would give back
    weight     its share of new connections; 100 is an even one

    A narrow terminal leaves columns out; a pipe, a file and --json have all. A slot
    whose worker does not serve says who accepts from its queue (`adopted by`).
    """
    answer = target.find().ask("GET", "/status", StatusAnswer)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else WHOLE_WIDTH
    return show(answer, is_json, lambda given: format_status(given, width))


@verb(
    click.option(
        "--show-env",
        is_flag=True,
        help="With the values of --env, which may be secrets; else with the names.",
    )
)
def config(target: ServiceTarget, is_json: bool, show_env: bool) -> int:
    """Show every setting in force, and where each came from.

    The output is a TOML file that sets the same, with --show-env the variables too.
    """
    path = "/config?show_env=true" if show_env else "/config"
    answer = target.find().ask("GET", path, ConfigAnswer)
    return show(answer, is_json, format_config)


@verb(click.argument("slot", metavar="SLOT|all", default="all"))
def stack(target: ServiceTarget, is_json: bool, slot: str) -> int:
    """Show where the workers of a slot are: every thread and every asyncio task.

    Works while a worker's loop is blocked, too: the line at the top of `Current
    thread` is the one that blocks it. Tasks that wait at the same place are one
    entry.
    """
    order = StackOrder(read_slots(slot))
    answer = target.find().ask("POST", "/stack", StackAnswer, order)
    return show(answer, is_json, format_stacks)


@verb(
    click.option(
        "--interval",
        type=click.FloatRange(0.1, 3600),
        default=1.0,
        metavar="SECONDS",
        help="Between two looks.  [default: 1]",
    ),
    has_json=False,
)
def top(target: ServiceTarget, interval: float) -> int:
    """Watch the service live: each worker's load, and keys to order something.

    \b
    req/s      requests begun in a second
    in flight  requests being answered now, 2? when a late worker last said so;
               conns: open connections
    lag p99    99 of 100 turns of the worker's event loop were less late than that
    queue      connections that wait to be accepted, of at most so many
    cpu        of one core; USS: memory of its own, which its end would give back
    weight     its share of new connections; 100 is an even one
    \b
    up, down   choose a slot: c replaces its worker, s shows where it is
    """
    client = target.find()
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("top needs a terminal; `status` does not")
    # Rich takes longer to load than a verb may take to answer.
    from blazeio_supervisor.cli.top.session import TopSession

    TopSession(client, interval).run()
    return ExitCode.OK


@verb(has_json=False)
def metrics(target: ServiceTarget) -> int:
    """Print the figures of the service, as Prometheus reads them.

    The same as /metrics of --metrics-bind; docs/metrics.md says what they mean.
    """
    click.echo(escape_lines(target.find().read("/metrics")), nl=False)
    return ExitCode.OK


# The verb that shows what has happened, and happens.


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
def events(target: ServiceTarget, is_json: bool, follow: bool, last: int) -> int:
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


def _follow(client: ControlClient, last: int) -> Iterator[EventRecord]:
    """Give the last events, then each as it happens, none twice.

    Raises:
        NotRunningError: The service is gone without a word.
        SupervisorError: As by ``ControlClient.follow``.
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


def _is_still(client: ControlClient, pid: int) -> bool:
    """Whether that master is still there; another one counts anew."""
    try:
        return client.read_server().pid == pid
    except NotRunningError:
        return False


def _say_missing(count: int) -> None:
    if count > 0:
        text = f"{count_of(count, 'event')} missing here: too many came at once"
        click.echo(text, err=True)


# The verb that looks for what could be better.


_LOOP = "uvloop"


@verb()
def doctor(target: ServiceTarget, is_json: bool) -> int:
    """Look at the machine, and at the service if one runs: what could be better.

    Each finding says what follows from it and how to mend it. Exit code 1: there
    is something to mend. What cannot be seen from here is not counted.
    """
    report = _examine(target)
    width = shutil.get_terminal_size().columns
    show(report, is_json, lambda given: format_report(given, width))
    return ExitCode.OK if report.is_well else ExitCode.CRASHED


def _examine(target: ServiceTarget) -> DoctorReport:
    try:
        client = target.find()
    except NotRunningError:
        if target.is_said:
            raise
        return DoctorReport(pid=None, findings=_examine_machine_alone())
    return _examine_all(client)


def _examine_machine_alone() -> list[Finding]:
    return [
        *examine_machine(BACKLOG, (), _LOOP),
        *examine_bounds(os.getpid(), 1, None),
    ]


def _examine_all(client: ControlClient) -> DoctorReport:
    status = client.ask("GET", "/status", StatusAnswer)
    config = client.ask("GET", "/config", ConfigAnswer)
    settings = {each.key: each.value for each in config.settings}
    endpoints = [each for each in map(read_endpoint, status.addresses) if each]
    pids = [each.pid for each in status.workers if each.pid is not None]
    wanted = sum(not slot.is_parked for slot in status.slots)
    ports = [endpoint.port for endpoint in endpoints]
    loop = str(settings.get("loop") or _LOOP)
    return DoctorReport(
        pid=status.pid,
        findings=[
            *examine_service(status, config),
            *examine_machine(int(settings.get("backlog") or BACKLOG), ports, loop),
            *examine_bounds(
                pids[0] if pids else status.pid,
                wanted,
                settings.get("max_connections"),
            ),
        ],
    )
