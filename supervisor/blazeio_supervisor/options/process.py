"""What is run, by how many workers, and how they run."""

import difflib
from typing import cast, get_args

import click

from blazeio_supervisor.control.places import NAME_CHARS, is_name
from blazeio_supervisor.control.verbs.words import PROGRAM, VERBS
from blazeio_supervisor.errors import UsageError
from blazeio_supervisor.loading.app_path import AppPath, is_app_path, parse_app_path
from blazeio_supervisor.observe.logs import LEVELS
from blazeio_supervisor.options.section import Section
from blazeio_supervisor.process.cpus import count_cpus
from blazeio_supervisor.process.messages import LoopName
from blazeio_supervisor.settings import WORKER_LIMIT

AUTO = "auto"

PROCESS = Section(
    "Process",
    (
        click.Option(
            ["--workers"],
            default=AUTO,
            metavar="N",
            help="Worker processes, one core each; auto: as many as this process may "
            "use (CPU affinity and container quota).  [default: auto]",
        ),
        click.Option(
            ["--name"],
            default="",
            metavar="NAME",
            help="What the verbs call this instance.  [default: the app's]",
        ),
        click.Option(
            ["--app-dir"],
            default="",
            metavar="DIR",
            help="Import the app from here.  [default: the working directory]",
        ),
        click.Option(
            ["--preload/--no-preload"],
            default=True,
            help="Import the app once and share it with all workers, or import it in "
            "each worker: more memory, but what cannot be forked works, and a worker "
            "that is replaced runs the code on the disk.  [default: --preload]",
        ),
        click.Option(
            ["--loop"],
            default="uvloop",
            metavar="NAME",
            help="uvloop or asyncio.  [default: uvloop]",
        ),
        click.Option(
            ["--log-level"],
            default="info",
            metavar="LEVEL",
            help="Of the supervisor's own log, on standard error: debug, info, "
            "warning or error.  [default: info]",
        ),
    ),
)


def read_app(word: str) -> AppPath:
    """Read the APP argument.

    Raises:
        UsageError: It is none; says what to write instead.
    """
    if not is_app_path(word):
        what = "a verb" if word in VERBS else "neither an APP nor a verb"
        raise UsageError(f"{word!r} is {what}: {_suggest_app(word)}")
    try:
        return parse_app_path(word)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _suggest_app(word: str) -> str:
    if word in VERBS:
        return f"the verb comes first, `{PROGRAM} {word} ...`"
    near = difflib.get_close_matches(word, VERBS, 1)
    if near:
        return f"did you mean `{near[0]}`, or the app `{word}:web`?"
    if all(part.isidentifier() for part in word.split(".")):
        return f"did you mean `{word}:web`?"
    return "write `module:attribute` or `script.py`"


def read_name(text: str) -> str:
    """Read ``--name``; "" is as the app.

    Raises:
        UsageError: It cannot be a name.
    """
    if text and not is_name(text):
        raise UsageError(
            f"--name {text}: expected at most {NAME_CHARS} letters, digits and _.:@+-"
        )
    return text


def read_workers(text: str) -> int:
    """Read ``--workers``: a number, or ``auto`` for one per usable core.

    Raises:
        UsageError: It is neither, or out of bounds.
    """
    if text == AUTO:
        return min(count_cpus(), WORKER_LIMIT)
    if not text.isdecimal() or not 1 <= int(text) <= WORKER_LIMIT:
        raise UsageError(
            f"--workers {text}: expected 1 to {WORKER_LIMIT}, or auto "
            "(one per usable core)"
        )
    return int(text)


def read_loop(value: str) -> LoopName:
    """Read ``--loop``.

    Raises:
        UsageError: It is none.
    """
    for name in get_args(LoopName):
        if name == value:
            return cast("LoopName", name)
    raise UsageError(f"--loop {value}: expected uvloop or asyncio")


def read_log_level(value: str) -> str:
    """Read ``--log-level``, in any case.

    Raises:
        UsageError: It is none.
    """
    if value.upper() not in LEVELS:
        names = ", ".join(LEVELS).lower()
        raise UsageError(f"--log-level {value}: expected one of {names}")
    return value.upper()
