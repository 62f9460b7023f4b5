"""The text of the units, made of the templates that are installed with blazeio.

So they have the same sandbox, for the same reasons; what this command needs of
it is opened, and nothing else.
"""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from blazeio_supervisor.errors import UsageError
from blazeio_supervisor.escaping import escape_line
from blazeio_supervisor.options.unit.quoting import (
    quote_command,
    quote_paths,
    quote_variable,
    write_address,
    write_folder,
)
from blazeio_supervisor.sockets.address import (
    Address,
    TcpAddress,
    join_host_port,
    resolve,
)

_LOOPBACK = ("127.", "::1", "localhost")
_HOMES = ("/home/", "/root/", "/run/user/")
_TEMPORARY = ("/tmp/", "/var/tmp/")
_PACKAGED = Path(__file__).parents[2] / "units"
_IN_REPOSITORY = Path(__file__).parents[4] / "systemd"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What the unit shall run.

    Attributes:
        name: Of the unit, and of its directories.
        program: The path of ``blazeio-supervisor``.
        words: Its arguments, as typed.
        folder: Where it is run.
        binds: Where it listens; empty: where the App says.
        user: Who runs it; "": one that is made at the start.
        environ: What it finds in the environment.
        reads: Further files and folders that it needs (the interpreter).
        writes: Folders that it writes to.
        has_affinity: It binds workers to CPUs.
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
        """Other machines may come; so it is when nobody knows."""
        return not self.binds or any(
            isinstance(bind, TcpAddress) and not bind.host.startswith(_LOOPBACK)
            for bind in self.binds
        )

    @property
    def is_at_home(self) -> bool:
        """It needs files below somebody's home."""
        needed = (self.program, self.folder, *self.reads)
        return any(f"{path}/".startswith(_HOMES) for path in needed)


def read_template(kind: str) -> list[str]:
    """Give the lines of a template, ``service`` or ``socket``, without its head."""
    name = f"blazeio@.{kind}"
    folder = _PACKAGED if (_PACKAGED / name).exists() else _IN_REPOSITORY
    lines = (folder / name).read_text().splitlines()
    return [
        _point_to(folder, line) if line.startswith("#") else line
        for line in lines[lines.index("[Unit]") :]
    ]


def _point_to(folder: Path, comment: str) -> str:
    """Name the files of a comment by their paths: they lie beside the template."""
    return _BESIDE.sub(lambda match: escape_line(str(folder / match[0])), comment)


def write_service(command: Command) -> str:
    """Write the service unit.

    Raises:
        UsageError: It cannot run as a unit.
    """
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
        UsageError: An address is none that a unit takes.
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
    """What takes the place of a line, by the line or by its key."""
    program = command.program
    environ = [
        f"Environment={quote_variable(name, value)}"
        for name, value in sorted(command.environ.items())
    ]
    edits = {
        "ExecStart": [f"ExecStart={quote_command(program, command.words)}"],
        "ExecReload": [
            f"ExecReload={quote_command(program, ['reload', '--wait'])}",
            f"WorkingDirectory={write_folder(command.folder)}",
            *environ,
        ],
    }
    if command.user:
        edits["DynamicUser"] = []
        edits["User"] = [f"User={command.user}"]
    if command.is_at_home:
        edits["ProtectHome"] = ["ProtectHome=read-only"]
    if command.writes:
        paths = quote_paths(f"-{path}" for path in command.writes)
        edits["ProtectSystem"] = ["ProtectSystem=strict", f"ReadWritePaths={paths}"]
    if command.is_public:
        edits["IPAddressDeny"] = edits["IPAddressAllow"] = []
        edits[_LOCAL_COMMENT] = ["# The network may come, and be gone to."]
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
    """Fill in a line of the template; a line with words of the user's is none."""
    service = f"blazeio@{command.name}.service"
    named = line.replace("%i", command.name)
    return named.replace(service, f"{command.name}.service")


def _finish(command: Command, lines: Sequence[str]) -> str:
    head = f"# Made by: blazeio-supervisor unit {' '.join(command.words)}"
    return "\n".join([escape_line(head), "", *lines, ""])
