"""The verbs that look at a service; each with the text that it prints."""

import re
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from textwrap import indent
from typing import TYPE_CHECKING

import click
import msgspec
from msgspec.structs import replace

from blazeio_supervisor.cli.output import format_status, say
from blazeio_supervisor.cli.profile import profile
from blazeio_supervisor.cli.top_screen import SORT_KEYS
from blazeio_supervisor.cli.verbs import (
    ServiceTarget,
    is_terminal,
    read_slots,
    show,
    slot_argument,
    verb,
)
from blazeio_supervisor.errors import (
    BrokenOffError,
    ExitCode,
    NotRunningError,
    SupervisorError,
    UsageError,
    count_of,
)
from blazeio_supervisor.ipc.control_api import (
    CONFIG,
    EVENTS,
    METRICS,
    SERVICE,
    STACK,
    STATUS,
    ConfigAnswer,
    ConfigQuery,
    EventsAnswer,
    EventsQuery,
    ForkserverStack,
    StackAnswer,
    StackOrder,
    WorkerStack,
)
from blazeio_supervisor.ipc.status_api import StatusAnswer
from blazeio_supervisor.log.formats import (
    EventRecord,
    continue_lines,
    escape_line,
    escape_lines,
    find_import,
    fold_own_frames,
    format_identity,
)

if TYPE_CHECKING:
    from blazeio_supervisor.cli.client import ControlClient

# status and top


WHOLE_WIDTH = 10_000
"""Columns where no terminal sets a bound: nothing is left out or cut."""


@verb(
    "show workers, their load, a reload in progress",
    click.option(
        "--watch",
        "-w",
        "interval",
        is_flag=False,
        flag_value="2",
        default=None,
        type=click.FloatRange(0.1, 3600),
        metavar="[SECONDS]",
        help="Show it again every so often, until ^C.  [default: 2]",
    ),
    click.option(
        "--gate",
        "is_gate",
        is_flag=True,
        help="For what rolls machines: exit with 0 when this one serves and its last "
        "reload has held; else with 1, and print why.",
    ),
)
def status(
    target: ServiceTarget, is_json: bool, interval: float | None, is_gate: bool
) -> int:
    """Show the service: addresses, workers and their load, a reload under way.

    \b
    in flight  requests being answered now, 2? when a late worker last said so;
               conns: open connections
    threads    of WSGI apps: 4/4 +12 is 4 of 4 at work, 12 requests wait for one
    queue      connections that wait to be accepted, of at most so many
    lag        how late the worker's event loop runs
    USS        memory of its own, which the worker's end would give back
    weight     its share of new connections; 100 is an even one

    A narrow terminal leaves columns out; a pipe, a file and --json have all. A slot
    whose worker does not serve says who accepts from its queue (`adopted by`).
    """
    client = target.find()
    if is_gate:
        answer = client.ask(STATUS)
        reason = find_gate_reason(answer, client.ask(EVENTS, EventsQuery()).events)
        if reason:
            raise SupervisorError(reason)
        return ExitCode.OK
    try:
        while True:
            answer = client.ask(STATUS)
            if interval is not None and is_terminal(sys.stdout):
                click.clear()
            _show_status(answer, is_json)
            if interval is None:
                return ExitCode.OK
            time.sleep(interval)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED


def _show_status(answer: StatusAnswer, is_json: bool) -> None:
    width = (
        shutil.get_terminal_size().columns if is_terminal(sys.stdout) else WHOLE_WIDTH
    )
    show(answer, is_json, lambda given: format_status(given, width))


_CHANGES = ("reload_ok", "reload_failed", "rolled_back")


