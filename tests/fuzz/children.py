"""Random octets from forkservers and workers, to all that the master reads of them.

    python -m tests.fuzz.children --seconds 600

Each input is what they send, cut, spliced and repeated at random by a seed, or
nothing but noise. Whatever comes: nothing is raised but the documented error, what
is read lies within its bounds, no descriptor is left, and no input takes much more
time than its octets.
"""

import asyncio
import logging
import math
import os
import random
import resource
import socket
import struct
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from blazeio_supervisor.ipc.channel import ChildChannel
from blazeio_supervisor.ipc.messages import (
    Address,
    Admit,
    Failed,
    Fork,
    Forked,
    ForkFailed,
    FromForkserver,
    FromWorker,
    Loaded,
    Message,
    Quit,
    Ready,
    Unsafe,
    WorkerEvent,
)
from blazeio_supervisor.ipc.packing import (
    TEXT_CHARS,
    TRACEBACK_CHARS,
    MessageError,
    parse_from_forkserver,
    parse_from_worker,
    parse_message,
    serialize_message,
)
from blazeio_supervisor.ipc.scoreboard import (
    LONGEST_BYTES,
    MOST,
    ROW_BYTES,
    Row,
    RowAllocator,
    make_row_memory,
)
from blazeio_supervisor.ipc.signals import make_child_pair
from blazeio_supervisor.log.formats import LogOrigin, find_subject, trim_stacks
from blazeio_supervisor.log.setup import LineHandler
from blazeio_supervisor.master.components import STATE_VERSION, StateError, load_state
from blazeio_supervisor.master.forkservers import ForkserverRecord
from blazeio_supervisor.master.output import OutputReader
from blazeio_supervisor.master.worker_record import WorkerRecord
from tests.fuzz import runner
from tests.support.clock import scaled

LONGEST_BYTES_SENT = 70_000
SLOWEST_S = 1.0
"""Of one input; the usual one takes less than a millisecond."""

SEEDS = [
    serialize_message(message)
    for message in (
        Address("127.0.0.1", 8000),
        Ready(is_tls=True),
        WorkerEvent("requests_cut", "two are cut", "Traceback"),
        Failed(3, "no database", "Traceback"),
        Loaded("::1", 65535),
        Unsafe(("a thread", "a loop")),
        Forked(7, 4711),
        ForkFailed(7, "no room"),
        Fork(1, 0),
        Quit(),
    )
]
_PIECES = (
    b"", b"\xc0", b"\xc1", b"\x80", b"\x90", b"\xd9\xff", b"\xdb\xff\xff\xff\xff",
    b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xcf" + b"\xff" * 8,
    b"\xd3\x80" + bytes(7), b"\xcb\x7f\xf8" + bytes(6), b"\xff", b"\0",
    b"\xa4type", b"\xa5Ready", b"\x81", b"\x91", b"\xd4\x01\x00", b"\xed\xa0\x80",
)  # fmt: skip


def mutate(octets: bytes, chance: random.Random, seeds: Sequence[bytes]) -> bytes:
    """Change octets, with pieces of messages."""
    return runner.change(octets, chance, seeds, _PIECES, LONGEST_BYTES_SENT)


def draw(chance: random.Random) -> bytes:
    """A message, or what is left of it."""
    if chance.random() < 0.05:
        return chance.randbytes(chance.randrange(200))
    return mutate(chance.choice(SEEDS), chance, SEEDS)


# The decoders


def read_messages(octets: bytes, chance: random.Random) -> None:
    """One message, as of whoever may have sent it."""
    parsers: tuple[Callable[[bytes], Message], ...]
    parsers = parse_from_worker, parse_from_forkserver, parse_message
    for parse in parsers:
        try:
            message = parse(octets)
        except MessageError as error:
            require_short(str(error))
            continue
        assert parse(serialize_message(message)) == message
        if parse is not parse_message:
            check_texts(message)


def require_short(text: str) -> None:
    assert len(text) < 1_000
    assert "\n" not in text


