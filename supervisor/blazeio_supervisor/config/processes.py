"""What is run: the app and what is added to it, its processes and their user."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, get_args

from msgspec import Struct

from blazeio_supervisor.config.command_line import AppPath, parse_app_path
from blazeio_supervisor.config.environment import count_cpus
from blazeio_supervisor.config.option import Change, Section, SettingError, option
from blazeio_supervisor.config.types import (
    Choice,
    Count,
    Flag,
    Many,
    Mode,
    Pairs,
    Parsed,
    Plain,
    Text,
    read_env_file,
    read_path,
    read_variable,
)
from blazeio_supervisor.errors import count_of
from blazeio_supervisor.fleet.policy import Readiness
from blazeio_supervisor.ipc.messages import Additions, LoopName
from blazeio_supervisor.ipc.processes import (
    Identity,
    NoSuchIdentityError,
    find_identity,
)
from blazeio_supervisor.ipc.socket_paths import NAME_CHARS, is_name, name_after

WORKER_LIMIT = 256
DEFAULT_LOOP: LoopName = "uvloop"
_CPUS = re.compile(r"(\d{1,4})(?:-(\d{1,4}))?", re.ASCII)


class WorkerRange(Struct, frozen=True):
    """Bounds between which the load decides, inclusive."""

    least: int
    most: int

    def __str__(self) -> str:
        return f"{self.least}..{self.most}"


class WorkerCount(Count):
    """A number, or two with ``..`` between them.

    ``auto`` is one for each usable core, counted at each start.
    """

    def read_native(self, value: object) -> int | WorkerRange:
        """Read a number, or a range as a text."""
        is_range = isinstance(value, str) and ".." in value
        return self.read(str(value)) if is_range else super().read_native(value)

    def read(self, text: str) -> int | WorkerRange:
        """Read a number or a range, or count the usable cores."""
        first, dots, last = text.partition("..")
        least = self._read_one(first)
        if not dots:
            return least
        most = self._read_one(last)
        if least > most:
            raise ValueError(f"expected the smaller number first: {last}..{first}")
        return WorkerRange(least, most)

    def write(self, value: Any) -> Plain | None:
        """Return the number, or the range as it is typed."""
        if isinstance(value, WorkerRange):
            return str(value)
        return super().write(value)

    def _read_one(self, text: str) -> int:
        if text == "auto":
            return min(count_cpus(), WORKER_LIMIT)
        return int(super().read(text))


def read_task(text: str) -> str:
    """Read a task that runs once: ``MODULE:FUNCTION``, perhaps with its schedule.

    Raises:
        ValueError: The text is not of this form.
    """
    place, *schedule = text.split()
    module, colon, function = place.partition(":")
    names = [*module.split("."), *function.split(".")]
    is_place = bool(colon) and all(name.isidentifier() for name in names)
    if not is_place or (schedule and schedule[0] not in ("every", "at")):
        raise ValueError("expected MODULE:FUNCTION, then every SPAN or at TIME")
    if schedule:
        if len(schedule) != 2:
            raise ValueError("expected one span or time after MODULE:FUNCTION")
        from blazeio.app.service import parse_schedule  # not needed by --help
        from blazeio.errors import ConfigurationError

        try:
            parse_schedule(**{schedule[0]: schedule[1]})
        except ConfigurationError as error:
            raise ValueError(str(error)) from None
    return " ".join([place, *schedule])


def read_cpus(text: str) -> tuple[int, ...]:
    """Read ``0-3,8``, or ``auto``.

    Raises:
        ValueError: It is no such list.
    """
    if text == "auto":
        return tuple(sorted(os.sched_getaffinity(0)))
    cpus: list[int] = []
    for part in text.split(","):
        match = _CPUS.fullmatch(part.strip())
        if match is None:
            raise ValueError("expected numbers and ranges such as 0-3,8, or auto")
        cpus += range(int(match[1]), int(match[2] or match[1]) + 1)
    return tuple(cpus)


def format_cpus(cpus: Iterable[int]) -> str:
    """Write the numbers of some CPUs, separated by commas."""
    return ",".join(map(str, cpus))


def read_name(text: str) -> str:
    """Read ``--name``.

    Raises:
        ValueError: The text cannot be a name.
    """
    if not is_name(text):
        raise ValueError(f"expected up to {NAME_CHARS} letters, digits and _.:@+-")
    return text


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class Process(Section):
    """The app, and the processes that serve it."""

    title = "Process"

    app: AppPath = option(
        Parsed(parse_app_path, "APP", lambda path: path.text),
        "What to serve: module:attribute (an App, an ASGI 3 or WSGI app, or a "
        "function that returns one), a module alone (its app, application or web), or "
        "a .py script that calls web.runner().",
    )
    workers: int | WorkerRange = option(
        WorkerCount(
            1,
            WORKER_LIMIT,
            words={"auto": None},
            told=f"1 to {WORKER_LIMIT}, or auto (one per usable core), or two of "
            "these as 2..16",
        ),
        "Worker processes, one core each; auto: as many as this process may use (CPU "
        "affinity and container quota). 2..16: between 2 and 16, by their load; "
        "2..auto: up to one per core.",
        initial="auto",
    )
    name: str = option(
        Parsed(read_name, "NAME"),
        # A socket is bound to it until the end of the service (abstract namespace,
        # unix(7)).
        "The name of this service, by which the verbs find it.",
        default="",
        default_text="the app's name",
        change=Change.RESTART,
    )
    factory: bool = option(
        Flag(),
        "APP must be a function that makes the app; else it may be one.",
        default=False,
    )
    chdir: str = option(
        Text("DIR"),
        # As typed, so that a link such as ``current`` of a release is followed anew at
        # each reload; the kernel's own working directory would stay that of the first
        # one.
        "Change to this directory first; relative paths of all other options, except "
        "--config and --control, start there.",
        default="",
        default_text="where it is started",
    )
    app_dir: str = option(
        Text("DIR"),
        "Import the app from here.",
        default="",
        default_text="the working directory",
    )
    preload: bool | None = option(
        Flag(),
        # Of a process that forks only the calling thread goes on in the child
        # (fork(2)), while sockets and epoll are then shared by both.
        "Import the app in each worker, and not once for all of them. It takes more "
        "memory, but an app that cannot be forked works, and a worker that is replaced "
        "runs the code that is on the disk then. With --preload all workers are forked "
        "from one import, even if it has left threads or sockets open; without either "
        "option they are, if that is safe.",
        default=None,
        default_text="once for all, if the import can be forked",
    )
    env: tuple[tuple[str, str], ...] = option(
        # One a line in BLAZEIO_ENV: a value may hold blanks.
        Pairs(Parsed(read_variable, "NAME=VALUE", "=".join), "\n"),
        "Set this variable for the app's processes, before the app is imported (with "
        "--user: once they are that user). May be given several times; wins over "
        "--env-file. In a TOML file it is a table.",
        default=(),
        default_text="that of the supervisor",
        is_secret=True,
    )
    python: str = option(
        Text("PATH"),
        "Run the app by this interpreter, that of another virtual environment for "
        "example, which must have blazeio, too. A link in the path is followed anew at "
        "each reload. Not for a master that runs as root with --user.",
        default="",
        default_text="the supervisor's own",
    )
    warm: tuple[str, ...] = option(
        Many(Parsed(read_path, "PATH")),
        "GET this path in the process that imports the app, before the workers are "
        "forked: what the app makes at its first requests is then made once, and "
        "shared. Without on_start hooks, so it must not need what they open. May be "
        "given several times. Not with --no-preload.",
        default=(),
        default_text="nothing but on_warm hooks",
    )
    slot_env: tuple[tuple[str, str], ...] = option(
        Pairs(Parsed(read_variable, "NAME=VALUE", "=".join), "\n"),
        "Set this variable in each worker, with {slot} in it for the number of its "
        "slot, from 0 on: CUDA_VISIBLE_DEVICES={slot}. What the import reads of it is "
        "that of the worker only with --no-preload. May be given several times. In a "
        "TOML file it is a table.",
        default=(),
        default_text="none",
    )
    env_file: str = option(
        Text("PATH"),
        "Set the variables of this file for the app's processes: NAME=VALUE lines, as "
        "python-dotenv reads them (comments, values in quotes over several lines), but "
        "${NAME} is not expanded. It is read again at each reload. The supervisor "
        "itself does not use these variables.",
        default="",
        default_text="none",
    )
    tasks: tuple[str, ...] = option(
        Many(Parsed(read_task, "TASK", str), "\n"),
        "Run this function in one worker only, and in another one when that ends: "
        "MODULE:FUNCTION, or with a schedule, 'MODULE:FUNCTION every 15m' or 'at "
        "03:00'. May be given several times; see docs/how-to/tasks.md.",
        default=(),
        default_text="none",
        key="task",
    )
    pid_file: str = option(
        Text("PATH"),
        # For monit and the like. systemd reads one of a Type=forking only (PIDFile=),
        # and from a Type=notify it has the pid anyway.
        "Write the master's pid to this file once the addresses are open, and remove "
        "it at the end. If the file belongs to a running service, the start fails; a "
        "stale file is replaced.",
        default="",
        default_text="none",
        change=Change.RESTART,
    )
    cpu_affinity: tuple[int, ...] = option(
        Parsed(read_cpus, "CPUS", format_cpus),
        # The threads and children of a worker inherit it (sched_setaffinity(2)).
        "Pin each worker to one of these CPUs, in the order of the slots: 0-3,8, or "
        "auto for all usable ones.",
        default=(),
        default_text="the kernel chooses",
    )
    ready: Readiness = option(
        Choice(get_args(Readiness), "WHEN"),
        # Units that are ordered behind this one (After=) start then; a socket that is
        # bound by then already keeps their connections.
        "When a service manager (systemd) is told that the service has started: first, "
        "with the first worker that serves, or all, when every worker does.",
        default="first",
        change=Change.RESTART,
    )
    loop: LoopName | None = option(
        Choice(get_args(LoopName), "NAME"),
        "The event loop of the workers: uvloop or asyncio. It wins over what the app "
        "chooses by io.use_loop.",
        default=None,
        default_text="the app's choice, else uvloop",
    )

    @property
    def worker_range(self) -> WorkerRange | None:
        """The bounds between which the load decides; None: the number is given."""
        return self.workers if isinstance(self.workers, WorkerRange) else None

    @property
    def worker_count(self) -> int:
        """How many workers there are at first."""
        workers = self.workers
        return workers.least if isinstance(workers, WorkerRange) else workers

    def describe_workers(self) -> str:
        """Describe how many workers there are: ``4 workers``, ``2..16 workers``."""
        workers = self.workers
        if isinstance(workers, WorkerRange):
            return f"{workers} workers"
        return count_of(workers, "worker")

    @property
    def usual_loop(self) -> LoopName:
        """The loop of the workers, unless the app chooses another one itself."""
        return self.loop or DEFAULT_LOOP

    @property
    def instance(self) -> str:
        """The name of this service, by which it is told from others."""
        return self.name or name_after(self.app.text)

    @cached_property
    def variables(self) -> dict[str, str]:
        """What is set in the environment of the app's processes.

        Raises:
            SettingError: The file cannot be read.
        """
        if not self.env_file:
            return dict(self.env)
        path = os.path.join(self.folder, self.env_file)
        try:
            return {**read_env_file(path), **dict(self.env)}
        except ValueError as error:
            raise SettingError("env_file", str(error)) from None

    @property
    def interpreter(self) -> str:
        """The path of another interpreter for the app; "": there is none."""
        return os.path.join(self.folder, self.python) if self.python else ""

    @property
    def import_folder(self) -> str:
        """The folder that comes first in the import path."""
        return os.path.join(self.folder, self.app_dir)

    def check(self) -> None:
        """Check that folders and files are there, and that the CPUs may be used."""
        if not os.path.isdir(self.folder):
            raise SettingError("chdir", "no such folder")
        if not os.path.isdir(self.import_folder):
            raise SettingError("app_dir", "no such folder")
        if self.factory and self.app.script:
            raise SettingError("factory", f"{self.app.text} is a script, and has none")
        _ = self.variables
        if self.interpreter and not os.access(self.interpreter, os.X_OK):
            raise SettingError("python", "there is no such program")
        # Here, or sched_setaffinity(2) would fail by EINVAL in each worker, again and
        # again.
        strange = set(self.cpu_affinity) - os.sched_getaffinity(0)
        if strange:
            may_use = format_cpus(sorted(os.sched_getaffinity(0)))
            reason = f"this process may not use {format_cpus(strange)}, but {may_use}"
            raise SettingError("cpu_affinity", reason)


# What is added to an app from outside: static files, and functions at its hooks.


def read_static(text: str) -> tuple[str, str]:
    """Read ``--static``: a path of URLs and a folder.

    Raises:
        ValueError: The text is not of this form.
    """
    # At the first one: the name of a folder may have another.
    prefix, equals, folder = text.partition("=")
    if not equals or not folder or not prefix.startswith("/"):
        raise ValueError("expected /PREFIX=FOLDER, as in /assets=public")
    return prefix, folder


def read_function(text: str) -> str:
    """Read the place of a function.

    Raises:
        ValueError: The text is no ``MODULE:FUNCTION``.
    """
    if not parse_app_path(text).attribute:
        raise ValueError("expected MODULE:FUNCTION")
    return text


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class AddedToApp(Section):
    """What is added to an app without a change of it."""

    title = "Static files and hooks"

    static_folders: tuple[tuple[str, str], ...] = option(
        Many(Parsed(read_static, "/PREFIX=FOLDER", "=".join), "\n"),
        "Serve the files of this folder below this path, before the app is asked: "
        "/assets=public. May be given several times.",
        default=(),
        default_text="none",
        key="static",
    )
    hook_post_fork: tuple[str, ...] = option(
        Many(Parsed(read_function, "MODULE:FUNCTION", str), "\n"),
        "Call this function, async or not, in each worker before every on_start hook. "
        "May be given several times.",
        default=(),
        default_text="none",
    )
    hook_worker_exit: tuple[str, ...] = option(
        Many(Parsed(read_function, "MODULE:FUNCTION", str), "\n"),
        "Call this function, async or not, in each worker that ends, after every "
        "on_stop hook. May be given several times.",
        default=(),
        default_text="none",
    )

    @property
    def additions(self) -> Additions:
        """What the app's processes are told of it."""
        static_folders = tuple(
            (prefix, os.path.join(self.folder, folder))
            for prefix, folder in self.static_folders
        )
        return Additions(static_folders, self.hook_post_fork, self.hook_worker_exit)

    def check(self) -> None:
        """Check that the folders are there."""
        for prefix, folder in self.additions.static_folders:
            if not os.path.isdir(folder):
                # At the start and not in the worker: a folder that is missing would
                # fail every worker, and the whole of a reload, instead of one command.
                raise SettingError(
                    "static_folders", f"{prefix}: {folder} is not a folder"
                )


