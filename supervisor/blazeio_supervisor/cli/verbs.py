"""What a verb is, what all verbs have, and the list of them.

A verb is one function in ``orders`` or ``queries``, declared by ``@verb``: its name is
the verb's, its docstring the help, and it sends the order, waits if it was asked to,
and prints the sentence that says how it went. What it sends and what is answered are
an ``ControlEndpoint`` of ``ipc/control_api.py``; the master's side is a handler in
``master/control_handlers.py``. **To add a verb: add its endpoint, its handler and its
function, and run ``make docs``.**

The modules of the verbs are imported to know their names, so they import at their
top only what is quick to load: the client, ``rich`` and the examinations of
``doctor`` are imported by the functions that need them.

Exit codes: 0 it was done; 1 it was tried and failed, or the service does not
answer; 2 wrong usage; 6 there is no service.
"""

import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, TextIO, TypeVar

import click
from msgspec import Struct

from blazeio_supervisor.cli.output import format_bar, say
from blazeio_supervisor.config.command_line import PROGRAM
from blazeio_supervisor.errors import (
    ExitCode,
    NotRunningError,
    SupervisorError,
    UsageError,
)
from blazeio_supervisor.ipc.control_api import (
    ANSWER_TIMEOUT_S,
    STATUS,
)
from blazeio_supervisor.ipc.status_api import (
    StatusAnswer,
)
from blazeio_supervisor.log.formats import (
    encode_json,
    escape_answer,
    escape_line,
    escape_lines,
)
from blazeio_supervisor.worker.starting import is_app_path

if TYPE_CHECKING:
    from blazeio_supervisor.cli.client import ControlClient

_SLOT = re.compile(r"\d{1,6}", re.ASCII)
_CLEAR_LINE = "\r\x1b[2K"
ShownT = TypeVar("ShownT", bound=Struct)
_EPILOG = f"""
\b
Exit codes:
  0 done                    2 wrong usage, or several services run
  1 tried, and it failed    6 no service is running
\b
A service that does not answer within {ANSWER_TIMEOUT_S:g} s is given up.
"""
CONTEXT_SETTINGS: dict[str, Any] = {
    "help_option_names": ["-h", "--help"],
    "max_content_width": 96,
}


class InterruptedVerbError(SupervisorError):
    """^C was typed while a verb waited; what was ordered goes on."""

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
    def is_named(self) -> bool:
        """Whether the caller has said which; else it is the only one."""
        return self.control is not None or self.instance is not None

    def find(self) -> "ControlClient":
        """Find the one service that is meant.

        Raises:
            SupervisorError: As by ``find_service``.
        """
        from blazeio_supervisor.cli.client import find_service

        return find_service(self.control, self.instance)


class Verb(Struct, frozen=True):
    """One verb.

    Attributes:
        name: As it is typed.
        summary: Its line in the program's ``--help``.
        load: Returns its command; it may import what that needs.
        has_app: It has an APP and the options of one, and needs no service.
    """

    name: str
    summary: str
    load: Callable[[], click.Command]
    has_app: bool = False


INSTANCE_VARIABLE = "BLAZEIO_INSTANCE"
"""Names the service where neither ``--instance`` nor ``--control`` is typed."""


