"""The command that serves an app, and the verb ``check``: both have its options."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click

from blazeio_supervisor.cli.verbs import CONTEXT_SETTINGS, check_app_word, list_verbs
from blazeio_supervisor.config.command_line import PROGRAM
from blazeio_supervisor.config.environment import find_environment
from blazeio_supervisor.config.option import NO_FILE, Option
from blazeio_supervisor.config.settings import OPTIONS, SECTIONS, LiveSettings, Sources
from blazeio_supervisor.config.types import Flag, Many
from blazeio_supervisor.errors import ExitCode, UsageError
from blazeio_supervisor.isolation import require_proc
from blazeio_supervisor.version import find_version

_VERBS_PLACE = "@VERBS@"
"""Where the help lists the verbs, which are imported only when it is shown."""

# The help lists the options by section: nobody in a hurry reads a list of a hundred.


@dataclass(frozen=True, slots=True)
class OptionGroup:
    """Options that are listed together.

    Attributes:
        title: Stands above them in ``--help``.
        options: The options, in the order in which they are listed.
    """

    title: str
    options: tuple[click.Option, ...]


class SectionedCommand(click.Command):
    """A command whose ``--help`` shows its options by section.

    Args:
        sections: All options of the command; those that click adds come last.
        usages: The ways to call it, without its name; empty: what click writes.
        settings: The other arguments of ``click.Command``.
    """

    def __init__(
        self,
        *,
        sections: tuple[OptionGroup, ...],
        usages: tuple[str, ...] = (),
        **settings: Any,
    ) -> None:
        options = [option for section in sections for option in section.options]
        params = [*settings.pop("params", []), *options]
        super().__init__(params=params, context_settings=CONTEXT_SETTINGS, **settings)
        self._sections = sections
        self._usages = usages

    def format_usage(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write each way to call the command on a line."""
        if not self._usages:
            super().format_usage(ctx, formatter)
            return
        first, *others = self._usages
        formatter.write_usage(ctx.command_path, first)
        for usage in others:
            formatter.write_usage(ctx.command_path, usage, prefix=" " * 7)

    def format_help_text(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """Write the help, with the list of all verbs in its place."""
        if self.help and _VERBS_PLACE in self.help:
            lines = (f"  {v.name:11}  {v.summary}" for v in list_verbs().values())
            self.help = self.help.replace(_VERBS_PLACE, "\n".join(lines))
        super().format_help_text(ctx, formatter)

    def format_options(
        self, ctx: click.Context, formatter: click.HelpFormatter
    ) -> None:
        """Write the options by section."""
        listed = {id(o) for section in self._sections for o in section.options}
        others = [
            param
            for param in self.get_params(ctx)
            if isinstance(param, click.Option) and id(param) not in listed
        ]
        for title, params in [
            *((section.title, section.options) for section in self._sections),
            ("Help", others),
        ]:
            records = [param.get_help_record(ctx) for param in params]
            with formatter.section(title):
                formatter.write_dl([record for record in records if record])


_HELP = f"""Serve APP with supervised workers.

With a VERB, inspect or control a running service.

\b
  {PROGRAM} app:web --bind :8000 --workers 4
  {PROGRAM} top                       in another terminal
  {PROGRAM} reload --wait             after a change of the code

APP is module:attribute (an App, an ASGI 3 or WSGI app, or a function that returns
one), a module alone (its app, application or web), or a .py script that calls
web.runner().

\b
Verbs (their options: {PROGRAM} VERB --help):
{_VERBS_PLACE}

Every option of APP may be given in three places: here as --some-name, in the
environment as BLAZEIO_SOME_NAME, in a TOML file as some_name. The command line wins
over the environment (WEB_CONCURRENCY stands for BLAZEIO_WORKERS), which wins over the
file.
"""
_EPILOG = """
\b
Signals (to the master; `status` names its pid, and the log's event=listening):
  TERM, QUIT  drain: finish requests in flight, then exit 0
  INT (^C)    stop within a second; twice: at once
  HUP         reload code, settings, certificates, without losing a request
  USR1        reopen the log and the access logs after they were renamed
  USR2        switch to the installed version of the supervisor, same pid
  TTIN, TTOU  one worker more, one worker fewer
  WINCH       park: stop serving, connections wait; HUP ends it
\b
Exit codes:
  0 stopped as asked          4 the app cannot be imported
  1 a fault of the program    5 an address cannot be bound
  2 wrong usage               6 a verb found no service
  3 the app failed to start   (a verb: 1 means tried, and failed)
"""
CONFIG_OPTIONS = OptionGroup(
    "Settings",
    (
        click.Option(
            ["--config"],
            metavar="FILE",
            help="Take the settings from this TOML file, or from [tool.blazeio] of a "
            "pyproject.toml; read again at each reload.  [default: blazeio.toml, else "
            "pyproject.toml, in the working directory]",
        ),
        click.Option(
            [NO_FILE],
            is_flag=True,
            help="Read no file, even if there is one in the working directory.",
        ),
        click.Option(
            ["--print-config"],
            is_flag=True,
            help="Print every setting and where it comes from, as a TOML file; start "
            "nothing.",
        ),
        click.Option(
            ["--show-env"],
            is_flag=True,
            help="With --print-config: the values of --env too, which may be secret.",
        ),
        click.Option(  # carried out before this command is looked at
            ["--single"],
            is_flag=True,
            expose_value=False,
            help="Serve by one process, without a supervisor, for development and "
            "without Linux; see docs/how-to/development.md.",
        ),
    ),
)


class Switch(click.Option):
    """A switch with two spellings, of which the help lists one.

    Attributes:
        listed: The spelling that changes the default.
    """

    listed: str

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """Return the listed spelling and the help text."""
        record = super().get_help_record(ctx)
        return record and (self.listed, record[1])


def make_click_option(option: Option) -> click.Option:
    """Declare an option to click, which only splits the words; we read the values."""
    is_flag = isinstance(option.kind, Flag)
    declared = (Switch if is_flag else click.Option)(
        option.spellings,
        default=None,
        type=bool if is_flag else str,
        is_flag=is_flag or None,
        multiple=isinstance(option.kind, Many),
        metavar=option.kind.metavar or None,
        help=_explain(option),
    )
    if isinstance(declared, Switch):
        declared.listed = option.listed_flag
    return declared


def _explain(option: Option) -> str:
    default = option.shown_default
    return f"{option.help}  [default: {default}]" if default else option.help


OPTION_GROUPS = (
    CONFIG_OPTIONS,
    *(
        OptionGroup(
            section.title,
            tuple(
                make_click_option(option)
                for option in OPTIONS
                if option.section == section.title and not option.is_argument
            ),
        )
        for section in SECTIONS
    ),
)


def serve(**words: Any) -> int | LiveSettings:
    """Return the settings of the service that is to be run, or the exit code."""
    sources = find_sources(words)
    if words["print_config"]:
        return print_config(sources, shows_env=words["show_env"])
    require_proc()
    return LiveSettings.read(sources)


def find_sources(words: Mapping[str, Any]) -> Sources:
    """Return the sources of the settings: a command line, here and now.

    Raises:
        UsageError: The word in the place of APP is none, or the working directory
            is gone.
    """
    check_app_word(words["app"])
    return Sources(words, dict(os.environ), find_environment())


def print_config(sources: Sources, *, shows_env: bool) -> int:
    """Print all settings with their origins."""
    from blazeio_supervisor.config.settings import format_settings, list_settings

    settings = list_settings(sources.read(), shows_env=shows_env)
    click.echo(format_settings(settings), nl=False)
    return 0


command = SectionedCommand(
    name=PROGRAM,
    sections=OPTION_GROUPS,
    params=[click.Argument(["app"], required=False)],
    callback=serve,
    help=_HELP,
    usages=("[OPTIONS] APP", "VERB [OPTIONS]"),
    epilog=_EPILOG,
)
click.version_option(find_version(), prog_name=PROGRAM)(command)


# The verb ``check``.


_CHECK_EPILOG = """
\b
Exit codes:
  0 it would start            4 the app cannot be imported
  2 settings are wrong        5 an address cannot be bound
  3 a factory raised
\b
What on_start hooks do is not tried: they may have an effect.
"""


def run_check(**words: Any) -> int:
    """Tell whether APP would start: its settings, its import, its addresses.

    The options are those of the service, and are read in the same places.
    """
    sources = find_sources(words)
    if words["print_config"]:
        return print_config(sources, shows_env=words["show_env"])
    configuration = sources.read()
    # Its help, and wrong usage, are shown without loading what imports an app.
    from blazeio_supervisor.cli.check import check_start

    check_start(configuration)
    return ExitCode.OK


check = SectionedCommand(
    name="check",
    sections=OPTION_GROUPS,
    params=[click.Argument(["app"], required=False)],
    callback=run_check,
    help=run_check.__doc__,
    epilog=_CHECK_EPILOG,
)


# The verb ``serve``: a folder, without an app.


FOLDER_APP = "blazeio_supervisor.api:make_folder_app"
"""A running service has this name over each upgrade: it stays."""
_FOLDER_VARIABLE = "BLAZEIO_SERVED_FOLDER"
_FOLDER_EPILOG = f"""
\b
  {PROGRAM} serve                          this folder, on 127.0.0.1:8000
  {PROGRAM} serve public --bind :8080
\b
Exit codes:
  0 stopped as asked          5 an address cannot be bound
  2 wrong usage
"""


def run_folder(**words: Any) -> int | LiveSettings:
    """Serve the files of FOLDER, with listings of its folders.

    Files whose names begin with a dot are not served. The options are those of an app.
    """
    folder = os.path.abspath(words.pop("folder"))
    if not os.path.isdir(folder):
        raise UsageError(f"{folder} is not a folder")
    # The app is imported by its name, in another process: the folder goes there by the
    # environment.
    words["app"] = FOLDER_APP
    words["env"] = (*(words["env"] or ()), f"{_FOLDER_VARIABLE}={folder}")
    words["name"] = words["name"] or os.path.basename(folder) or "root"
    return serve(**words)


serve_folder = SectionedCommand(
    name="serve",
    sections=OPTION_GROUPS,
    params=[click.Argument(["folder"], default=".")],
    callback=run_folder,
    help=run_folder.__doc__,
    epilog=_FOLDER_EPILOG,
)
