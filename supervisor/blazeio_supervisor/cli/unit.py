"""The verb ``unit``: systemd units, made of the templates that come with blazeio.

The units have the sandbox of the templates; only what the command needs is opened.
"""

import os
import pwd
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from blazeio_supervisor.cli.serve import (
    OPTION_GROUPS,
    OptionGroup,
    SectionedCommand,
    find_sources,
    print_config,
)
from blazeio_supervisor.config.environment import find_folder
from blazeio_supervisor.config.settings import Settings
from blazeio_supervisor.errors import ExitCode, SupervisorError, UsageError
from blazeio_supervisor.files import replace
from blazeio_supervisor.log.formats import escape_line
from blazeio_supervisor.sockets.address import (
    Address,
    TcpAddress,
    UnixAddress,
    join_host_port,
    resolve,
)

# Values as a unit file has them: one function for each kind of setting.
#
# The rules are systemd's (``systemd.syntax``, ``systemd.service``, and where these
# are silent its ``src/core/load-fragment.c``):
#
# =====================  ======  =================  ==============================
# settings               ``%``   ``$`` expanded     quotes and ``\`` escapes
# =====================  ======  =================  ==============================
# ``ExecStart=``         yes     but in the path    yes; a path that needs them,
#                                of the program     none
# ``Environment=``       yes     no                 yes
# ``ReadWritePaths=``    yes     no                 quotes only
# ``WorkingDirectory=``  yes     no                 no: the rest of the line
# ``ListenStream=``      yes     no                 no: the rest of the line
# =====================  ======  =================  ==============================
#
# LF and CR end a line, wherever they stand; the last ``\`` of a line joins it with
# the next; a file that is not UTF-8 is skipped. A value that a setting cannot hold is
# refused, and never left out.


_PLAIN = re.compile(r"[\w@+=:,./-]+", re.ASCII)
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")
_NOT_IN_A_VARIABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")
_NOT_IN_A_PROGRAM = re.compile(r"[\x00-\x1f\x7f\\\"']")
_SURROGATES = re.compile("[\ud800-\udfff]")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t", "\\": "\\\\", '"': '\\"'}
_ESCAPED = re.compile(r'[\x01-\x1f\x7f\\"]|[^\x00-\x7f]')


def quote_command(program: str, words: Iterable[str]) -> str:
    """Write a command line, for ``ExecStart=``.

    Raises:
        UsageError: systemd starts no program of such a path, or a word is none.
    """
    _check(program, _NOT_IN_A_PROGRAM, "quotes, backslashes and control characters")
    return " ".join([quote(_check_path(program)), *map(_quote_argument, words)])


def quote_words(words: Iterable[str]) -> str:
    """Write arguments of a command line."""
    return " ".join(map(_quote_argument, words))


def _quote_argument(word: str) -> str:
    # systemd would put the value of a variable in the place of ``$NAME``
    # (systemd.service(5), "Command lines"); ``$$`` is a dollar.
    return quote(word.replace("$", "$$"))


def quote_variable(name: str, value: str) -> str:
    """Write one variable, for ``Environment=``, where ``$`` is plain.

    Raises:
        UsageError: systemd sets none of such a value.
    """
    _check(f"{name}={value}", _NOT_IN_A_VARIABLE, "control characters in a variable")
    return quote(f"{name}={value}")


def quote_paths(paths: Iterable[str]) -> str:
    """Write several paths, for ``ReadWritePaths=``; each may begin with ``-``.

    Raises:
        UsageError: A path has control characters.
    """
    return " ".join(map(quote, [_check_path(path) for path in paths]))


def write_folder(path: str) -> str:
    """Write the path of a folder as the rest of a line, for ``WorkingDirectory=``.

    Raises:
        UsageError: It has control characters.
    """
    text = _double_percent(_check_path(path))
    # A final slash is dropped by systemd; what stands before it is kept.
    return f"{text}/" if text[-1:] in (" ", "\\") else text


def write_address(text: str) -> str:
    """Write an address or a path as the rest of a line, for ``ListenStream=``.

    Raises:
        UsageError: It has control characters, or ends as no line can.
    """
    if text[-1:] in (" ", "\\"):
        raise UsageError(f"{escape_line(text)!r}: a unit has no path of such an end")
    return _double_percent(_check_path(text))


