"""Telling the kernel's out-of-memory killer from anybody else's SIGKILL.

A process does not learn who killed it. But the kernel counts its own kills for
each control group, before it sends the signal.
"""

import re
import signal
from pathlib import Path

OOM_REASON = "out of memory: the kernel killed it (oom_kill of its control group)"

FORGET_AFTER_S = 10.0
"""A large process takes its time to end; this is enough."""

_COUNT = re.compile(r"^oom_kill (\d+)$", re.MULTILINE)
_MOUNTS = ("/sys/fs/cgroup", "/sys/fs/cgroup/unified")
_MOUNT_V1 = "/sys/fs/cgroup/memory"


def find_counter(groups: str, root: Path = Path("/")) -> Path | None:
    """Find the file in which the kernel counts; None when it cannot be read.

    Args:
        groups: What /proc/self/cgroup says.
        root: Where /sys is.
    """
    for line in groups.splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            places = [f"{mount}{path}/memory.events" for mount in _MOUNTS]
        elif controllers == "memory":
            # In a container the path is often that of the host.
            tails = (path, "")
            places = [f"{_MOUNT_V1}{tail}/memory.oom_control" for tail in tails]
        else:
            continue
        for place in places:
            found = root / place.lstrip("/")
            if _read_count(found) is not None:
                return found
    return None


def _read_count(counter: Path) -> int | None:
    try:
        match = _COUNT.search(counter.read_text())
    except OSError:
        return None
    return None if match is None else int(match[1])


class OomKills:
    """Attributes kills to the kernel, one for each that it counted.

    Kills of others in the same control group (a program that an app started)
    are counted there too, so an old count is forgotten by and by.

    Args:
        counter: From ``find_counter``; None: nothing is ever attributed.
    """

    def __init__(self, counter: Path | None) -> None:
        self._counter = counter
        self._accounted = self._recent = self._count()
        self._refresh_at = 0.0

    def _count(self) -> int:
        if self._counter is None:
            return 0
        return _read_count(self._counter) or 0

    def refresh(self, now: float) -> None:
        """Forget what was counted one to two ``FORGET_AFTER_S`` ago.

        Args:
            now: Monotonic seconds.
        """
        if now < self._refresh_at:
            return
        self._refresh_at = now + FORGET_AFTER_S
        self._accounted = max(self._accounted, self._recent)
        self._recent = self._count()

    def explain(self, status: int) -> str:
        """Say why a process ended; "" when it was not the kernel's doing.

        Args:
            status: As it was reaped just now: minus the signal's number.
        """
        if status != -signal.SIGKILL or self._count() <= self._accounted:
            return ""
        self._accounted += 1
        return OOM_REASON


def watch_own_group() -> OomKills:
    """Watch the control group of this process, which its children share."""
    try:
        groups = Path("/proc/self/cgroup").read_text()
    except OSError:
        groups = ""
    return OomKills(find_counter(groups))
