"""What is run, by how many workers, and how they run."""

import os
import re
from dataclasses import dataclass
from functools import cached_property
from typing import get_args

from blazeio_supervisor.control.places import NAME_CHARS, is_name, name_after
from blazeio_supervisor.files.opening import read
from blazeio_supervisor.fleet.policy import Readiness
from blazeio_supervisor.loading.app_path import AppPath
from blazeio_supervisor.options.first_word import read_app
from blazeio_supervisor.options.kinds.cpus import count_cpus, format_cpus, read_cpus
from blazeio_supervisor.options.kinds.kind import Flag, Pairs
from blazeio_supervisor.options.kinds.numbers import Count
from blazeio_supervisor.options.kinds.texts import Choice, Parsed, Text
from blazeio_supervisor.options.option import Change, Section, SettingError, option
from blazeio_supervisor.process.messages import LoopName

WORKER_LIMIT = 256
NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)


class WorkerCount(Count):
    """``auto`` is one worker for each usable core, counted at each start."""

    def read(self, text: str) -> int:
        """Read a number, or count the cores."""
        if text == "auto":
            return min(count_cpus(), WORKER_LIMIT)
        return int(super().read(text))


def read_variable(text: str) -> tuple[str, str]:
    """Read ``NAME=VALUE``.

    Raises:
        ValueError: It is none.
    """
    name, equals, value = text.partition("=")
    if not equals or NAME.fullmatch(name) is None or "\0" in value:
        raise ValueError("expected NAME=VALUE")
    return name, value


def read_env_file(path: str) -> dict[str, str]:
    """Read a file of ``NAME=VALUE`` lines.

    Raises:
        ValueError: It cannot be read, another user may write it, or a line is
            none; says which.
    """
    try:
        lines = read(path).decode().splitlines()
    except OSError as error:
        raise ValueError(str(error.strerror)) from None
    except UnicodeDecodeError:
        raise ValueError("this is no text in UTF-8") from None
    variables = {}
    for number, line in enumerate(map(str.strip, lines), 1):
        if line and not line.startswith("#"):
            try:
                name, value = read_variable(line.removeprefix("export "))
            except ValueError as error:
                raise ValueError(f"line {number}: {error}") from None
            is_quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
            variables[name] = value[1:-1] if is_quoted else value
    return variables


def read_name(text: str) -> str:
    """Read ``--name``.

    Raises:
        ValueError: It cannot be one.
    """
    if not is_name(text):
        raise ValueError(f"expected up to {NAME_CHARS} letters, digits and _.:@+-")
    return text


@dataclass(frozen=True, kw_only=True, init=False, repr=False, eq=False)
class Process(Section):
    """The app, and the processes that serve it."""

    title = "Process"

    app: AppPath = option(
        Parsed(read_app, "APP", lambda path: path.text),
        "What to serve: module:attribute (an App, or a function that makes one), or "
        "a script that ends in .py and calls web.runner().",
    )
    workers: int = option(
        WorkerCount(
            1,
            WORKER_LIMIT,
            words={"auto": None},
            told=f"1 to {WORKER_LIMIT}, or auto (one per usable core)",
        ),
        "Worker processes, one core each; auto: as many as this process may use (CPU "
        "affinity and container quota).",
        initial="auto",
    )
    name: str = option(
        Parsed(read_name, "NAME"),
        "What the verbs call this instance.",
        default="",
        default_text="the app's name",
        change=Change.RESTART,
    )
    factory: bool = option(
        Flag(),
        "APP must be a function that makes the App; else it may be one.",
        default=False,
    )
    chdir: str = option(
        Text("DIR"),
        "Run there; relative paths of all other options start there, too, but those "
        "of --config and --control.",
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
        "Import the app in each worker, not once for all: it takes more memory, but "
        "what cannot be forked works, and a worker that is replaced runs the code on "
        "the disk. With --preload all are forked from one import, whatever it has left "
        "open; without either, if that is safe.",
        default=None,
        default_text="once for all, if the import can be forked",
    )
    env: tuple[tuple[str, str], ...] = option(
        Pairs(Parsed(read_variable, "NAME=VALUE", "=".join), "\n"),
        "Set this in the environment of the app's processes, before the import; with "
        "--user only once they are that user. May be given several times; wins over "
        "--env-file. In a TOML file a table.",
        default=(),
        default_text="that of the supervisor",
        is_secret=True,
    )
    env_file: str = option(
        Text("PATH"),
        "The same from a file: NAME=VALUE lines, # begins a comment, quotes around a "
        "value are taken off. Read again at each reload. It sets nothing of the "
        "supervisor itself.",
        default="",
        default_text="none",
    )
    pid_file: str = option(
        Text("PATH"),
        "Write the master's pid there once the addresses are open; removed at the "
        "end. One that belongs to a service that runs is left to it, and the start "
        "fails; what was left behind is replaced.",
        default="",
        default_text="none",
        change=Change.RESTART,
    )
    cpu_affinity: tuple[int, ...] = option(
        Parsed(read_cpus, "CPUS", format_cpus),
        "Bind each worker to one CPU of these, in the order of the slots: 0-3,8, or "
        "auto for all that may be used.",
        default=(),
        default_text="the kernel chooses",
    )
    ready: Readiness = option(
        Choice(get_args(Readiness), "WHEN"),
        "When a service manager (systemd) is told that the service has started: with "
        "the first worker that serves, or when all do.",
        default="first",
        change=Change.RESTART,
    )
    loop: LoopName = option(
        Choice(("uvloop", "asyncio"), "NAME"),
        "The event loop: uvloop or asyncio. Where it is the default, the app may "
        "choose another one by io.use_loop.",
        default="uvloop",
    )

    @property
    def instance(self) -> str:
        """The name by which this service is told from others."""
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
    def import_folder(self) -> str:
        """What is put in front of the import path."""
        return os.path.join(self.folder, self.app_dir)

    def check(self) -> None:
        """Look for the folders, the file, the CPUs."""
        if not os.path.isdir(self.folder):
            raise SettingError("chdir", "no such folder")
        if not os.path.isdir(self.import_folder):
            raise SettingError("app_dir", "no such folder")
        if self.factory and self.app.script:
            raise SettingError("factory", f"{self.app.text} is a script, and has none")
        _ = self.variables
        strange = set(self.cpu_affinity) - os.sched_getaffinity(0)
        if strange:
            may_use = format_cpus(sorted(os.sched_getaffinity(0)))
            reason = f"this process may not use {format_cpus(strange)}, but {may_use}"
            raise SettingError("cpu_affinity", reason)
