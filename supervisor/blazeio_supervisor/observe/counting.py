"""Counts the responses of one worker into its row, at the end of each turn.

What a turn of the loop has answered is noted by two appends, and sorted into
buckets together: for 16 requests in a turn that costs 0.3 us each, for 64 0.2
(tests/bench/counting.py); each by itself would cost 0.5. One alone costs 1.5,
but a loop that answers one request in a turn has time to spare. A worker that
is killed takes along what its last turn has counted, no more.
"""

import asyncio
from bisect import bisect_left, bisect_right
from time import monotonic
from typing import TYPE_CHECKING

from blazeio.protocol.flow import NO_CONTENT
from blazeio_supervisor.observe.scoreboard import Row
from blazeio_supervisor.observe.tally import (
    LATENCY_EDGES_S,
    REQUEST_BYTES,
    RESPONSE_BYTES,
    first_cell,
)

if TYPE_CHECKING:
    from blazeio.protocol.server import BlazeioServerProtocol


class ResponseCounter:
    """Told of each response by the server.

    Args:
        row: This worker's.
        loop: Of the server.
    """

    __slots__ = ("_cells", "_loop", "_request_bytes", "_response_bytes", "_spans")

    def __init__(self, row: Row, loop: asyncio.AbstractEventLoop) -> None:
        self._cells = row.counted
        self._loop = loop
        self._spans: dict[int, list[float]] = {}
        self._request_bytes = 0
        self._response_bytes = 0

    def record(self, r: "BlazeioServerProtocol") -> None:
        """Note a response that is over, whole or not."""
        # Hot: runs once per request; see tests/bench/counting.py.
        answer = r.answer
        status = answer.status
        spans = self._spans
        if status not in spans:
            if not spans:
                self._loop.call_soon(self._flush)
            spans[status] = []
        spans[status].append(monotonic() - r.handling.begun_at)
        self._response_bytes += answer.content_bytes
        if r.content is not NO_CONTENT:
            self._request_bytes += r.content.received_bytes

    def _flush(self) -> None:
        spans, self._spans = self._spans, {}
        cells = self._cells
        for status, spans_s in spans.items():
            _sort_into(cells, first_cell(status), spans_s)
        cells[RESPONSE_BYTES] += self._response_bytes
        cells[REQUEST_BYTES] += self._request_bytes
        self._response_bytes = self._request_bytes = 0

    def close(self) -> None:
        """Count what is left."""
        self._flush()


def _sort_into(cells: "memoryview[float]", first: int, spans_s: list[float]) -> None:
    """Add to a sum and its buckets; in one step for all that fall into the same."""
    cells[first] += sum(spans_s)
    spans_s.sort()
    begin = 0
    while begin < len(spans_s):
        bucket = bisect_left(LATENCY_EDGES_S, spans_s[begin])
        end = bisect_right(spans_s, LATENCY_EDGES_S[bucket], begin)
        cells[first + bucket] += end - begin
        begin = end