def find_gate_reason(answer: StatusAnswer, events: Sequence[EventRecord]) -> str:
    """Find why a rollout over several machines must not go on after this one.

    Args:
        answer: The service now.
        events: What has happened, the oldest first.

    Returns:
        One line; "" when the service takes requests, and new code has held.
    """
    if answer.reload is not None:
        return f"a reload is in progress: {answer.reload.step.replace('_', ' ')}"
    # The last change counts, however old it is: a machine whose last reload has failed
    # must not pass because it is quiet now.
    last = next((each for each in reversed(events) if each.event in _CHANGES), None)
    if last is not None and last.event != "reload_ok":
        return last.text
    failing = [str(each.slot) for each in answer.slots if each.is_failing]
    if failing:
        return f"workers fail again and again: slot {', '.join(failing)}"
    if answer.dead_listeners:
        return answer.dead_listeners[0]
    return "" if answer.is_ready else "the service is not ready"


@verb(
    "the same, live, with keys to control the service",
    click.option(
        "--interval",
        type=click.FloatRange(0.1, 3600),
        default=1.0,
        metavar="SECONDS",
        help="The time between two looks.  [default: 1]",
    ),
    click.option(
        "--sort",
        type=click.Choice(SORT_KEYS),
        default=SORT_KEYS[0],
        help="What the lines are sorted by, the greatest first; the key `o` changes "
        "it.  [default: slot]",
    ),
    has_json=False,
)
def top(target: ServiceTarget, interval: float, sort: str) -> int:
    """Watch the service live: each worker's load, and keys to control it.

    \b
    req/s      requests begun in a second
    in flight  requests being answered now, 2? when a late worker last said so;
               conns: open connections
    threads    of WSGI apps: 4/4 +12 is 4 of 4 at work, 12 requests wait for one
    lag p99    99 of 100 turns of the worker's event loop were less late than that
    queue      connections that wait to be accepted, of at most so many
    cpu        of one core; USS: memory of its own, which its end would give back
    weight     its share of new connections; 100 is an even one
    \b
    up, down   choose a slot: c replaces its worker, s shows where it is
    o          sort by the next column
    """
    client = target.find()
    if not (is_terminal(sys.stdin) and is_terminal(sys.stdout)):
        raise UsageError("top needs a terminal; `status` does not")
    # Rich takes longer to load than a verb may take to answer.
    from blazeio_supervisor.cli.top import TopSession

    TopSession(client, interval, sort).run()
    return ExitCode.OK


# dashboard


@verb(
    "show the service on a live page in the browser",
    click.option(
        "--port",
        type=click.IntRange(0, 65535),
        default=0,
        metavar="PORT",
        help="Of 127.0.0.1, where the page is.  [default: a free one]",
    ),
    click.option(
        "--open/--no-open",
        "opens",
        default=True,
        help="Open it in a browser, or only print its address.",
    ),
    has_json=False,
)
def dashboard(target: ServiceTarget, port: int, opens: bool) -> int:
    """Show the service live on a page, until ^C: workers, queues, latency, events.

    The page is served by this command, on this machine, to whoever has the token at
    the end of its address; it can reload, replace workers and show where they are.
    From elsewhere: ssh -L PORT:127.0.0.1:PORT host blazeio-supervisor dashboard
    --port PORT --no-open. The option --dashboard of a service shows the same page at
    its --metrics-bind.
    """
    client = target.find()
    client.ask(SERVICE)
    # Rich and the framework take longer to load than a verb may take to answer.
    from blazeio_supervisor.cli.top import open_browser, serve_dashboard

    serve_dashboard(client, port, open_browser if opens else None)
    return ExitCode.OK


# stack


@verb(
    "show threads and tasks of a worker, even when it is blocked",
    slot_argument(default="all"),
)
def stack(target: ServiceTarget, is_json: bool, slot: str) -> int:
    """Show where the workers of a slot are: every thread and every asyncio task.

    It works even while a worker's loop is blocked: the line at the top of `Current
    thread` is the one that blocks it. Tasks that wait at the same place are one entry.
    """
    order = StackOrder(read_slots(slot))
    answer = target.find().ask(STACK, order)
    return show(answer, is_json, format_stacks)


def format_stacks(answer: StackAnswer) -> str:
    """Write the stacks of each worker, and of each process that imports the app."""
    imports = map(_format_import, answer.forkservers)
    return "\n\n".join([*map(_format_stack, answer.workers), *imports])


