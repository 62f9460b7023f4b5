"""The program: ``blazeio-supervisor app:web --workers 8``, or a verb."""

import sys

import click

from blazeio_supervisor.control.verbs.words import PROGRAM, VERBS
from blazeio_supervisor.errors import ExitCode, SupervisorError
from blazeio_supervisor.process.signals import forget_starter


def main() -> None:
    """Run the program; every failure of the operator's is one line."""
    forget_starter()
    try:
        code = _choose_command().main(prog_name=PROGRAM, standalone_mode=False)
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        command = context.command_path if context else PROGRAM
        _say(f"{error.format_message()} (see {command} --help)")
        code = ExitCode.USAGE
    except click.Abort:  # ^C, where nobody waits for anything
        code = ExitCode.INTERRUPTED
    except SupervisorError as error:
        _say(str(error))
        code = error.exit_code
    sys.exit(code)


def _choose_command() -> click.Command:
    """A verb's, when the first word is one; else what serves an app.

    Only what is needed is imported: a verb answers in a tenth of a second.
    """
    if sys.argv[1:2] and sys.argv[1] in VERBS:
        from blazeio_supervisor.control.verbs.program import verbs

        return verbs
    from blazeio_supervisor.options.program import command

    return command


def _say(line: str) -> None:
    click.echo(f"{PROGRAM}: {line}", err=True)


if __name__ == "__main__":
    main()
