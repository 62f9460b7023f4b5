"""``unit APP ...``: print, or install, a unit that runs what is typed here."""

import os
import pwd
import re
import sys
from pathlib import Path
from typing import Any

import click

from blazeio_supervisor.errors import ExitCode, SupervisorError, UsageError
from blazeio_supervisor.files.opening import replace
from blazeio_supervisor.options.program import LISTED, find_sources
from blazeio_supervisor.options.sectioned_command import Listing, SectionedCommand
from blazeio_supervisor.options.surroundings import find_folder
from blazeio_supervisor.options.unit.files import Command, write_service, write_socket
from blazeio_supervisor.settings import Settings
from blazeio_supervisor.sockets.address import Address, UnixAddress

UNITS = Path("/etc/systemd/system")
_TYPED = "blazeio.typed"
_OWN = ("--install", "--yes", "--socket")
_ENVIRONMENT = re.compile(r"BLAZEIO_\w+|WEB_CONCURRENCY|PYTHONPATH|LANG|LC_\w+|TZ")
_NOT_OF_A_NAME = re.compile(r"[^\w.-]+", re.ASCII)
INSTALLING = Listing(
    "Installing",
    (
        click.Option(
            ["--install"],
            is_flag=True,
            help=f"Write the units to {UNITS}, after asking; start nothing.",
        ),
        click.Option(["--yes"], is_flag=True, help="Do not ask."),
        click.Option(
            ["--socket"],
            is_flag=True,
            help="Print the socket unit instead of the service.",
        ),
    ),
)


class UnitCommand(SectionedCommand):
    """Remembers what was typed: that is what the unit shall run."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the words, then read them."""
        ctx.meta[_TYPED] = [word for word in args if word not in _OWN]
        return super().parse_args(ctx, args)


def run_unit(**words: Any) -> int:
    """Print a systemd unit for this very command, or its socket unit (--socket).

    With the folder, the virtual environment and the variables of now; hardened,
    but for what the command needs. Its settings are checked, nothing is started.
    """
    settings = find_sources(words).read().make_settings()
    command = describe_command(settings, click.get_current_context().meta[_TYPED])
    if words["install"] and words["socket"]:
        raise UsageError("--install writes both units: leave out --socket")
    service, socket = write_service(command), write_socket(command)
    if words["install"]:
        units = {f"{command.name}.service": service, f"{command.name}.socket": socket}
        return _install(units, command.name, is_sure=words["yes"])
    # One, so that it can go into a file; the comment says into which.
    kind, text = ("socket", socket) if words["socket"] else ("service", service)
    click.echo(f"# {UNITS / command.name}.{kind}\n{text}", nl=False)
    return ExitCode.OK


def describe_command(settings: Settings, typed: list[str]) -> Command:
    """Find out what the unit needs to know, here and now."""
    return Command(
        name=_NOT_OF_A_NAME.sub("-", settings.instance).strip("-.") or "app",
        program=os.path.abspath(sys.argv[0]),
        words=typed,
        folder=find_folder(),
        binds=[_anchor(bind, settings.folder) for bind in settings.binds],
        user=_find_user(settings),
        environ=_find_environment(),
        reads=[sys.executable, os.path.realpath(sys.executable), sys.prefix],
        writes=_list_written(settings),
        has_affinity=bool(settings.cpu_affinity),
    )


def _anchor(bind: Address, folder: str) -> Address:
    if isinstance(bind, UnixAddress):
        return UnixAddress(os.path.join(folder, bind.path), bind.scheme)
    return bind


def _find_user(settings: Settings) -> str:
    """Give who the app shall run as; "": a user that is made at the start."""
    if settings.identity is not None:
        return str(settings.identity.uid)
    return "" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name


def _find_environment() -> dict[str, str]:
    found = {k: v for k, v in os.environ.items() if _ENVIRONMENT.fullmatch(k)}
    if sys.prefix != sys.base_prefix:
        usual = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        found |= {"VIRTUAL_ENV": sys.prefix, "PATH": f"{sys.prefix}/bin:{usual}"}
    return found


def _list_written(settings: Settings) -> list[str]:
    files = [settings.pid_file, settings.log_file, settings.access_log]
    files += [bind.path for bind in settings.binds if isinstance(bind, UnixAddress)]
    paths = [os.path.join(settings.folder, each) for each in files if each]
    folders = (os.path.dirname(path) for path in paths if not path.endswith("/-"))
    return list(dict.fromkeys(folders))


def _install(units: dict[str, str], name: str, *, is_sure: bool) -> int:
    for file in units:
        path = UNITS / file
        click.echo(f"{path}  ({'is replaced' if path.exists() else 'new'})")
    if not is_sure and not click.confirm("Write these files?"):
        raise UsageError("nothing was written")
    for file, text in units.items():
        try:
            replace(str(UNITS / file), text.encode(), 0o644)
        except OSError as error:
            reason = f"{UNITS / file}: {error.strerror}"
            raise SupervisorError(f"{reason}: only root installs units") from None
    click.echo(
        f"Next: systemctl daemon-reload && systemctl enable --now {name}\n"
        f"(with `{name}.socket` too, systemd holds the addresses)"
    )
    return ExitCode.OK


unit = UnitCommand(
    name="unit",
    sections=(INSTALLING, *LISTED),
    params=[click.Argument(["app"], required=False)],
    callback=run_unit,
    help=run_unit.__doc__,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 96},
)
