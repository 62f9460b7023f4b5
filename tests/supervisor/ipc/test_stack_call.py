import asyncio
import socket
import time
from collections.abc import AsyncIterator

import pytest

from blazeio_supervisor.ipc.inspection import (
    MOST_BYTES,
    STACKS_BYTES,
    StackCall,
    Stacks,
)
from blazeio_supervisor.ipc.signals import STACKS_END
from tests.support.clock import wait_until
from tests.support.lingering import LINGER_S, lingering


class StackCallHarness:
    """Both ends; what a worker says is said by hand."""

    def __init__(self) -> None:
        own, self.worker = socket.socketpair()
        self.faults: list[str] = []
        loop = asyncio.get_running_loop()
        self.call = StackCall(own)
        self.call.start(loop, self.faults.append)
        self.asked = 0

    def ask(self, timeout_s: float = 5.0) -> asyncio.Task[Stacks]:
        return asyncio.create_task(self.call.ask(self._note, timeout_s))

    def _note(self) -> None:
        self.asked += 1


@pytest.fixture
async def harness() -> AsyncIterator[StackCallHarness]:
    made = StackCallHarness()
    yield made
    made.call.close()
    made.worker.close()


async def test_an_answer_ends_with_its_end(harness: StackCallHarness) -> None:
    asking = harness.ask()
    await wait_until(lambda: harness.asked)
    harness.worker.sendall(b"threads\n")
    harness.worker.sendall(b"tasks\n" + STACKS_END)
    assert await asking == Stacks("threads\ntasks\n", True)


async def test_what_is_there_by_then_is_given(harness: StackCallHarness) -> None:
    asking = harness.ask(timeout_s=0.1)
    harness.worker.sendall(b"threads\n")
    assert await asking == Stacks("threads\n", False)


async def test_what_comes_late_is_no_part_of_the_next_answer(
    harness: StackCallHarness,
) -> None:
    assert await harness.ask(timeout_s=0.01) == Stacks("", False)
    harness.worker.sendall(b"late" + STACKS_END)
    await wait_until(lambda: not is_readable(harness))
    asking = harness.ask()
    await wait_until(lambda: harness.asked == 2)
    harness.worker.sendall(b"new" + STACKS_END)
    assert await asking == Stacks("new", True)


def is_readable(harness: StackCallHarness) -> bool:
    try:
        return bool(harness.call._sock.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False


async def test_two_who_ask_get_one_answer(harness: StackCallHarness) -> None:
    both = asyncio.gather(harness.ask(), harness.ask())
    await wait_until(lambda: harness.asked)
    harness.worker.sendall(b"once" + STACKS_END)
    assert list(await both) == [Stacks("once", True)] * 2
    assert harness.asked == 1


async def test_a_worker_that_dies_ends_it(harness: StackCallHarness) -> None:
    asking = harness.ask()
    await wait_until(lambda: harness.asked)
    harness.worker.close()
    assert await asking == Stacks("", False)


async def test_what_is_longer_than_its_bound_is_cut(harness: StackCallHarness) -> None:
    asking = harness.ask()
    await wait_until(lambda: harness.asked)
    octets = b"x" * (STACKS_BYTES + 9) + STACKS_END
    await asyncio.to_thread(harness.worker.sendall, octets)
    answer = await asking
    assert (len(answer.text), answer.is_whole) == (STACKS_BYTES, False)


async def test_one_that_speaks_without_end_is_accused(
    harness: StackCallHarness,
) -> None:
    piece = bytes(STACKS_BYTES)
    for _ in range(MOST_BYTES // STACKS_BYTES):
        await asyncio.to_thread(harness.worker.sendall, piece)
    assert harness.faults == []
    await asyncio.to_thread(harness.worker.sendall, b"x")
    await wait_until(lambda: harness.faults)
    assert "its stacks" in harness.faults[0]


async def test_a_question_renews_what_may_be_said(harness: StackCallHarness) -> None:
    piece = bytes(STACKS_BYTES)
    for _ in range(2 * MOST_BYTES // STACKS_BYTES):
        asking = harness.ask()
        await asyncio.to_thread(harness.worker.sendall, piece + STACKS_END)
        await asking
    assert harness.faults == []


async def test_descriptors_behind_a_fault_hold_up_nobody() -> None:
    """They are of a socket whose close waits for a peer that does not read."""
    harness = StackCallHarness()
    with lingering() as sender:
        for _ in range(2):
            socket.send_fds(harness.worker, [b"x"], [sender.fileno()])
        sender.close()
        await wait_until(lambda: harness.faults)
        harness.worker.close()
        began_at = time.monotonic()
        harness.call.close()
        assert time.monotonic() - began_at < LINGER_S / 2
