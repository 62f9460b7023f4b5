import asyncio
import json
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from blazeio_supervisor.log.formats import LogConfig, LogOrigin
from blazeio_supervisor.log.setup import LineHandler
from blazeio_supervisor.master import output as module
from blazeio_supervisor.master.output import (
    LINE_BYTES,
    LINES_PER_TURN,
    PIECE_BYTES,
    CapturedOutput,
    OutputReader,
)
from tests.supervisor.copies import copy
from tests.support.clock import wait_until
from tests.support.lingering import LINGER_S, lingering


class CapturedLog:
    """A file in the place of standard error."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    @property
    def texts(self) -> list[tuple[int | None, str]]:
        """Slot and text of each line."""
        lines = [json.loads(line) for line in self._path.read_text().splitlines()]
        return [(line.get("slot"), line["text"]) for line in lines]


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[CapturedLog]:
    log = CapturedLog(tmp_path / "log")
    monkeypatch.setattr(
        module, "LineHandler", lambda is_journal: LineHandler(log.fd, is_journal=False)
    )
    yield log
    os.close(log.fd)


@pytest.fixture
async def captured(written: CapturedLog) -> CapturedOutput:
    return CapturedOutput(asyncio.get_running_loop(), LogConfig(is_json=True))


async def test_each_line_has_the_name_of_who_printed_it(
    captured: CapturedOutput, written: CapturedLog
) -> None:
    first, second = captured.open(LogOrigin(slot=0)), captured.open(LogOrigin(slot=1))
    first.sendall(b"a\nb\n")
    await wait_until(lambda: len(written.texts) == 2)
    second.sendall(b"c\n")
    await wait_until(lambda: len(written.texts) == 3)
    assert written.texts == [(0, "a"), (0, "b"), (1, "c")]
    first.close()
    second.close()
    captured.close()


async def test_a_line_waits_for_its_end_and_is_told_without_at_the_end(
    captured: CapturedOutput, written: CapturedLog
) -> None:
    theirs = captured.open(LogOrigin())
    theirs.sendall(b"begin ")
    await asyncio.sleep(0)
    theirs.sendall(b"end\nlast")
    await wait_until(lambda: written.texts == [(None, "begin end")])
    theirs.close()
    await wait_until(lambda: len(written.texts) == 2)
    assert written.texts[-1] == (None, "last")


async def test_a_line_that_is_too_long_is_cut(
    captured: CapturedOutput, written: CapturedLog
) -> None:
    theirs = captured.open(LogOrigin())
    theirs.sendall(b"x" * (LINE_BYTES + 5))
    await wait_until(lambda: written.texts == [(None, "x" * LINE_BYTES)])
    theirs.close()
    captured.close()
    assert written.texts[-1] == (None, "xxxxx")


async def test_closed_it_takes_what_was_printed_before(
    captured: CapturedOutput, written: CapturedLog
) -> None:
    theirs = captured.open(LogOrigin())
    theirs.sendall(b"last words\n\xff\n")
    captured.close()
    assert written.texts == [(None, "last words"), (None, "\\xff")]
    theirs.close()


async def test_another_image_reads_on_where_one_has_stopped(
    captured: CapturedOutput, written: CapturedLog
) -> None:
    theirs = captured.open(LogOrigin(slot=0))
    theirs.sendall(b"one\nbegin ")
    await wait_until(lambda: len(written.texts) == 1)
    later = CapturedOutput(
        asyncio.get_running_loop(),
        LogConfig(is_json=True),
        copy(captured._readers, list[OutputReader]),
    )
    later.resume()
    (kept,) = captured._readers
    asyncio.get_running_loop().remove_reader(kept.sock.fileno())
    kept.sock.close()
    theirs.sendall(b"end\n")
    await wait_until(lambda: written.texts[1:] == [(0, "begin end")])
    theirs.close()
    later.close()


async def test_one_that_prints_without_end_leaves_turns_to_others(
    captured: CapturedOutput, written: CapturedLog
) -> None:
    loud, quiet = captured.open(LogOrigin(slot=0)), captured.open(LogOrigin(slot=1))
    loud.setblocking(False)
    flood = b"x\n" * (PIECE_BYTES // 2)
    loud.send(flood)
    quiet.sendall(b"hello\n")
    turns = 0
    while (1, "hello") not in written.texts:
        await asyncio.sleep(0)
        turns += 1
    assert turns < 10
    assert len(written.texts) <= (turns + 1) * LINES_PER_TURN + 1
    await wait_until(lambda: len(written.texts) == PIECE_BYTES // 2 + 1)
    loud.close()
    quiet.close()
    captured.close()


async def test_the_end_waits_for_nobody_who_prints_without_end(
    captured: CapturedOutput,
    written: CapturedLog,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "LAST_BYTES", 4 * PIECE_BYTES)
    theirs = captured.open(LogOrigin())
    is_over = threading.Event()

    def print_on() -> None:
        try:
            while not is_over.is_set():
                theirs.sendall(b"x" * 999 + b"\n")
        except OSError:
            pass  # nobody reads any more

    thread = threading.Thread(target=print_on)
    thread.start()
    await wait_until(lambda: written.texts)
    captured.close()
    is_over.set()
    await asyncio.to_thread(thread.join)
    theirs.close()


async def test_descriptors_in_what_is_printed_are_refused(
    captured: CapturedOutput,
) -> None:
    faults: list[str] = []
    captured.on_fault = lambda _, fault: faults.append(fault)
    theirs = captured.open(LogOrigin(worker=1))
    before = len(os.listdir("/proc/self/fd"))
    socket.send_fds(theirs, [b"hello\n"], [0] * 50)
    await wait_until(lambda: faults)
    assert "50 descriptors" in faults[0]
    await wait_until(lambda: len(os.listdir("/proc/self/fd")) < before)
    theirs.close()


async def test_descriptors_behind_a_fault_hold_up_nobody(
    captured: CapturedOutput,
) -> None:
    faults: list[str] = []
    captured.on_fault = lambda _, fault: faults.append(fault)
    theirs = captured.open(LogOrigin(worker=1))
    with lingering() as sender:
        for _ in range(2):
            socket.send_fds(theirs, [b"hello\n"], [sender.fileno()])
        sender.close()
        began_at = time.monotonic()
        await wait_until(lambda: faults)
        theirs.close()
        captured.close()
        assert time.monotonic() - began_at < LINGER_S / 2


async def test_the_end_takes_what_many_have_printed_for_a_moment_only(
    captured: CapturedOutput, written: CapturedLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LAST_S", 0.0)
    ends = [captured.open(LogOrigin(slot=slot)) for slot in range(3)]
    for end in ends:
        end.sendall(b"one\n" * PIECE_BYTES)
    captured.close()
    assert len(written.texts) <= PIECE_BYTES // len(b"one\n") + 1
    for end in ends:
        end.close()


async def test_of_what_workers_leave_behind_only_some_is_read(
    captured: CapturedOutput, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST_ORPHANS", 2)
    ends = [captured.open(LogOrigin(worker=worker)) for worker in range(1, 6)]
    for worker in range(1, 5):
        captured.note_end(worker)
    await wait_until(lambda: len(captured._readers) == 3)
    assert {each.origin.worker for each in captured._readers} == {3, 4, 5}
    for end in ends:
        end.close()
    await wait_until(lambda: not captured._readers)
