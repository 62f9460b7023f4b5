"""How much memory a worker has of its own, and its share of what is shared.

Workers share most of their pages with the forkserver they were forked from, so
their resident size says little. The kernel knows better, but has to walk all
pages of the process for it: some ms for each 100 MB, with its page tables
locked. So it is read in a thread, one worker after the other, and seldom.

Nothing can end that walk, and no process ends before its threads do. So one whose
page tables are very large is not walked: an app that maps the same pages again and
again could keep the master from ending for as long as it likes.
"""

import asyncio
import contextlib
import os
import re
import signal
import threading
from collections.abc import Callable

from msgspec import Struct

from blazeio_supervisor.observe.events.noting import note

EACH_EVERY_S = 2.0
"""How often each worker is measured, as long as that is cheap."""

LEAST_PAUSE_S = 0.02
COST_FACTOR = 50.0
"""After a reading that took t seconds, none for this many times t: 2 %."""

MOST_TABLE_BYTES = 32 * 1024 * 1024
"""Of page tables that are walked, which stand for 16 GiB of pages: up to a second.
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
        if counts.get(b"VmPTE", 0) > MOST_TABLE_BYTES:
            own_bytes, resident_bytes = counts[b"RssAnon"], counts[b"VmRSS"]
            return Memory(own_bytes, resident_bytes, resident_bytes)
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            octets = file.read()
    except ProcessLookupError:
        return None
    except FileNotFoundError:
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
        note: Takes a measurement of a worker.
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
        RuntimeError: There is no thread to be had.
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

    threading.Thread(target=measure, name="memory", daemon=True).start()
    return await measured
