"""How much more memory the service may use, and what its workers have to do.

The least of what is free counts: under the limit of each control group that this
process is in (its own and those around it, versions 1 and 2), and of the machine. What
a group has read of files and does not use just now is free: the kernel drops it first.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from blazeio_supervisor.config.control_groups import list_groups, read_counts
from blazeio_supervisor.fleet.facts import Fact, LoadRead, MemoryRead
from blazeio_supervisor.fleet.planner import Planner
from blazeio_supervisor.master.worker_record import Records
from blazeio_supervisor.sockets.listeners import Listeners

LOAD_EVERY_S = 1.0
MEMORY_EVERY_S = 0.2
"""How often the load and the free memory are read where the planner wants them."""
MEMORY_AT_REST_EVERY_S = 2.0
"""How often the free memory is read otherwise: one look takes 0.1 ms."""

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def read_free_bytes(root: Path = Path("/")) -> int | None:
    """Return how much more memory this process and its children may use.

    Args:
        root: Where /proc and /sys are.

    Returns:
        Octets; None: nothing says it.
    """
    found = [free for free in _list_free(root) if free is not None]
    return max(min(found), 0) if found else None


def _list_free(root: Path) -> Iterator[int | None]:
    available = read_counts(root / "proc/meminfo").get("MemAvailable:")
    # MemAvailable is the kernel's own estimate of what can be had without swapping
    # (proc_meminfo(5)); MemFree would leave out the page cache.
    yield None if available is None else available * 1024
    for group in list_groups("memory", root):
        limit, used = group.read_memory_limit(), group.read_memory_used()
        if limit is not None and used is not None:
            # As the kubelet counts the working set of a container: what is used, less
            # the inactive part of the page cache.
            yield limit - (used - group.read_inactive_files())


def read_cpu_s(pid: int) -> float | None:
    """Return what a process has computed so far, seconds; None: it is gone."""
    try:
        octets = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # Behind the last ``)``: the name of a process may hold blanks and parentheses
    # (proc_pid_stat(5)). Then utime and stime are the 12th and 13th field.
    after_name = octets.rpartition(b")")[2].split()
    return (int(after_name[11]) + int(after_name[12])) / _TICKS_PER_S


class LoadWatch:
    """Tells the planner what it wants to know of load and memory.

    Args:
        planner: Says what it wants.
        records: Of the workers.
        listeners: Have the queues.
        put_fact: Takes the facts.
    """

    fault = "cannot read the load"

    def __init__(
        self,
        planner: Planner,
        records: Records,
        listeners: Listeners,
        put_fact: Callable[[Fact], None],
    ) -> None:
        self._planner = planner
        self._records = records
        self._listeners = listeners
        self._put_fact = put_fact
        self._load_at = 0.0
        self._memory_at = -MEMORY_AT_REST_EVERY_S

    def look(self, now: float) -> None:
        """Look, if it is wanted and time again; ``now`` is monotonic seconds."""
        wants = self._planner.wants_memory
        every_s = MEMORY_EVERY_S if wants else MEMORY_AT_REST_EVERY_S
        if now >= self._memory_at + every_s:
            self._memory_at = now
            self._put_fact(MemoryRead(read_free_bytes()))
        if self._planner.wants_load and now >= self._load_at:
            self._load_at = now + LOAD_EVERY_S
            for record in list(self._records.values()):
                self._read(record.worker, record.slot, record.pid)

    def _read(self, worker: int, slot: int, pid: int | None) -> None:
        cpu_s = None if pid is None else read_cpu_s(pid)
        if cpu_s is not None:
            queue = self._listeners.queue_of(slot)
            queued = 0 if queue is None else queue.length
            self._put_fact(LoadRead(worker, cpu_s, queued))
