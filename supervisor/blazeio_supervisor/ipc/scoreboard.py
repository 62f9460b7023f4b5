"""What each worker writes about itself, in a memory that it shares with the master.

A memfd for each worker's life, sealed: without the seals app code in
a worker could shrink it, and the master's next read would be a SIGBUS. A worker
has the descriptor of its own row only, so it can write over nobody else's; the
master maps all of them. A row is never used again: what a dead worker has left
behind may still map it. (One row per slot had two writers during a reload and
lost half of the counts.)

Cells are floats of 8 octets, aligned, written whole, so a reader never sees half
of one. Two cells of a row may be of different moments. Behind the cells stand the
last requests that began, in a ring, and the one that has been in flight for
longest, as texts.

A worker runs foreign code, so a row may hold anything. Its readers get only what
a worker can mean: each value is checked here, where it is read, and one that
cannot be is read as 0 and noted in ``Row.fault``.
"""

import fcntl
import mmap
import os
import struct
import sys
import time
from bisect import bisect_left
from contextlib import suppress
from typing import Any

from msgspec import Struct
from msgspec.structs import astuple

from blazeio_supervisor.ipc.row_tables import (
    REGION_BYTES,
    ROUTES_BYTES,
    AppRegion,
    AppTotals,
    RegionReader,
    RouteReading,
    RouteTallies,
)

# What a worker counts, as a value: workers add up, also over their deaths.
#
# All of it lies side by side in a row of the scoreboard (``scoreboard.Row``), so
# that a reader takes it by one slice. Every cell is a float: written and read
# that way it costs a tenth less, and whole numbers are exact up to 2**53.
#
# A response is one more in one cell, by its status class and its span at once:
# the number of requests is the sum of their histogram, and can never differ.
#
# Usual ones (``RequestTally``) are counted beside it, by one write each: they
# are added up in one number, which has room for a batch of them,
#
#     half * HALF + count * ONE + octets of content + seconds
#
# A full batch is added to sums, which are there twice: they are written where nobody
# reads, then the number that begins the next batch says which half is meant. So who is
# killed in between has lost nothing.


STATUS_CLASSES = ("none", "1xx", "2xx", "3xx", "4xx", "5xx")
"""``none``: the client was gone, or was cut off, before an answer began."""

LATENCY_EDGES_S = (
    float("-inf"),
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
    float("inf"),
)
"""The spans of responses that end in bucket ``n`` are above edge ``n-1``, and at
most edge ``n``. In place of bucket 0 stands the sum of all spans."""

LAG_EDGES_S = (
    float("-inf"),
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
    float("inf"),
)
"""The edges of how late the beats of the event loop came, in the same way."""

# Places in the slice.
REQUESTS = 0
REQUEST_BYTES = 1
RESPONSE_BYTES = 2
HTTP2_REQUESTS = 3
LAG = 4
RESPONSES = LAG + len(LAG_EDGES_S)
CELL_COUNT = RESPONSES + len(STATUS_CLASSES) * len(LATENCY_EDGES_S)


USUAL_BYTES = 4096
"""The content of a usual response is shorter."""
BATCH = 64
"""Fewer usual responses are added up in one number; all their seconds are below one."""
ONE = USUAL_BYTES * BATCH
HALF = ONE * BATCH


class Histogram(Struct, frozen=True):
    """How often a span fell into each bucket.

    Attributes:
        total_s: All spans together.
        bounds_s: The upper end of each bucket; the last one has none.
        counts: By bucket, not cumulative.
    """

    total_s: float
    bounds_s: tuple[float, ...]
    counts: tuple[int, ...]

    @property
    def count(self) -> int:
        """The number of spans."""
        return sum(self.counts)


