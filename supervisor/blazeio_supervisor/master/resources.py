"""What workers take of the machine, and what is left of it.

Workers share most of their pages with the forkserver that they were forked from, so
their resident size says little. The kernel knows their own and their proportional share
(proc_pid_smaps(5), smaps_rollup), but has to walk all pages of the process for it:
some ms for each 100 MB, with its page tables locked. So it is read in a thread, one
worker after the other, and seldom.

Nothing can end that walk, and a process cannot end before its threads do. So a worker
whose page tables are very large is not walked: an app that maps the same pages again
and again could keep the master from ending for as long as it likes. ``psutil`` has no
such bound, since it does not tell the size of the page tables: therefore both files are
read here.

The second part tells whether the kernel's out-of-memory killer has ended a worker, the
third how much memory is free, and what the workers have to do.
"""

import asyncio
import contextlib
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from msgspec import Struct

from blazeio_supervisor.config.environment import (
    ControlGroup,
    StrPath,
    list_groups,
    read_counts,
)
from blazeio_supervisor.fleet.facts import Fact, LoadRead, MemoryRead
from blazeio_supervisor.fleet.planner import Planner
from blazeio_supervisor.ipc.processes import read_cpu_s
from blazeio_supervisor.log.setup import note
from blazeio_supervisor.sockets.listeners import Listeners

if TYPE_CHECKING:
    from blazeio_supervisor.master.worker_record import Records

EACH_EVERY_S = 2.0
"""How often each worker is measured, as long as that is cheap."""

AT_REST_EVERY_S = 60.0
"""How often a worker is measured that nobody sends a request."""

LEAST_PAUSE_S = 0.1
"""64 workers, each every 2 s, took 0.6 % of a core."""
COST_FACTOR = 50.0
"""After a reading that took t seconds, none for this many times t: 2 %."""

MOST_TABLE_BYTES = 32 * 1024 * 1024
"""Size of page tables that are walked, which stand for 16 GiB of pages: up to a second.
Of a larger process the kernel's own counts are taken."""

_LINE = re.compile(rb"^(\w+):\s+(\d+) kB$", re.MULTILINE)


class Memory(Struct, frozen=True):
    """One process, octets.

    Attributes:
        own_bytes: Private pages (USS): what its end would give back.
        shared_bytes: The same, and its share of each shared page (PSS): the
            sum over all processes is what they take together.
        resident_bytes: All its pages (RSS), those that others have too.
    """

    own_bytes: int
    shared_bytes: int
    resident_bytes: int = 0


def read_memory(pid: int) -> Memory | None:
    """Measure a process; None when it is gone, or dying.

    Of one with more than ``MOST_TABLE_BYTES`` of page tables its own memory is all
    that is no file (RssAnon), also what it still shares since the fork.

    Raises:
        OSError: It lives, but cannot be measured: it belongs to another user
            (PermissionError), or the kernel does not offer it.
    """
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            counts = _read_sizes(file.read())
        # VmPTE is read first, without a walk: a process can grow its page tables at no
        # cost by mapping the same pages again, and the walk below cannot be
        # interrupted.
        if counts.get(b"VmPTE", 0) > MOST_TABLE_BYTES:
            own_bytes, resident_bytes = counts[b"RssAnon"], counts[b"VmRSS"]
            return Memory(own_bytes, resident_bytes, resident_bytes)
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            octets = file.read()
    except ProcessLookupError:
        return None
    except FileNotFoundError:
        # Two causes with one errno: the process is gone, or the kernel has no
        # smaps_rollup (it came with Linux 4.14).
        if os.path.exists(f"/proc/{pid}"):
            raise
        return None
    return parse_rollup(octets)


def _read_sizes(octets: bytes) -> dict[bytes, int]:
    return {name: int(size) * 1024 for name, size in _LINE.findall(octets)}


def parse_rollup(octets: bytes) -> Memory | None:
    """Read what the kernel says; None when that is nothing: it is a zombie."""
    sizes = _read_sizes(octets)
    if b"Pss" not in sizes:
        return None
    return Memory(
        own_bytes=sizes.get(b"Private_Clean", 0) + sizes.get(b"Private_Dirty", 0),
        shared_bytes=sizes[b"Pss"],
        resident_bytes=sizes.get(b"Rss", 0),
    )


