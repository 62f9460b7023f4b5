"""``RequestTally``: what a supervisor is told of each request, in cells of its memory.

A worker that is killed says no word. What was in flight, and what was counted, stands
in memory that outlives it: written at once, not at the end of a turn. That is done for
each request, so ``HandlerTask`` has by hand what is the same for nearly all of them:
a method of this object for each would take 1.3 times the instructions.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from blazeio.protocol.context import Record
    from blazeio.protocol.request import BlazeioServerProtocol

USUAL_S = 0.001
"""The spans of most usual responses are at most so long, seconds."""


class RequestTally:
    """Counts the requests of one server; what is unusual is left to a class of yours.

    A usual response has the status 200, and its request no content; most of them take
    no longer than ``USUAL_S``. What changes with each is kept here as well and only
    written to its cell: to add to a cell takes twice the instructions.

    Args:
        in_flight: A cell for how many requests are in flight.
        usual: Two cells: all spans of usual responses together, seconds, and how many
            were at most ``USUAL_S``.
        content_bytes: A cell for the octets of content of all responses.

    Attributes:
        in_flight: The cell; written as a request begins, not as it ends.
        last_target: Of the request that was named last; None: name the next, whatever
            its target.
        last_method: Of the same request.
        usual: The cells.
        span_s: What is in the first of them.
        count: What is in the second.
        content_cell: The cell.
        content_bytes: What is in it.
        others: Records usual responses beside this object; None: nothing does.
    """

    __slots__ = (
        "content_bytes",
        "content_cell",
        "count",
        "in_flight",
        "last_method",
        "last_target",
        "others",
        "span_s",
        "usual",
    )

    def __init__(
        self,
        in_flight: "memoryview[float]",
        usual: "memoryview[float]",
        content_bytes: "memoryview[float]",
    ) -> None:
        self.in_flight = in_flight
        self.last_target: str | None = None
        self.last_method = ""
        self.usual = usual
        self.span_s, self.count = usual[0], usual[1]
        self.content_cell = content_bytes
        self.content_bytes = content_bytes[0]
        self.others: Record | None = None

    def name(self, request: "BlazeioServerProtocol") -> None:
        """Name a request that begins; it is not the same as the one before."""
        raise NotImplementedError

    def count_long(self, span_s: float) -> None:
        """Count a usual response that took longer; its span was added to the sum."""
        raise NotImplementedError

    def record(self, request: "BlazeioServerProtocol") -> None:
        """Count a response that is over, usual or not, whole or not."""
        raise NotImplementedError
