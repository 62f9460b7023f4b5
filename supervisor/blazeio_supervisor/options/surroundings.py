"""What the program finds around it when it is started.

May import: the errors; a verb must answer at once.
"""

import os
from dataclasses import dataclass

from blazeio_supervisor.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """Where a service was started.

    Attributes:
        folder: The working directory, as typed: a symbolic link in it is followed
            anew at each reload.
        runtime_directory: Where a unit may make its sockets; "" when there is none.
    """

    folder: str
    runtime_directory: str = ""


def find_surroundings() -> Surroundings:
    """Look around.

    Raises:
        UsageError: The working directory is gone.
    """
    return Surroundings(
        folder=find_folder(), runtime_directory=find_runtime_directory()
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
