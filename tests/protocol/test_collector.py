"""Python's collector, tuned for a server, and what it finds per connection."""

import asyncio
import ctypes
import gc
import socket
import sys
from collections.abc import Iterator

import pytest

from blazeio.protocol.process import THRESHOLDS, CollectorTuning
from tests.protocol.serving import GET, Serve, hello
from tests.support.live import run_to_exit

MOST_OBJECTS = {"uvloop": 13, "asyncio": 18 if sys.version_info < (3, 12) else 21}
"""An idle connection's, by the loop; the collector walks all of them. From Python 3.12
on the transport of its own loop has up to three more."""
CONNECTIONS = 100


@pytest.fixture
def usual_thresholds() -> Iterator[None]:
    before, was_frozen = gc.get_threshold(), gc.get_freeze_count() > 0
    gc.unfreeze()
    gc.set_threshold(700, 10, 10)
    yield
    gc.set_threshold(*before)
    gc.enable()
    gc.unfreeze()
    if was_frozen:
        gc.freeze()


async def enter(*, is_wanted: bool = True) -> tuple[tuple[int, ...], bool]:
    loop = asyncio.get_running_loop()
    with CollectorTuning(loop, is_wanted=is_wanted):
        return gc.get_threshold(), gc.get_freeze_count() > 0


@pytest.mark.usefixtures("usual_thresholds")
class TestTuning:
    async def test_holds_for_a_block(self) -> None:
        assert await enter() == (THRESHOLDS, True)
        assert gc.get_threshold() == (700, 10, 10)
        assert not gc.get_freeze_count()

    async def test_nothing_changes_where_it_is_not_wanted(self) -> None:
        assert await enter(is_wanted=False) == ((700, 10, 10), False)

    async def test_who_has_set_thresholds_keeps_them(self) -> None:
        gc.set_threshold(5000, 10, 10)
        assert await enter() == ((5000, 10, 10), False)

    async def test_who_has_turned_the_collector_off_keeps_it_off(self) -> None:
        gc.disable()
        assert await enter() == ((700, 10, 10), False)

    async def test_what_was_frozen_for_a_fork_stays_frozen(self) -> None:
        gc.freeze()
        assert await enter() == (THRESHOLDS, True)
        assert gc.get_freeze_count()


GROWING = """
import asyncio, gc, time
from blazeio.protocol.process import CollectorTuning

class Node:
    alive = 0
    def __init__(self, content):
        Node.alive += 1
        self.content, self.itself = content, self
    def __del__(self):
        Node.alive -= 1

async def main():
    with CollectorTuning(asyncio.get_running_loop()):
        for _ in range(64):
            Node(b"x" * 1024 * 1024)
        assert Node.alive == 64
        ends_at = time.monotonic() + 30
        while Node.alive and time.monotonic() < ends_at:
            await asyncio.sleep(0.05)
        print(Node.alive)

asyncio.run(main())
"""


@pytest.mark.slow
def test_garbage_is_collected_where_memory_grows() -> None:
    """In a process of its own: a large one does not grow by a quarter so soon."""
    assert run_to_exit(["python", "-c", GROWING], timeout_s=40).stdout == "0\n"


SCATTERED = """
import asyncio, time
from blazeio.protocol.process import CollectorTuning, read_resident_bytes

MB = 1024 * 1024

class Node:
    def __init__(self, content):
        self.content, self.itself = content, self

async def main():
    kept = []
    with CollectorTuning(asyncio.get_running_loop()):
        least = read_resident_bytes()
        for _ in range(16):
            for _ in range(40):
                Node(b"x" * 400_000)
                kept.append(b"x" * 5000)  # between them, so that glibc keeps the hole
            await asyncio.sleep(0.15)
        most = least + 32 * MB
        ends_at = time.monotonic() + 15
        while read_resident_bytes() > most and time.monotonic() < ends_at:
            Node(b"x" * MB)
            await asyncio.sleep(0.05)
        print(read_resident_bytes() <= most)

asyncio.run(main())
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="no glibc")
def test_what_is_collected_goes_back_to_the_kernel() -> None:
    """Else each collection raises the bound of the next one."""
    assert run_to_exit(["python", "-c", SCATTERED], timeout_s=40).stdout == "True\n"


async def ask_once(address: tuple[str, int]) -> socket.socket:
    """A connection that has had one answer; of the client it is one object."""
    loop = asyncio.get_running_loop()
    sock = socket.socket()
    sock.setblocking(False)
    await loop.sock_connect(sock, address)
    await loop.sock_sendall(sock, GET)
    assert await loop.sock_recv(sock, 4096)
    return sock


async def test_an_idle_connection_is_a_few_objects(serve: Serve) -> None:
    served = serve(hello)
    socks = [await ask_once(served.address) for _ in range(10)]
    gc.collect()
    before = len(gc.get_objects())
    socks += [await ask_once(served.address) for _ in range(CONNECTIONS)]
    gc.collect()
    each = (len(gc.get_objects()) - before) / CONNECTIONS - 1
    for sock in socks:
        sock.close()
    kind = type(asyncio.get_running_loop()).__module__.partition(".")[0]
    assert round(each) <= MOST_OBJECTS[kind]  # a few others come and go