class Tally(Struct, frozen=True):
    """What was counted; ``a + b`` is what both have.

    Attributes:
        cells: The cells in the order of a row.
    """

    cells: tuple[float, ...] = (0.0,) * CELL_COUNT

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(tuple(a + b for a, b in zip(self.cells, other.cells, strict=True)))

    @property
    def requests(self) -> int:
        """Requests begun."""
        return int(self.cells[REQUESTS])

    @property
    def http2_requests(self) -> int:
        """How many of these came by HTTP/2."""
        return int(self.cells[HTTP2_REQUESTS])

    @property
    def request_bytes(self) -> int:
        """Octets of content received; of requests that are over."""
        return int(self.cells[REQUEST_BYTES])

    @property
    def response_bytes(self) -> int:
        """Octets of content sent; of requests that are over."""
        return int(self.cells[RESPONSE_BYTES])

    @property
    def lag(self) -> Histogram:
        """How late the beats of the event loop came."""
        return self._histogram(LAG, LAG_EDGES_S)

    def latency(self, status_class: str) -> Histogram:
        """From the head of the request to the end of its response."""
        first = first_cell(STATUS_CLASSES.index(status_class) * 100)
        return self._histogram(first, LATENCY_EDGES_S)

    def count_spans(self) -> tuple[int, ...]:
        """Count the responses by how long they took, whatever their status."""
        spans = [self.latency(each).counts for each in STATUS_CLASSES]
        return tuple(map(sum, zip(*spans, strict=True)))

    def _histogram(self, first: int, edges_s: tuple[float, ...]) -> Histogram:
        counts = self.cells[first + 1 : first + len(edges_s)]
        return Histogram(self.cells[first], edges_s[1:], tuple(map(int, counts)))


def first_cell(status: int) -> int:
    """Find the cells of a status: the sum of its spans, then the buckets."""
    return RESPONSES + status // 100 * len(LATENCY_EDGES_S)


class Batch(Struct, frozen=True):
    """What one number says of usual responses.

    Attributes:
        half: Which of the two sums it goes on from: 0 or 1.
        count: How many responses.
        content_bytes: Their content.
        span_s: How long they took together, to 4 ns each.
    """

    half: int
    count: int
    content_bytes: int
    span_s: float


def unpack(packed: float) -> Batch:
    """Read a number from 0 to below ``2 * HALF``."""
    whole = int(packed)
    half, rest = divmod(whole, HALF)
    count, content_bytes = divmod(rest, ONE)
    return Batch(half, count, content_bytes, packed - whole)


_QUICK_AT = first_cell(200) + 1
"""Where usual responses belong; before it is the sum of their spans."""
_MOST_LOOKS = 8
"""A worker that answers while it is read is read again, so often at most."""
# Where the responses of a status class are counted, without the sum of their spans.
_ERRORS = slice(first_cell(500) + 1, first_cell(500) + len(LATENCY_EDGES_S))

BEAT_EVERY_S = 0.05
"""A worker that is asked beats so often, and is looked at so often."""
REST_EVERY_S = 1.0
"""One that was asked for nothing in the last second; 64 of them, each beating 20
times a second, took 8 % of a core."""

_PAGE_BYTES = 4096
ROW_BYTES = _PAGE_BYTES + REGION_BYTES
"""The memory of one worker. Behind the first page are the metrics of the app; pages
that are never used cost nothing."""
LONGEST_BYTES = 256
"""The place for the text of the request that takes longest; a longer one is cut."""
MOST = 2.0**53
"""What a cell may hold; up to here whole numbers are exact."""
_MAPPED_ALONE: dict[str, Any] = (
    {"trackfd": False} if sys.version_info >= (3, 13) else {}
)
"""Before 3.13 a mapping has a descriptor of its own, for as long as it is there."""
BEGUN_BYTES = 128
"""The place for a request that began: a number and its text; a longer one is cut."""
BEGUN_COUNT = 8
"""So many of the last ones that began are kept."""
_TEXT_AT = _PAGE_BYTES - LONGEST_BYTES
_TEXT_END = _TEXT_AT + LONGEST_BYTES
_BEGUN_AT = _TEXT_AT - BEGUN_COUNT * BEGUN_BYTES
_ROUTES_AT = _BEGUN_AT - ROUTES_BYTES
_BEGUN = struct.Struct(f"d{BEGUN_BYTES - 8}s")  # which one it is, and its text

