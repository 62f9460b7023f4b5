"""``ClientConnection``: one connection to a server; requests go out, responses come in.

Its states are a table, in ``client.states``. The state changes by ``_switch``, and at
three places, which each request comes to, by the table itself: 1.5 % of a small
request.

It serves one ``Exchange`` at a time, and calls its methods when something happens. What
arrives is read by its base class (``client.exchange``).
Content is given to the exchange as it arrives. When all of it has arrived, the
connection is free for the next exchange, whether or not a reader has taken the content.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

from blazeio.client.exchange import (
    Exchange,
    ResponseReceiver,
    WeakExchange,
    has_ended_properly,
)
from blazeio.client.states import (
    CLOSED,
    CONNECTION_END,
    CONTENT,
    DRAINING,
    HEAD,
    IDLE,
    MOST_DRAINED_BYTES,
    NEXT_STATE,
    READER_LEFT,
    REQUEST,
    RESPONSE_END,
    STATE_NAMES,
    TRUSTED_S,
    TUNNEL,
    describe_missing_end,
    shorten_idle,
)
from blazeio.client.url import Origin
from blazeio.errors import (
    AnsweredEarly,
    BlazeioError,
    LocalProtocolError,
    RequestError,
    ServerDisconnected,
)
from blazeio.protocol.carrier import Handover, Successor
from blazeio.protocol.flow import (
    NO_CONTENT,
    WriteGate,
)
from blazeio.protocol.kernel import poll_for_arrivals
from blazeio.protocol.timeouts import NEVER

if TYPE_CHECKING:
    from blazeio.client.context import ClientContext


class ClientConnection(ResponseReceiver, asyncio.BufferedProtocol, asyncio.Protocol):
    """A connection, for one exchange after the other.

    Octets come in one of two ways, as to ``Http1Connection``: uvloop gives them to
    whoever is a Protocol, too.

    Args:
        context: The context of the session.
        origin: Who is connected to.

    Attributes:
        transport: To the server.
        gate: Where a writer waits while the transport's buffer is full.
        was_used: It has served a request before.
        trusted_until: Until then, loop time, it is used again without ``is_fresh``; 0
            where the last response may be followed by content that it must not have.
        has_content: Its request has content, some of which may still be in the
            transport's buffer when the response has come.
        has_received: An octet of the present response has come.
        deadline_at: Read by the wheel.
        entered_at: Written by the wheel.
    """

    __slots__ = (
        "_context",
        "_exchange",
        "_has_fin",
        "_idle_s",
        "_poll",
        "_successor",
        "gate",
        "has_content",
        "has_received",
        "origin",
        "transport",
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
        self._state_ends_at = self._write_ends_at = NEVER
        self._exchange: Exchange | None = None
        self._content = NO_CONTENT
        self._held = b""
        self._idle_s = context.pool_limits.idle_s
        self._scanned = 0
        self._state = IDLE
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
        return f"<{type(self).__name__} {STATE_NAMES[self._state]} {self.origin}>"

    def _switch(self, event: int) -> None:
        """Change the state, as the table says."""
        self._state = NEXT_STATE[self._state][event]

    @property
    def is_closed(self) -> bool:
        """Whether it was closed, by either side."""
        return self._state == CLOSED

    @property
    def idle_until(self) -> float:
        """Until when it may be used if it becomes idle now; loop time."""
        span_s = shorten_idle(self._idle_s, self._keep_alive_s)
        return self._context.wheel.now() + span_s

    # For exchanges and the pool

    def is_fresh(self) -> bool:
        """Tell whether it is idle, and nothing has come from the server since then.

        A FIN, a reset, the closure alert of TLS, or an unrequested 408: the kernel
        knows of them before the loop does, so the kernel is asked (poll(2)).
        """
        if self._state != IDLE or self.transport.is_closing():
            return False
        return self.has_arrivals() is False

    def has_arrivals(self) -> bool | None:
        """Ask the kernel whether something waits to be read; None: it is lost."""
        sock = self.transport.get_extra_info("socket")
        if sock is None or sock.fileno() < 0:
            return None  # TLS has lost it: connection_lost() follows
        poll = self._poll
        if poll is None:  # kept, since making one takes as long as using it
            poll = self._poll = poll_for_arrivals(sock.fileno())
        return bool(poll(0))

    def begin(self, exchange: Exchange) -> None:
        """Serve an exchange, which writes its request.

        Raises:
            ServerDisconnected: The server has closed the connection.
        """
        # Hot: runs once per request.
        if self._state != IDLE:
            missing = describe_missing_end(HEAD)
            raise ServerDisconnected(f"{self.origin} {missing}")
        self._exchange = exchange
        self._state = NEXT_STATE[IDLE][REQUEST]
        self._state_ends_at = NEVER
        self.has_received = False

    def resume_content(self) -> None:
        """Let more of the response come: a reader waits."""
        exchange = self._exchange
        if exchange is None:
            return
        if self._content.has_used_turn:
            self._wait_for_turn()
        elif self._is_paused:
            self._is_paused = False
            if not self.transport.is_closing():
                self.transport.resume_reading()
        if self._state == CONTENT:
            self._end_state_in(exchange.timeouts.read_s, exchange.total_at)

    def hand_over(self, successor: Successor) -> None:
        """After a 101: give the octets to a protocol; those that wait, at once.

        The exchange remains, with its deadlines, until it leaves.

        Raises:
            LocalProtocolError: There was no 101.
        """
        if self._state != TUNNEL:
            raise LocalProtocolError("the connection still speaks HTTP")
        self._successor = successor
        self.transport.set_protocol(Handover(self, successor.data_received))
        while (octets := self._content.take()) is not None:
            successor.data_received(octets)
        self.resume_content()
        if self._has_fin:
            successor.eof_received()

    def watch(self, exchange: Exchange, name: str) -> None:
        """Leave an exchange also when its caller drops it without closing it.

        Args:
            exchange: Which it serves, and whose response has begun.
            name: The exchange in the text of the warning.
        """
        if self._exchange is exchange:
            self._exchange = WeakExchange(exchange, name, self._note_dropped)

    def _note_dropped(self, watched: WeakExchange) -> bool:
        """Leave a dropped exchange; runs in the collector, in any thread.

        Returns:
            Whether it was still served.
        """
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
            isinstance(served, WeakExchange) and served.stands_for(exchange)
        )
        if served is None or not is_theirs:
            return
        content = self._content
        is_near = content.due_bytes <= MOST_DRAINED_BYTES
        may_serve = drains and self._is_reusable and served.is_sent and is_near
        self._exchange = None
        if self._state != CONTENT or not may_serve:
            self.abort()
            return
        self._switch(READER_LEFT)
        self._content = content.split_off(RequestError("the response was closed"))
        self._content.received_bytes = 0
        if self._content.has_used_turn:
            self._wait_for_turn()
        elif self._is_paused:
            self._is_paused = False
            self.transport.resume_reading()
        self._end_state_in(self._context.limits.linger_timeout_s, NEVER)
        self._context.pool.linger(self)

    def close(self, error: BlazeioError | None = None) -> None:
        """Close it: an idle one with TLS's closure alert, any other at once.

        Args:
            error: What the exchange is told.
        """
        if self._state != IDLE:
            self.abort(error)
            return
        self._switch(CONNECTION_END)
        self._state_ends_at = NEVER
        self.transport.close()

    def abort(self, error: BlazeioError | None = None) -> None:
        """Cut it at once; its exchange is told why. May be repeated."""
        self._end_exchange(error)
        self._switch(CONNECTION_END)
        self._context.pool.lost(self)
        self.transport.abort()

    # What the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport: the connection is open."""
        self.transport = cast(asyncio.Transport, transport)
        self._context.pool.made(self)
        high_bytes = self._context.limits.high_water_bytes
        self.transport.set_write_buffer_limits(high=high_bytes)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return the receive buffer of the thread."""
        return self._context.view

    def buffer_updated(self, nbytes: int) -> None:
        """Take octets that have arrived; they are copied before this returns."""
        self.data_received(self._context.view[:nbytes].tobytes())

    def data_received(self, octets: bytes) -> None:
        """Take octets that have arrived."""
        # Hot: runs once per read.
        state = self._state
        if state == HEAD:
            self.has_received = True
            self._receive_head(self._held + octets if self._held else octets)
        elif state in (CONTENT, DRAINING, TUNNEL):
            self._receive_content(octets)
        # Octets for no request: a response to what was never asked would be taken for
        # the next one's (response splitting), so nothing of this connection can be
        # believed.
        elif state == IDLE:
            self.abort()  # a response to no request

    def eof_received(self) -> bool:
        """Take the server's FIN: nothing more will come."""
        while self._state == CONTENT and self._content.has_undecoded:
            self._receive_content(b"")
        self._has_fin = True
        if self._state == TUNNEL:
            self._content.end()
            if self._successor is not None:
                self._successor.eof_received()
            return True  # keeps the transport open: we may still send
        self._end_by_server(is_clean=has_ended_properly(self.transport))
        return False  # lets the transport close itself

    def connection_lost(self, exc: Exception | None) -> None:
        """End the exchange: the connection is gone."""
        self._end_by_server(is_clean=False, cause=exc)
        if self._successor is not None:
            self._successor.connection_lost()
        self._context.wheel.forget(self)
        self._context.pool.closed(self)

    def pause_writing(self) -> None:
        """Let writers wait: the buffer is above the high watermark."""
        self.gate.close()
        exchange = self._exchange
        if exchange is not None and exchange.timeouts.write_s is not None:
            self._write_ends_at = self._context.wheel.now() + exchange.timeouts.write_s
            self._rearm()

    def resume_writing(self) -> None:
        """Let writers go on: the buffer has been sent."""
        self._write_ends_at = NEVER
        self.gate.open()

    def _finish(self, rest: bytes) -> None:
        """End the exchange: the response is whole; become idle, or close."""
        # Hot: runs once per request.
        exchange = self._exchange
        self._exchange = None
        self._content = NO_CONTENT
        if exchange is not None:
            if not exchange.is_sent:
                self._is_reusable = False
                self.gate.fail(AnsweredEarly("the whole response came before"))
            exchange.response_completed()
        if (
            rest
            or not self._is_reusable
            or self._has_fin
            or self._is_paused  # what follows may already be in the buffers of TLS
            or (self.has_content and self.transport.get_write_buffer_size())
        ):
            self.abort()
            return
        self._state = NEXT_STATE[self._state][RESPONSE_END]
        self.was_used = True
        context = self._context
        now = context.wheel.now()
        self.trusted_until = now + TRUSTED_S
        until = now + self._idle_s if self._keep_alive_s is None else self.idle_until
        self.deadline_at = self._state_ends_at = until
        if until < self.entered_at:
            context.wheel.set(self, until)
        context.pool.release(self, until)

    # Ending

    def _end_by_server(self, *, is_clean: bool, cause: Exception | None = None) -> None:
        """End the exchange: a FIN has come, or the connection is lost."""
        if self._state == CLOSED:
            return
        content = self._content
        if is_clean and content.ends_by_close and self._state in (CONTENT, DRAINING):
            content.end()
            self._finish(b"")
            return
        missing = describe_missing_end(
            self._state,
            has_received=self.has_received,
            due_bytes=content.due_bytes,
            ends_by_close=content.ends_by_close,
        )
        error = ServerDisconnected(f"{self.origin} {missing}")
        error.__cause__ = cause
        self._end_exchange(error)
        self._switch(CONNECTION_END)
        self._context.pool.lost(self)

    def _end_exchange(self, error: BlazeioError | None) -> None:
        exchange, self._exchange = self._exchange, None
        self._state_ends_at = self._write_ends_at = NEVER
        if error is None:
            error = ServerDisconnected("the connection was closed")
        self.gate.fail(error)
        if exchange is not None:
            exchange.failed(error)