def quote(word: str) -> str:
    """Write one word, in quotes where it needs them.

    Raises:
        UsageError: It has octets that are not UTF-8, or a NUL.
    """
    _check(word, _SURROGATES, "octets that are not UTF-8")
    _check(word, re.compile("\0"), "NUL")
    text = _double_percent(word)
    if _PLAIN.fullmatch(text):
        return text
    return f'"{_ESCAPED.sub(_escape, text)}"'


def _escape(match: re.Match[str]) -> str:
    """Escape what has a meaning for systemd, or would mislead a reader."""
    character, code = match[0], ord(match[0])
    if code < 0x80:
        return _SHORT.get(character) or f"\\x{code:02x}"
    if escape_line(character) == character:
        return character
    # systemd's \x85 is an octet; by \u it writes the character in UTF-8.
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _double_percent(text: str) -> str:
    return text.replace("%", "%%")


def _check_path(path: str) -> str:
    _check(path, _CONTROLS, "line ends or other control characters in a path")
    _check(path, _SURROGATES, "octets that are not UTF-8")
    if escape_line(path) != path:
        what = "characters in a path that cannot be seen, or turn its order round"
        raise UsageError(f"'{escape_line(path)}': a unit takes no {what}")
    return path


def _check(text: str, pattern: re.Pattern[str], what: str) -> None:
    if pattern.search(text):
        raise UsageError(f"'{escape_line(text)}': a unit takes no {what}")


