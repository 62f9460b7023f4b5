"""A request and its response, as the connection that serves it sees them.

``Exchange`` is what the connection calls; ``client.request_exchange`` has the one
implementation that sends requests. ``WeakExchange`` stands for it once a response is
awaited outside a block, so that the connection notices when the response is dropped.

``ExchangeDeadlines`` has the timeouts of a connection: of its state (a head, content,
idleness), of writing, and of the whole exchange; the wheel looks at the earliest of
them. ``ResponseReceiver`` reads what arrives, and hands it to the exchange.
"""

import asyncio
import ssl
import warnings
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from blazeio.client.states import (
    CONTENT,
    DRAINING,
    HEAD,
    HTTP_LEFT,
    MOST_DRAINED_BYTES,
    NEXT_STATE,
    RESPONSE_BEGUN,
)
from blazeio.errors import (
    AnsweredEarly,
    BlazeioError,
    HeadTimeout,
    InvalidResponse,
    ReadTimeout,
    RemoteProtocolError,
    ServerDisconnected,
    TotalTimeout,
    WriteTimeout,
)
from blazeio.protocol.flow import (
    NO_CONTENT,
    UNTIL_CLOSE,
    ContentStream,
    WriteGate,
    make_arrived,
)
from blazeio.protocol.timeouts import NEVER
from blazeio.wire.chunked import ChunkDecoder
from blazeio.wire.framing import Framing, find_response_framing
from blazeio.wire.heads import ResponseHead, parse_response_head

if TYPE_CHECKING:
    import asyncio

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


# What arrives


