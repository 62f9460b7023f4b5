"""The command line: ``blazeio-supervisor app:web --workers 8``."""

import asyncio
import sys
from importlib.metadata import version
from typing import Any

import click

from blazeio_supervisor.errors import ExitCode, SupervisorError, UsageError
from blazeio_supervisor.master import Master
from blazeio_supervisor.observe.logs import configure_logs
from blazeio_supervisor.settings import (
    Settings,
    find_app_dir,
    find_folder,
    read_app,
    read_binds,
    read_log_level,
    read_loop,
    read_span,
    read_workers,
)

PROGRAM = "blazeio-supervisor"

_EPILOG = """
\b
Signals (to the master, the pid in the first log line):
  TERM, QUIT  drain: answer what is in flight, then exit 0
  INT (^C)    stop within a second; twice: at once
  HUP         reload the code, without losing a request
  TTIN, TTOU  one worker more, one worker less
\b
Exit codes:
  0 stopped as asked      3 the app failed to start
  2 wrong usage           4 the app cannot be imported
                          5 an address cannot be bound
"""


@click.command(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 96},
    epilog=_EPILOG,
)
@click.argument("app", required=False)
@click.option(
    "--workers",
    default="auto",
    metavar="N",
    help="Worker processes, one core each; auto: as many as this process may use "
    "(CPU affinity and container quota).  [default: auto]",
)
@click.option(
    "--bind",
    multiple=True,
    metavar="ADDRESS",
    help="Where to listen: host:port, [v6]:port, :port (everywhere) or unix:/path. "
    "May be given several times. Port 0 picks a free one and prints it.  "
    "[default: the App's own host and port]",
)
@click.option(
    "--app-dir",
    default="",
    metavar="DIR",
    help="Import the app from here.  [default: the working directory]",
)
@click.option(
    "--loop",
    default="uvloop",
    metavar="NAME",
    help="uvloop or asyncio.  [default: uvloop]",
)
@click.option(
    "--graceful-timeout",
    default=30.0,
    metavar="S",
    help="A worker that is told to end has this long to answer what is in flight and "
    "to run its on_stop hooks; then it is killed.  [default: 30]",
)
@click.option(
    "--boot-timeout",
    default=60.0,
    metavar="S",
    help="Import and on_start hooks must be done by then.  [default: 60]",
)
@click.option(
    "--timeout",
    default=30.0,
    metavar="S",
    help="A worker whose event loop is blocked for this long prints its stacks and "
    "is replaced.  [default: 30]",
)
@click.option(
    "--canary-hold",
    default=2.0,
    metavar="S",
    help="At a reload the first new worker must serve this long before an old one is "
    "touched; if it dies, nothing has happened.  [default: 2]",
)
@click.option(
    "--drain-idle",
    default=2.0,
    metavar="S",
    help="A worker that ends keeps an idle connection for this long, since its client "
    "may be just sending.  [default: 2]",
)
@click.option(
    "--log-level",
    default="info",
    metavar="LEVEL",
    help="debug, info, warning or error.  [default: info]",
)
@click.version_option(version("blazeio"), prog_name=PROGRAM)
def serve(app: str | None, **options: Any) -> int:
    """Serve APP with supervised workers.

    APP is module:attribute (an App, or a function that makes one) or a script that
    ends in .py and calls web.runner().
    """
    settings = read_settings(app, options)
    configure_logs(settings.log_level)
    return asyncio.run(Master(settings).run())


def read_settings(app: str | None, options: dict[str, Any]) -> Settings:
    """Check everything that was given, before anything is started.

    Raises:
        UsageError: Something is wrong; says what, and what to write.
    """
    if app is None:
        raise UsageError(f"APP is missing: write `{PROGRAM} module:attribute`")
    folder = find_folder()
    return Settings(
        app=read_app(app),
        workers=read_workers(options["workers"]),
        binds=read_binds(options["bind"]),
        folder=folder,
        app_dir=find_app_dir(folder, options["app_dir"]),
        loop=read_loop(options["loop"]),
        graceful_timeout_s=read_span(
            "--graceful-timeout", options["graceful_timeout"], 0.1
        ),
        boot_timeout_s=read_span("--boot-timeout", options["boot_timeout"], 0.1),
        timeout_s=read_span("--timeout", options["timeout"], 1.0),
        canary_hold_s=read_span("--canary-hold", options["canary_hold"], 0.0),
        drain_idle_s=read_span("--drain-idle", options["drain_idle"], 0.0),
        log_level=read_log_level(options["log_level"]),
    )


def main() -> None:
    """Run the program; every failure of the operator's is one line."""
    try:
        code = serve.main(prog_name=PROGRAM, standalone_mode=False)
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