_LOOPBACK = ("127.", "::1", "localhost")
_HOMES = ("/home/", "/root/", "/run/user/")
_TEMPORARY = ("/tmp/", "/var/tmp/")
_PACKAGED = Path(__file__).parents[1] / "units"
_IN_REPOSITORY = Path(__file__).parents[3] / "systemd"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What the unit is to run.

    Attributes:
        name: The name of the unit, and of its directories.
        program: The path of ``blazeio-supervisor``.
        words: Its arguments, as typed.
        folder: The directory where it is run.
        binds: The addresses that it listens on; empty: those of the App.
        user: The user who runs it; "": one that systemd makes at the start.
        environ: Its environment.
        reads: Further files and folders that it needs (the interpreter).
        writes: Folders that it writes to.
        has_affinity: Whether it binds workers to CPUs.
    """

    name: str
    program: str
    words: Sequence[str]
    folder: str
    binds: Sequence[Address] = ()
    user: str = ""
    environ: Mapping[str, str] = field(default_factory=dict)
    reads: Sequence[str] = ()
    writes: Sequence[str] = ()
    has_affinity: bool = False

    @property
    def is_public(self) -> bool:
        """Whether other machines may connect; also when that is not known."""
        return not self.binds or any(
            isinstance(bind, TcpAddress) and not bind.host.startswith(_LOOPBACK)
            for bind in self.binds
        )

    @property
    def is_at_home(self) -> bool:
        """Whether it needs files in the home of a user."""
        needed = (self.program, self.folder, *self.reads)
        return any(f"{path}/".startswith(_HOMES) for path in needed)


def read_template(kind: str) -> list[str]:
    """Return the lines of a template, ``service`` or ``socket``, without its head."""
    name = f"blazeio@.{kind}"
    folder = _PACKAGED if (_PACKAGED / name).exists() else _IN_REPOSITORY
    lines = (folder / name).read_text().splitlines()
    return [
        _point_to(folder, line) if line.startswith("#") else line
        for line in lines[lines.index("[Unit]") :]
    ]


def _point_to(folder: Path, comment: str) -> str:
    """Name the files in a comment by their paths: they lie beside the template."""
    return _BESIDE.sub(lambda match: escape_line(str(folder / match[0])), comment)


def write_service(command: Command) -> str:
    """Write the service unit.

    Raises:
        UsageError: The command cannot run as a unit.
    """
    # ``PrivateTmp=`` of the template gives the unit an empty /tmp and /var/tmp of its
    # own (systemd.exec(5)).
    for path in (command.program, command.folder):
        if f"{path}/".startswith(_TEMPORARY):
            raise UsageError(f"{path}: a unit has a /tmp of its own; move it elsewhere")
    edits = _list_edits(command)
    lines: list[str] = []
    for line in read_template("service"):
        key = line.partition("=")[0]
        own = [_name(command, line)]
        if line.startswith(_LOCAL_COMMENT):
            key = _LOCAL_COMMENT
        lines += edits[line] if line in edits else edits.get(key, own)
    return _finish(command, lines)


def write_socket(command: Command) -> str:
    """Write the socket unit, for the same addresses.

    Raises:
        UsageError: A unit takes no such address.
    """
    streams = [
        f"ListenStream={write_address(text)}"
        for bind in command.binds
        for text in _list_streams(bind, command.folder)
    ]
    lines: list[str] = []
    for line in read_template("socket"):
        is_stream = line.startswith("ListenStream=")
        own = _name(command, line).replace("blazeio@", "")
        own = own.replace(f"/etc/blazeio/{command.name}.toml", "the command")
        lines += streams if is_stream and streams else [own]
    return _finish(command, lines)


def _list_edits(command: Command) -> dict[str, list[str]]:
    """Return what replaces a line of the template, by the line or by its key."""
    program = command.program
    environ = [
        f"Environment={quote_variable(name, value)}"
        for name, value in sorted(command.environ.items())
    ]
    edits = {
        "ExecStart": [f"ExecStart={quote_command(program, command.words)}"],
        "ExecReload": [
            # With ``--wait``: systemd takes its exit code, so that ``systemctl reload``
            # fails where the new code was not taken.
            f"ExecReload={quote_command(program, ['reload', '--wait'])}",
            f"WorkingDirectory={write_folder(command.folder)}",
            *environ,
        ],
    }
    # With an account that exists there is nothing for DynamicUser= to make
    # (systemd.exec(5)).
    if command.user:
        edits["DynamicUser"] = []
        edits["User"] = [f"User={command.user}"]
    # ``ProtectHome=yes`` of the template would hide the program itself.
    if command.is_at_home:
        edits["ProtectHome"] = ["ProtectHome=read-only"]
    if command.writes:
        # ``-``: a folder that is not there yet is passed over, where the unit would
        # otherwise fail with 226/NAMESPACE.
        paths = quote_paths(f"-{path}" for path in command.writes)
        edits["ProtectSystem"] = ["ProtectSystem=strict", f"ReadWritePaths={paths}"]
    # The template lets in this machine alone, since a proxy is expected on it.
    if command.is_public:
        edits["IPAddressDeny"] = edits["IPAddressAllow"] = []
        edits[_LOCAL_COMMENT] = [
            "# Connections from and to other machines are allowed."
        ]
    # ``@resources`` has sched_setaffinity(2), without which no worker can be pinned.
    if command.has_affinity:
        edits[_FILTER] = ["SystemCallFilter=~@privileged"]
    return edits


_BESIDE = re.compile(r"README\.md|drop-ins/[\w-]+\.conf")
_FILTER = "SystemCallFilter=~@privileged @resources"
_LOCAL_COMMENT = "# This machine only: clients come by a proxy on it. "


def _list_streams(bind: Address, folder: str) -> list[str]:
    """Return what systemd listens on: paths, ports, and addresses without names."""
    if not isinstance(bind, TcpAddress):
        return [os.path.normpath(os.path.join(folder, bind.path))]
    if not bind.host:
        return [str(bind.port)]
    try:
        endpoints = resolve(bind)
    except ValueError as error:
        raise UsageError(f"--bind {bind.host}:{bind.port}: {error}") from None
    return [join_host_port(each.host, each.port) for each in endpoints]


def _name(command: Command, line: str) -> str:
    """Fill in the name of the unit in a line of the template."""
    service = f"blazeio@{command.name}.service"
    named = line.replace("%i", command.name)
    return named.replace(service, f"{command.name}.service")


def _finish(command: Command, lines: Sequence[str]) -> str:
    head = f"# Made by: blazeio-supervisor unit {' '.join(command.words)}"
    return "\n".join([escape_line(head), "", *lines, ""])


# ``unit APP ...``: print, or install, a unit that runs what is typed here.


UNITS = Path("/etc/systemd/system")
_TYPED = "blazeio.typed"
_OWN = ("--install", "--yes", "--socket")
_ENVIRONMENT = re.compile(r"BLAZEIO_\w+|WEB_CONCURRENCY|PYTHONPATH|LANG|LC_\w+|TZ")
_NOT_OF_A_NAME = re.compile(r"[^\w.-]+", re.ASCII)
INSTALL_OPTIONS = OptionGroup(
    "Installing",
    (
        click.Option(
            ["--install"],
            is_flag=True,
            help=f"Write the units to {UNITS}, after asking; start nothing.",
        ),
        click.Option(["--yes"], is_flag=True, help="Write the units without asking."),
        click.Option(
            ["--socket"],
            is_flag=True,
            help="Print the socket unit instead of the service.",
        ),
    ),
)


class UnitCommand(SectionedCommand):
    """A command that keeps its words as typed: the unit is to run them."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the words, then parse them."""
        ctx.meta[_TYPED] = [word for word in args if word not in _OWN]
        return super().parse_args(ctx, args)


