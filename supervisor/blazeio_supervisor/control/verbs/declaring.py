"""What all verbs have: how they are declared, find the service and answer.

Exit codes: 0 it was done; 1 it was tried and failed, or the service does not
answer; 2 wrong usage; 6 there is no service.
"""

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, Literal, TypeVar

import click
import msgspec
from msgspec import Struct

from blazeio_supervisor.control.client import ANSWER_TIMEOUT_S, Client
from blazeio_supervisor.control.finding import find_client
from blazeio_supervisor.control.places import parse_place, search
from blazeio_supervisor.errors import ExitCode, SupervisorError, UsageError
from blazeio_supervisor.escaping import (
    encode_json,
    escape_answer,
    escape_line,
    escape_lines,
)
from blazeio_supervisor.options.surroundings import find_runtime_directory

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


class Target(Struct, frozen=True):
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

    def find(self) -> Client:
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

    The function gets its ``Target``, then ``is_json``, then its own parameters.

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
            return function(Target(control, instance), **given)

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
