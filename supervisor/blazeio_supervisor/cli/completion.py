"""The verb ``completion``: what a shell needs to complete words of this program.

The shell's script, which is click's, runs the program with ``VARIABLE`` set; it then
prints the words that fit, and does nothing else. Verbs come first, then options; slots
and instances are asked of the services that run, and are left out where none answers.
"""

import click
from click.shell_completion import CompletionItem, ShellComplete, get_completion_class

from blazeio_supervisor.cli.verbs import CONTEXT_SETTINGS, list_verbs, verbs
from blazeio_supervisor.config.command_line import PROGRAM
from blazeio_supervisor.errors import ExitCode, SupervisorError
from blazeio_supervisor.worker.starting import is_app_path

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
    kind = get_completion_class(shell)
    assert kind is not None
    click.echo(kind(_serve_command(), {}, PROGRAM, VARIABLE).source())
    return ExitCode.OK


def complete(instruction: str) -> int:
    """Print the words that fit what was typed, as the script of a shell asks for it."""
    shell, _, _ = instruction.partition("_")
    kind = get_completion_class(shell)
    if kind is None:
        return ExitCode.CRASHED

    class Completing(kind):  # type: ignore[valid-type, misc]
        """The shell's own reading and writing, with our words in between."""

        def get_completions(
            self, args: list[str], incomplete: str
        ) -> list[CompletionItem]:
            return find_words(args, incomplete)

    completing: ShellComplete = Completing(_serve_command(), {}, PROGRAM, VARIABLE)
    click.echo(completing.complete())
    return ExitCode.OK


def find_words(args: list[str], incomplete: str) -> list[CompletionItem]:
    """Find the words that may stand in the place of one that was begun.

    Args:
        args: Those before it, without the name of the program.
        incomplete: Its beginning; may be empty.
    """
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