def check_texts(message: Message) -> None:
    for name, value in msgspec.structs.asdict(message).items():
        if isinstance(value, str):
            most = TRACEBACK_CHARS if name == "traceback" else TEXT_CHARS
            assert len(value) <= most
        elif isinstance(value, int):
            assert 0 <= value <= 2**53


def read_row(octets: bytes, chance: random.Random) -> None:
    """A row that somebody has written over."""
    row = Row(make_row_memory())
    try:
        _scribble(row, octets, chance)
        reading, tally, longest = row.read(), row.read_tally(), row.read_longest()
        *numbers, threads = msgspec.structs.astuple(reading)
        numbers += msgspec.structs.astuple(threads)
        assert all(math.isfinite(each) and 0 <= each <= MOST for each in numbers)
        assert all(0 <= each <= MOST for each in tally.cells)
        assert reading.beat_at <= time.monotonic()
        assert sum(tally.lag.counts) >= 0
        for status in ("none", "1xx", "2xx", "3xx", "4xx", "5xx"):
            assert tally.latency(status).count >= 0
        if longest is not None:
            assert len(longest.text) <= LONGEST_BYTES
            assert longest.begun_at <= time.monotonic()
        assert b"NaN" not in msgspec.json.encode((reading, longest))
    finally:
        ledger = RowAllocator()
        ledger.fold(row, 0)
    assert 0 <= ledger.past[0].requests <= MOST


