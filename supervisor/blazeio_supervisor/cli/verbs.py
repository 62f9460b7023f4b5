"""What all verbs have: how they are declared, find the service and answer.

Exit codes: 0 it was done; 1 it was tried and failed, or the service does not
answer; 2 wrong usage; 6 there is no service.
"""

import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from importlib import import_module
from typing import Any, Literal, TypeVar

import click
import msgspec
from msgspec import Struct

from blazeio_supervisor.cli.client import (
    ANSWER_TIMEOUT_S,
    ControlClient,
    NotRunningError,
    find_client,
)
from blazeio_supervisor.cli.output import format_bar
from blazeio_supervisor.config.app_path import VERBS
from blazeio_supervisor.config.environment import find_runtime_directory
from blazeio_supervisor.errors import ExitCode, SupervisorError, UsageError
from blazeio_supervisor.ipc.control_api import (
    SlotAnswer,
    StatusAnswer,
    WorkerAnswer,
)
from blazeio_supervisor.ipc.socket_paths import parse_place, search
from blazeio_supervisor.log.formats import (
    encode_json,
    escape_answer,
    escape_line,
    escape_lines,
)

_SLOT = re.compile(r"\d{1,6}", re.ASCII)
_WHOLE_LINE = "\r\x1b[2K"
AnswerT = TypeVar("AnswerT", bound=msgspec.Struct)
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

    exit_code = ExitCode.INTERRUPTED


class ServiceTarget(Struct, frozen=True):
    """Which service a verb is for.

    Attributes:
        control: Where it answers, as typed; None: it is looked for.
        instance: Its name or pid; None: the only one.
    """

    control: str | None
    instance: str | None

    @property
    def is_said(self) -> bool:
        """Somebody has said which; else it is the only one."""
        return self.control is not None or self.instance is not None

    def find(self) -> ControlClient:
        """Find the one service that is meant.

        Raises:
            SupervisorError: As by ``find_client``.
        """
        try:
            place = None if self.control is None else parse_place(self.control)
        except ValueError as error:
            raise UsageError(f"--control {self.control}: {error}") from None
        if place is not None and self.instance is not None:
            raise UsageError("--control and --instance: one of them says which")
        uid, is_named = os.geteuid(), self.instance is not None
        found = search(place, find_runtime_directory(), uid, is_named=is_named)
        return find_client(found, uid, self.instance)


_INSTANCE = click.option(
    "--instance",
    metavar="NAME",
    help="Which service, when several run: its name, or the pid of its master.",
)
_CONTROL = click.option(
    "--control",
    metavar="PATH",
    help="Where the service answers: its socket, or @name.  [default: found "
    "in $RUNTIME_DIRECTORY, /run/blazeio and the abstract namespace]",
)
_JSON = click.option("--json", "is_json", is_flag=True, help="Print JSON.")


def verb(
    *params: Callable[[Any], Any], has_json: bool = True, has_signs: bool = False
) -> Callable[[Callable[..., int]], click.Command]:
    """Declare a verb by its function's name.

    The function gets its ``ServiceTarget``, then ``is_json``, then its own parameters.

    Args:
        params: Its own, as click declares them.
        has_json: It can answer by JSON.
        has_signs: An argument may begin with a minus: ``scale -2``.
    """
    settings = {
        "help_option_names": ["-h", "--help"],
        "max_content_width": 96,
        "ignore_unknown_options": has_signs,
    }
    shared = [_INSTANCE, _CONTROL, *([_JSON] if has_json else [])]

    def declare(function: Callable[..., int]) -> click.Command:
        @wraps(function)
        def run(control: str | None, instance: str | None, **given: Any) -> int:
            return function(ServiceTarget(control, instance), **given)

        declared: Any = run
        for param in reversed((*params, *shared)):
            declared = param(declared)
        name = function.__name__.replace("_", "-")
        wrap = click.command(name, epilog=_EPILOG, context_settings=settings)
        command: click.Command = wrap(declared)
        return command

    return declare


def read_slots(text: str) -> int | None:
    """Read ``SLOT|all``; None is all.

    Raises:
        UsageError: It is neither.
    """
    if text == "all":
        return None
    if not _SLOT.fullmatch(text):
        raise UsageError(f"{text!r} is no slot: write its number, or all")
    return int(text)


def show(
    answer: AnswerT, is_json: bool, write: Callable[[AnswerT], str]
) -> Literal[ExitCode.OK]:
    """Print an answer, for a machine or for a person.

    Of what others said in it a person's terminal obeys nothing.
    """
    if is_json:
        click.echo(encode_json(answer))
    else:
        click.echo(escape_lines(write(escape_answer(answer))))
    return ExitCode.OK


class ProgressLine:
    """One line of a terminal that is written over; elsewhere nothing."""

    def __init__(self) -> None:
        self._is_shown = sys.stderr.isatty()

    def write(self, text: str) -> None:
        """Write it over what stands there."""
        if self._is_shown:
            click.echo(f"{_WHOLE_LINE}{escape_line(text)}", err=True, nl=False)

    def clear(self) -> None:
        """Leave the line empty."""
        self.write("")


@contextmanager
def interruptible(what_goes_on: str) -> Iterator[None]:
    """Let ^C end the waiting, and say what it does not end."""
    try:
        yield
    except KeyboardInterrupt:
        raise InterruptedVerbError(f"no longer waited for: {what_goes_on}") from None


