import asyncio
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from blazeio_supervisor.ipc.channel import receive, send
from blazeio_supervisor.ipc.messages import Adopt, Ready, Release
from blazeio_supervisor.master.listeners import SlotListeners
from blazeio_supervisor.master.systemd import FdStore, SystemdNotifier
from blazeio_supervisor.sockets.listeners import Steerer
from tests.supervisor.master.bench import Bench
from tests.support.clock import wait_until
from tests.support.service_manager import ListeningManager


class Table:
    """Slots, and workers that are children of the test."""

    def __init__(self, manager: str | None = None, room: int = 0) -> None:
        self.bench = bench = Bench()
        self.telling = telling = SystemdNotifier(manager, asyncio.get_running_loop())
        self.slots = SlotListeners(
            bench.listeners,
            Steerer(),
            bench.orders,
            bench.workers,
            FdStore(telling, bench.listeners, room),
        )

    def hear(self) -> object:
        received = receive(self.bench.ends[0])
        assert received is not None
        message, fds = received
        for fd in fds:
            os.close(fd)
        return message


@pytest.fixture
async def table() -> AsyncIterator[Table]:
    made = Table()
    yield made
    await made.bench.close()


async def test_a_new_slot_has_its_own_listeners(table: Table) -> None:
    table.slots.open(2)
    assert len(table.bench.listeners.own_of(2)) == 1


async def test_the_listener_of_a_new_slot_is_stored(tmp_path: Path) -> None:
    with ListeningManager(str(tmp_path / "notify")) as manager:
        table = Table(manager.address, room=8)
        table.slots.open(2)
        manager.read()
        stored = [fd for found in manager.stored.values() for fd in found]
        identities = {os.fstat(fd).st_ino for fd in stored}
        (own,) = table.bench.listeners.own_of(2)
        assert os.fstat(own.sock.fileno()).st_ino in identities
        table.telling.notifier.close()
        await table.bench.close()


async def test_an_adopter_is_remembered_until_it_lets_go(table: Table) -> None:
    table.bench.prepare()
    table.slots.adopt(1, by=1)
    assert isinstance(table.hear(), Adopt)
    assert table.slots.adopted == {1: 1}
    table.slots.release(1, by=1)
    assert table.hear() == Release(1)
    assert table.slots.adopted == {}


async def test_an_old_adopter_that_lets_go_does_not_free_the_new_ones(
    table: Table,
) -> None:
    table.slots.adopt(1, by=1)
    table.slots.adopt(1, by=2)
    table.slots.release(1, by=1)
    assert table.slots.adopted == {1: 2}


async def test_at_the_last_call_a_slot_without_a_worker_refuses(table: Table) -> None:
    bench = table.bench
    bench.prepare(slot=0)
    send(bench.ends[0], Ready())
    await wait_until(lambda: bench.workers.serving_slots == {0})
    (port,) = {group.endpoint.port for group in bench.listeners.groups}
    table.slots.call_last()
    served, alone = (bench.listeners.own_of(slot)[0].sock for slot in (0, 1))
    assert served.getsockopt(1, 30) == 1  # SO_ACCEPTCONN: it listens yet
    assert alone.getsockopt(1, 30) == 0
    assert port
