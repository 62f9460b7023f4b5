"""What serves an app, as a command: its help, and what runs it."""

from importlib.metadata import version
from typing import Any

import click

from blazeio_supervisor.control.verbs.words import PROGRAM, VERBS
from blazeio_supervisor.options.command_line import SECTIONS, read_settings
from blazeio_supervisor.options.section import SectionedCommand

_VERBS = "\n".join(f"  {verb:8} {what}" for verb, what in VERBS.items())
_EPILOG = f"""
\b
Verbs, instead of APP (their options: {PROGRAM} VERB --help):
{_VERBS}
\b
Signals (to the master, the pid in the first log line):
  TERM, QUIT  drain: answer what is in flight, then exit 0
  INT (^C)    stop within a second; twice: at once
  HUP         reload the code and the certificates, without losing a request
  USR1        open the access log anew, after it was renamed
  TTIN, TTOU  one worker more, one worker less
  WINCH       park: nobody serves, connections wait; HUP ends it
\b
Exit codes:
  0 stopped as asked          4 the app cannot be imported
  1 a fault of ours           5 an address cannot be bound
  2 wrong usage               6 a verb found no service
  3 the app failed to start   (a verb: 1 means tried, and failed)
"""


def serve(app: str | None, **given: Any) -> int:
    """Serve APP with supervised workers.

    APP is module:attribute (an App, or a function that makes one) or a script that
    ends in .py and calls web.runner().
    """
    settings = read_settings(app, given)
    # Wrong usage is said without loading what serves.
    import asyncio

    from blazeio_supervisor.master import Master
    from blazeio_supervisor.observe.logs import configure_logs

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
