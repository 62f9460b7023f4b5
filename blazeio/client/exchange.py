"""``Exchange``: a request and its response, as the connection that serves it sees them.

``client.request_exchange`` has the one implementation that sends requests.
``WeakExchange`` stands for it once a response is awaited outside a block, so that the
connection notices when the response is dropped. ``ExchangeDeadlines`` has the timeouts
of a connection: of its state (a head, content, idleness), of writing, and of the whole
exchange; the wheel looks at the earliest of them.
"""

import asyncio
import ssl
import warnings
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from blazeio.client.states import HEAD
from blazeio.errors import (
    BlazeioError,
    HeadTimeout,
    ReadTimeout,
    TotalTimeout,
    WriteTimeout,
)
from blazeio.protocol.flow import ContentStream
from blazeio.protocol.timeouts import NEVER
from blazeio.wire.heads import ResponseHead

if TYPE_CHECKING:
    from blazeio.client.context import ClientContext
    from blazeio.client.settings import Timeouts
    from blazeio.client.url import Origin


MOST_INTERIMS = 16
"""How many interim responses a request may have; more are an attack."""


class Exchange(Protocol):
    """A request, and who waits for its response.

    Attributes:
        timeouts: The timeouts of this request.
        total_at: When request and response must be over, loop time.
    """

    timeouts: "Timeouts"
    total_at: float

    @property
    def method(self) -> str:
        """The method of the request."""
        ...

    @property
    def is_sent(self) -> bool:
        """Whether the whole request was sent."""
        ...

    @property
    def wants_upgrade(self) -> bool:
        """Whether a 101 may come."""
        ...

    def interim_received(self, head: ResponseHead) -> None:
        """An interim response has come."""
        ...

    def response_received(self, head: ResponseHead, content: ContentStream) -> None:
        """The head of the final response has come."""
        ...

    def response_completed(self) -> None:
        """The response is whole; the connection no longer serves this exchange."""
        ...

    def failed(self, error: BlazeioError) -> None:
        """The response will not be whole; the connection serves it no longer."""
        ...


class WeakExchange:
    """Stands for an exchange that its caller may drop without closing it.

    A connection holds what it serves. A response that is awaited without a block, and
    then dropped half-way, would keep its place in the pool for ever.

    Args:
        exchange: Its response has begun; it is referenced weakly.
        name: The exchange in the text of the warning.
        dropped: Called when the exchange is gone, by whichever thread collects it;
            returns whether it was still served.
    """

    __slots__ = ("_exchange", "_was_sent", "method", "timeouts", "total_at")

    def __init__(
        self, exchange: Exchange, name: str, dropped: Callable[["WeakExchange"], bool]
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
        """Tell whether this stands for an exchange."""
        return self._exchange() is exchange

    @property
    def is_sent(self) -> bool:
        """Whether the whole request was sent."""
        exchange = self._exchange()
        return self._was_sent or (exchange is not None and exchange.is_sent)

    @property
    def wants_upgrade(self) -> bool:
        """Whether a 101 may come: no, the response has begun."""
        return False

    def interim_received(self, head: ResponseHead) -> None:
        """Never called: the response has begun."""

    def response_received(self, head: ResponseHead, content: ContentStream) -> None:
        """Never called: the response has begun."""

    def response_completed(self) -> None:
        """Tell the exchange, if it still exists."""
        exchange, self._exchange = self._exchange(), _no_exchange
        if exchange is not None:
            exchange.response_completed()

    def failed(self, error: BlazeioError) -> None:
        """Tell the exchange, if it still exists."""
        exchange, self._exchange = self._exchange(), _no_exchange
        if exchange is not None:
            exchange.failed(error)


def _no_exchange() -> None:
    """Replace a weak reference that is no longer needed."""


# Timeouts


class ExchangeDeadlines:
    """The timeouts of a ``ClientConnection``; its base class.

    Attributes:
        deadline_at: Read by the wheel.
        entered_at: Written by the wheel.
    """

    __slots__ = ("_state_ends_at", "_write_ends_at", "deadline_at", "entered_at")

    _state_ends_at: float
    _write_ends_at: float
    deadline_at: float
    entered_at: float

    if TYPE_CHECKING:
        _content: ContentStream
        _context: ClientContext
        _exchange: Exchange | None
        _state: int
        origin: Origin

        def abort(self, error: BlazeioError | None = None) -> None:
            """Cut the connection; its exchange is told why."""

    def start_head_timeout(self) -> None:
        """Start the timeout for the head of the response: the request is whole."""
        # Hot: runs once per request.
        exchange = self._exchange
        if exchange is None or self._state != HEAD:
            return
        self._end_state_in(exchange.timeouts.head_s, exchange.total_at)

    def start_total_timeout(self) -> None:
        """Use only the total timeout for now."""
        exchange = self._exchange
        if exchange is not None:
            self._end_state_in(None, exchange.total_at)

    def deadline_passed(self, now: float) -> None:
        """End what has timed out; called by the wheel."""
        exchange = self._exchange
        if exchange is None:
            if self._state_ends_at <= now:
                self.abort()  # idle, or draining, for too long
        elif exchange.total_at <= now:
            message = f"the request took longer than {exchange.timeouts.total_s} s"
            self.abort(TotalTimeout(message))
        elif self._write_ends_at <= now:
            message = (
                f"nothing of the request was read for {exchange.timeouts.write_s} s"
            )
            self.abort(WriteTimeout(message))
        elif self._state_ends_at <= now:
            self._state_timed_out(exchange)
        self._rearm()

    def _state_timed_out(self, exchange: Exchange) -> None:
        timeouts = exchange.timeouts
        if self._state == HEAD:
            message = f"{self.origin} did not begin to answer for {timeouts.head_s} s"
            self.abort(HeadTimeout(message))
        elif self._content.is_awaited:
            message = f"{self.origin} sent nothing for {timeouts.read_s} s"
            self.abort(ReadTimeout(message))
        else:
            self._state_ends_at = NEVER  # the reader is slow, not the server

    def _end_state_in(self, span_s: float | None, total_at: float) -> None:
        # Hot: runs once per request, and once per wait for content.
        wheel = self._context.wheel
        ends_at = NEVER if span_s is None else wheel.now() + span_s
        self._state_ends_at = ends_at
        if ends_at > total_at:
            ends_at = total_at
        if ends_at > self._write_ends_at:
            ends_at = self._write_ends_at
        self.deadline_at = ends_at
        if ends_at < self.entered_at:
            wheel.set(self, ends_at)

    def _rearm(self) -> None:
        total_at = NEVER if self._exchange is None else self._exchange.total_at
        ends_at = min(self._state_ends_at, self._write_ends_at, total_at)
        self._context.wheel.set(self, ends_at)


# The end of a connection


def has_ended_properly(transport: asyncio.BaseTransport) -> bool:
    """Tell whether the server itself has ended what it sent.

    Over TLS anybody between client and server can send a FIN; only a closure alert
    comes from the server (RFC 9112 section 9.8). Where the close is the end of the
    content, that is the only proof that the content is whole.
    """
    tls = transport.get_extra_info("ssl_object")
    if tls is None:
        return True
    try:
        return not tls.read(1)  # b"" at once: the alert was there
    except ssl.SSLZeroReturnError:
        return True
    except ssl.SSLError:
        return False
