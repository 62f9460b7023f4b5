"""What is added to an app from outside: static files, and functions at its hooks."""

import os
from dataclasses import dataclass

from blazeio_supervisor.config.command_line import parse_app_path
from blazeio_supervisor.config.option import Section, SettingError, option
from blazeio_supervisor.config.types import Many, Parsed
from blazeio_supervisor.ipc.messages import Additions


def read_static(text: str) -> tuple[str, str]:
    """Read ``--static``: a path of URLs and a folder.

    Raises:
        ValueError: The text is not of this form.
    """
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