# Who runs the app, and who may use what it makes.


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class Privileges(Section):
    """The user of the app's processes, and the modes of what it makes."""

    title = "Privileges"

    user: str = option(
        Text("USER"),
        "When started as root, import and run the app as this user (a name or "
        "number), with all its groups; unix sockets belong to the user.",
        default="",
        default_text="the master's own",
    )
    group: str = option(
        Text("GROUP"),
        "The group that goes with --user (a name or number).",
        default="",
        default_text="the user's own",
    )
    umask: int | None = option(
        Mode(),
        # A process has one umask (umask(2)). It is set in the app's processes, not in
        # the master, which makes files of its own.
        "Octal; taken from the mode of unix sockets and of files that the app makes: "
        "007 admits user and group only.",
        default=None,
        default_text="sockets are open to everybody, files as the master's umask says",
    )

    @cached_property
    def identity(self) -> Identity | None:
        """The user and groups of the app's processes; None: those of the master.

        Raises:
            SettingError: There is no such user or group, or this process may not
                become it.
        """
        if not self.user:
            if self.group:
                raise SettingError("group", "give --user too")
            return None
        try:
            identity = find_identity(self.user, self.group)
        except NoSuchIdentityError as error:
            raise SettingError(error.of, str(error)) from None
        # CAP_SETUID alone would not do: the groups need CAP_SETGID (setgroups(2)).
        if os.geteuid() == 0:
            return identity
        # A unit file with User= and an option ``--user`` of the same name say the same
        # thing twice, which is no mistake.
        if (identity.uid, identity.gid) == (os.geteuid(), os.getegid()):
            return None
        raise SettingError(
            "user",
            f"only root may run the app as another user (this is uid {os.geteuid()}): "
            f"start as root, or as {self.user} without --user",
        )

    def check(self) -> None:
        """Check that the user can be had."""
        _ = self.identity
