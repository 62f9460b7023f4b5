"""What a connection knows of the request that it serves, and how far that is.

May import: blazeio.errors, blazeio.wire, blazeio.protocol.flow; the client's
settings as a type.
"""

import warnings
import weakref
from collections.abc import Callable
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
    """

    method: str
    timeouts: "Timeouts"
    total_at: float

    @property
    def is_sent(self) -> bool:
        """The request is whole."""
        ...

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


class Watched:
    """Stands for an exchange that its caller may drop without a word.

    A connection holds what it serves: a response that is awaited, without a block,
    and then dropped half-way would keep its place in the pool for ever.

    Args:
        exchange: Whose response has begun; it is not kept alive by this.
        name: Of the exchange, for the warning.
        dropped: Called when it is gone, by whichever thread collects it; returns
            whether it was still served.
    """

    __slots__ = ("_exchange", "_was_sent", "method", "timeouts", "total_at")

    def __init__(
        self, exchange: Exchange, name: str, dropped: Callable[["Watched"], bool]
    ) -> None:
        def note(_: object) -> None:
            if dropped(self):
                message = f"{name} was dropped before all of it was read: "
                way_out = "use it in a block, or `await response.close()`"
                warnings.warn(message + way_out, ResourceWarning, stacklevel=2)

        self._exchange: Callable[[], Exchange | None] = weakref.ref(exchange, note)
        self._was_sent = exchange.is_sent
        self.method = exchange.method
        self.timeouts = exchange.timeouts
        self.total_at = exchange.total_at

    def stands_for(self, exchange: object) -> bool:
        """Whether it is this one."""
        return self._exchange() is exchange

    @property
    def is_sent(self) -> bool:
        """The request is whole."""
        exchange = self._exchange()
        return self._was_sent or (exchange is not None and exchange.is_sent)

    @property
    def wants_upgrade(self) -> bool:
        """A 101 may come: no longer."""
        return False

    def answered_for_now(self, head: ResponseHead) -> None:
        """An interim response has come: no longer."""

    def answered(self, head: ResponseHead, content: ContentStream) -> None:
        """The final response has begun: it had."""

    def completed(self) -> None:
        """Tell it so."""
        exchange, self._exchange = self._exchange(), _nobody
        if exchange is not None:
            exchange.completed()

    def failed(self, error: BlazeioError) -> None:
        """Tell it so."""
        exchange, self._exchange = self._exchange(), _nobody
        if exchange is not None:
            exchange.failed(error)


def _nobody() -> None:
    """Stand for a weak reference to what needs no more watching."""
