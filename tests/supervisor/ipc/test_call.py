import asyncio
import socket
import time
from collections.abc import AsyncIterator

import pytest

from blazeio_supervisor.ipc.stacks import (
    ANSWER_BYTES,
    END,
    MOST_BYTES,
    StackCall,
    Stacks,
)
from tests.support.clock import wait_until
from tests.support.lingering import LINGER_S, lingering


class Line:
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
async def line() -> AsyncIterator[Line]:
    made = Line()
    yield made
    made.call.close()
    made.worker.close()


async def test_an_answer_ends_with_its_end(line: Line) -> None:
    asking = line.ask()
    await wait_until(lambda: line.asked)
    line.worker.sendall(b"threads\n")
    line.worker.sendall(b"tasks\n" + END)
    assert await asking == Stacks("threads\ntasks\n", True)


async def test_what_is_there_by_then_is_given(line: Line) -> None:
    asking = line.ask(timeout_s=0.1)
    line.worker.sendall(b"threads\n")
    assert await asking == Stacks("threads\n", False)


async def test_what_comes_late_is_no_part_of_the_next_answer(line: Line) -> None:
    assert await line.ask(timeout_s=0.01) == Stacks("", False)
    line.worker.sendall(b"late" + END)
    await wait_until(lambda: not is_readable(line))
    asking = line.ask()
    await wait_until(lambda: line.asked == 2)
    line.worker.sendall(b"new" + END)
    assert await asking == Stacks("new", True)


def is_readable(line: Line) -> bool:
    try:
        return bool(line.call._sock.recv(1, socket.MSG_PEEK))
    except BlockingIOError:
        return False


async def test_two_who_ask_get_one_answer(line: Line) -> None:
    both = asyncio.gather(line.ask(), line.ask())
    await wait_until(lambda: line.asked)
    line.worker.sendall(b"once" + END)
    assert list(await both) == [Stacks("once", True)] * 2
    assert line.asked == 1


async def test_a_worker_that_dies_ends_it(line: Line) -> None:
    asking = line.ask()
    await wait_until(lambda: line.asked)
    line.worker.close()
    assert await asking == Stacks("", False)


async def test_what_is_longer_than_its_bound_is_cut(line: Line) -> None:
    asking = line.ask()
    await wait_until(lambda: line.asked)
    octets = b"x" * (ANSWER_BYTES + 9) + END
    await asyncio.to_thread(line.worker.sendall, octets)
    answer = await asking
    assert (len(answer.text), answer.is_whole) == (ANSWER_BYTES, False)


async def test_one_that_speaks_without_end_is_accused(line: Line) -> None:
    piece = bytes(ANSWER_BYTES)
    for _ in range(MOST_BYTES // ANSWER_BYTES):
        await asyncio.to_thread(line.worker.sendall, piece)
    assert line.faults == []
    await asyncio.to_thread(line.worker.sendall, b"x")
    await wait_until(lambda: line.faults)
    assert "its stacks" in line.faults[0]


async def test_a_question_renews_what_may_be_said(line: Line) -> None:
    piece = bytes(ANSWER_BYTES)
    for _ in range(2 * MOST_BYTES // ANSWER_BYTES):
        asking = line.ask()
        await asyncio.to_thread(line.worker.sendall, piece + END)
        await asking
    assert line.faults == []


async def test_descriptors_behind_a_fault_hold_up_nobody() -> None:
    """They are of a socket whose close waits for a peer that does not read."""
    line = Line()
    with lingering() as sender:
        for _ in range(2):
            socket.send_fds(line.worker, [b"x"], [sender.fileno()])
        sender.close()
        await wait_until(lambda: line.faults)
        line.worker.close()
        began_at = time.monotonic()
        line.call.close()
        assert time.monotonic() - began_at < LINGER_S / 2