def _format_import(forkserver: ForkserverStack) -> str:
    head = (
        f"== forkserver, pid {forkserver.pid}, generation {forkserver.generation}, "
        "importing"
    )
    where = find_import(forkserver.text)
    text = indent(fold_own_frames(forkserver.text.strip()), "  ")
    return "\n".join([head, where, text] if where else [head, text])


def _format_stack(worker: WorkerStack) -> str:
    head = (
        f"== slot {worker.slot}, pid {worker.pid}, generation {worker.generation}, "
        f"{worker.state}"
    )
    # Indented, so that no line of the text looks like the head of another worker.
    text = indent(fold_own_frames(worker.text.strip()), "  ")
    if not worker.text:
        return f"{head}\nIt says nothing: it is stopped, or just being made."
    if not worker.is_whole:
        text += "\nIts tasks cannot be seen: C code computes, or it is stopped."
    return f"{head}\n{text}"


# events


_LAST_COUNT = 100
_EVENTS = msgspec.json.Decoder(EventRecord)
_AGAIN_S = 0.05
KEPT_COUNT = 10_000
"""How many events a service keeps."""
_SPAN = re.compile(r"(\d{1,9})([smhd])", re.ASCII)
_UNITS_S = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def read_span(_context: object, _param: object, text: str | None) -> float | None:
    """Read a span of time, ``10m``, as seconds.

    Raises:
        BadParameter: It is none.
    """
    if text is None:
        return None
    found = _SPAN.fullmatch(text)
    if found is None:
        raise click.BadParameter(f"{text!r} is not a span: write 30s, 10m, 2h or 7d")
    return int(found[1]) * _UNITS_S[found[2]]


_GONE = "the service is gone, without a last word: was it killed?"


@verb(
    "show past events; --follow: and new ones",
    click.option(
        "--follow", "-f", is_flag=True, help="Then show each event as it happens."
    ),
    click.option(
        "--last",
        "-n",
        type=click.IntRange(0),
        metavar="N",
        help=f"How many past events to show.  [default: {_LAST_COUNT}, with --since "
        "all of that time]",
    ),
    click.option(
        "--since",
        callback=read_span,
        metavar="TIME",
        help="Only what happened in the last 30s, 10m, 2h or 7d.",
    ),
)
def events(
    target: ServiceTarget,
    is_json: bool,
    follow: bool,
    last: int | None,
    since: float | None,
) -> int:
    """Show what has happened: starts, reloads, deaths, blocked loops.

    Events that the log leaves out at its level are included. The service keeps the last
    10,000; docs/reference/events.md lists all kinds. With --follow, --json prints one
    object per line.

    --follow continues over an upgrade. It ends with the service: the exit code is 0
    when the service has stopped, and 6 when it disappeared.
    """
    client = target.find()
    began_at_s = 0.0 if since is None else time.time() - since
    if last is None:
        last = _LAST_COUNT if since is None else KEPT_COUNT
    if not follow:
        answer = client.ask(EVENTS, EventsQuery(last=last))
        recent = [each for each in answer.events if each.at_s >= began_at_s]
        return show(replace(answer, events=recent), is_json, format_events)
    try:
        for event in _follow(client, last):
            if event.at_s >= began_at_s:
                show(event, is_json, format_event_line)
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED
    say("the service has ended")
    return ExitCode.OK


