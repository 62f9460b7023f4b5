"""What is added to an app in its worker: static files, and functions at its hooks."""

from collections.abc import Callable, Sequence
from typing import Any

from blazeio.app.app import App
from blazeio.errors import ConfigurationError
from blazeio_supervisor.config.command_line import parse_app_path
from blazeio_supervisor.errors import ExitCode
from blazeio_supervisor.ipc.messages import Additions
from blazeio_supervisor.worker.import_app import LoadError, find_object


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