# How far what was ordered is, by the service's status: pure.


FAILURES_COUNT = 3
"""A slot that fails so often in a row is no longer waited for."""
_WANTED = frozenset({"spawning", "booting", "standby", "serving"})


Failures = Mapping[int, int]
"""By slot: how many workers in a row had failed when it was ordered."""


class Extent(Struct, frozen=True):
    """How much is done.

    Attributes:
        fault: Why the rest is not waited for; "" while nothing is wrong.
    """

    done: int
    total: int
    fault: str = ""

    @property
    def is_over(self) -> bool:
        """All is done."""
        return self.done >= self.total


def count_failures(status: StatusAnswer) -> Failures:
    """Count those that no order has to answer for."""
    return {slot.slot: slot.failures for slot in status.slots}


def measure_scaling(status: StatusAnswer, count: int, known: Failures) -> Extent:
    """Every wanted slot has a worker that serves, and no other has one."""
    serving = [each for each in _owners(status).values() if each.state == "serving"]
    ours = {slot.slot for slot in status.slots if not slot.is_parked}
    if len(ours) != count:
        return Extent(0, count, f"meanwhile {len(ours)} are wanted")
    done = sum(each.slot in ours for each in serving)
    if done == count:
        done -= sum(w.slot not in ours and w.state in _WANTED for w in status.workers)
    return Extent(max(done, 0), count, _find_fault(status, known))


def measure_recycling(
    status: StatusAnswer, pids: Mapping[int, int | None], known: Failures
) -> Extent:
    """Every slot has another worker than that, and it serves."""
    owners = _owners(status)
    done = 0
    for slot, pid in pids.items():
        owner = owners.get(slot)
        if owner is not None and owner.pid != pid:
            done += owner.state == "serving"
    return Extent(done, len(pids), _find_fault(status, known))


def measure_parking(status: StatusAnswer, at_first: int) -> Extent:
    """It is parked, and no worker is left."""
    if not status.is_parked:  # one more than none: it is not done
        at_first = max(at_first, 1)
        fault = "" if status.will_park else "meanwhile it was resumed"
        return Extent(0, at_first, fault)
    return Extent(max(at_first - len(status.workers), 0), at_first)


def measure_resuming(status: StatusAnswer, known: Failures) -> Extent:
    """Every wanted slot has a worker that serves."""
    slots = [slot for slot in status.slots if not slot.is_parked]
    if status.is_parked:
        return Extent(0, len(slots))
    return measure_scaling(status, len(slots), known)


def _owners(status: StatusAnswer) -> dict[int, WorkerAnswer]:
    return {each.slot: each for each in status.workers if each.role == "owner"}


def _find_fault(status: StatusAnswer, known: Failures) -> str:
    if status.is_parked:
        return "the service is parked"
    for slot in status.slots:
        is_new = slot.failures > known.get(slot.slot, 0)
        if is_new and slot.failures >= FAILURES_COUNT:
            return _describe_failures(slot)
    return ""


def _describe_failures(slot: SlotAnswer) -> str:
    return (
        f"slot {slot.slot}: {slot.failures} workers in a row failed; the service's "
        "log says why, and it tries on"
    )


# Waiting for what was ordered, by looking at the service's status.


LOOK_EVERY_S = 0.1


def wait_for(
    client: ControlClient, what: str, measure: Callable[[StatusAnswer], Extent]
) -> float:
    """Wait until it is done; a terminal shows how far it is.

    Args:
        client: Asks the service.
        what: What was ordered, as the subject of a sentence: ``the reload``.
        measure: Says how far that is.

    Returns:
        How long it took, seconds.

    Raises:
        SupervisorError: It came to nothing, or is not waited for any more.
    """
    line, began_at = ProgressLine(), time.monotonic()
    try:
        with interruptible(f"{what} goes on"):
            while True:
                extent = measure(_look(client, what))
                if extent.is_over:
                    return time.monotonic() - began_at
                if extent.fault:
                    raise SupervisorError(f"{what} is not done: {extent.fault}")
                line.write(f"{what}: {format_bar(extent.done, extent.total)}")
                time.sleep(LOOK_EVERY_S)
    finally:
        line.clear()


def _look(client: ControlClient, what: str) -> StatusAnswer:
    try:
        return client.ask("GET", "/status", StatusAnswer)
    except NotRunningError as error:
        raise SupervisorError(f"the service ended before {what} was over") from error


# All verbs as one command; each is loaded when it is called.


MODULES = {
    "status": ".queries",
    "top": ".queries",
    "stack": ".queries",
    "events": ".queries",
    "metrics": ".queries",
    "config": ".queries",
    "doctor": ".queries",
    "reload": ".orders",
    "scale": ".orders",
    "recycle": ".orders",
    "park": ".orders",
    "resume": ".orders",
    "upgrade": ".orders",
    "reopen-logs": ".orders",
    "stop": ".orders",
    "unit": ".unit",
    "check": ".check",
}
"""In which module, as seen from here, each verb is a function of its name."""


class Verbs(click.Group):
    """What is done to a running service."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List them as the help does."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load one."""
        if cmd_name not in MODULES:
            return None
        module = import_module(MODULES[cmd_name], __package__)
        command: click.Command = getattr(module, cmd_name.replace("-", "_"))
        return command


verbs = Verbs("verbs")
"""``blazeio-supervisor VERB``."""
