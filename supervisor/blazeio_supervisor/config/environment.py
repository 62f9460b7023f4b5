"""What the program finds around it: service manager, folder, output, cores, memory.

A service manager (systemd) speaks by variables. ``$WATCHDOG_PID`` and
``$LISTEN_PID`` name the process that they are meant for: a process that has only
inherited them must not use them.
"""

import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from msgspec import Struct

from blazeio_supervisor.errors import UsageError
from blazeio_supervisor.ipc.socket_paths import find_runtime_directory
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


# The control groups that a process is in: what they bound, and how much is used.
#
# Its own group and those around it, of version 1 and 2; the least bound counts. A
# machine may have both versions at once (hybrid): then each controller is in one of
# them. In a container the path of the own group is often that of the host, and only the
# mount itself can be read: that of the container.


StrPath = str | os.PathLike[str]
"""A path. ``pathlib``, with all that it imports, is 0.6 MB of every master."""

_MOUNT = "sys/fs/cgroup"
_MOUNTS_V2 = (_MOUNT, f"{_MOUNT}/unified")
_UNBOUND_V1 = 1 << 62
"""Version 1 has no word for it: a bound above this is none."""


class ControlGroup(Struct, frozen=True):
    """One group, of one controller.

    Attributes:
        folder: Its files; it may be missing.
        version: 1 or 2.
    """

    folder: StrPath
    version: int

    def read_quota(self) -> float | None:
        """Return how many cores it may use on average; None: it has no bound."""
        if self.version == 1:
            # -1 where there is none.
            quota = self._read_number("cpu.cfs_quota_us")
            period = self._read_number("cpu.cfs_period_us")
        else:
            words = read_text(os.path.join(self.folder, "cpu.max")).split()
            quota, period = map(_to_int, words[:2]) if len(words) > 1 else (None, None)
        return quota / period if quota and quota > 0 and period else None

    def read_throttled(self) -> float:
        """Return in which share of all periods it was throttled."""
        counts = self._read_counts("cpu.stat")
        periods = counts.get("nr_periods", 0)
        return counts.get("nr_throttled", 0) / periods if periods else 0.0

    def read_memory_limit(self) -> int | None:
        """Return how many octets it may use; None: it has no bound."""
        name = "memory.limit_in_bytes" if self.version == 1 else "memory.max"
        limit = self._read_number(name)
        return limit if limit is not None and limit < _UNBOUND_V1 else None

    def read_memory_used(self) -> int | None:
        """Return how many octets it uses."""
        name = "memory.usage_in_bytes" if self.version == 1 else "memory.current"
        return self._read_number(name)

    def read_inactive_files(self) -> int:
        """Return how much of that was read of files and is not used just now."""
        name = "total_inactive_file" if self.version == 1 else "inactive_file"
        return self._read_counts("memory.stat").get(name, 0)

    def read_oom_kills(self) -> int | None:
        """Return how many processes the kernel has killed for lack of memory.

        None: it does not count them here.
        """
        name = "memory.oom_control" if self.version == 1 else "memory.events"
        return self._read_counts(name).get("oom_kill")

    def _read_number(self, name: str) -> int | None:
        return read_number(os.path.join(self.folder, name))

    def _read_counts(self, name: str) -> dict[str, int]:
        return read_counts(os.path.join(self.folder, name))


def list_groups(
    controller: str, root: StrPath = "/", pid: int | str = "self"
) -> list[ControlGroup]:
    """Return the groups of a process that may have a bound: its own and those above.

    Args:
        controller: ``cpu`` or ``memory``.
        root: Where /proc and /sys are.
        pid: Of the process.
    """
    groups = read_text(os.path.join(root, "proc", str(pid), "cgroup"))
    return list(_iterate_groups(controller, root, groups))


def _iterate_groups(
    controller: str, root: StrPath, groups: str
) -> Iterator[ControlGroup]:
    for line in groups.splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            for mount in _MOUNTS_V2:
                yield from _climb(os.path.join(root, mount), path, 2)
        elif controller in controllers.split(","):
            # One mount has several controllers, and a link for each of them.
            for name in dict.fromkeys((controllers, controller)):
                yield from _climb(os.path.join(root, _MOUNT, name), path, 1)


def _climb(mount: str, path: str, version: int) -> Iterator[ControlGroup]:
    """Yield a group, and those around it; in a container the mount."""
    # ``..`` stands for a group outside of the own namespace (cgroup_namespaces(7)).
    parts = [part for part in path.split("/") if part not in ("", "..")]
    for length in range(len(parts), -1, -1):
        yield ControlGroup(os.path.join(mount, *parts[:length]), version)


def read_text(path: StrPath) -> str:
    """Read a file; "" where it cannot be read."""
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def read_number(path: StrPath) -> int | None:
    """Read a number; None: there is no such file, or it says ``max``."""
    return _to_int(read_text(path))


def _to_int(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def read_counts(path: StrPath) -> dict[str, int]:
    """Read lines of a name and a number."""
    pairs = (line.split() for line in read_text(path).splitlines())
    return {each[0]: int(each[1]) for each in pairs if len(each) > 1}


def count_cpus(root: StrPath = "/") -> int:
    """Count the cores allowed by affinity and by quotas of control groups; at least 1.

    A container with a quota of two cores on a machine of 64 still sees 64 in
    its affinity, and 64 workers there only throttle each other.

    Args:
        root: Where /proc and /sys are.
    """
    # ``os.cpu_count`` counts the machine's, also those that a cpuset keeps from us.
    allowed = len(os.sched_getaffinity(0))
    for group in list_groups("cpu", root):
        quota = group.read_quota()
        if quota is not None:
            # The least of all groups around this process counts: a quota of a slice
            # holds for all that is in it (cgroups(7)). 1.5 cores are two.
            allowed = min(allowed, math.ceil(quota))
    return max(1, allowed)
