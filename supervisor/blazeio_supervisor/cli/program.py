"""A command line is carried out: the service, or a verb; or a shell completes it."""

import errno
import os
import sys
from typing import TYPE_CHECKING

import click

from blazeio_supervisor.cli.output import discard, say
from blazeio_supervisor.cli.verbs import (
    CONTEXT_SETTINGS,
    check_app_word,
    list_verbs,
    verbs,
)
from blazeio_supervisor.config.command_line import CALLED_HERE, PROGRAM, expand
from blazeio_supervisor.errors import ExitCode, OutputError, SupervisorError
from blazeio_supervisor.log.formats import escape_line
from blazeio_supervisor.worker.starting import is_app_path

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem, ShellComplete

    from blazeio_supervisor.config.settings import LiveSettings


def _suggest_spelling(
    error: click.NoSuchOption, words: list[str]
) -> click.NoSuchOption:
    """Return one whose message names the option that is meant.

    That is by ``--WORKERS``, say, by one of another server, or by one of a verb that is
    typed before it.
    """
    verb = next((word for word in words if word in list_verbs()), "")
    if verb and words[0].startswith("-"):
        name, here = error.option_name, f"`{PROGRAM} {verb} {error.option_name} ...`"
        text = f"No such option {name!r}: options of a verb follow it, {here}"
        return click.NoSuchOption(name, text, None, error.ctx)
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


def run_words(words: list[str]) -> "int | LiveSettings":
    """Carry out a command line; every failure of the operator's is one line.

    Args:
        words: Without the name of the program.

    Returns:
        The exit code; or the settings of a service, which is to be run then. The master
        does not know the command line, and the command line does not import the master.
    """
    if asked := os.environ.get(VARIABLE):
        return complete(asked)
    try:
        command, has_app = _choose_command(words)
        if has_app:
            words = expand(words)
        done: int | LiveSettings = command.main(
            words, prog_name=PROGRAM, standalone_mode=False
        )
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        path = context.command_path if context else PROGRAM
        if isinstance(error, click.NoSuchOption):
            error = _suggest_spelling(error, words)
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

    Raises:
        UsageError: The first word is neither a verb nor an app.
    """
    first = words[0] if words else "-"
    is_word = not first.startswith("-") and not is_app_path(first)
    if is_word and first in list_verbs():
        return verbs, list_verbs()[first].has_app
    if is_word:
        check_app_word(first)  # before its options: those of a verb are none of an app
    from blazeio_supervisor.cli.serve import command

    return command, True


def _say(line: str, *details: str) -> None:
    for each in (f"{PROGRAM}: {line}", *details):
        say(escape_line(each))


# The verb ``completion``: what a shell needs to complete words of this program.
#
# The shell's script, which is click's, runs the program with ``VARIABLE`` set; it
# then prints the words that fit, and does nothing else. Verbs come first, then
# options; slots and instances are asked of the services that run, and are left out
# where none answers.


SHELLS = ("bash", "zsh", "fish")
VARIABLE = "_BLAZEIO_SUPERVISOR_COMPLETE"
_EPILOG = """
\b
In bash, once:  blazeio-supervisor completion bash \\
                  > ~/.local/share/bash-completion/completions/blazeio-supervisor
In zsh, once:   blazeio-supervisor completion zsh > ~/.zfunc/_blazeio-supervisor
                (~/.zfunc is in $fpath, before compinit)
In fish, once:  blazeio-supervisor completion fish \\
                  > ~/.config/fish/completions/blazeio-supervisor.fish
\b
Exit codes:
  0 done    2 wrong usage
"""


@click.command(epilog=_EPILOG, context_settings=CONTEXT_SETTINGS)
@click.argument("shell", metavar="bash|zsh|fish", type=click.Choice(SHELLS))
def completion(shell: str) -> int:
    """Print the script by which a shell completes options, verbs, slots, services."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(_serve_command(), {}, PROGRAM, VARIABLE).source())
    return ExitCode.OK


def complete(instruction: str) -> int:
    """Print the words that fit what was typed, as the script of a shell asks for it."""
    from click.shell_completion import get_completion_class

    shell, _, _ = instruction.partition("_")
    kind = get_completion_class(shell)
    if kind is None:
        return ExitCode.CRASHED

    class Completing(kind):  # type: ignore[valid-type, misc]
        """The shell's own reading and writing, with our words in between."""

        def get_completions(
            self, args: list[str], incomplete: str
        ) -> list["CompletionItem"]:
            return find_words(args, incomplete)

    completing: ShellComplete = Completing(_serve_command(), {}, PROGRAM, VARIABLE)
    click.echo(completing.complete())
    return ExitCode.OK


def find_words(args: list[str], incomplete: str) -> list["CompletionItem"]:
    """Find the words that may stand in the place of one that was begun.

    Args:
        args: Those before it, without the name of the program.
        incomplete: Its beginning; may be empty.
    """
    from click.shell_completion import CompletionItem, ShellComplete

    # The first word is a verb or an APP. Where no verb begins like this, the shell
    # offers files, since an APP may be a script.
    if not args and not incomplete.startswith("-"):
        named = [
            CompletionItem(each.name, help=each.summary)
            for each in list_verbs().values()
            if each.name.startswith(incomplete)
        ]
        return named or [CompletionItem(incomplete, type="file")]
    is_verb = bool(args) and not is_app_path(args[0]) and args[0] in list_verbs()
    command: click.Command = verbs if is_verb else _serve_command()
    return ShellComplete(command, {}, PROGRAM, VARIABLE).get_completions(
        args, incomplete
    )


def _serve_command() -> click.Command:
    from blazeio_supervisor.cli.serve import command

    return command


def complete_slots(
    ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[str]:
    """Return the slots of the service that the words before name, and ``all``."""
    from blazeio_supervisor.cli.client import find_service
    from blazeio_supervisor.ipc.control_api import STATUS

    given = ctx.params
    try:
        client = find_service(given.get("control"), given.get("instance"))
        slots = [str(each.slot) for each in client.ask(STATUS).slots]
    except SupervisorError:
        # No error is told: what is written to standard error would stand in the middle
        # of the line that is being typed.
        slots = []
    return [each for each in (*slots, "all") if each.startswith(incomplete)]


def complete_instances(
    _ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[str]:
    """Return the names of the services of this user."""
    from blazeio_supervisor.cli.client import list_names

    return [each for each in list_names() if each.startswith(incomplete)]
