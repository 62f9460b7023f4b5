"""What the operator adds to an app: static files, hooks, and tasks that run once.

Before the app is served they become its own, beside those that it has declared
itself. The tasks of both wait until the master grants the lease, and end when the
worker drains. Of ``serve FOLDER`` the app itself is the operator's.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from blazeio.app.app import App
from blazeio.app.service import OnceObserver, OnceTask, OnceTasks, parse_schedule
from blazeio.errors import ConfigurationError
from blazeio_supervisor.api import list_declared, make_task
from blazeio_supervisor.config.command_line import parse_app_path
from blazeio_supervisor.errors import ExitCode
from blazeio_supervisor.ipc.messages import (
    Additions,
    Message,
    ReturnLease,
    TaskBegan,
    TaskEnded,
    TaskInfo,
)
from blazeio_supervisor.worker.import_app import LoadError, find_object

FOLDER_VARIABLE = "BLAZEIO_SERVED_FOLDER"
"""The environment names the folder: a worker imports the app by its name."""


def make_folder_app() -> App:
    """Make the App of ``serve FOLDER``: that folder, with listings.

    Raises:
        ConfigurationError: There is no such folder.
    """
    app: App = App("127.0.0.1", 8000)
    app.add_static("/", os.environ.get(FOLDER_VARIABLE) or ".", listing=True)
    return app


def add_to_app(app: App, additions: Additions) -> None:
    """Add static files and hooks to an app that is about to be served.

    Raises:
        LoadError: A function cannot be found, or a folder cannot be served.
    """
    app.add_outer_hooks(
        _find_functions("--hook-post-fork", additions.post_fork),
        _find_functions("--hook-worker-exit", additions.worker_exit),
    )
    for prefix, folder in additions.static_folders:
        try:
            app.add_static(prefix, folder, name=f"static {prefix}")
        except ConfigurationError as error:
            reason = f"--static {prefix}={folder}: {error}"
            raise LoadError(ExitCode.APP_FAILED, reason) from error


def _find_functions(flag: str, places: Sequence[str]) -> list[Callable[[], Any]]:
    found: list[Callable[[], Any]] = []
    for place in places:
        try:
            function = find_object(parse_app_path(place))
        except LoadError as error:
            reason = f"{flag} {place}: {error.reason}"
            raise LoadError(error.code, reason, error.frames) from error
        if not callable(function):
            reason = f"{flag} {place}: it is not a function"
            raise LoadError(ExitCode.NOT_IMPORTABLE, reason)
        found.append(function)
    return found


# Tasks that run once: those of the App, of ``once``, of ``--task``.


def find_tasks(texts: tuple[str, ...]) -> list[OnceTask]:
    """Import what ``--task`` names.

    Args:
        texts: ``MODULE:FUNCTION``, perhaps with ``every SPAN`` or ``at TIME``.

    Raises:
        LoadError: There is no such module or function.
    """
    found = []
    for text in texts:
        place, *schedule = text.split()
        given = dict([schedule]) if schedule else {}
        try:
            function = find_object(parse_app_path(place))
            when = parse_schedule(given.get("every"), given.get("at"))
            found.append(make_task(function, when, place))
        except LoadError as error:
            raise LoadError(
                error.code, f"--task {place}: {error.reason}", error.frames
            ) from error
        except ConfigurationError as error:
            reason = f"--task {place}: {error}"
            raise LoadError(ExitCode.NOT_IMPORTABLE, reason) from error
    return found


def add_tasks(app: App, texts: tuple[str, ...]) -> None:
    """Add what was declared by ``once`` and ``--task`` to the tasks of the App.

    Raises:
        LoadError: Two have the same name, or one cannot be found.
    """
    try:
        for task in (*list_declared(), *find_tasks(texts)):
            app.once_tasks.add(task)
    except ConfigurationError as error:
        raise LoadError(ExitCode.APP_FAILED, str(error)) from error


class LeasedTasks(OnceObserver):
    """Runs the tasks of one App while this worker has the lease.

    Args:
        tasks: Of the App.
        send: To the master; nothing is sent once that is gone.
    """

    def __init__(self, tasks: OnceTasks, send: Callable[[Message], None]) -> None:
        self._tasks = tasks
        self._send = send
        self._is_held = False
        self._is_over = False
        tasks.is_leased = True
        tasks.observer = self

    def describe(self) -> tuple[TaskInfo, ...]:
        """Return what the master has to know of them."""
        return tuple(
            TaskInfo(task.name, task.schedule.every_s, task.schedule.at)
            for task in self._tasks.tasks
        )

    def begin(self, last: Mapping[str, float]) -> None:
        """Run them from now on: the lease was granted.

        Args:
            last: By name, when the last run of each began.
        """
        if self._is_over:
            self._send(ReturnLease())
        else:
            self._is_held = True
            self._tasks.start(last)

    async def end(self) -> None:
        """End them, and give the lease back; return when that is done."""
        self._is_over = True
        if self._is_held:
            await self._tasks.stop()
            self._is_held = False
            self._send(ReturnLease())

    def note_began(self, name: str, at: float) -> None:
        """Send that a run begins, before it does."""
        self._send(TaskBegan(name))

    def note_ended(self, name: str, failure: str) -> None:
        """Send that a run is over."""
        self._send(TaskEnded(name, failure))
