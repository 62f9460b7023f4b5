"""Messages of one worker for all others, as the master passes them on."""

import socket
from collections.abc import AsyncIterator

import pytest

from blazeio_supervisor.ipc.channel import ChildFault, receive
from blazeio_supervisor.ipc.messages import BROADCAST_BYTES, Broadcast, Ready
from blazeio_supervisor.master import worker_record as module
from blazeio_supervisor.master.worker_record import BroadcastCounts, BroadcastRelay
from tests.supervisor.master.workers_harness import WorkersHarness

HELLO = Broadcast(b"hello")


class Fleet:
    """Three workers, each played by the test.

    Attributes:
        now: What the relay takes for the time.
    """

    def __init__(self) -> None:
        self.harness = WorkersHarness()
        for worker in (1, 2, 3):
            self.harness.prepare(worker)
            self.harness.workers.records[worker].check(Ready())
        self.now = 0.0
        self.relay = BroadcastRelay(
            self.harness.workers.records, BroadcastCounts(), lambda: self.now
        )

    def end_of(self, worker: int) -> socket.socket:
        return self.harness.ends[worker - 1]

    def read(self, worker: int) -> list[bytes]:
        """What a worker has got since it last read."""
        end = self.end_of(worker)
        found: list[bytes] = []
        end.setblocking(False)
        while True:
            try:
                received = receive(end)
            except BlockingIOError:
                return found
            assert received is not None
            assert isinstance(received[0], Broadcast)
            found.append(received[0].payload)


@pytest.fixture
async def fleet() -> AsyncIterator[Fleet]:
    fleet = Fleet()
    yield fleet
    await fleet.harness.close()


async def test_all_others_get_it_in_order(fleet: Fleet) -> None:
    for number in range(10):
        fleet.relay.relay(Broadcast(b"%d" % number), 2)
    expected = [b"%d" % number for number in range(10)]
    assert fleet.read(1) == fleet.read(3) == expected
    assert fleet.read(2) == []
    assert fleet.relay.counts == BroadcastCounts(10, 20, 0)


async def test_who_is_not_ready_or_gone_gets_none(fleet: Fleet) -> None:
    records = fleet.harness.workers.records
    records[1].has_ready = False
    records[3].channel.close()
    fleet.relay.relay(HELLO, 2)
    assert fleet.read(1) == []
    assert fleet.relay.counts == BroadcastCounts(1, 0, 0)


async def test_who_does_not_read_gets_no_more_and_is_no_fault(fleet: Fleet) -> None:
    message = Broadcast(b"x" * BROADCAST_BYTES)
    for _ in range(200):
        fleet.read(3)
        fleet.relay.relay(message, 2)
    fleet.read(3)
    counts = fleet.relay.counts
    assert counts.delivered + counts.dropped == 400
    assert 0 < len(fleet.read(1)) == counts.delivered - 200
    assert fleet.harness.workers.records[1].channel.is_open
    fleet.relay.relay(HELLO, 2)
    assert fleet.read(1) == [b"hello"]


async def test_one_sender_has_a_budget_and_the_others_theirs(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MESSAGES_PER_S", 3)
    for _ in range(5):
        fleet.relay.relay(HELLO, 2)
    fleet.relay.relay(HELLO, 3)
    assert len(fleet.read(1)) == 4
    assert fleet.relay.counts == BroadcastCounts(6, 8, 4)
    fleet.now = 1.0
    fleet.relay.relay(HELLO, 2)
    assert len(fleet.read(1)) == 1


async def test_all_together_have_a_budget(
    fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DELIVERIES_PER_S", 5)
    for sender in (1, 2, 3):
        fleet.relay.relay(HELLO, sender)
    assert fleet.relay.counts == BroadcastCounts(3, 5, 1)


async def test_only_who_serves_sends_any(fleet: Fleet) -> None:
    record = fleet.harness.workers.records[1]
    record.check(HELLO)
    record.has_ready = False
    with pytest.raises(ChildFault, match="Broadcast"):
        record.check(HELLO)
