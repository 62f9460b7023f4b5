"""What the program finds around it at the start: service manager, folder, output.

A service manager (systemd) speaks by variables. ``$WATCHDOG_PID`` and
``$LISTEN_PID`` name the process that they are meant for: a process that has only
inherited them must not use them.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from msgspec import Struct

from blazeio_supervisor.errors import UsageError
from blazeio_supervisor.log.formats import (
    StandardError,
    look_at_standard_error,
)

# SD_LISTEN_FDS_START of sd_listen_fds(3): the first one behind the standard
# descriptors.
FIRST_FD = 3


class GivenFd(Struct, frozen=True):
    """A descriptor that was open when the program was started.

    Attributes:
        name: By the unit (``FileDescriptorName=``), or by ourselves when we stored it;
            "" when it is not known.
    """

    fd: int
    name: str = ""


class ServiceManager(Struct, frozen=True):
    """The service manager that has started the program, if one has.

    Attributes:
        address: Where it listens for notifications, as ``connect`` takes it; None:
            it does not.
        watchdog_s: How often it wants a sign of life; None: never.
        store_count: How many descriptors it keeps for the next start.
        given: The descriptors that it has opened for us, or kept.
    """

    address: str | None = None
    watchdog_s: float | None = None
    store_count: int = 0
    given: tuple[GivenFd, ...] = ()


def read_manager(environ: Mapping[str, str], pid: int) -> ServiceManager:
    """Read what a service manager has said; a value that makes no sense is ignored.

    Args:
        environ: The environment of this process.
        pid: The pid of this process.
    """
    watchdog_s = None
    # Without WATCHDOG_PID the watchdog is meant for whoever reads it
    # (sd_watchdog_enabled(3)). LISTEN_PID is different: without it there are no
    # descriptors (sd_listen_fds(3)).
    if environ.get("WATCHDOG_PID", str(pid)) == str(pid):
        watchdog_s = _read_count(environ, "WATCHDOG_USEC") / 1e6 or None
    address = parse_manager(environ.get("NOTIFY_SOCKET", ""))
    return ServiceManager(
        address=address,
        watchdog_s=watchdog_s if address else None,
        store_count=_read_count(environ, "FDSTORE") if address else 0,
        given=_read_given(environ) if environ.get("LISTEN_PID") == str(pid) else (),
    )


def parse_manager(text: str) -> str | None:
    """Read ``$NOTIFY_SOCKET``: a path or ``@abstract``; None for any other scheme.

    Other schemes (``vsock:``) are for virtual machines, which have a manager of their
    own inside.
    """
    if text.startswith("/"):
        return text
    return f"\0{text[1:]}" if text.startswith("@") and len(text) > 1 else None


def _read_given(environ: Mapping[str, str]) -> tuple[GivenFd, ...]:
    count = _read_count(environ, "LISTEN_FDS")
    names = environ.get("LISTEN_FDNAMES", "").split(":")
    names += [""] * (count - len(names))
    return tuple(GivenFd(FIRST_FD + at, names[at]) for at in range(count))


def _read_count(environ: Mapping[str, str], name: str) -> int:
    text = environ.get(name, "")
    return int(text) if text.isdecimal() else 0


# All that the program finds around it.


@dataclass(frozen=True, kw_only=True)
class StartEnvironment:
    """Where a service was started.

    Attributes:
        folder: The working directory, as typed: a symbolic link in it is followed
            anew at each reload.
        runtime_directory: Where a unit may make its sockets; "" when there is none.
        manager: The service manager that has started it, if one has.
        standard_error: What kind of file standard error is.
    """

    folder: str
    runtime_directory: str = ""
    manager: ServiceManager = field(default_factory=ServiceManager)
    standard_error: StandardError = field(default_factory=StandardError)


def find_environment() -> StartEnvironment:
    """Find out where the program was started.

    Raises:
        UsageError: The working directory does not exist any more.
    """
    return StartEnvironment(
        folder=find_folder(),
        runtime_directory=find_runtime_directory(),
        manager=read_manager(os.environ, os.getpid()),
        standard_error=look_at_standard_error(os.environ),
    )


def find_folder() -> str:
    """Return the working directory as it was typed.

    The shell's ``$PWD`` still names the link ``/srv/app/current`` where
    ``getcwd`` only knows the release that it pointed to.

    Raises:
        UsageError: It does not exist any more.
    """
    typed = os.environ.get("PWD", "")
    try:
        # Only if it still leads here: a program that has changed its directory, such as
        # env -C or a container, may leave an old ``$PWD`` behind.
        if typed and os.path.samefile(typed, "."):
            return typed
    except OSError:
        pass  # $PWD names a directory that does not exist any more
    try:
        return os.getcwd()
    except OSError:
        raise UsageError("the working directory does not exist any more") from None


def find_runtime_directory() -> str:
    """Return the directory that systemd made for the unit, the first of several."""
    return os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
