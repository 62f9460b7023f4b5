"""The command line: ``blazeio-supervisor app:web --workers 8``."""

import asyncio
import sys
from importlib.metadata import version
from typing import Any

import click

from blazeio_supervisor.errors import ExitCode, SupervisorError
from blazeio_supervisor.master import Master
from blazeio_supervisor.observe.logs import configure_logs
from blazeio_supervisor.options.command_line import PROGRAM, SECTIONS, read_settings
from blazeio_supervisor.options.section import SectionedCommand

_EPILOG = """
\b
Signals (to the master, the pid in the first log line):
  TERM, QUIT  drain: answer what is in flight, then exit 0
  INT (^C)    stop within a second; twice: at once
  HUP         reload the code and the certificates, without losing a request
  USR1        open the access log anew, after it was renamed
  TTIN, TTOU  one worker more, one worker less
\b
Exit codes:
  0 stopped as asked      3 the app failed to start
  2 wrong usage           4 the app cannot be imported
                          5 an address cannot be bound
"""


def serve(app: str | None, **given: Any) -> int:
    """Serve APP with supervised workers.

    APP is module:attribute (an App, or a function that makes one) or a script that
    ends in .py and calls web.runner().
    """
    settings = read_settings(app, given)
    configure_logs(settings.log_level)
    return asyncio.run(Master(settings).run())


command = SectionedCommand(
    name=PROGRAM,
    sections=SECTIONS,
    params=[click.Argument(["app"], required=False)],
    callback=serve,
    help=serve.__doc__,
    epilog=_EPILOG,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 96},
)
click.version_option(version("blazeio"), prog_name=PROGRAM)(command)


def main() -> None:
    """Run the program; every failure of the operator's is one line."""
    try:
        code = command.main(prog_name=PROGRAM, standalone_mode=False)
    except click.ClickException as error:
        _say(f"{error.format_message()} (see {PROGRAM} --help)")
        code = ExitCode.USAGE
    except SupervisorError as error:
        _say(str(error))
        code = error.exit_code
    sys.exit(code)


def _say(line: str) -> None:
    click.echo(f"{PROGRAM}: {line}", err=True)


if __name__ == "__main__":
    main()
