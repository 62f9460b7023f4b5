"""A thousand reloads; then the master must be what it was."""

from dataclasses import dataclass

import psutil

from tests.process.service import Service
from tests.soak.changes import reload_times
from tests.soak.run import Run
from tests.support.clock import block_until

WORKERS = 2
CHILDREN = WORKERS + 1
SETTLING = 20
"""Reloads before the first look: caches and the heap have then grown."""
MIB = 1024 * 1024
MOST_GROWTH_BYTES = 2 * MIB


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a master holds.

    Attributes:
        files: Descriptors.
        threads: Of the master.
        processes: Its descendants.
        memory_bytes: USS.
    """

    files: int
    threads: int
    processes: int
    memory_bytes: int


def look(service: Service) -> Footprint:
    """Once the last reload has left nothing behind."""
    service.wait_count(WORKERS)
    block_until(lambda: len(service.server.children()) == CHILDREN, 10)
    master = psutil.Process(service.server.pid)
    return Footprint(
        files=master.num_fds(),
        threads=master.num_threads(),
        processes=len(master.children(recursive=True)),
        memory_bytes=master.memory_full_info().uss,
    )


def reload_a_thousand_times(run: Run) -> None:
    """As quickly as reloads go."""
    count = run.pick(1000, 30)
    options = ("--canary-hold", "0", "--drain-idle", "0")
    with run.serve(*options, workers=WORKERS) as service:
        reload_times(run, service, SETTLING)
        before = look(service)
        done = reload_times(run, service, count)
        after = look(service)
    run.check("every reload succeeds", done, holds=done == count)
    for name in ("files", "threads", "processes"):
        was, now = getattr(before, name), getattr(after, name)
        run.check(
            f"the master's {name} do not grow", f"{was} -> {now}", holds=now <= was
        )
    grown_bytes = after.memory_bytes - before.memory_bytes
    most_mib = MOST_GROWTH_BYTES / MIB
    run.check_most("the master's memory grows", grown_bytes / MIB, most_mib, " MiB")