class ResponseReceiver(ExchangeDeadlines):
    """What a ``ClientConnection`` does with the octets that arrive; its base class."""

    __slots__ = (
        "_content",
        "_held",
        "_is_paused",
        "_is_reading_on",
        "_is_reusable",
        "_keep_alive_s",
        "_scanned",
        "_state",
        "trusted_until",
    )

    _content: ContentStream
    _held: bytes
    _is_paused: bool
    _is_reading_on: bool
    _is_reusable: bool
    _keep_alive_s: int | None
    _scanned: int
    _state: int
    trusted_until: float

    if TYPE_CHECKING:
        gate: WriteGate
        origin: Origin
        transport: asyncio.Transport
        was_used: bool

        def _switch(self, event: int) -> None:
            """Change the state, as the table says."""

        def _finish(self, rest: bytes) -> None:
            """End the exchange: the response is whole."""

    def _receive_head(self, octets: bytes) -> None:
        # Hot: runs once per response.
        exchange = self._exchange
        assert exchange is not None  # in HEAD there is always one
        try:
            head = parse_response_head(octets, self._context.limits, self._scanned)
        except RemoteProtocolError as error:
            self._refuse_head(error)
            return
        if head is None:
            self._held = octets
            self._scanned = max(len(octets) - 3, 0)
            return
        self._held = b""
        self._scanned = 0
        rest = octets[head.size :] if len(octets) > head.size else b""
        status = head.status
        if status < 200:
            self._receive_interim(exchange, head, rest)
            return
        framing = find_response_framing(
            method=exchange.method,
            status=status,
            content_length=head.content_length,
            is_chunked=head.is_chunked,
        )
        self._is_reusable = head.is_persistent
        self._keep_alive_s = head.keep_alive_s
        if framing is Framing.LENGTH:
            length = head.content_length or 0
            if not length:
                content = NO_CONTENT
            elif length <= len(rest):
                # It came with its head: no stream has to be fed, 4 % of a request.
                content = make_arrived(rest[:length])
                rest = rest[length:]
            else:
                content = ContentStream(length=length)
        elif framing is Framing.CHUNKED:
            decoder = ChunkDecoder(self._context.limits, unfolds=True)
            content = ContentStream(decoder=decoder)
        elif framing is Framing.CLOSE:
            content = ContentStream(length=UNTIL_CLOSE)
            self._is_reusable = False
        else:
            self._receive_without_content(exchange, head, rest)
            return
        self._begin_content(exchange, head, content, rest)

    def _receive_without_content(
        self, exchange: Exchange, head: ResponseHead, rest: bytes
    ) -> None:
        if exchange.method == "CONNECT" and head.status < 300:
            self._begin_tunnel(exchange, head, rest)
            return
        self._begin_content(exchange, head, NO_CONTENT, rest)
        if head.content_length or head.is_chunked:
            # Some servers send content with a response to HEAD, or with a 304, all the
            # same. Unasked, the next request would take it for its response.
            self.trusted_until = 0.0

    def _refuse_head(self, error: RemoteProtocolError) -> None:
        if not self.was_used or self.trusted_until:
            self._refuse(error)
            return
        # It is what the response before must not have had. That says nothing about
        # this request, which may be sent once more.
        what = "sent content with a response that has none, so the next cannot be read"
        told = ServerDisconnected(f"{self.origin} {what}")
        told.__cause__ = error
        self.abort(told)

    def _begin_content(
        self,
        exchange: Exchange,
        head: ResponseHead,
        content: ContentStream,
        rest: bytes,
    ) -> None:
        self._content = content
        self._state = NEXT_STATE[self._state][RESPONSE_BEGUN]
        self._state_ends_at = NEVER
        # The server has decided without the rest of the content: to go on writing would
        # only fill its buffers, and end in an RST that destroys the answer (RFC 9112
        # section 9.5).
        if not exchange.is_sent and (head.status >= 300 or not head.is_persistent):
            message = f"{head.status} came before the request was whole: read it"
            self.gate.fail(AnsweredEarly(message))
            self._is_reusable = False
        if rest and not content.is_whole:
            rest = content.feed(rest)
        if content.has_used_turn:
            self._wait_for_turn()
        exchange.response_received(head, content)
        if content.is_whole:
            self._finish(rest)
        elif content.error is not None:
            self._refuse(content.error)

    def _receive_interim(
        self, exchange: Exchange, head: ResponseHead, rest: bytes
    ) -> None:
        if head.status == 101:
            if not exchange.wants_upgrade:
                self._refuse(RemoteProtocolError("101, and no upgrade was asked for"))
            else:
                self._begin_tunnel(exchange, head, rest)
            return
        exchange.interim_received(head)
        if rest and self._state == HEAD:
            self._receive_head(rest)

    def _begin_tunnel(
        self, exchange: Exchange, head: ResponseHead, rest: bytes
    ) -> None:
        """Leave HTTP on this connection: from now on octets go both ways as they are.

        The request is over with it, and so is its total timeout.
        """
        exchange.total_at = NEVER
        self._is_reusable = False
        self._switch(HTTP_LEFT)
        self._state_ends_at = NEVER
        self._content = ContentStream(length=UNTIL_CLOSE)
        if rest:
            self._content.feed(rest)
        exchange.response_received(head, self._content)

    def _receive_content(self, octets: bytes) -> None:
        # Hot: runs once per read of content.
        content = self._content
        rest = content.feed(octets)
        if content.is_whole:
            self._finish(rest)
        elif content.error is not None:
            self._refuse(content.error)
        elif self._state == DRAINING:
            content.discard()
            if content.received_bytes > MOST_DRAINED_BYTES:
                self.abort()
            elif content.has_used_turn:
                self._wait_for_turn()
        elif content.has_used_turn:
            self._wait_for_turn()
        elif (
            content.queued_bytes > self._context.limits.receive_bytes
            and not self._is_paused
        ):
            self._is_paused = True
            self.transport.pause_reading()

    def _wait_for_turn(self) -> None:
        """Stop reading until the loop has served others (``_read_on``)."""
        if not self._is_paused and not self.transport.is_closing():
            self._is_paused = True
            self.transport.pause_reading()
        if not self._is_reading_on:
            self._is_reading_on = True
            self._context.loop.call_soon(self._read_on)

    def _read_on(self) -> None:
        """Decode what has arrived, or let more come; runs in the next turn."""
        self._is_reading_on = False
        content = self._content
        limits = self._context.limits
        if self._state not in (CONTENT, DRAINING) or not content.has_used_turn:
            return
        if content.queued_bytes > limits.receive_bytes:
            return  # until its reader has taken some of it
        content.has_used_turn = False
        if content.has_undecoded:
            self._receive_content(b"")
        is_done = self._state not in (CONTENT, DRAINING) or content.has_used_turn
        if not is_done and content.queued_bytes <= limits.receive_bytes:
            self._is_paused = False
            if not self.transport.is_closing():
                self.transport.resume_reading()

    def _refuse(self, error: BlazeioError) -> None:
        """Cut the connection: the server has violated HTTP."""
        told = InvalidResponse(f"{self.origin}: {error}")
        told.__cause__ = error
        if self._content.error is error:
            self._content.error = told
        self.abort(told)
