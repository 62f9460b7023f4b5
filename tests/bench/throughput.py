"""Large bodies over one connection: ``make bench ARGS='--suite throughput'``.

Upload to a handler that counts, with a Content-Length and in chunks of 64 KiB,
and download in writes of 64 KiB; the server on one core, the client on another.
The rounds of the servers take turns, so that a busy machine hits all of them;
the median counts. Memory is the highest peak above what it was before.
"""

import os
import statistics
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from tests.bench.bulk_client import download, upload, upload_chunked
from tests.bench.contestants import Contestant
from tests.bench.serving import Served, serving

GIB = 1024**3
WARM_UP_BYTES = 64 * 1024**2
Move = Callable[[int, int], float]
MOVES: dict[str, Move] = {
    "upload": upload,
    "upload, chunked": upload_chunked,
    "download": download,
}


@dataclass(frozen=True, slots=True)
class Throughput:
    """One kind of body, moved by one contestant.

    Attributes:
        name: Of the contestant.
        move: The kind.
        gb_per_s: 1e9 octets a second; the median of the rounds.
        cpu_s_per_gib: CPU time of the server's process tree, likewise.
        grown_bytes: Peak memory of the tree above the memory before.
    """

    name: str
    move: str
    gb_per_s: float
    cpu_s_per_gib: float
    grown_bytes: int


def measure_throughput(
    contestants: Sequence[Contestant],
    *,
    size: int,
    rounds: int,
    server_core: int,
    load_core: int,
    say: Callable[[str], None],
) -> list[Throughput]:
    """Every move of every contestant.

    Raises:
        DidNotServeError: One did not come up.
        WrongCountError: One lost octets.
    """
    results: list[Throughput] = []
    with ExitStack() as stack:
        served = {
            each.name: stack.enter_context(serving(each, server_core))
            for each in contestants
        }
        stack.enter_context(_running_on(load_core))
        for move in MOVES:
            say(move)
            results += _measure_move(move, served, size, rounds)
    return results


def _measure_move(
    move: str, served: dict[str, Served], size: int, rounds: int
) -> Iterator[Throughput]:
    for each in served.values():
        MOVES[move](each.port, WARM_UP_BYTES)
    spans: dict[str, list[tuple[float, float]]] = {name: [] for name in served}
    grown = dict.fromkeys(served, 0)
    for _ in range(rounds):
        for name, each in served.items():
            before_bytes, before_s = each.reset_peak_bytes(), each.cpu_s()
            took_s = MOVES[move](each.port, size)
            spans[name].append((took_s, each.cpu_s() - before_s))
            grown[name] = max(grown[name], each.peak_bytes() - before_bytes)
    for name in served:
        took_s, cpu_s = map(statistics.median, zip(*spans[name], strict=True))
        yield Throughput(
            name=name,
            move=move,
            gb_per_s=size / took_s / 1e9,
            cpu_s_per_gib=cpu_s * GIB / size,
            grown_bytes=grown[name],
        )


@contextmanager
def _running_on(core: int) -> Iterator[None]:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)
