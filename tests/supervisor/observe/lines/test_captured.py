import asyncio
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from blazeio_supervisor.observe.lines import captured as module
from blazeio_supervisor.observe.lines.captured import (
    LINE_BYTES,
    CapturedOutput,
    FrozenReader,
)
from blazeio_supervisor.observe.lines.formats import Origin
from blazeio_supervisor.observe.lines.handler import LineHandler
from blazeio_supervisor.observe.lines.terms import LogTerms
from tests.support.clock import wait_until


class Log:
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
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Log]:
    log = Log(tmp_path / "log")
    monkeypatch.setattr(
        module, "LineHandler", lambda is_journal: LineHandler(log.fd, is_journal=False)
    )
    yield log
    os.close(log.fd)


@pytest.fixture
async def captured(written: Log) -> CapturedOutput:
    return CapturedOutput(asyncio.get_running_loop(), LogTerms(is_json=True))


async def test_each_line_has_the_name_of_who_printed_it(
    captured: CapturedOutput, written: Log
) -> None:
    first, second = captured.open(Origin(slot=0)), captured.open(Origin(slot=1))
    first.sendall(b"a\nb\n")
    await wait_until(lambda: len(written.texts) == 2)
    second.sendall(b"c\n")
    await wait_until(lambda: len(written.texts) == 3)
    assert written.texts == [(0, "a"), (0, "b"), (1, "c")]
    first.close()
    second.close()
    captured.close()


async def test_a_line_waits_for_its_end_and_is_told_without_at_the_end(
    captured: CapturedOutput, written: Log
) -> None:
    theirs = captured.open(Origin())
    theirs.sendall(b"begin ")
    await asyncio.sleep(0)
    theirs.sendall(b"end\nlast")
    await wait_until(lambda: written.texts == [(None, "begin end")])
    theirs.close()
    await wait_until(lambda: len(written.texts) == 2)
    assert written.texts[-1] == (None, "last")


async def test_a_line_that_is_too_long_is_cut(
    captured: CapturedOutput, written: Log
) -> None:
    theirs = captured.open(Origin())
    theirs.sendall(b"x" * (LINE_BYTES + 5))
    await wait_until(lambda: written.texts == [(None, "x" * LINE_BYTES)])
    theirs.close()
    captured.close()
    assert written.texts[-1] == (None, "xxxxx")


async def test_closed_it_takes_what_was_printed_before(
    captured: CapturedOutput, written: Log
) -> None:
    theirs = captured.open(Origin())
    theirs.sendall(b"last words\n\xff\n")
    captured.close()
    assert written.texts == [(None, "last words"), (None, "\\xff")]
    theirs.close()


async def test_another_image_reads_on_where_one_was_frozen(
    captured: CapturedOutput, written: Log
) -> None:
    theirs = captured.open(Origin(slot=0))
    theirs.sendall(b"one\nbegin ")
    await wait_until(lambda: len(written.texts) == 1)
    octets = msgspec.msgpack.encode(captured.freeze())
    later = CapturedOutput(asyncio.get_running_loop(), LogTerms(is_json=True))
    later.thaw(
        msgspec.msgpack.decode(octets, type=list[FrozenReader]),
        lambda fd: socket.socket(fileno=os.dup(fd)),
    )
    (kept,) = captured._readers
    asyncio.get_running_loop().remove_reader(kept.sock.fileno())
    kept.sock.close()
    theirs.sendall(b"end\n")
    await wait_until(lambda: written.texts[1:] == [(0, "begin end")])
    theirs.close()
    later.close()
