"""How many CPUs this process may really use, and a list of some."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

_CPUS = re.compile(r"(\d{1,4})(?:-(\d{1,4}))?", re.ASCII)
_CGROUPS = Path("/sys/fs/cgroup")


def count_cpus(cgroups: Path = _CGROUPS, own: Path = Path("/proc/self/cgroup")) -> int:
    """Count the cores allowed by affinity and by cgroup v2 quota; at least 1.

    A container with a quota of two cores on a machine of 64 still sees 64 in
    its affinity, and 64 workers there only throttle each other.

    Args:
        cgroups: Where cgroup v2 is mounted.
        own: The file that says which group this process is in.
    """
    allowed = len(os.sched_getaffinity(0))
    for folder in list_groups(cgroups, own):
        quota = _read_quota(folder / "cpu.max")
        if quota is not None:
            allowed = min(allowed, quota)
    return max(1, allowed)


def list_groups(cgroups: Path, own: Path) -> list[Path]:
    """Give the own group and all above it: each may set a quota."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return []
    for line in lines:
        if line.startswith("0::/"):
            group = cgroups / line.removeprefix("0::/")
            return [group, *(p for p in group.parents if p.is_relative_to(cgroups))]
    return []


def _read_quota(path: Path) -> int | None:
    try:
        quota, period = path.read_text().split()[:2]
    except (OSError, ValueError):
        return None
    if quota == "max":
        return None
    return max(1, -(-int(quota) // int(period)))  # rounded up: 1.5 cores are two


def read_cpus(text: str) -> tuple[int, ...]:
    """Read ``0-3,8``, or ``auto``.

    Raises:
        ValueError: It is none.
    """
    if text == "auto":
        return tuple(sorted(os.sched_getaffinity(0)))
    cpus: list[int] = []
    for part in text.split(","):
        match = _CPUS.fullmatch(part.strip())
        if match is None:
            raise ValueError("expected numbers and ranges such as 0-3,8, or auto")
        cpus += range(int(match[1]), int(match[2] or match[1]) + 1)
    return tuple(cpus)


def format_cpus(cpus: Iterable[int]) -> str:
    """Write them one by one."""
    return ",".join(map(str, cpus))
