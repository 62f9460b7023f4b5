"""What a process may use: descriptors, and the bounds of its control group."""

import re
from collections.abc import Iterator
from pathlib import Path

from blazeio_supervisor.control.display.units import format_bytes
from blazeio_supervisor.control.doctor.findings import Finding, hidden, ill, well
from blazeio_supervisor.fleet.telling.words import count_of
from blazeio_supervisor.options.kinds.cpus import list_groups

USUAL_CONNECTIONS = 1000
"""What a worker should be able to hold when no bound of its own is set."""
RESERVED = 64
_MOST_MEMORY = 0.9
_MOST_THROTTLED = 0.05
_LIMIT = re.compile(r"^Max open files +(\d+) +(\d+)", re.MULTILINE)


def examine_bounds(
    pid: int, workers: int, connections: int | None, root: Path = Path("/")
) -> Iterator[Finding]:
    """Look at all of them.

    Args:
        pid: A worker's, or of any process that has the same.
        workers: How many there are.
        connections: The most that each may hold; None: no bound is set.
        root: Where /proc and /sys are.
    """
    proc = root / "proc" / str(pid)
    yield examine_files(proc, connections)
    own, mount = proc / "cgroup", root / "sys/fs/cgroup"
    if _read(own) is None or not mount.is_dir():
        yield hidden("control group", f"/proc/{pid}/cgroup")
        return
    groups = list_groups(mount, own)
    yield examine_quota(groups, workers)
    yield examine_memory(groups)


def examine_files(proc: Path, connections: int | None) -> Finding:
    """Each connection is a descriptor; a worker raises its soft limit itself."""
    name = "open files"
    match = _LIMIT.search(_read(proc / "limits") or "")
    if match is None:
        return hidden(name, str(proc / "limits"))
    hard = int(match[2])
    wanted = (connections or USUAL_CONNECTIONS) + RESERVED
    if hard >= wanted:
        return well(name, f"{hard} for each worker")
    what = f"--max-connections {connections}" if connections else "a busy worker"
    return ill(
        name,
        f"{hard} for each worker, {what} needs {wanted}",
        "A worker accepts no more connections than that; the others wait in its queue.",
        "LimitNOFILE=65536 in the unit, --ulimit nofile=65536 for a container, or "
        "ulimit -Hn in the shell that starts it",
    )


def examine_quota(groups: list[Path], workers: int) -> Finding:
    """More workers than cores only take turns."""
    name = "processor quota"
    quotas = [quota for group in groups if (quota := _read_quota(group)) is not None]
    throttled = max(map(_read_throttled, groups), default=0.0)
    if not quotas:
        return well(name, "none")
    cores = min(quotas)
    seen = f"{cores:g} cores for {count_of(workers, 'worker')}"
    if workers > max(cores, 1):
        return ill(
            name,
            seen,
            "Once the quota is used up all of them stand still until the next period "
            "of 0.1 s: that is seen as loop lag and as slow requests.",
            f"--workers auto, or a quota of {workers} cores",
        )
    if throttled > _MOST_THROTTLED:
        return ill(
            name,
            f"{seen}; throttled in {throttled:.0%} of all periods",
            "In those every worker stood still for a part of 0.1 s.",
            "a larger quota, or less work",
        )
    return well(name, seen)


def examine_memory(groups: list[Path]) -> Finding:
    """Near the bound the kernel first slows everybody down, then kills one."""
    name = "memory bound"
    found = [
        (used / most, used, most)
        for group in groups
        if (most := _read_number(group / "memory.max")) is not None
        and (used := _read_number(group / "memory.current")) is not None
    ]
    if not found:
        return well(name, "none")
    share, used, most = max(found)
    seen = f"{format_bytes(used)} of {format_bytes(most)} in use"
    if share < _MOST_MEMORY:
        return well(name, seen)
    return ill(
        name,
        seen,
        "Soon the kernel kills a worker (part of what is in use may be file cache, "
        "which it gives back first).",
        "--max-memory, which replaces a worker in time; fewer workers; or a larger "
        "bound",
    )


def _read_quota(group: Path) -> float | None:
    words = (_read(group / "cpu.max") or "max").split()
    return None if words[0] == "max" else int(words[0]) / int(words[1])


def _read_throttled(group: Path) -> float:
    text = _read(group / "cpu.stat") or ""
    counts = dict(line.split() for line in text.splitlines() if line.startswith("nr_"))
    periods = int(counts.get("nr_periods", 0))
    return int(counts.get("nr_throttled", 0)) / periods if periods else 0.0


def _read_number(path: Path) -> int | None:
    text = _read(path)
    return int(text) if text is not None and text.isdecimal() else None


def _read(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None
