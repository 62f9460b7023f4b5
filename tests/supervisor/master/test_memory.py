import asyncio
import contextlib
import logging
import mmap
import os
import sys
import threading
from collections.abc import Iterator

import pytest

from blazeio_supervisor.master import resources
from blazeio_supervisor.master.resources import (
    Memory,
    MemorySampler,
    parse_rollup,
    read_memory,
)
from tests.support.clock import scaled, wait_until

MIB = 1024 * 1024
NOBODY = 65534


@contextlib.contextmanager
def child() -> Iterator[int]:
    arguments = [sys.executable, "-S", "-c", "import time; time.sleep(60)"]
    pid = os.posix_spawn(sys.executable, arguments, os.environ)
    try:
        yield pid
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "EACH_EVERY_S", 0.01)
    monkeypatch.setattr(resources, "COST_FACTOR", 0.0)


def test_own_memory_is_what_is_private_clean_or_dirty() -> None:
    octets = (
        b"55a65a291000-7ffd84a6b000 ---p 00000000 00:00 0    [rollup]\n"
        b"Rss:                1688 kB\nPss:                 374 kB\n"
        b"Pss_Dirty:           112 kB\nShared_Clean:       1480 kB\n"
        b"Private_Clean:        96 kB\nPrivate_Dirty:       112 kB\n"
    )
    assert parse_rollup(octets) == Memory(208 * 1024, 374 * 1024, 1688 * 1024)


def test_a_zombie_has_none() -> None:
    assert parse_rollup(b"") is None


def test_what_a_process_takes_is_measured() -> None:
    before = read_memory(os.getpid())
    with mmap.mmap(-1, 20 * MIB, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as area:
        area.write(b"x" * (20 * MIB))
        after = read_memory(os.getpid())
    assert before is not None
    assert after is not None
    assert 18 * MIB < after.own_bytes - before.own_bytes < 60 * MIB
    assert after.shared_bytes >= after.own_bytes


def test_large_page_tables_are_not_walked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resources, "MOST_TABLE_BYTES", 0)
    with mmap.mmap(-1, 20 * MIB, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS) as area:
        area.write(b"x" * (20 * MIB))
        found = read_memory(os.getpid())
    assert found is not None
    assert found.own_bytes <= found.resident_bytes - 20 * MIB
    assert found.shared_bytes == found.resident_bytes


def test_a_reading_that_takes_long_holds_up_no_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun, end = threading.Event(), threading.Event()

    def read_slowly(_: int) -> None:
        begun.set()
        end.wait()

    monkeypatch.setattr(resources, "read_memory", read_slowly)

    async def serve() -> None:
        sampler = MemorySampler(lambda: {1: 1}, lambda *_: None, is_limited=False)
        run = asyncio.create_task(sampler.run())
        await wait_until(begun.is_set)
        run.cancel()
        await asyncio.wait((run,))

    service = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    service.start()
    service.join(scaled(5))
    has_ended = not service.is_alive()
    end.set()
    service.join()
    assert has_ended


def test_a_process_that_is_gone_has_none() -> None:
    assert read_memory(2**22 + 1) is None


def test_one_that_waits_to_be_reaped_has_none() -> None:
    pid = os.posix_spawn("/bin/true", ["true"], os.environ)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert read_memory(pid) is None
    os.waitpid(pid, 0)


async def test_each_worker_is_measured_in_its_turn() -> None:
    seen: list[int] = []
    pids = {1: os.getpid(), 2: 2**22 + 1, 5: os.getpid()}
    sampler = MemorySampler(
        lambda: pids, lambda worker, _: seen.append(worker), is_limited=False
    )
    run = asyncio.create_task(sampler.run())
    await wait_until(lambda: len(seen) >= 4)
    run.cancel()
    await asyncio.wait((run,))
    assert seen[:4] == [1, 5, 1, 5]


async def test_without_a_worker_it_waits_for_one() -> None:
    seen: list[Memory] = []
    pids: dict[int, int] = {}
    sampler = MemorySampler(
        lambda: pids, lambda _, found: seen.append(found), is_limited=False
    )
    run = asyncio.create_task(sampler.run())
    await asyncio.sleep(0)
    pids[1] = os.getpid()
    await wait_until(lambda: seen)
    run.cancel()
    await asyncio.wait((run,))


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make a foreign process")
@pytest.mark.parametrize(
    ("is_limited", "level"), [(True, logging.WARNING), (False, logging.INFO)]
)
async def test_a_foreign_process_that_cannot_be_read_is_said_once(
    caplog: pytest.LogCaptureFixture, is_limited: bool, level: int
) -> None:
    caplog.set_level(logging.INFO, "blazeio.master")
    with child() as pid:
        sampler = MemorySampler(
            lambda: {3: pid}, lambda *_: None, is_limited=is_limited
        )
        user = os.geteuid()
        os.seteuid(NOBODY)
        try:
            await asyncio.wait_for(sampler.run(), 5)
        finally:
            os.seteuid(user)
    (record,) = caplog.records
    assert record.levelno == level
    text = record.getMessage()
    assert text.startswith(f"event=memory_unknown worker=3 pid={pid}: cannot measure")
    assert "Permission denied" in text
    assert ("--max-memory has no effect" in text) is is_limited
