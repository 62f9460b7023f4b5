"""A command line is carried out: the service, or a verb."""

import errno
import os
import sys
from typing import TYPE_CHECKING

import click

from blazeio_supervisor.cli.output import discard, say
from blazeio_supervisor.config.command_line import CALLED_HERE, PROGRAM, expand
from blazeio_supervisor.errors import ExitCode, OutputError, SupervisorError
from blazeio_supervisor.log.formats import escape_line
from blazeio_supervisor.worker.starting import EarlyForkserver, is_app_path

if TYPE_CHECKING:
    from blazeio_supervisor.cli.serve import Service


def _suggest_spelling(error: click.NoSuchOption) -> click.NoSuchOption:
    """Return one whose message names the option that is meant.

    That is by ``--WORKERS``, say, or by one of another server.
    """
    if error.option_name in CALLED_HERE:
        own = CALLED_HERE[error.option_name]
        text = f"No such option {error.option_name!r}: it is `{own}` here"
        return click.NoSuchOption(error.option_name, text, None, error.ctx)
    meant = error.option_name.lower().replace("_", "-")
    params = error.ctx.command.params if error.ctx else []
    if any(meant in each.opts for each in params):
        text = f"No such option {error.option_name!r}. Did you mean {meant!r}?"
        return click.NoSuchOption(error.option_name, text, None, error.ctx)
    return error


def run_words(
    words: list[str], early: EarlyForkserver | None = None
) -> "int | Service":
    """Carry out a command line; every failure of the operator's is one line.

    Args:
        words: Without the name of the program.
        early: The interpreter of the first forkserver, if it was started already.

    Returns:
        The exit code; or a service, which is to be run then.
    """
    if asked := os.environ.get("_BLAZEIO_SUPERVISOR_COMPLETE"):
        from blazeio_supervisor.cli.completion import complete

        return complete(asked)
    try:
        command, has_app = _choose_command(words)
        if has_app:
            words = expand(words)
        done: int | Service = command.main(
            words, prog_name=PROGRAM, standalone_mode=False, obj=early
        )
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        path = context.command_path if context else PROGRAM
        if isinstance(error, click.NoSuchOption):
            error = _suggest_spelling(error)
        _say(f"{error.format_message()} (see {path} --help)")
        return ExitCode.USAGE
    except click.Abort:  # ^C, where nobody waits for anything
        return ExitCode.INTERRUPTED
    except SupervisorError as error:
        return report(error)
    return done


def report(error: SupervisorError) -> int:
    """Print what ends the program; return the exit code."""
    if not isinstance(error, OutputError):
        _say(error.message, *error.details)
        return error.exit_code
    # Where the reader has ended (`| head -1`), nobody asks for more.
    if getattr(error.__cause__, "errno", None) != errno.EPIPE:
        _say(error.message)
    discard(sys.stdout)
    return error.exit_code


def _choose_command(words: list[str]) -> tuple[click.Command, bool]:
    """Return the verbs when the first word is one, else the command that serves.

    Also whether it has the options of an app. Only what is needed is imported: a verb
    answers in a tenth of a second.
    """
    first = words[0] if words else "-"
    if not first.startswith("-") and not is_app_path(first):
        from blazeio_supervisor.cli.verbs import list_verbs, verbs

        if first in list_verbs():
            return verbs, list_verbs()[first].has_app
    from blazeio_supervisor.cli.serve import command

    return command, True


def _say(line: str, *details: str) -> None:
    for each in (f"{PROGRAM}: {line}", *details):
        say(escape_line(each))