def _complete_slots(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[str]:
    from blazeio_supervisor.cli.program import complete_slots

    return complete_slots(ctx, param, incomplete)


def _complete_instances(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[str]:
    from blazeio_supervisor.cli.program import complete_instances

    return complete_instances(ctx, param, incomplete)


def slot_argument(default: str | None = None) -> Callable[[Any], Any]:
    """Declare the argument ``SLOT|all``; it is required where it has no default."""
    settings: dict[str, Any] = {} if default is None else {"default": default}
    return click.argument(
        "slot", metavar="SLOT|all", shell_complete=_complete_slots, **settings
    )


_INSTANCE = click.option(
    "--instance",
    shell_complete=_complete_instances,
    metavar="NAME",
    help="Which service, when several run: its name, or the pid of its master.  "
    f"[default: ${INSTANCE_VARIABLE}, else the only one]",
)
_CONTROL = click.option(
    "--control",
    metavar="PATH",
    help="Where the service answers: its socket, or @name.  [default: found "
    "in $RUNTIME_DIRECTORY, /run/blazeio and the abstract namespace]",
)
_JSON = click.option("--json", "is_json", is_flag=True, help="Print JSON.")


def verb(
    summary: str,
    *params: Callable[[Any], Any],
    has_json: bool = True,
    has_signs: bool = False,
) -> Callable[[Callable[..., int]], Verb]:
    """Declare a verb by a function, which has its name and whose docstring is its help.

    The function gets a ``ServiceTarget``, then ``is_json`` if it has that, then its own
    parameters, and returns the exit code.

    Args:
        summary: Its line in the program's ``--help``.
        params: Its own parameters, as click declares them.
        has_json: Whether it can answer in JSON.
        has_signs: Whether an argument may begin with a minus: ``scale -2``.
    """
    settings = {**CONTEXT_SETTINGS, "ignore_unknown_options": has_signs}
    shared = [_INSTANCE, _CONTROL, *([_JSON] if has_json else [])]

    def declare(function: Callable[..., int]) -> Verb:
        def run(control: str | None, instance: str | None, **given: Any) -> int:
            # By hand, and not as click's ``envvar``: that would count as ``--instance``
            # even where ``--control`` is typed, and both together are refused.
            if control is None and instance is None:
                instance = os.environ.get(INSTANCE_VARIABLE) or None
            return function(ServiceTarget(control, instance), **given)

        name = function.__name__.replace("_", "-")

        def load() -> click.Command:
            declared: Any = run
            # As decorators are applied, the last one first; click lists them in the
            # order in which they are written.
            for param in reversed((*params, *shared)):
                declared = param(declared)
            command: click.Command = click.command(
                name,
                help=function.__doc__,
                epilog=_EPILOG,
                context_settings=settings,
            )(declared)
            return command

        return Verb(name, summary, load)

    return declare


# The list of all verbs, and what was meant by a word that is none.


def _load_unit() -> click.Command:
    from blazeio_supervisor.cli.unit import unit

    return unit


def _load_serve() -> click.Command:
    from blazeio_supervisor.cli.serve import serve_folder

    return serve_folder


def _load_completion() -> click.Command:
    from blazeio_supervisor.cli.program import completion

    return completion


def _load_check() -> click.Command:
    from blazeio_supervisor.cli.serve import check

    return check


_WITHOUT_SERVICE = (
    Verb(
        "unit",
        "print a systemd unit for APP and its options; --install writes it",
        _load_unit,
        has_app=True,
    ),
    Verb(
        "check",
        "check whether APP would start; nothing is served",
        _load_check,
        has_app=True,
    ),
    Verb(
        "serve",
        "serve the files of FOLDER, with listings; no app is needed",
        _load_serve,
        has_app=True,
    ),
    Verb(
        "completion",
        "print the script by which bash, zsh or fish completes words",
        _load_completion,
    ),
)


@cache
def list_verbs() -> Mapping[str, Verb]:
    """Return every verb by its name, in the order of ``--help``."""
    from blazeio_supervisor.cli import orders, queries

    all_verbs = (*queries.VERBS, *orders.VERBS, *_WITHOUT_SERVICE)
    return {each.name: each for each in all_verbs}


class VerbGroup(click.Group):
    """The command ``blazeio-supervisor VERB``."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """List the names in the order of ``--help``."""
        return list(list_verbs())

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Load the command of a verb; None when there is no such verb."""
        found = list_verbs().get(cmd_name)
        return None if found is None else found.load()


verbs = VerbGroup("verbs")


def check_app_word(word: str | None) -> None:
    """Refuse a word in the place of APP that is none, and suggest what was meant.

    Raises:
        UsageError: It is a verb, or neither an APP nor a verb.
    """
    hint = "" if word is None or is_app_path(word) else _suggest_verb(word)
    if hint:
        what = "a verb" if word in list_verbs() else "neither an APP nor a verb"
        raise UsageError(f"{word!r} is {what}: {hint}")


def _suggest_verb(word: str) -> str:
    """Suggest what was probably meant; "" where the word may be a module."""
    if word in list_verbs():
        return f"the verb comes first, `{PROGRAM} {word} ...`"
    if word == "help":
        return f"write `{PROGRAM} --help`"
    from difflib import get_close_matches

    near = get_close_matches(word, list_verbs(), 1)
    if near:
        return f"did you mean `{near[0]}`, or the app `{word}:web`?"
    # A word alone may be the name of a module that holds an app.
    if all(part.isidentifier() for part in word.split(".")):
        return ""
    return "write `module:attribute` or `script.py`"


# What several verbs read and print.


def read_slots(text: str) -> int | None:
    """Read ``SLOT|all``; None stands for all.

    Raises:
        UsageError: It is neither.
    """
    if text == "all":
        return None
    if not _SLOT.fullmatch(text):
        raise UsageError(f"{text!r} is not a slot: write its number, or all")
    return int(text)


def show(
    answer: ShownT, is_json: bool, write: Callable[[ShownT], str]
) -> Literal[ExitCode.OK]:
    """Print an answer, for a machine or for a person.

    Strings of other people in it are escaped for a person: a terminal obeys nothing
    that is in them.
    """
    # ``encode_json`` escapes by itself, so that a program reads the same text back.
    if is_json:
        click.echo(encode_json(answer))
    else:
        click.echo(escape_lines(write(escape_answer(answer))))
    return ExitCode.OK


def is_terminal(stream: TextIO | None) -> bool:
    """Tell whether a stream is a terminal; None: it was closed before the start."""
    return stream is not None and stream.isatty()


class ProgressLine:
    """One line of a terminal that is written over; nothing where there is none."""

    def __init__(self) -> None:
        # On standard error, so that the answer on standard output can be piped.
        self._is_shown = is_terminal(sys.stderr)

    def write(self, text: str) -> None:
        """Write a text over what stands there."""
        if self._is_shown:
            say(f"{_CLEAR_LINE}{escape_line(text)}", ends_line=False)

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


# Waiting until what was ordered is done, by looking at the service's status.


LOOK_EVERY_S = 0.1


class Extent(Struct, frozen=True):
    """How much of an order is done.

    Attributes:
        fault: Why the rest is not waited for; "" while nothing is wrong.
    """

    done: int
    total: int
    fault: str = ""

    @property
    def is_over(self) -> bool:
        """Whether all is done."""
        return self.done >= self.total


def wait_for(
    client: "ControlClient", what: str, measure: Callable[[StatusAnswer], Extent]
) -> float:
    """Wait until an order is done; a terminal shows how far it is.

    Args:
        client: Asks the service.
        what: What was ordered, as the subject of a sentence: ``scaling``.
        measure: Says how far that is.

    Returns:
        How long it took, in seconds.

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


def _look(client: "ControlClient", what: str) -> StatusAnswer:
    try:
        return client.ask(STATUS)
    except NotRunningError as error:
        raise SupervisorError(f"the service ended before {what} was over") from error