def _follow(client: "ControlClient", last: int) -> Iterator[EventRecord]:
    """Iterate over the last events, then over each as it happens, none twice.

    Raises:
        NotRunningError: The service is gone without a word.
        SupervisorError: As by ``ControlClient.follow``.
    """
    # Read first: the numbers of the events go on over an upgrade, which keeps the pid,
    # and begin anew in another service.
    pid = client.read_server().pid
    # One at least: the numbers go on from its own.
    past = client.ask(EVENTS, EventsQuery(last=max(last, 1))).events
    yield from past[len(past) - min(last, len(past)) :]
    seq = past[-1].seq if past else 0
    while True:
        try:
            query = EventsQuery(after=seq, follow=True)
            for event in client.follow(EVENTS, query, _EVENTS):
                # The master keeps a bounded number of events, so a reader that is too
                # slow finds a gap in their numbers.
                _say_missing(event.seq - seq - 1)
                seq = event.seq
                yield event
        except BrokenOffError:
            time.sleep(_AGAIN_S)  # an upgrade, or the end of the service
        else:
            return
        if not _is_still(client, pid):
            raise NotRunningError(_GONE)


def _is_still(client: "ControlClient", pid: int) -> bool:
    """Tell whether this master is still there; another one counts its events anew."""
    try:
        return client.read_server().pid == pid
    except NotRunningError:
        return False


def _say_missing(count: int) -> None:
    if count > 0:
        text = f"{count_of(count, 'event')} missing here: too many came at once"
        say(text)


def format_events(answer: EventsAnswer) -> str:
    """Write each event on a line, the oldest first."""
    return "\n".join(map(format_event_line, answer.events))


def format_event_line(event: EventRecord) -> str:
    """Write an event with its date and local time, and below it its traceback."""
    at = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(event.at_s))
    identity = format_identity(event)
    what = f"{event.event} {identity}".rstrip()
    text = escape_line(event.text)
    line = f"{at}.{int(event.at_s % 1 * 1000):03d} {event.level:7} {what}: {text}"
    return f"{line}\n{continue_lines(event.traceback)}" if event.traceback else line


# metrics, config and doctor


@verb("print the metrics in Prometheus format", has_json=False)
def metrics(target: ServiceTarget) -> int:
    """Print the figures of the service, as Prometheus reads them.

    They are the same as /metrics of --metrics-bind; docs/reference/metrics.md says
    what they mean.
    """
    click.echo(escape_lines(target.find().ask(METRICS)), nl=False)
    return ExitCode.OK


@verb(
    "show every setting and where it came from",
    click.option(
        "--show-env",
        is_flag=True,
        help="Show the values of --env too, which may be secret; else only the names.",
    ),
    click.option(
        "--sample",
        is_flag=True,
        help="Print a blazeio.toml with every setting, its meaning and its default, "
        "as comments; needs no service.",
    ),
)
def config(target: ServiceTarget, is_json: bool, show_env: bool, sample: bool) -> int:
    """Show every setting in force, and where each came from.

    The output is a TOML file that sets the same, with --show-env the variables too.
    """
    if sample:
        from blazeio_supervisor.config.settings import write_sample

        click.echo(write_sample(), nl=False)
        return ExitCode.OK
    answer = target.find().ask(CONFIG, ConfigQuery(show_env))
    return show(answer, is_json, format_config)


def format_config(answer: ConfigAnswer) -> str:
    """Write the settings as a TOML file, then what waits for a restart."""
    lines = [answer.text.rstrip()]
    if answer.changed:
        lines += ["", *(f"# Changed at run time: {each}" for each in answer.changed)]
    if answer.needs_restart:
        keys = ", ".join(answer.needs_restart)
        text = f"# Changed since the start, and not in force before the next: {keys}"
        lines += ["", text]
    return "\n".join(lines)


@verb("check kernel, limits and certificates; say how to fix them")
def doctor(target: ServiceTarget, is_json: bool) -> int:
    """Check the machine, and the service if one runs, for problems.

    Each finding says what follows from it and how to fix it. The exit code is 1 when a
    problem was found; what cannot be seen from here is not counted.
    """
    # The examinations take longer to load than the help of a verb may take.
    from blazeio_supervisor.cli.doctor import examine, format_report

    report = examine(target)
    width = shutil.get_terminal_size().columns
    show(report, is_json, lambda given: format_report(given, width))
    return ExitCode.OK if report.is_ok else ExitCode.CRASHED


VERBS = (
    *(status, top, dashboard, stack, profile),
    *(events, metrics, config, doctor),
)