# Cells that say how things are.
_BEAT_AT = 0
_LAG_S = 1
IN_FLIGHT = 2
_CONNECTIONS = 3
_IS_FULL = 4
_LONGEST_SINCE = 5
_RESTS = 6
_APP_TEXT_BYTES = 7
_BACKGROUND = 8
_THREAD_CELLS = range(9, 12)
# Then those that only grow.
_COUNTED = 16
# Then usual responses: a batch, and twice the sums of those before.
_USUAL = _COUNTED + CELL_COUNT
_USUAL_SUMS = (_USUAL + 1, _USUAL + 4)


class ThreadLoad(Struct, frozen=True):
    """The threads that run the requests of WSGI apps.

    Attributes:
        count: How many there may be; 0: no such app is served.
        busy: How many are at work.
        waiting: How many requests wait for one.
    """

    count: int = 0
    busy: int = 0
    waiting: int = 0


NO_THREADS = ThreadLoad()


class RowReading(Struct, frozen=True):
    """One look at how a worker is.

    Attributes:
        beat_at: Monotonic seconds of the last beat; 0.0 before the first.
        lag_s: How late the loop ran, smoothed, seconds.
        requests: Begun in its life.
        errors: Responses with a status of 500 or above, in its life.
        rests: Nobody has asked it for a while: it beats once in ``REST_EVERY_S``,
            and as ever from the next request on.
        background: Of those in flight, how many have answered and run on.
        threads: Of its WSGI apps.
    """

    beat_at: float
    lag_s: float
    in_flight: int
    connections: int
    requests: int
    is_full: bool
    errors: int = 0
    rests: bool = False
    background: int = 0
    threads: ThreadLoad = NO_THREADS

    def is_fresh(self, now: float, span_s: float) -> bool:
        """Whether the last beat is that young; of one that rests, not overdue so far.

        Args:
            now: Monotonic seconds.
            span_s: For a worker that does not rest.
        """
        rest_s = REST_EVERY_S if self.rests else 0.0
        return now - self.beat_at < span_s + rest_s


class LongestRequest(Struct, frozen=True):
    """The request that has been in flight for longest.

    Attributes:
        text: Method and path, without the query.
        begun_at: Monotonic seconds.
    """

    text: str
    begun_at: float


def make_row_memory() -> int:
    """Make the memory of one row; return its descriptor, which is not inherited.

    Raises:
        OSError: The system has no room for it.
    """
    fd = os.memfd_create("blazeio-scoreboard", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, ROW_BYTES)
    seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd


