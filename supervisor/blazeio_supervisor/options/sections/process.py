"""What is run, by how many workers, and how they run."""

import os
from dataclasses import dataclass

from blazeio_supervisor.control.places import NAME_CHARS, is_name, name_after
from blazeio_supervisor.loading.app_path import AppPath
from blazeio_supervisor.options.first_word import read_app
from blazeio_supervisor.options.kinds.kind import Flag
from blazeio_supervisor.options.kinds.numbers import Count
from blazeio_supervisor.options.kinds.texts import Choice, Parsed, Text
from blazeio_supervisor.options.option import Change, Section, SettingError, option
from blazeio_supervisor.process.cpus import count_cpus
from blazeio_supervisor.process.messages import LoopName

WORKER_LIMIT = 256


class WorkerCount(Count):
    """``auto`` is one worker for each usable core, counted at each start."""

    def read(self, text: str) -> int:
        """Read a number, or count the cores."""
        if text == "auto":
            return min(count_cpus(), WORKER_LIMIT)
        return int(super().read(text))


def read_name(text: str) -> str:
    """Read ``--name``.

    Raises:
        ValueError: It cannot be one.
    """
    if not is_name(text):
        raise ValueError(f"expected up to {NAME_CHARS} letters, digits and _.:@+-")
    return text


@dataclass(frozen=True, kw_only=True)
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
        default_text="the app's",
        change=Change.RESTART,
    )
    app_dir: str = option(
        Text("DIR"),
        "Import the app from here.",
        default="",
        default_text="the working directory",
    )
    preload: bool = option(
        Flag(),
        "Import the app once and share it with all workers, or import it in each "
        "worker: more memory, but what cannot be forked works, and a worker that is "
        "replaced runs the code on the disk.",
        default=True,
    )
    loop: LoopName = option(
        Choice(("uvloop", "asyncio"), "NAME"),
        "The event loop: uvloop or asyncio.",
        default="uvloop",
    )

    @property
    def instance(self) -> str:
        """The name by which this service is told from others."""
        return self.name or name_after(self.app.text)

    @property
    def import_folder(self) -> str:
        """What is put in front of the import path."""
        return os.path.join(self.folder, self.app_dir)

    def check(self) -> None:
        """Look for the folder."""
        if not os.path.isdir(self.import_folder):
            raise SettingError("app_dir", "no such folder")
