"""What is run: the app, its processes and their user, times."""

import importlib.util
import os
from dataclasses import dataclass
from functools import cached_property
from typing import Any, get_args

from msgspec import Struct

from blazeio_supervisor.config.command_line import AppPath, parse_app_path
from blazeio_supervisor.config.env_file import read_env_file, read_variable
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
    Seconds,
    Text,
    count_cpus,
    format_cpus,
    read_cpus,
    read_path,
)
from blazeio_supervisor.fleet.policy import Readiness
from blazeio_supervisor.fleet.reasons import count_of
from blazeio_supervisor.ipc.identity import (
    Identity,
    NoSuchIdentityError,
    find_identity,
)
from blazeio_supervisor.ipc.messages import (
    LoopName,
)
from blazeio_supervisor.ipc.socket_paths import NAME_CHARS, is_name, name_after

WORKER_LIMIT = 256
DEFAULT_LOOP: LoopName = "uvloop"


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
        from blazeio.app.once import parse_schedule  # not needed by --help
        from blazeio.errors import ConfigurationError

        try:
            parse_schedule(**{schedule[0]: schedule[1]})
        except ConfigurationError as error:
            raise ValueError(str(error)) from None
    return " ".join([place, *schedule])


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
        "Import the app in each worker, and not once for all of them. It takes more "
        "memory, but an app that cannot be forked works, and a worker that is replaced "
        "runs the code that is on the disk then. With --preload all workers are forked "
        "from one import, even if it has left threads or sockets open; without either "
        "option they are, if that is safe.",
        default=None,
        default_text="once for all, if the import can be forked",
    )
    env: tuple[tuple[str, str], ...] = option(
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
        "Write the master's pid to this file once the addresses are open, and remove "
        "it at the end. If the file belongs to a running service, the start fails; a "
        "stale file is replaced.",
        default="",
        default_text="none",
        change=Change.RESTART,
    )
    cpu_affinity: tuple[int, ...] = option(
        Parsed(read_cpus, "CPUS", format_cpus),
        "Pin each worker to one of these CPUs, in the order of the slots: 0-3,8, or "
        "auto for all usable ones.",
        default=(),
        default_text="the kernel chooses",
    )
    ready: Readiness = option(
        Choice(get_args(Readiness), "WHEN"),
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
        strange = set(self.cpu_affinity) - os.sched_getaffinity(0)
        if strange:
            may_use = format_cpus(sorted(os.sched_getaffinity(0)))
            reason = f"this process may not use {format_cpus(strange)}, but {may_use}"
            raise SettingError("cpu_affinity", reason)


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


# How long the supervisor waits.


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class Times(Section):
    """How long the supervisor waits; the times of a request are limits."""

    title = "Time (seconds)"

    graceful_timeout_s: float = option(
        Seconds(0.1),
        "How long a stopping worker may take to finish requests in flight and run its "
        "on_stop hooks; then it is killed.",
        default=30.0,
    )
    boot_timeout_s: float = option(
        Seconds(0.1),
        "How long the import of the app and its on_start hooks may take.",
        default=60.0,
    )
    timeout_s: float = option(
        Seconds(1),
        "Replace a worker whose event loop has been blocked for this long; its stacks "
        "are logged.",
        default=30.0,
    )
    canary_hold_s: float = option(
        Seconds(),
        "During a reload, how long the first new worker must serve before an old one "
        "is replaced (if it dies, nothing has changed), and the last one before the "
        "old code is given up. Under load it takes less: 0.2 s, and 200 answers of "
        "each new worker with no greater share of 5xx than before.",
        default=2.0,
    )
    rollout_timeout_s: float = option(
        Seconds(1),
        "How long a reload may take to replace the workers of all slots; after that "
        "the service goes back to the old code.",
        default=600.0,
    )
    upgrade_timeout_s: float = option(
        Seconds(0.1),
        "How long the new version of the supervisor may take to start in an upgrade "
        "(USR2), both in the rehearsal and when it takes over; after that the old "
        "version stays in charge.",
        default=10.0,
    )
    drain_idle_s: float = option(
        Seconds(),
        "How long a draining worker keeps an idle connection, since its client may "
        "just be sending a request.",
        default=2.0,
    )
    farewell_window_s: float = option(
        Seconds(),
        "A draining worker closes its WebSockets and event streams at random times "
        "within this span, so that their clients do not all reconnect at once. At "
        "most what --graceful-timeout leaves.",
        default=2.0,
    )
    drain_delay_s: float = option(
        Seconds(),
        "After TERM, QUIT or `stop`, report not ready and keep serving for this long "
        "before draining, so that a load balancer can pick another server. A second "
        "signal, or INT, ends the wait. Workers that got TERM too are replaced "
        "meanwhile (with systemd, set KillMode=mixed).",
        default=0.0,
    )

    def check(self) -> None:
        """Check that a reload can end."""
        if self.rollout_timeout_s <= self.canary_hold_s:
            raise SettingError(
                "rollout_timeout_s",
                "no reload could end, since --canary-hold alone takes "
                f"{self.canary_hold_s:g} s",
            )


# Options for whoever writes an app.


HASTE_S = 0.1
"""With ``--reload`` nothing is held or kept for longer than this."""


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class Development(Section):
    """New code at each change of a file."""

    title = "Development"

    reload: bool = option(
        Flag(),
        "Reload whenever a source file changes, worker by worker. If new code fails, "
        "its traceback is printed and the old code keeps serving; at the start, it "
        "waits for the next change. --canary-hold and "
        f"--drain-idle are then {HASTE_S:g} s at most. Needs watchfiles: pip install "
        "watchfiles.",
        default=False,
        change=Change.RESTART,
    )
    reload_dirs: tuple[str, ...] = option(
        Many(Text("DIR"), "\n"),
        "Watch this folder and its subfolders. May be given several times.",
        default=(),
        default_text="--app-dir, or the folder of the script",
        change=Change.RESTART,
        key="reload_dir",
    )
    reload_includes: tuple[str, ...] = option(
        Many(Text("PATTERN"), "\n"),
        "Watch files that match this pattern, too, for example '*.html'. May be given "
        "several times.",
        default=(),
        default_text="*.py, blazeio.toml and pyproject.toml",
        change=Change.RESTART,
        key="reload_include",
    )

    reload_excludes: tuple[str, ...] = option(
        Many(Text("PATTERN"), "\n"),
        "Ignore changes of files whose name, or path below the watched folder, matches "
        "this pattern: 'test_*.py', 'migrations/*'. May be given several times.",
        default=(),
        default_text="none",
        change=Change.RESTART,
        key="reload_exclude",
    )
    reload_delay_s: float = option(
        Seconds(),
        "Reload once nothing has changed for this long.",
        default=0.05,
        change=Change.RESTART,
    )
    reload_poll: bool | None = option(
        Flag(),
        "Look at the files several times a second, and do not rely on the kernel, "
        "which is told nothing of changes that others make on network disks, in "
        "folders shared with a container or with WSL.",
        default=None,
        default_text="where a watched folder is on such a disk",
        change=Change.RESTART,
    )

    def check(self) -> None:
        """Check that watchfiles is installed, and that the folders are there."""
        if not self.reload:
            return
        if importlib.util.find_spec("watchfiles") is None:
            reason = "it needs watchfiles, which is not installed"
            raise SettingError("reload", f"{reason}: pip install watchfiles")
        for given in self.reload_dirs:
            if not os.path.isdir(os.path.join(self.folder, given)):
                raise SettingError("reload_dirs", f"{given} is not a folder")