class Row:
    """One worker's row, as its writer or its reader.

    Args:
        fd: From ``make_row_memory``; owned by this object.

    Attributes:
        cells: All cells; the one at ``IN_FLIGHT`` has how many requests are in flight.
        counted: The cells that only grow, in the order of ``Tally``.
        usual: The cell of the batch of usual responses, which are counted apart.
        app: Where the metrics of the app are.
        routes: How each route is answered.
        fault: The impossible value that a reader has found in it; "" at first.
    """

    __slots__ = (
        "_app_reader",
        "_fd",
        "_memory",
        "_octets",
        "app",
        "cells",
        "counted",
        "fault",
        "routes",
        "usual",
    )

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._memory = mmap.mmap(fd, ROW_BYTES, **_MAPPED_ALONE)
        self._octets = memoryview(self._memory)
        self.cells = self._octets[:_ROUTES_AT].cast("d")
        self.counted = self.cells[_COUNTED : _COUNTED + CELL_COUNT]
        self.usual = self.cells[_USUAL : _USUAL + 1]
        extent = self.cells[_APP_TEXT_BYTES : _APP_TEXT_BYTES + 1]
        self.app = AppRegion(self._octets[_PAGE_BYTES:], extent)
        self._app_reader: RegionReader | None = None
        self.routes = RouteTallies(self._octets[_ROUTES_AT:_BEGUN_AT])
        self.fault = ""

    def fileno(self) -> int:
        """Return the descriptor, for others that map the row; -1: it is closed."""
        return self._fd

    def keep_mapping(self) -> None:
        """Close the descriptor: a worker passes its row to no other process."""
        os.close(self._fd)
        self._fd = -1

    def close(self) -> None:
        """Unmap the memory; the row must not be used any more."""
        self.app.close()
        self.routes.release()
        for view in (self.usual, self.counted, self.cells, self._octets):
            view.release()
        with suppress(BufferError):  # a counter still has a view: it goes with that
            self._memory.close()
        if self._fd >= 0:
            self.keep_mapping()

    def beat(self, at: float, late_s: float) -> None:
        """Write a beat of the loop, and how late it comes."""
        cells, counted = self.cells, self.counted
        cells[_LAG_S] += (late_s - cells[_LAG_S]) / 2
        counted[LAG] += late_s
        counted[LAG + bisect_left(LAG_EDGES_S, late_s)] += 1
        cells[_BEAT_AT] = at

    def rest(self, rests: bool) -> None:
        """Write whether it beats once in ``REST_EVERY_S``, or as often as ever."""
        self.cells[_RESTS] = rests

    def count(
        self,
        in_flight: int,
        connections: int,
        requests: int,
        is_full: bool = False,
        background: int = 0,
        threads: ThreadLoad = NO_THREADS,
        http2: int = 0,
    ) -> None:
        """Write the counts of the worker."""
        cells = self.cells
        cells[_BACKGROUND] = background
        if threads.count:
            for place, value in zip(_THREAD_CELLS, astuple(threads), strict=True):
                cells[place] = value
        cells[IN_FLIGHT] = in_flight
        cells[_CONNECTIONS] = connections
        cells[_IS_FULL] = is_full
        self.counted[REQUESTS] = requests
        self.counted[HTTP2_REQUESTS] = http2

    def name_longest(self, longest: LongestRequest | None) -> None:
        """Write which request has been in flight for longest; None: there is none."""
        self.cells[_LONGEST_SINCE] = 0.0
        if longest is not None:
            octets = longest.text.encode("utf-8", "replace")[:LONGEST_BYTES]
            self._octets[_TEXT_AT:_TEXT_END] = octets.ljust(LONGEST_BYTES, b"\0")
            self.cells[_LONGEST_SINCE] = longest.begun_at

    def name_begun(self, number: int, text: str) -> None:
        """Write which request begins.

        Args:
            number: How many requests have begun with this one.
            text: Method and target.
        """
        # Hot: runs once per request whose target differs from the one before. One
        # call that cuts and fills up costs 0.2 us, by slices it is 0.9.
        at = _BEGUN_AT + number % BEGUN_COUNT * BEGUN_BYTES
        _BEGUN.pack_into(self._memory, at, number, text.encode("utf-8", "replace"))

    def write_usual(
        self, half: int, count: float, content_bytes: float, span_s: float
    ) -> None:
        """Write the sums of all batches of usual responses where nobody reads.

        They are meant as soon as ``usual`` says so.
        """
        cells, at = self.cells, _USUAL_SUMS[half]
        cells[at] = count
        cells[at + 1] = content_bytes
        cells[at + 2] = span_s

    # The master's side

    def read_begun(self, after: int = 0) -> list[str]:
        """Read the last requests that began, the newest first, each named once.

        Args:
            after: Leave out those that began before so many others; but not the
                newest, which stands for all that came later to the same target.
        """
        named: dict[float, str] = {}
        for at in range(_BEGUN_AT, _TEXT_AT, BEGUN_BYTES):
            number, octets = _BEGUN.unpack_from(self._memory, at)
            if self._check(number):
                text = octets.rstrip(b"\0").decode("utf-8", "replace")
                named[number] = text.partition("?")[0]  # a query may hold secrets
        numbers = sorted(named, reverse=True)
        numbers = numbers[:1] + [each for each in numbers[1:] if each > after]
        return list(dict.fromkeys(named[each] for each in numbers))

    def read(self) -> RowReading:
        """Read how the worker is."""
        cells = self.cells
        beat_at, now = cells[_BEAT_AT], time.monotonic()
        return RowReading(
            beat_at=self._check(beat_at, now),
            lag_s=self._check(cells[_LAG_S]),
            in_flight=int(self._check(cells[IN_FLIGHT])),
            connections=int(self._check(cells[_CONNECTIONS])),
            requests=int(self._check(self.counted[REQUESTS])),
            is_full=bool(self._check(cells[_IS_FULL])),
            errors=int(self._check(sum(self.counted[_ERRORS]))),
            rests=self.rests,
            background=int(self._check(cells[_BACKGROUND])),
            threads=ThreadLoad(*(int(self._check(cells[at])) for at in _THREAD_CELLS)),
        )

    @property
    def rests(self) -> bool:
        """Whether it rests; anything but a plain yes is a no."""
        return self.cells[_RESTS] == 1.0

    def read_tally(self) -> Tally:
        """Read what was counted."""
        cells = list(self.counted)
        if not all(0.0 <= cell <= MOST for cell in cells):
            cells = list(map(self._check, cells))
        count, content_bytes, span_s = self._read_usual()
        cells[_QUICK_AT] += count
        cells[_QUICK_AT - 1] += span_s
        cells[RESPONSE_BYTES] += content_bytes
        return Tally(tuple(cells))

    def _read_usual(self) -> tuple[float, float, float]:
        """Read how many usual responses there were, their octets and their seconds."""
        cells = self.cells
        for _ in range(_MOST_LOOKS):
            packed = self._check(cells[_USUAL], 2 * HALF - 1)
            batch = unpack(packed)
            at = _USUAL_SUMS[batch.half]
            count, content_bytes, span_s = map(self._check, cells[at : at + 3])
            if cells[_USUAL] == packed:
                break  # else the sums may be of another batch
        return (
            count + batch.count,
            content_bytes + batch.content_bytes,
            span_s + batch.span_s,
        )

    def add_app_to(self, totals: AppTotals, worker: int, slot: int | None) -> None:
        """Add the metrics of the app to others; arguments as of ``AppTotals.add``."""
        if self._app_reader is None:
            if not self.app.extent:
                return  # to look at the rest would take memory for it
            self._app_reader = RegionReader(self.app)
        totals.add(self._app_reader, worker, slot)
        self.fault = self.fault or self._app_reader.fault

    def read_routes(self) -> list[RouteReading]:
        """Read how each route is answered; none where nobody has asked."""
        return self.routes.read(self._check)

    def read_longest(self) -> LongestRequest | None:
        """Read the request that has been in flight for longest."""
        since, now = self.cells[_LONGEST_SINCE], time.monotonic()
        since = self._check(since, now)
        if not since:
            return None
        octets = bytes(self._octets[_TEXT_AT:_TEXT_END]).rstrip(b"\0")
        return LongestRequest(octets.decode("utf-8", "replace"), since)

    def _check(self, value: float, most: float = MOST) -> float:
        """Return a value that is possible, else 0; every value of a worker passes here.

        No number at all compares as false.
        """
        if 0.0 <= value <= most:
            return value
        self.fault = f"its row of the scoreboard holds {value!r}"
        return 0.0


class RowAllocator:
    """The master's side: makes the rows, and keeps what the dead ones counted.

    Args:
        past: As below, of the image before; it is shared with this object.
        app_past: Likewise.

    Attributes:
        past: By slot, what its earlier workers have counted; the counts of the
            living are in their rows.
        app_past: What the app has counted in earlier workers.
    """

    def __init__(
        self,
        past: dict[int, Tally] | None = None,
        app_past: AppTotals | None = None,
    ) -> None:
        self.past = {} if past is None else past
        self.app_past = AppTotals() if app_past is None else app_past

    def take(self) -> Row:
        """Return a blank row for a new worker.

        Raises:
            OSError: The system has no room for it.
        """
        return Row(make_row_memory())

    def fold(self, row: Row, slot: int, worker: int = 0) -> None:
        """Add a dead worker's counts to its slot, and close its row.

        Args:
            row: Its row.
            slot: Where it was.
            worker: Its serial number.
        """
        row.add_app_to(self.app_past, worker, None)
        self.past[slot] = self.past.get(slot, Tally()) + row.read_tally()
        row.close()