def run_unit(**words: Any) -> int:
    """Print a systemd unit that runs this command, or its socket unit (--socket).

    The unit has the working directory, the virtual environment and the variables of
    now, and a sandbox that leaves open only what the command needs. The settings are
    checked; nothing is started.
    """
    sources = find_sources(words)
    if words["print_config"]:
        return print_config(sources, shows_env=words["show_env"])
    settings = sources.read().make_settings()
    command = describe_command(settings, click.get_current_context().meta[_TYPED])
    if words["install"] and words["socket"]:
        raise UsageError("--install writes both units: leave out --socket")
    service, socket = write_service(command), write_socket(command)
    if words["install"]:
        units = {f"{command.name}.service": service, f"{command.name}.socket": socket}
        return _install(units, command.name, is_sure=words["yes"])
    # Only one, so that the output is a file; its first line says which.
    kind, text = ("socket", socket) if words["socket"] else ("service", service)
    click.echo(f"# {UNITS / command.name}.{kind}\n{text}", nl=False)
    return ExitCode.OK


def describe_command(settings: Settings, typed: list[str]) -> Command:
    """Collect what the unit needs to know, from here and now."""
    return Command(
        name=_NOT_OF_A_NAME.sub("-", settings.instance).strip("-.") or "app",
        # Not ``sys.executable``: the script in the environment's ``bin`` has the right
        # interpreter in its first line.
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
    """Return the user of the app; "": one that systemd makes at the start."""
    if settings.identity is not None:
        return str(settings.identity.uid)
    # root is probably only who installs the unit; the service itself gets a user of its
    # own by ``DynamicUser=``.
    return "" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name


def _find_environment() -> dict[str, str]:
    # Only what decides how a service runs: the unit must not keep everything from the
    # shell in which it was made, such as secrets.
    found = {k: v for k, v in os.environ.items() if _ENVIRONMENT.fullmatch(k)}
    if sys.prefix != sys.base_prefix:
        usual = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        # A unit starts with a short PATH of its own (systemd.exec(5)): programs that
        # the app calls would not be those of its environment.
        found |= {"VIRTUAL_ENV": sys.prefix, "PATH": f"{sys.prefix}/bin:{usual}"}
    return found


def _list_written(settings: Settings) -> list[str]:
    files = [settings.pid_file, settings.log_file, settings.access_log]
    files += [bind.path for bind in settings.binds if isinstance(bind, UnixAddress)]
    paths = [os.path.join(settings.folder, each) for each in files if each]
    # ``-`` is standard output, and no file. The folder is opened and not the file,
    # which is renamed and made anew.
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
            # In one step, by a rename: a ``daemon-reload`` at this moment must not read
            # half a unit.
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
    sections=(INSTALL_OPTIONS, *OPTION_GROUPS),
    params=[click.Argument(["app"], required=False)],
    callback=run_unit,
    help=run_unit.__doc__,
)
