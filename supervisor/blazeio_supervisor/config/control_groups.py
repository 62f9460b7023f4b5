"""The control groups that a process is in: what they bound, and how much is used.

Its own group and those around it, of version 1 and 2; the least bound counts. A machine
may have both versions at once (hybrid): then each controller is in one of them. In a
container the path of the own group is often that of the host, and only the mount itself
can be read: that of the container.
"""

from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

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

    folder: Path
    version: int

    def read_quota(self) -> float | None:
        """Return how many cores it may use on average; None: it has no bound."""
        if self.version == 1:
            # -1 where there is none.
            quota = read_number(self.folder / "cpu.cfs_quota_us")
            period = read_number(self.folder / "cpu.cfs_period_us")
        else:
            words = read_text(self.folder / "cpu.max").split()
            quota, period = map(_parse, words[:2]) if len(words) > 1 else (None, None)
        return quota / period if quota and quota > 0 and period else None

    def read_throttled(self) -> float:
        """Return in which share of all periods it was throttled."""
        counts = read_counts(self.folder / "cpu.stat")
        periods = counts.get("nr_periods", 0)
        return counts.get("nr_throttled", 0) / periods if periods else 0.0

    def read_memory_limit(self) -> int | None:
        """Return how many octets it may use; None: it has no bound."""
        name = "memory.limit_in_bytes" if self.version == 1 else "memory.max"
        limit = read_number(self.folder / name)
        return limit if limit is not None and limit < _UNBOUND_V1 else None

    def read_memory_used(self) -> int | None:
        """Return how many octets it uses."""
        name = "memory.usage_in_bytes" if self.version == 1 else "memory.current"
        return read_number(self.folder / name)

    def read_inactive_files(self) -> int:
        """Return how much of that was read of files and is not used just now."""
        name = "total_inactive_file" if self.version == 1 else "inactive_file"
        return read_counts(self.folder / "memory.stat").get(name, 0)

    def read_oom_kills(self) -> int | None:
        """Return how many processes the kernel has killed for lack of memory.

        None: it does not count them here.
        """
        name = "memory.oom_control" if self.version == 1 else "memory.events"
        return read_counts(self.folder / name).get("oom_kill")


def list_groups(
    controller: str, root: Path = Path("/"), pid: int | str = "self"
) -> list[ControlGroup]:
    """Return the groups of a process that may have a bound: its own and those above.

    Args:
        controller: ``cpu`` or ``memory``.
        root: Where /proc and /sys are.
        pid: Of the process.
    """
    groups = read_text(root / "proc" / str(pid) / "cgroup")
    return list(_iterate(controller, root, groups))


def _iterate(controller: str, root: Path, groups: str) -> Iterator[ControlGroup]:
    for line in groups.splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            for mount in _MOUNTS_V2:
                yield from _climb(root / mount, path, 2)
        elif controller in controllers.split(","):
            # One mount has several controllers, and a link for each of them.
            for name in dict.fromkeys((controllers, controller)):
                yield from _climb(root / _MOUNT / name, path, 1)


def _climb(mount: Path, path: str, version: int) -> Iterator[ControlGroup]:
    """Yield a group, and those around it; in a container the mount."""
    # ``..`` stands for a group outside of the own namespace (cgroup_namespaces(7)).
    parts = [part for part in path.split("/") if part not in ("", "..")]
    for length in range(len(parts), -1, -1):
        yield ControlGroup(mount.joinpath(*parts[:length]), version)


def read_text(path: Path) -> str:
    """Read a file; "" where it cannot be read."""
    try:
        return path.read_text()
    except OSError:
        return ""


def read_number(path: Path) -> int | None:
    """Read a number; None: there is no such file, or it says ``max``."""
    return _parse(read_text(path))


def _parse(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def read_counts(path: Path) -> dict[str, int]:
    """Read lines of a name and a number."""
    pairs = (line.split() for line in read_text(path).splitlines())
    return {each[0]: int(each[1]) for each in pairs if len(each) > 1}
