"""What a connection knows of the request that it serves, and how far that is."""

import asyncio
import ssl
import warnings
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from blazeio.errors import (
    BlazeioError,
    HeadTimeout,
    ReadTimeout,
    TotalTimeout,
    WriteTimeout,
)
from blazeio.protocol.flow import ContentStream
from blazeio.protocol.timeouts import NEVER
from blazeio.wire.response import ResponseHead

if TYPE_CHECKING:
    from blazeio.client.context import ClientContext
    from blazeio.client.settings import Timeouts
    from blazeio.client.url import Origin


MOST_INTERIMS = 16
"""Interim responses of one request; more are no news but an attack."""

IDLE, HEAD, CONTENT, DRAINING, TUNNEL, CLOSED = range(6)
PHASES = ("IDLE", "HEAD", "CONTENT", "DRAINING", "TUNNEL", "CLOSED")


class Exchange(Protocol):
    """One request, and who waits for its response.

    Attributes:
        timeouts: Of this request.
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


# How long one exchange is waited for: the deadlines of its connection.
#
# That of the phase (for a head, for content, for the end of an idle connection), that
# of the writing, and that of all; the wheel looks at the earliest.


class ExchangeDeadlines:
    """A base of ``ClientConnection``.

    Attributes:
        deadline_at: For the wheel.
        entered_at: The wheel's own.
    """

    __slots__ = ("_phase_ends_at", "_write_ends_at", "deadline_at", "entered_at")

    _phase_ends_at: float
    _write_ends_at: float
    deadline_at: float
    entered_at: float

    if TYPE_CHECKING:
        _content: ContentStream
        _context: ClientContext
        _exchange: Exchange | None
        _phase: int
        origin: Origin

        def abort(self, error: BlazeioError | None = None) -> None:
            """End it at once; its exchange is told why."""

    def await_head(self) -> None:
        """The request is whole: its answer is due."""
        # Hot: runs once per request.
        exchange = self._exchange
        if exchange is None or self._phase != HEAD:
            return
        span_s = exchange.timeouts.head_s
        self._end_phase_in(span_s, exchange.total_at)

    def hold_to_total(self) -> None:
        """Only the deadline of all counts for now."""
        exchange = self._exchange
        if exchange is not None:
            self._end_phase_in(None, exchange.total_at)

    def deadline_passed(self, now: float) -> None:
        """For the wheel."""
        exchange = self._exchange
        if exchange is None:
            if self._phase_ends_at <= now:
                self.abort()  # idle for too long, or drained for too long
        elif exchange.total_at <= now:
            message = f"the request took longer than {exchange.timeouts.total_s} s"
            self.abort(TotalTimeout(message))
        elif self._write_ends_at <= now:
            message = (
                f"nothing of the request was read for {exchange.timeouts.write_s} s"
            )
            self.abort(WriteTimeout(message))
        elif self._phase_ends_at <= now:
            self._answer_is_late(exchange)
        self._rearm()

    def _answer_is_late(self, exchange: Exchange) -> None:
        timeouts = exchange.timeouts
        if self._phase == HEAD:
            message = f"{self.origin} did not begin to answer for {timeouts.head_s} s"
            self.abort(HeadTimeout(message))
        elif self._content.is_awaited:
            message = f"{self.origin} sent nothing for {timeouts.read_s} s"
            self.abort(ReadTimeout(message))
        else:
            self._phase_ends_at = NEVER  # it is the reader who is slow

    def _end_phase_in(self, span_s: float | None, total_at: float) -> None:
        # Hot: runs once per request, and once per wait for content.
        wheel = self._context.wheel
        ends_at = NEVER if span_s is None else wheel.now() + span_s
        self._phase_ends_at = ends_at
        if ends_at > total_at:
            ends_at = total_at
        if ends_at > self._write_ends_at:
            ends_at = self._write_ends_at
        self.deadline_at = ends_at
        if ends_at < self.entered_at:
            wheel.set(self, ends_at)

    def _rearm(self) -> None:
        total_at = NEVER if self._exchange is None else self._exchange.total_at
        ends_at = min(self._phase_ends_at, self._write_ends_at, total_at)
        self._context.wheel.set(self, ends_at)


# How a server may end a connection, and what then is missing.


def has_ended_properly(transport: asyncio.BaseTransport) -> bool:
    """Whether the server itself has ended what it sent.

    Over TLS anybody between can send a FIN: only a closure alert is the server's
    (RFC 9112 section 9.8). Where content ends by the close, that is all there is.
    """
    tls = transport.get_extra_info("ssl_object")
    if tls is None:
        return True
    try:
        return not tls.read(1)  # nothing, at once: the alert was there
    except ssl.SSLZeroReturnError:
        return True
    except ssl.SSLError:
        return False


def tell_what_is_missing(
    phase: int, content: ContentStream, *, has_received: bool
) -> str:
    """Say how far it had come.

    Args:
        phase: Of the connection.
        content: Of the response, in CONTENT.
        has_received: An octet of the response has come.
    """
    if phase == CONTENT and content.ends_by_close:
        return "was cut off within its response"
    if phase == CONTENT and content.due_bytes:
        return f"closed {content.due_bytes} octets before the end of its response"
    if phase == CONTENT:
        return "closed before its last chunk"
    if has_received:
        return "closed within the head of its response"
    return "closed and gave no response"
