"""The verbs: one command each, one clear line of outcome.

Exit codes: 0 it was done; 1 it was tried and failed, or the service does not
answer; 2 wrong usage; 6 there is no service.
"""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, TypeVar

import click
import msgspec

from blazeio_supervisor.control.answers import (
    Progress,
    RecycleAnswer,
    RecycleOrder,
    ReloadAnswer,
    ReloadOrder,
    ScaleAnswer,
    ScaleOrder,
    StatusAnswer,
    StopAnswer,
)
from blazeio_supervisor.control.client import (
    ANSWER_TIMEOUT_S,
    Client,
    find_client,
    watched_end,
)
from blazeio_supervisor.control.display import (
    format_progress,
    format_recycle,
    format_reload,
    format_scale,
    format_status,
)
from blazeio_supervisor.control.places import parse_place, search
from blazeio_supervisor.errors import ExitCode, SupervisorError, UsageError
from blazeio_supervisor.settings import find_runtime_directory

_FAILED = ExitCode.CRASHED
_WHOLE_LINE = "\r\x1b[2K"
AnswerT = TypeVar("AnswerT", bound=msgspec.Struct)
_STEPS: msgspec.json.Decoder[Progress | ReloadAnswer] = msgspec.json.Decoder(
    Progress | ReloadAnswer
)
_EPILOG = f"""
\b
Exit codes:
  0 done                    2 wrong usage, or several services run
  1 tried, and it failed    6 no service is running
\b
A service that does not answer within {ANSWER_TIMEOUT_S:g} s is given up.
"""


class InterruptedVerbError(SupervisorError):
    """^C while waiting; what was ordered goes on."""

    exit_code = 130  # type: ignore[assignment] # the shell's code for SIGINT


@click.group()
def verbs() -> None:
    """Look at a running service, or order something."""


def _verb(
    *params: Callable[[Any], Any],
) -> Callable[[Callable[..., int]], click.Command]:
    """Declare a verb by its function's name; all of them have two options more."""
    shared = (
        click.option(
            "--control",
            metavar="PATH",
            help="Where the service answers: its socket, or @name.  [default: found "
            "in $RUNTIME_DIRECTORY, /run/blazeio and the abstract namespace]",
        ),
        click.option("--json", "is_json", is_flag=True, help="Print JSON."),
    )
    settings = {"help_option_names": ["-h", "--help"], "max_content_width": 96}

    def declare(function: Callable[..., int]) -> click.Command:
        declared: Any = function
        for param in reversed((*params, *shared)):
            declared = param(declared)
        name = function.__name__
        verb = verbs.command(name, epilog=_EPILOG, context_settings=settings)
        command: click.Command = verb(declared)
        return command

    return declare


@_verb()
def status(control: str | None, is_json: bool) -> int:
    """Show the service: addresses, workers and their load, a reload under way.

    A slot whose worker does not serve says who takes its queue meanwhile. lag: how
    late a worker's event loop runs. memory: what its
    end would give back.
    """
    answer = _find(control).ask("GET", "/status", StatusAnswer)
    return _show(answer, is_json, format_status)


@_verb(click.option("--wait", is_flag=True, help="Until it is over; tell how it went."))
def reload(control: str | None, is_json: bool, wait: bool) -> int:
    """Load the code anew, worker by worker, without losing a request.

    With --wait the exit code tells whether it worked. 1: the old code goes on, and
    what the new code raised is shown.
    """
    client = _find(control)
    if not wait:
        asked = client.ask("POST", "/reload", ReloadAnswer, ReloadOrder())
        return _show(asked, is_json, format_reload)
    with _interruptible("the reload goes on"):
        answer = _follow_reload(client)
    if answer.is_ok or is_json:
        _show(answer, is_json, format_reload)
        return ExitCode.OK if answer.is_ok else _FAILED
    click.echo(answer.output, err=True, nl=False)
    raise SupervisorError(format_reload(answer))


@_verb(click.argument("count", type=int, metavar="N"))
def scale(control: str | None, is_json: bool, count: int) -> int:
    """Have N workers from now on, until the next start."""
    order = ScaleOrder(count)
    answer = _find(control).ask("POST", "/scale", ScaleAnswer, order)
    return _show(answer, is_json, format_scale)


@_verb(click.argument("slot", type=int))
def recycle(control: str | None, is_json: bool, slot: int) -> int:
    """Replace the worker of one slot, with the same code.

    The new one is ready before the old one drains.
    """
    order = RecycleOrder(slot)
    answer = _find(control).ask("POST", "/recycle", RecycleAnswer, order)
    return _show(answer, is_json, format_recycle)


@_verb(click.option("--no-wait", is_flag=True, help="Do not wait for the end."))
def stop(control: str | None, is_json: bool, no_wait: bool) -> int:
    """Stop the service: refuse new connections, answer what is in flight.

    Returns when the master is gone, which takes --graceful-timeout of the service
    at most.
    """
    client = _find(control)
    with watched_end(client) as end:
        answer = client.ask("POST", "/stop", StopAnswer)
        if not no_wait:
            with _interruptible("the service goes on stopping"):
                end.wait()
    what = "is told to stop" if no_wait else "is gone"
    return _show(answer, is_json, lambda stopped: f"pid {stopped.pid} {what}")


def _find(control: str | None) -> Client:
    try:
        place = None if control is None else parse_place(control)
    except ValueError as error:
        raise UsageError(f"--control {error}") from None
    uid = os.geteuid()
    return find_client(search(place, find_runtime_directory(), uid), uid)


def _follow_reload(client: Client) -> ReloadAnswer:
    line = _ProgressLine()
    try:
        for said in client.follow("/reload", ReloadOrder(wait=True), _STEPS):
            if isinstance(said, ReloadAnswer):
                return said
            line.write(f"reload: {format_progress(said)}")
    finally:
        line.clear()
    raise SupervisorError("the service ended before the reload was over")


def _show(
    answer: AnswerT, is_json: bool, write: Callable[[AnswerT], str]
) -> Literal[ExitCode.OK]:
    click.echo(msgspec.json.encode(answer) if is_json else write(answer))
    return ExitCode.OK


class _ProgressLine:
    """One line of a terminal that is written over; elsewhere nothing."""

    def __init__(self) -> None:
        self._is_shown = sys.stderr.isatty()

    def write(self, text: str) -> None:
        if self._is_shown:
            click.echo(f"{_WHOLE_LINE}{text}", err=True, nl=False)

    def clear(self) -> None:
        self.write("")


@contextmanager
def _interruptible(what_goes_on: str) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise InterruptedVerbError(f"no longer waited for: {what_goes_on}") from None
