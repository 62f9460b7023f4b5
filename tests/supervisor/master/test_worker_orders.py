import os
import signal
import socket

import pytest

from blazeio_supervisor.fleet.actions import StopMode
from blazeio_supervisor.ipc.channel import receive, send
from blazeio_supervisor.ipc.messages import (
    Adopt,
    ListenerInfo,
    Ready,
    Release,
    ReopenLogs,
    ServeConnection,
)
from blazeio_supervisor.sockets.reuseport import list_sockets
from tests.supervisor.master.workers_harness import DRAIN, WorkersHarness
from tests.support.clock import wait_until


async def test_a_connection_is_handed_to_a_worker_that_accepts_none(
    harness: WorkersHarness,
) -> None:
    harness.fork()
    own = harness.orders.connect(1)
    assert own is not None
    with own:
        received = receive(harness.ends[0])
        assert received is not None
        message, (fd,) = received
        assert message == ServeConnection()
        with socket.socket(fileno=fd) as theirs:
            theirs.sendall(b"hello")
            assert own.recv(9) == b"hello"
    assert harness.orders.connect(9) is None


@pytest.mark.parametrize(
    ("mode", "number"),
    [(StopMode.TERM, signal.SIGTERM), (StopMode.KILL, signal.SIGKILL)],
)
async def test_a_worker_is_ended_by_signal(
    harness: WorkersHarness, mode: StopMode, number: int
) -> None:
    harness.fork()
    harness.orders.end(1, mode, DRAIN)
    assert (await harness.wait_exited()).status == -number


async def test_a_worker_is_asked_to_drain_over_its_channel(
    harness: WorkersHarness,
) -> None:
    harness.fork()
    send(harness.ends[0], Ready())
    await wait_until(lambda: harness.workers.serving_slots)
    harness.orders.end(1, StopMode.DRAIN, DRAIN)
    assert receive(harness.ends[0]) == (DRAIN, [])
    assert not harness.workers.serving_slots


async def test_one_that_was_ready_before_its_pid_is_known_is_asked_too(
    harness: WorkersHarness,
) -> None:
    harness.prepare()
    harness.orders.end(1, StopMode.DRAIN, DRAIN)
    assert receive(harness.ends[0]) == (DRAIN, [])


async def test_an_adopter_gets_the_queue_of_the_other_slot(
    harness: WorkersHarness,
) -> None:
    harness.fork()
    harness.orders.adopt(slot=1, by=1)
    received = receive(harness.ends[0])
    assert received is not None
    message, fds = received
    assert message == Adopt(1, (ListenerInfo(),))
    (wanted,) = list_sockets(harness.listeners.own_of(1))
    assert [os.readlink(f"/proc/self/fd/{fd}") for fd in fds] == [
        os.readlink(f"/proc/self/fd/{wanted.fileno()}")
    ]
    os.close(fds[0])
    harness.orders.release(slot=1, by=1)
    assert receive(harness.ends[0]) == (Release(1), [])


async def test_every_worker_is_told_to_reopen_its_logs(harness: WorkersHarness) -> None:
    harness.prepare(1, slot=0)
    harness.prepare(2, slot=1)
    harness.orders.reopen_logs([])
    assert [receive(end) for end in harness.ends] == [(ReopenLogs(), [])] * 2


async def test_orders_to_a_worker_that_is_gone_are_ignored(
    harness: WorkersHarness,
) -> None:
    harness.orders.end(9, StopMode.KILL, DRAIN)
    harness.orders.admit(9)
