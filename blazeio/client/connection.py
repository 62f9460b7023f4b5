"""One connection to a server: requests out, responses in.

    IDLE -> HEAD -> CONTENT -> IDLE
              |        |
              |        +--> DRAINING -> IDLE    (its reader has left)
              +--> TUNNEL                       (101, CONNECT)

It serves one ``Exchange`` at a time and tells it what happens. Content is given
to the exchange as it arrives; when all of it is there the connection is free for
the next, whether or not it was taken.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

from blazeio.client.exchange import (
    CLOSED,
    CONTENT,
    DRAINING,
    HEAD,
    IDLE,
    PHASES,
    TUNNEL,
    Exchange,
    ExchangeDeadlines,
    Watched,
    has_ended_properly,
    tell_what_is_missing,
)
from blazeio.client.url import Origin
from blazeio.errors import (
    AnsweredEarly,
    BlazeioError,
    InvalidResponse,
    LocalProtocolError,
    RemoteProtocolError,
    RequestError,
    ServerDisconnected,
)
from blazeio.protocol.flow import NO_CONTENT, UNTIL_CLOSE, ContentStream, WriteGate
from blazeio.protocol.handover import Handover, Successor
from blazeio.protocol.readiness import poll_for_arrivals
from blazeio.protocol.timeouts import NEVER
from blazeio.wire.chunked import ChunkDecoder
from blazeio.wire.framing import Framing, find_response_framing
from blazeio.wire.response import ResponseHead, parse_response_head

if TYPE_CHECKING:
    from blazeio.client.context import ClientContext

MOST_DRAINED_BYTES = 64 * 1024
"""Content that nobody wants is read past, up to this: a new connection costs as
much as some 100 KiB."""
TRUSTED_S = 0.005
"""So long after a response its connection is used by a request that could be sent once
more without a look at it, which takes 3 % as long as a small request as a whole."""


class ClientConnection(ExchangeDeadlines, asyncio.BufferedProtocol):
    """A connection, for one exchange after the other.

    Args:
        context: Of the session.
        origin: Who is connected to.

    Attributes:
        transport: To the server.
        gate: Where who writes sleeps.
        was_used: It has served before.
        trusted_until: So long, loop time, a request that can be sent once more does
            not ask whether it is fresh.
        has_content: Some content of its request may wait here when it is answered.
        has_received: An octet of the present response has come.
        deadline_at: For the wheel.
        entered_at: The wheel's own.
    """

    __slots__ = (
        "_content",
        "_context",
        "_exchange",
        "_has_fin",
        "_held",
        "_idle_s",
        "_is_paused",
        "_is_reading_on",
        "_is_reusable",
        "_keep_alive_s",
        "_phase",
        "_poll",
        "_scanned",
        "_successor",
        "gate",
        "has_content",
        "has_received",
        "origin",
        "transport",
        "trusted_until",
        "was_used",
    )

    transport: asyncio.Transport

    def __init__(self, context: "ClientContext", origin: Origin) -> None:
        self._context = context
        self.origin = origin
        self.gate = WriteGate()
        self.was_used = False
        self.has_received = False
        self.deadline_at = self.entered_at = NEVER
        self._phase_ends_at = self._write_ends_at = NEVER
        self._exchange: Exchange | None = None
        self._content = NO_CONTENT
        self._held = b""
        self._idle_s = context.pool_limits.idle_s
        self._scanned = 0
        self._phase = IDLE
        self._has_fin = False
        self._is_paused = False
        self._is_reading_on = False
        self._is_reusable = True
        self._keep_alive_s: int | None = None
        self._successor: Successor | None = None
        self._poll: Callable[[int], Sequence[object]] | None = None
        self.trusted_until = 0.0
        self.has_content = False

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {PHASES[self._phase]} {self.origin}>"

    @property
    def is_closed(self) -> bool:
        """It is over, by either side."""
        return self._phase == CLOSED

    @property
    def idle_until(self) -> float:
        """Until when it may be used, if it becomes idle now; loop time.

        A second less than the server says, since it counts from earlier.
        """
        span_s = self._idle_s
        if self._keep_alive_s is not None:
            span_s = min(span_s, max(self._keep_alive_s - 1.0, 0.0))
        return self._context.wheel.now() + span_s

    # Asked for by an exchange

    def is_fresh(self) -> bool:
        """Whether it is idle, and nothing has come from the server since then.

        A FIN, a reset, the closure alert of TLS, a 408 that nobody asked for: the
        loop may learn of them later than the kernel, so the kernel is asked.
        """
        if self._phase != IDLE or self.transport.is_closing():
            return False
        sock = self.transport.get_extra_info("socket")
        if sock is None or sock.fileno() < 0:
            return False  # TLS has lost it, and tells us in the next turn
        poll = self._poll
        if poll is None:  # kept: to make one takes as long as to ask it
            poll = self._poll = poll_for_arrivals(sock.fileno())
        return not poll(0)

    def begin(self, exchange: Exchange) -> None:
        """Serve this one; it writes its request.

        Raises:
            ServerDisconnected: The server has closed it.
        """
        # Hot: runs once per request.
        if self._phase != IDLE:
            missing = tell_what_is_missing(HEAD, NO_CONTENT, has_received=False)
            raise ServerDisconnected(f"{self.origin} {missing}")
        self._exchange = exchange
        self._phase = HEAD
        self._phase_ends_at = NEVER
        self.has_received = False

    def start_content(self) -> None:
        """Its reader waits: let more of the response come."""
        exchange = self._exchange
        if exchange is None:
            return
        if self._content.has_used_turn:
            self._wait_for_turn()
        elif self._is_paused:
            self._is_paused = False
            if not self.transport.is_closing():
                self.transport.resume_reading()
        if self._phase == CONTENT:
            self._end_phase_in(exchange.timeouts.read_s, exchange.total_at)

    def hand_over(self, successor: Successor) -> None:
        """After a 101: its octets go to another; those that wait, at once.

        The exchange remains, with its deadlines, until it leaves.

        Raises:
            LocalProtocolError: There was no 101.
        """
        if self._phase != TUNNEL:
            raise LocalProtocolError("the connection still speaks HTTP")
        self._successor = successor
        self.transport.set_protocol(Handover(self, successor.data_received))
        while (octets := self._content.take()) is not None:
            successor.data_received(octets)
        self.start_content()
        if self._has_fin:
            successor.eof_received()

    def watch(self, exchange: Exchange, name: str) -> None:
        """Leave it when its caller drops it, too.

        Args:
            exchange: Which it serves, and whose response has begun.
            name: Of the exchange, for the warning.
        """
        if self._exchange is exchange:
            self._exchange = Watched(exchange, name, self._note_dropped)

    def _note_dropped(self, watched: Watched) -> bool:
        """Within the collector, in whichever thread; whether it was still served."""
        if self._exchange is not watched:
            return False
        if not self._context.loop.is_closed():
            self._context.loop.call_soon_threadsafe(self.leave, watched)
        return True

    def leave(self, exchange: object, *, drains: bool = True) -> None:
        """Stop serving an exchange whose response is not whole.

        Where little is still to come, it is read and dropped, so that the connection
        can be used again; else the connection is closed. It is closed too where the
        request is not whole, since the next one would be taken for its content.

        Args:
            exchange: Which it serves; another one: nothing happens.
            drains: Its response may end soon; False for a stream of events.
        """
        served = self._exchange
        is_theirs = served is exchange or (
            isinstance(served, Watched) and served.stands_for(exchange)
        )
        if served is None or not is_theirs:
            return
        content = self._content
        is_near = content.due_bytes <= MOST_DRAINED_BYTES
        may_serve = drains and self._is_reusable and served.is_sent and is_near
        self._exchange = None
        if self._phase != CONTENT or not may_serve:
            self.abort()
            return
        self._phase = DRAINING
        self._content = content.split_off(RequestError("the response was closed"))
        self._content.received_bytes = 0
        if self._content.has_used_turn:
            self._wait_for_turn()
        elif self._is_paused:
            self._is_paused = False
            self.transport.resume_reading()
        self._end_phase_in(self._context.limits.linger_timeout_s, NEVER)
        self._context.pool.linger(self)

    def close(self, error: BlazeioError | None = None) -> None:
        """Close it: an idle one with its farewell, any other at once.

        Args:
            error: What the exchange is told.
        """
        if self._phase != IDLE:
            self.abort(error)
            return
        self._phase = CLOSED
        self._phase_ends_at = NEVER
        self.transport.close()

    def abort(self, error: BlazeioError | None = None) -> None:
        """End it at once; its exchange is told why. May be repeated."""
        self._end_exchange(error)
        self._phase = CLOSED
        self._context.pool.lost(self)
        self.transport.abort()

    # From the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It is open."""
        self.transport = cast(asyncio.Transport, transport)
        self._context.pool.made(self)
        high_bytes = self._context.limits.high_water_bytes
        self.transport.set_write_buffer_limits(high=high_bytes)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Lend the thread's receive buffer."""
        return self._context.view

    def buffer_updated(self, nbytes: int) -> None:
        """Octets have arrived; they are copied out before we return."""
        # Hot: runs once per read.
        octets = self._context.view[:nbytes].tobytes()
        phase = self._phase
        if phase == HEAD:
            self.has_received = True
            self._receive_head(self._held + octets if self._held else octets)
        elif phase in (CONTENT, DRAINING, TUNNEL):
            self._receive_content(octets)
        elif phase == IDLE:
            self.abort()  # an answer that nobody asked for

    def eof_received(self) -> bool:
        """The server will send no more; it is over."""
        while self._phase == CONTENT and self._content.has_undecoded:
            self._receive_content(b"")
        self._has_fin = True
        if self._phase == TUNNEL:
            self._content.end()
            if self._successor is not None:
                self._successor.eof_received()
            return True  # we may still have something to say
        self._end_by_server(is_clean=has_ended_properly(self.transport))
        return False  # the transport closes by itself

    def connection_lost(self, exc: Exception | None) -> None:
        """It is over, by either side."""
        self._end_by_server(is_clean=False, cause=exc)
        if self._successor is not None:
            self._successor.connection_lost()
        self._context.wheel.forget(self)
        self._context.pool.closed(self)

    def pause_writing(self) -> None:
        """The transport holds more than the high watermark."""
        self.gate.close()
        exchange = self._exchange
        if exchange is not None and exchange.timeouts.write_s is not None:
            self._write_ends_at = self._context.wheel.now() + exchange.timeouts.write_s
            self._rearm()

    def resume_writing(self) -> None:
        """The transport has sent enough."""
        self._write_ends_at = NEVER
        self.gate.open()

    # Receiving

    def _receive_head(self, octets: bytes) -> None:
        # Hot: runs once per response.
        exchange = self._exchange
        assert exchange is not None  # in HEAD there is one
        try:
            head = parse_response_head(octets, self._context.limits, self._scanned)
        except RemoteProtocolError as error:
            self._refuse(error)
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
            content = ContentStream(length=length) if length else NO_CONTENT
        elif framing is Framing.CHUNKED:
            decoder = ChunkDecoder(self._context.limits, unfolds=True)
            content = ContentStream(decoder=decoder)
        elif framing is Framing.CLOSE:
            content = ContentStream(length=UNTIL_CLOSE)
            self._is_reusable = False
        elif exchange.method == "CONNECT" and status < 300:
            self._begin_tunnel(exchange, head, rest)
            return
        else:
            content = NO_CONTENT
        self._begin_content(exchange, head, content, rest)

    def _begin_content(
        self,
        exchange: Exchange,
        head: ResponseHead,
        content: ContentStream,
        rest: bytes,
    ) -> None:
        self._content = content
        self._phase = CONTENT
        self._phase_ends_at = NEVER
        if not exchange.is_sent and (head.status >= 300 or not head.is_persistent):
            message = f"{head.status} came before the request was whole: read it"
            self.gate.fail(AnsweredEarly(message))
            self._is_reusable = False
        if rest and content is not NO_CONTENT:
            rest = content.feed(rest)
        if content.has_used_turn:
            self._wait_for_turn()
        exchange.answered(head, content)
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
        exchange.answered_for_now(head)
        if rest and self._phase == HEAD:
            self._receive_head(rest)

    def _begin_tunnel(
        self, exchange: Exchange, head: ResponseHead, rest: bytes
    ) -> None:
        """HTTP is over on this connection: octets go both ways as they are.

        So is the request, and with it the deadline of all.
        """
        exchange.total_at = NEVER
        self._is_reusable = False
        self._phase = TUNNEL
        self._phase_ends_at = NEVER
        self._content = ContentStream(length=UNTIL_CLOSE)
        if rest:
            self._content.feed(rest)
        exchange.answered(head, self._content)

    def _receive_content(self, octets: bytes) -> None:
        # Hot: runs once per read of content.
        content = self._content
        rest = content.feed(octets)
        if content.is_whole:
            self._finish(rest)
        elif content.error is not None:
            self._refuse(content.error)
        elif self._phase == DRAINING:
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
        """It goes on when the loop has turned for the others."""
        if not self._is_paused and not self.transport.is_closing():
            self._is_paused = True
            self.transport.pause_reading()
        if not self._is_reading_on:
            self._is_reading_on = True
            self._context.loop.call_soon(self._read_on)

    def _read_on(self) -> None:
        """The next turn: decode what has arrived, or let more of it come."""
        self._is_reading_on = False
        content = self._content
        limits = self._context.limits
        if self._phase not in (CONTENT, DRAINING) or not content.has_used_turn:
            return
        if content.queued_bytes > limits.receive_bytes:
            return  # until its reader has taken of it
        content.has_used_turn = False
        if content.has_undecoded:
            self._receive_content(b"")
        is_done = self._phase not in (CONTENT, DRAINING) or content.has_used_turn
        if not is_done and content.queued_bytes <= limits.receive_bytes:
            self._is_paused = False
            if not self.transport.is_closing():
                self.transport.resume_reading()

    def _finish(self, rest: bytes) -> None:
        """The response is whole: be free for the next, or close."""
        # Hot: runs once per request.
        exchange = self._exchange
        self._exchange = None
        self._content = NO_CONTENT
        if exchange is not None:
            if not exchange.is_sent:
                self._is_reusable = False
                self.gate.fail(AnsweredEarly("the whole response came before"))
            exchange.completed()
        if (
            rest
            or not self._is_reusable
            or self._has_fin
            or self._is_paused  # what follows may wait within TLS
            or (self.has_content and self.transport.get_write_buffer_size())
        ):
            self.abort()
            return
        self._phase = IDLE
        self.was_used = True
        now = self._context.wheel.now()
        self.trusted_until = now + TRUSTED_S
        until = now + self._idle_s if self._keep_alive_s is None else self.idle_until
        self.deadline_at = self._phase_ends_at = until
        if until < self.entered_at:
            self._context.wheel.set(self, until)
        self._context.pool.give_back(self, until)

    # Ending

    def _end_by_server(self, *, is_clean: bool, cause: Exception | None = None) -> None:
        """FIN, or the connection is lost."""
        if self._phase == CLOSED:
            return
        content = self._content
        if is_clean and content.ends_by_close and self._phase in (CONTENT, DRAINING):
            content.end()
            self._finish(b"")
            return
        missing = tell_what_is_missing(
            self._phase, content, has_received=self.has_received
        )
        error = ServerDisconnected(f"{self.origin} {missing}")
        error.__cause__ = cause
        self._end_exchange(error)
        self._phase = CLOSED
        self._context.pool.lost(self)

    def _end_exchange(self, error: BlazeioError | None) -> None:
        exchange, self._exchange = self._exchange, None
        self._phase_ends_at = self._write_ends_at = NEVER
        if error is None:
            error = ServerDisconnected("the connection was closed")
        self.gate.fail(error)
        if exchange is not None:
            exchange.failed(error)

    def _refuse(self, error: BlazeioError) -> None:
        """The server has broken HTTP."""
        told = InvalidResponse(f"{self.origin}: {error}")
        told.__cause__ = error
        if self._content.error is error:
            self._content.error = told
        self.abort(told)
