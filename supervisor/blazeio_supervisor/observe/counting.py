"""Counts the responses of one worker into its row, each when it is over.

What is counted stands in the memory that outlives the worker before the next
response is, so that a worker that is killed takes along none but the one it was
just counting.

To collect a turn of the loop and sort it into the row together, as was done
before, costs 1.6x of this for 16 responses in a turn, 2.1x for 4, and 5x for one
alone: a call at the end of the turn, and the sorting (tests/bench/counting.py).
"""

from bisect import bisect_left
from typing import TYPE_CHECKING

from blazeio.protocol.flow import NO_CONTENT
from blazeio_supervisor.observe.scoreboard import IN_FLIGHT, Row
from blazeio_supervisor.observe.tally import (
    LATENCY_EDGES_S,
    REQUEST_BYTES,
    RESPONSE_BYTES,
    first_cell,
)

if TYPE_CHECKING:
    from blazeio.protocol.request import BlazeioServerProtocol

_USUAL_S = LATENCY_EDGES_S[1]
"""Most spans fall into the first bucket: to compare costs 5 ns, to search 60."""


class _StatusClass:
    """What is in the cells of a status class that every response changes.

    Attributes:
        first: The place of its cells, and of the sum of all spans.
        usual: The place of the first bucket.
        total_s: What is in the one.
        usual_count: What is in the other.
    """

    __slots__ = ("first", "total_s", "usual", "usual_count")

    def __init__(self, cells: "memoryview[float]", first: int) -> None:
        self.first, self.usual = first, first + 1
        self.total_s, self.usual_count = cells[first], cells[first + 1]


class _StatusClasses(dict[int, _StatusClass]):
    """By status: the one object of its class."""

    def __init__(self, cells: "memoryview[float]") -> None:
        super().__init__()
        self._cells = cells
        self._classes: dict[int, _StatusClass] = {}

    def __missing__(self, status: int) -> _StatusClass:
        first = first_cell(status)
        if first not in self._classes:
            self._classes[first] = _StatusClass(self._cells, first)
        found = self[status] = self._classes[first]
        return found


class ResponseCounter:
    """Told of each response by the server.

    Args:
        row: This worker's.
    """

    __slots__ = ("_cells", "_response_bytes", "_status_classes")

    def __init__(self, row: Row) -> None:
        self._cells = row.counted
        self._status_classes = _StatusClasses(row.counted)
        self._response_bytes = row.counted[RESPONSE_BYTES]

    def record(self, r: "BlazeioServerProtocol") -> None:
        """Count a response that is over, whole or not."""
        # Hot: runs once per request; see tests/bench/counting.py. What changes
        # each time is kept here and only written there, 31 ns a cell; to add to
        # the cell itself costs 44, and 71 where the addend is an int.
        answer = r.answer
        handling = r.handling
        span_s = handling.ended_at - handling.begun_at
        cells = self._cells
        its = self._status_classes[answer.status]
        its.total_s = cells[its.first] = its.total_s + span_s
        if span_s <= _USUAL_S:
            its.usual_count = cells[its.usual] = its.usual_count + 1.0
        else:
            cells[its.first + bisect_left(LATENCY_EDGES_S, span_s)] += 1.0
        size = self._response_bytes + answer.content_bytes
        self._response_bytes = cells[RESPONSE_BYTES] = size
        if r.content is not NO_CONTENT:
            cells[REQUEST_BYTES] += r.content.received_bytes

    def close(self) -> None:
        """Nothing is left to count."""


class RequestNamer:
    """Told of each request by the server, as it begins.

    A worker that is killed, or dies of a signal, says no word: what was in flight is
    known from here.

    Args:
        row: This worker's.
    """

    __slots__ = ("_cells", "_last", "_row")

    def __init__(self, row: Row) -> None:
        self._row = row
        self._cells = row.cells
        self._last = ""

    def note(self, r: "BlazeioServerProtocol") -> None:
        """Name a request that begins, unless it is the one that was named last."""
        # Hot: runs once per request. The target of a head that came before is the
        # same object: then this costs 0.1 us, else 0.3.
        self._cells[IN_FLIGHT] = r.context.in_flight
        target = r.tail
        if target is not self._last:
            self._last = target
            self._row.name_begun(r.context.request_count, f"{r.method} {target}")
