"""The verbs that look."""

import shutil
import sys

import click

from blazeio_supervisor.control.answers.config import ConfigAnswer
from blazeio_supervisor.control.answers.orders import (
    StackAnswer,
    StackOrder,
)
from blazeio_supervisor.control.answers.status import StatusAnswer
from blazeio_supervisor.control.display.sentences import format_config, format_stacks
from blazeio_supervisor.control.display.status_table import format_status
from blazeio_supervisor.control.verbs.declaring import Target, read_slots, show, verb
from blazeio_supervisor.errors import ExitCode, UsageError
from blazeio_supervisor.escaping import escape_lines

WHOLE_WIDTH = 10_000
"""Columns where no terminal sets a bound: nothing is left out or cut."""


@verb()
def status(target: Target, is_json: bool) -> int:
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
def config(target: Target, is_json: bool, show_env: bool) -> int:
    """Show every setting in force, and where each came from.

    The output is a TOML file that sets the same, with --show-env the variables too.
    """
    path = "/config?show_env=true" if show_env else "/config"
    answer = target.find().ask("GET", path, ConfigAnswer)
    return show(answer, is_json, format_config)


@verb(click.argument("slot", metavar="SLOT|all", default="all"))
def stack(target: Target, is_json: bool, slot: str) -> int:
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
def top(target: Target, interval: float) -> int:
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
    from blazeio_supervisor.control.top.session import Session

    Session(client, interval).run()
    return ExitCode.OK


@verb(has_json=False)
def metrics(target: Target) -> int:
    """Print the figures of the service, as Prometheus reads them.

    The same as /metrics of --metrics-bind; docs/metrics.md says what they mean.
    """
    click.echo(escape_lines(target.find().read("/metrics")), nl=False)
    return ExitCode.OK
