"""What a worker counts, as a value: workers add up, also over their deaths.

All of it lies side by side in a row of the scoreboard (``scoreboard.Row``), so
that a reader takes it by one slice. Every cell is a float: written and read
that way it costs a tenth less, and whole numbers are exact up to 2**53.

A response is one more in one cell, by its status class and its span at once:
the number of requests is the sum of their histogram, and can never differ.
"""

from msgspec import Struct

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
"""Likewise, of how late the beats of the event loop came."""

# Places in the slice.
REQUESTS = 0
REQUEST_BYTES = 1
RESPONSE_BYTES = 2
LAG = 3
RESPONSES = LAG + len(LAG_EDGES_S)
CELL_COUNT = RESPONSES + len(STATUS_CLASSES) * len(LATENCY_EDGES_S)


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
        """How many spans."""
        return sum(self.counts)


class Tally(Struct, frozen=True):
    """What was counted; ``a + b`` is what both have.

    Attributes:
        cells: As they lie in a row.
    """

    cells: tuple[float, ...] = (0.0,) * CELL_COUNT

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(tuple(a + b for a, b in zip(self.cells, other.cells, strict=True)))

    @property
    def requests(self) -> int:
        """Requests begun."""
        return int(self.cells[REQUESTS])

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

    def _histogram(self, first: int, edges_s: tuple[float, ...]) -> Histogram:
        counts = self.cells[first + 1 : first + len(edges_s)]
        return Histogram(self.cells[first], edges_s[1:], tuple(map(int, counts)))


def first_cell(status: int) -> int:
    """Find the cells of a status: the sum of its spans, then the buckets."""
    return RESPONSES + status // 100 * len(LATENCY_EDGES_S)
