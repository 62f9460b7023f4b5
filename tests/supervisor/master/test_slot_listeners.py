import asyncio
import os
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from blazeio_supervisor.ipc.channel import receive, send
from blazeio_supervisor.ipc.messages import (
    Adopt,
    Ready,
    Release,
)
from blazeio_supervisor.master.listeners import EVERY_S, ListenerWatch, SlotListeners
from blazeio_supervisor.master.systemd import FdStore, SystemdNotifier
from blazeio_supervisor.sockets.address import UnixAddress
from blazeio_supervisor.sockets.reuseport import Steerer
from tests.supervisor.master.workers_harness import WorkersHarness
from tests.support.clock import wait_until
from tests.support.service_manager import ListeningManager


class SlotListenersHarness:
    """Slots, and workers that are children of the test."""

    def __init__(self, manager: str | None = None, room: int = 0) -> None:
        self.harness = harness = WorkersHarness()
        self.telling = telling = SystemdNotifier(manager, asyncio.get_running_loop())
        self.slots = SlotListeners(
            harness.listeners,
            Steerer(),
            harness.orders,
            harness.workers,
            FdStore(telling, harness.listeners, room),
        )

    def hear(self) -> object:
        received = receive(self.harness.ends[0])
        assert received is not None
        message, fds = received
        for fd in fds:
            os.close(fd)
        return message


@pytest.fixture
async def slots_harness() -> AsyncIterator[SlotListenersHarness]:
    made = SlotListenersHarness()
    yield made
    await made.harness.close()


async def test_a_new_slot_has_its_own_listeners(
    slots_harness: SlotListenersHarness,
) -> None:
    slots_harness.slots.open(2)
    assert len(slots_harness.harness.listeners.own_of(2)) == 1


async def test_the_listener_of_a_new_slot_is_stored(tmp_path: Path) -> None:
    with ListeningManager(str(tmp_path / "notify")) as manager:
        slots_harness = SlotListenersHarness(manager.address, room=8)
        slots_harness.slots.open(2)
        manager.read()
        stored = [fd for found in manager.stored.values() for fd in found]
        identities = {os.fstat(fd).st_ino for fd in stored}
        (own,) = slots_harness.harness.listeners.own_of(2)
        assert os.fstat(own.sock.fileno()).st_ino in identities
        slots_harness.telling.notifier.close()
        await slots_harness.harness.close()


async def test_an_adopter_is_remembered_until_it_lets_go(
    slots_harness: SlotListenersHarness,
) -> None:
    slots_harness.harness.prepare()
    slots_harness.slots.adopt(1, by=1)
    assert isinstance(slots_harness.hear(), Adopt)
    assert slots_harness.slots.adopted == {1: 1}
    slots_harness.slots.release(1, by=1)
    assert slots_harness.hear() == Release(1)
    assert slots_harness.slots.adopted == {}


async def test_an_old_adopter_that_lets_go_does_not_free_the_new_ones(
    slots_harness: SlotListenersHarness,
) -> None:
    slots_harness.slots.adopt(1, by=1)
    slots_harness.slots.adopt(1, by=2)
    slots_harness.slots.release(1, by=1)
    assert slots_harness.slots.adopted == {1: 2}


async def test_at_the_last_call_a_slot_without_a_worker_refuses(
    slots_harness: SlotListenersHarness,
) -> None:
    harness = slots_harness.harness
    harness.prepare(slot=0)
    send(harness.ends[0], Ready())
    await wait_until(lambda: harness.workers.serving_slots == {0})
    (port,) = {group.endpoint.port for group in harness.listeners.groups}
    slots_harness.slots.close()
    served, alone = (harness.listeners.own_of(slot)[0].sock for slot in (0, 1))
    assert served.getsockopt(1, 30) == 1  # SO_ACCEPTCONN: it listens yet
    assert alone.getsockopt(1, 30) == 0
    assert port


async def test_a_path_that_is_removed_again_and_again_is_one_line_a_minute(
    slots_harness: SlotListenersHarness,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    harness, path = slots_harness.harness, tmp_path / "socket"
    harness.listeners.open(UnixAddress(str(path)))
    watch = ListenerWatch(
        harness.listeners,
        harness.workers,
        harness.readings,
        slots_harness.slots,
        Steerer(),
        lambda: False,
        lambda fact: None,
    )
    now = time.monotonic()
    for turn in range(3):
        path.unlink()
        watch.look(now + turn * EVERY_S)
        assert path.exists()
    assert caplog.text.count("was removed") == 1
