"""The program: ``blazeio-supervisor app:web --workers 8``, or a verb.

As root it imports nothing from folders that another user may write; of ``python
-m``, which looks in the working directory first, nothing before that is settled.
"""

import os
import sys

_PACKAGES = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def _leave_untrusted_paths() -> None:
    """Import nothing more from the app's folder (``python -m``, ``PYTHONPATH``).

    What judges the folders is itself imported from the installation alone.
    """
    given = sys.path[:]
    own = (sys.prefix, sys.base_prefix, sys.exec_prefix, sys.base_exec_prefix)
    prefixes = tuple(f"{each}{os.sep}" for each in own)
    sys.path[:] = [
        each for each in given if each == _PACKAGES or each.startswith(prefixes)
    ]
    from blazeio_supervisor.isolation import keep_trusted

    sys.path[:] = keep_trusted(given, needed=sys.path)


if __name__ == "__main__" and os.geteuid() == 0:
    _leave_untrusted_paths()

try:
    import click

    from blazeio_supervisor.config.app_path import PROGRAM, is_app_path
    from blazeio_supervisor.config.spellings import expand
    from blazeio_supervisor.errors import ExitCode, SupervisorError
    from blazeio_supervisor.isolation import forget_starter
    from blazeio_supervisor.log.formats import escape_line
except ImportError as error:
    sys.exit(
        f"blazeio-supervisor: its installation is not whole ({error}): install it "
        "with what it depends on; a zip file cannot hold the compiled ones"
    )


def main() -> None:
    """Run the program; every failure of the operator's is one line."""
    sys.exit(run_program(sys.argv[1:]))


def run_program(words: list[str]) -> int:
    """Run the program in this process, with these words; return the exit code."""
    forget_starter()
    if os.geteuid() == 0:
        _leave_untrusted_paths()
    return _run(words)


def _run(words: list[str]) -> int:
    try:
        command = _choose_command(words)
        if not isinstance(command, click.Group) or words[0] in _OF_APP:
            words = expand(words)
        code: int = command.main(words, prog_name=PROGRAM, standalone_mode=False)
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        path = context.command_path if context else PROGRAM
        _say(f"{error.format_message()} (see {path} --help)")
        return ExitCode.USAGE
    except click.Abort:  # ^C, where nobody waits for anything
        return ExitCode.INTERRUPTED
    except SupervisorError as error:
        _say(error.message, *error.details)
        return error.exit_code
    return code


_OF_APP = ("check", "unit")
"""Verbs that take the options of an app."""


def _choose_command(words: list[str]) -> click.Command:
    """Return the verbs when the first word is one, else the command that serves.

    Only what is needed is imported: a verb answers in a tenth of a second.
    """
    first = words[0] if words else "-"
    if not first.startswith("-") and not is_app_path(first):
        from blazeio_supervisor.cli.verbs import list_verbs, verbs

        if first in list_verbs():
            return verbs
    from blazeio_supervisor.cli.serve import command

    return command


def _say(line: str, *details: str) -> None:
    for each in (f"{PROGRAM}: {line}", *details):
        click.echo(escape_line(each), err=True)


if __name__ == "__main__":
    main()
