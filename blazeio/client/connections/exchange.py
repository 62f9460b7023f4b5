"""What a connection knows of the request that it serves, and how far that is.

May import: blazeio.errors, blazeio.wire, blazeio.protocol.flow; the client's
settings as a type.
"""

from typing import TYPE_CHECKING, Protocol

from blazeio.errors import BlazeioError
from blazeio.protocol.flow import ContentStream
from blazeio.wire.responses.message import ResponseHead

if TYPE_CHECKING:
    from blazeio.client.settings import Timeouts


MOST_INTERIMS = 16
"""Interim responses of one request; more are no news but an attack."""

IDLE, HEAD, CONTENT, DRAINING, TUNNEL, CLOSED = range(6)
PHASES = ("IDLE", "HEAD", "CONTENT", "DRAINING", "TUNNEL", "CLOSED")


class Exchange(Protocol):
    """One request, and who waits for its response.

    Attributes:
        method: Of the request.
        timeouts: Of this request.
        total_at: When all of it must be over, loop time.
        is_sent: The request is whole.
    """

    is_sent: bool
    method: str
    timeouts: "Timeouts"
    total_at: float

    @property
    def wants_upgrade(self) -> bool:
        """A 101 may come."""
        ...

    def answered_for_now(self, head: ResponseHead) -> None:
        """An interim response has come."""
        ...

    def answered(self, head: ResponseHead, content: ContentStream) -> None:
        """The final response has begun."""
        ...

    def completed(self) -> None:
        """The connection is no longer theirs: the response is whole."""
        ...

    def failed(self, error: BlazeioError) -> None:
        """The connection is no longer theirs: the response will not be whole."""
        ...