def _scribble(row: Row, octets: bytes, chance: random.Random) -> None:
    kinds = (math.nan, math.inf, -math.inf, -1.0, 2.0**60, 1e308, 5e-324, 0.0, 7.0)
    for _ in range(chance.choice((1, 5, 300))):
        cell = struct.pack("d", chance.choice(kinds))
        os.pwrite(row.fileno(), cell, 8 * chance.randrange(ROW_BYTES // 8))
    if chance.random() < 0.5:
        noise = (octets or b"x") * (ROW_BYTES // max(len(octets), 1) + 1)
        os.pwrite(row.fileno(), noise[:ROW_BYTES], 0)


def read_output(octets: bytes, chance: random.Random) -> None:
    """What a process prints, cut anywhere: the same lines, whole."""
    lines: list[str] = []

    class Keeper(LineHandler):
        def emit(self, record: logging.LogRecord) -> None:
            text = record.getMessage()
            assert len(text) <= 4 * 2 * 16 * 1024
            lines.append(text)

    own, theirs = socket.socketpair()
    own.setblocking(False)
    reader, keeper = OutputReader(own, LogOrigin()), Keeper()
    sent = octets + chance.choice((b"", b"\n", b"\n" * 500, b"end"))
    for at in range(0, len(sent), most := chance.choice((1 + len(sent), 700, 9000))):
        theirs.sendall(sent[at : at + most])
        while reader.reads(keeper, chance.choice((1, 64, None))) or reader.has_lines:
            reader.write(keeper, chance.choice((1, 64)))
    theirs.close()
    while reader.reads(keeper, None):
        pass
    reader.close(keeper)
    whole = sent.decode("utf-8", "backslashreplace")
    if max(map(len, sent.split(b"\n"))) < 16 * 1024 and b"\xed\xa0" not in sent:
        assert "\n".join(lines).split("\n") == whole.removesuffix("\n").split("\n") or (
            not lines
        )


def read_stacks(octets: bytes, chance: random.Random) -> None:
    """What a worker says of where it is."""
    words = (
        *("worker=1 pid=", "1: ", "\n", '  File "', " pid=1", "\u2028", "x" * 50),
        *("/blazeio_supervisor/worker/", 'worker.py", line 1 in _serve'),
    )
    text = "".join(chance.choice(words) for _ in range(200))
    text = (text + octets.decode("utf-8", "replace")) * chance.choice((1, 20))
    assert len(trim_stacks(text)) <= 16 * 1024
    assert "\n" not in find_subject(text)


STAND_IN = socket.socket()
"""For every descriptor of a state."""


def read_state(octets: bytes, chance: random.Random) -> None:
    """The state of another image."""
    place = Path(__file__).parents[1] / "supervisor" / "master"
    recorded = bytes.fromhex((place / f"state-{STATE_VERSION}.hex").read_text())
    for each in (octets, mutate(recorded, chance, [recorded[:50], *SEEDS])):
        try:
            load_state(each, lambda _: STAND_IN)
        except StateError as error:
            require_short(str(error))


TARGETS: dict[str, Callable[[bytes, random.Random], None]] = {
    "messages": read_messages,
    "row": read_row,
    "output": read_output,
    "stacks": read_stacks,
    "state": read_state,
}


def fuzz(name: str, seconds: float, seed: int) -> int:
    """Give random inputs to one decoder: see ``runner.try_inputs``."""
    return runner.try_inputs(
        name, TARGETS[name], draw, seconds=seconds, seed=seed, slowest_s=SLOWEST_S
    )


# Whole conversations


class ChildConversation:
    """The master's end of a channel, and a child that says anything."""

    def __init__(self, chance: random.Random) -> None:
        own, self.end = make_child_pair()
        self.end.setblocking(False)
        self.faults: list[str] = []
        self.heard = 0
        self.is_worker = chance.random() < 0.5
        loop = asyncio.get_running_loop()
        self._record = (
            WorkerRecord(1, 0, 1, None, None, None)  # type: ignore[arg-type]
            if self.is_worker
            else ForkserverRecord(1, 7, None, True, "")  # type: ignore[arg-type]
        )
        parse = parse_from_worker if self.is_worker else parse_from_forkserver
        self.channel = ChildChannel[FromWorker | FromForkserver](own)
        self.channel.start(
            loop,
            parse=parse,
            on_message=self._hear,
            on_fault=self.faults.append,
            on_end=lambda: None,
            is_sender=lambda pid: pid == os.getpid(),
            on_foreign=lambda pid: None,
        )

    def _hear(self, message: FromWorker | FromForkserver, sender: int) -> None:
        assert self.channel.is_open
        assert not self.faults, "it is heard on"
        self._record.check(message)  # type: ignore[arg-type]
        self.heard += 1
        assert self.heard <= 12 or not self.is_worker

    def say(self, chance: random.Random) -> None:
        octets = draw(chance)
        fds = [0] * chance.choice((0, 0, 0, 0, 1, 3, 253))
        try:
            socket.send_fds(self.end, [octets], fds)
            if chance.random() < 0.1:
                self.end.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it is full, or closed by the other side

    async def end_it(self, chance: random.Random) -> None:
        for _ in range(chance.choice((0, 1, 200))):
            self.channel.send(Admit(), [self.end])
        if chance.random() < 0.5:
            await asyncio.sleep(0)
        if chance.random() < 0.5:
            self.end.close()
        self.channel.read_rest()
        assert not self.channel.is_open
        assert len(self.faults) <= 1
        self.end.close()


async def converse(seconds: float, seed: int) -> int:
    """Talk in whole conversations; how many."""
    chance = random.Random(f"talks {seed}")
    before = len(os.listdir("/proc/self/fd"))
    ends_at = time.monotonic() + seconds
    count = 0
    loop = asyncio.get_running_loop()
    failures: list[object] = []
    loop.set_exception_handler(lambda _, context: failures.append(context))
    while time.monotonic() < ends_at or not count:
        talk = ChildConversation(chance)
        for _ in range(chance.choice((1, 2, 5, 100))):
            talk.say(chance)
            if chance.random() < 0.5:
                await asyncio.sleep(0)
        await talk.end_it(chance)
        assert not failures, (seed, count, failures)
        count += 1
    gives_up_at = time.monotonic() + scaled(5)
    while len(os.listdir("/proc/self/fd")) > before:  # closed in a thread
        assert time.monotonic() < gives_up_at, "descriptors are left"
        await asyncio.sleep(0.01)
    return count


def main() -> None:
    """Fuzz each for its share of the time; the first finding ends it."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    runner.run("tests.fuzz.children", TARGETS, fuzz, converse)


if __name__ == "__main__":
    main()