class MemorySampler:
    """Measures one worker after the other, for as long as it runs.

    Args:
        list_pids: The workers that live: pid by serial number.
        note: Called with a measurement of a worker.
        is_limited: An operator relies on it (``--max-memory``): that it cannot
            be done is a warning.
    """

    def __init__(
        self,
        list_pids: Callable[[], dict[int, int]],
        note: Callable[[int, Memory], None],
        *,
        is_limited: bool,
    ) -> None:
        self._list_pids = list_pids
        self._note = note
        self._is_limited = is_limited
        self._last = 0
        self._has_measured = False
        self._unknown: set[int] = set()

    async def run(self) -> None:
        """Measure until cancelled, or until it turns out to be impossible for all.

        That one cannot be measured may be its own doing.
        """
        loop = asyncio.get_running_loop()
        while True:
            pids = self._list_pids()
            began_at = loop.time()
            if pids and not await self._sample(pids):
                return
            took_s = loop.time() - began_at
            turn_s = EACH_EVERY_S / max(len(pids), 1)
            await asyncio.sleep(max(turn_s, LEAST_PAUSE_S, took_s * COST_FACTOR))

    async def _sample(self, pids: dict[int, int]) -> bool:
        worker = self._choose(pids)
        try:
            memory = await _measure_aside(pids[worker])
        except (OSError, RuntimeError) as error:  # RuntimeError: no thread to be had
            if not self._unknown:
                self._give_up(worker, pids[worker], error)
            self._unknown.add(worker)
            # An app can make itself unreadable (prctl(2), PR_SET_DUMPABLE): one such
            # worker must not end the measuring of the others.
            return self._has_measured or not self._unknown >= pids.keys()
        self._has_measured = True
        if memory is not None:
            self._note(worker, memory)
        return True

    def _choose(self, pids: dict[int, int]) -> int:
        """The next one after the last, round and round."""
        later = [worker for worker in pids if worker > self._last]
        self._last = min(later or pids)
        return self._last

    def _give_up(self, worker: int, pid: int, error: Exception) -> None:
        reason = getattr(error, "strerror", None) or str(error)
        effect = ": --max-memory has no effect" if self._is_limited else ""
        note(
            "memory_unknown",
            f"cannot measure its memory ({reason}){effect}",
            "WARNING" if self._is_limited else "INFO",
            worker=worker,
            pid=pid,
        )


async def _measure_aside(pid: int) -> Memory | None:
    """Measure in a thread that nobody waits for at the end of the service.

    Raises:
        OSError: As by ``read_memory``.
        RuntimeError: No thread can be started.
    """
    loop = asyncio.get_running_loop()
    measured: asyncio.Future[Memory | None] = loop.create_future()

    def take(memory: Memory | None, error: OSError | None) -> None:
        if measured.done():  # nobody waits any more
            return
        if error is not None:
            measured.set_exception(error)
        else:
            measured.set_result(memory)

    def measure() -> None:
        # Signals are for the main thread.
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        memory, failure = None, None
        try:
            memory = read_memory(pid)
        except OSError as error:
            failure = error
        with contextlib.suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(take, memory, failure)

    # Not in an executor, whose threads Python joins at its exit: a walk that takes long
    # would hold up the end of the service.
    threading.Thread(target=measure, name="memory", daemon=True).start()
    return await measured


# The out-of-memory killer
#
# waitid(2) does not tell who has sent a SIGKILL. But the kernel counts its own kills
# for each control group, before it sends the signal (memory.events, oom_kill).


OOM_REASON = "out of memory: the kernel killed it (oom_kill of its control group)"

FORGET_AFTER_S = 10.0
"""A large process takes its time to end; this is enough."""


class OomKills:
    """Tells which deaths are kills by the kernel for lack of memory.

    Kills of others in the same control group (a program that an app started)
    are counted there too, so an old count is forgotten by and by.

    Args:
        group: The control group; None: nothing is ever attributed.
    """

    def __init__(self, group: ControlGroup | None) -> None:
        self._group = group
        self._accounted = self._recent = self._count()
        self._refresh_at = 0.0

    def _count(self) -> int:
        return 0 if self._group is None else self._group.read_oom_kills() or 0

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
        """Return why a process ended; "" when the kernel has not killed it.

        Args:
            status: As it was reaped just now: minus the signal's number.
        """
        if status != -signal.SIGKILL or self._count() <= self._accounted:
            return ""
        # One kill explains one death: the next SIGKILL may be an operator's.
        self._accounted += 1
        return OOM_REASON


def watch_own_group(root: StrPath = "/") -> OomKills:
    """Return an ``OomKills`` of the control group of this process and its children.

    Args:
        root: Where /proc and /sys are.
    """
    # The innermost that counts: where the memory of the own group is not accounted for,
    # a kill is counted by the one around it.
    groups = list_groups("memory", root)
    counting = (each for each in groups if each.read_oom_kills() is not None)
    return OomKills(next(counting, None))


# How much more memory the service may use, and what its workers have to do.
#
# The least of what is free counts: under the limit of each control group that this
# process is in (its own and those around it, versions 1 and 2), and of the machine.
# What a group has read of files and does not use just now is free: the kernel drops it
# first.


LOAD_EVERY_S = 1.0
MEMORY_EVERY_S = 0.2
"""How often the load and the free memory are read where the planner wants them."""
MEMORY_AT_REST_EVERY_S = 2.0
"""How often the free memory is read otherwise: one look takes 0.1 ms."""


def read_free_bytes(root: StrPath = "/") -> int | None:
    """Return how much more memory this process and its children may use.

    Args:
        root: Where /proc and /sys are.

    Returns:
        Octets; None: nothing says it.
    """
    found = [free for free in _list_free(root) if free is not None]
    return max(min(found), 0) if found else None


def _list_free(root: StrPath) -> Iterator[int | None]:
    available = read_counts(os.path.join(root, "proc/meminfo")).get("MemAvailable:")
    # MemAvailable is the kernel's own estimate of what can be had without swapping
    # (proc_meminfo(5)); MemFree would leave out the page cache.
    yield None if available is None else available * 1024
    for group in list_groups("memory", root):
        limit, used = group.read_memory_limit(), group.read_memory_used()
        if limit is not None and used is not None:
            # As the kubelet counts the working set of a container: what is used, less
            # the inactive part of the page cache.
            yield limit - (used - group.read_inactive_files())


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
        records: "Records",
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
