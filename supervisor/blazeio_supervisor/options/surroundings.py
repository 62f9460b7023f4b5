"""What the program finds around it when it is started."""

import os
from dataclasses import dataclass, field

from blazeio_supervisor.errors import UsageError
from blazeio_supervisor.notify.environment import ServiceManager, read_manager
from blazeio_supervisor.observe.lines.terms import (
    StandardError,
    look_at_standard_error,
)


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """Where a service was started.

    Attributes:
        folder: The working directory, as typed: a symbolic link in it is followed
            anew at each reload.
        runtime_directory: Where a unit may make its sockets; "" when there is none.
        manager: Who has started it.
        standard_error: What it is.
    """

    folder: str
    runtime_directory: str = ""
    manager: ServiceManager = field(default_factory=ServiceManager)
    standard_error: StandardError = field(default_factory=StandardError)


def find_surroundings() -> Surroundings:
    """Look around.

    Raises:
        UsageError: The working directory is gone.
    """
    return Surroundings(
        folder=find_folder(),
        runtime_directory=find_runtime_directory(),
        manager=read_manager(os.environ, os.getpid()),
        standard_error=look_at_standard_error(os.environ),
    )


def find_folder() -> str:
    """Give the working directory as it was typed.

    The shell's ``$PWD`` still names the link ``/srv/app/current`` where
    ``getcwd`` only knows the release that it pointed to.

    Raises:
        UsageError: Neither exists.
    """
    typed = os.environ.get("PWD", "")
    try:
        if typed and os.path.samefile(typed, "."):
            return typed
    except OSError:
        pass  # an old $PWD that exists no more
    try:
        return os.getcwd()
    except OSError:
        raise UsageError("the working directory does not exist any more") from None


def find_runtime_directory() -> str:
    """Give the directory that systemd made for the unit, the first of several."""
    return os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
