"""The program: ``blazeio-supervisor app:web --workers 8``, or a verb.

As root it imports nothing from folders that another user may write; of ``python
-m``, which looks in the working directory first, nothing before that is settled.
"""

import errno
import io
import os
import sys
from typing import Any

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


def _refuse_another() -> None:
    """End here where another project called blazeio has overwritten ours, or may have.

    Raises:
        SystemExit: It is installed.
    """
    from blazeio_supervisor.version import explain_another

    if (reason := explain_another()) is not None:
        sys.exit(f"blazeio-supervisor: {reason}")


if __name__ == "__main__" and os.geteuid() == 0:
    _leave_untrusted_paths()

_refuse_another()

try:
    import click

    from blazeio_supervisor.cli.output import discard, say
    from blazeio_supervisor.config.command_line import PROGRAM, expand, is_app_path
    from blazeio_supervisor.errors import ExitCode, SupervisorError
    from blazeio_supervisor.isolation import forget_starter
    from blazeio_supervisor.log.formats import escape_line
except ImportError as error:
    sys.exit(
        f"blazeio-supervisor: its installation is not whole ({error}): install it "
        "with what it depends on; a zip file cannot hold the compiled ones"
    )


class OutputError(SupervisorError):
    """Standard output takes no more: a full disk, or a pipe whose reader has ended."""


class _StandardOutput(io.FileIO):
    """Descriptor 1, whose failures are told apart from those of other files."""

    def write(self, octets: Any, /) -> int:
        """Write octets.

        Raises:
            OutputError: They cannot be written.
        """
        try:
            return super().write(octets)
        except OSError as error:
            reason = f"cannot write to standard output: {error.strerror}"
            raise OutputError(reason) from error


def main() -> None:
    """Run the program; every failure of the operator's is one line."""
    plain = sys.stdout
    if plain is sys.__stdout__ and plain is not None:
        raw = _StandardOutput(plain.fileno(), "w", closefd=False)
        sys.stdout = io.TextIOWrapper(
            io.BufferedWriter(raw),
            plain.encoding,
            plain.errors,
            line_buffering=plain.isatty(),
        )
    sys.exit(run_program(sys.argv[1:]))


def run_program(words: list[str]) -> int:
    """Run the program in this process, with these words; return the exit code."""
    if sys.platform != "linux" or "--single" in words:
        from blazeio_supervisor.single import run_single

        return run_single(words)
    forget_starter()
    if os.geteuid() == 0:
        _leave_untrusted_paths()
    return _run(words)


def _suggest_spelling(error: click.NoSuchOption) -> click.NoSuchOption:
    """Return one whose message names the option that is meant by ``--WORKERS``, say."""
    meant = error.option_name.lower().replace("_", "-")
    params = error.ctx.command.params if error.ctx else []
    if any(meant in each.opts for each in params):
        text = f"No such option {error.option_name!r}. Did you mean {meant!r}?"
        return click.NoSuchOption(error.option_name, text, None, error.ctx)
    return error


def _run(words: list[str]) -> int:
    if asked := os.environ.get("_BLAZEIO_SUPERVISOR_COMPLETE"):
        from blazeio_supervisor.cli.completion import complete

        return complete(asked)
    try:
        command, has_app = _choose_command(words)
        if has_app:
            words = expand(words)
        code: int = command.main(words, prog_name=PROGRAM, standalone_mode=False)
    except click.ClickException as error:
        context = getattr(error, "ctx", None)
        path = context.command_path if context else PROGRAM
        if isinstance(error, click.NoSuchOption):
            error = _suggest_spelling(error)
        _say(f"{error.format_message()} (see {path} --help)")
        return ExitCode.USAGE
    except OutputError as error:
        # Where the reader has ended (`| head -1`), nobody asks for more.
        if getattr(error.__cause__, "errno", None) != errno.EPIPE:
            _say(error.message)
        discard(sys.stdout)
        return error.exit_code
    except click.Abort:  # ^C, where nobody waits for anything
        return ExitCode.INTERRUPTED
    except SupervisorError as error:
        _say(error.message, *error.details)
        return error.exit_code
    return code


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


if __name__ == "__main__":
    main()
