"""``Http1Connection``: HTTP/1.0 and HTTP/1.1 on one connection of a client.

It is the protocol of the transport, the carrier of its requests, and what the server
sees of the connection (see ``protocol.carrier``). Its states are a table, in
``protocol.http1_states``, and nothing else changes the state: ``_switch``, and the same
by hand in three functions that run for each request, or connection.

Octets come in one of two ways. asyncio reads into a buffer of its protocol, if that is
a BufferedProtocol. uvloop has a buffer of its own, and gives the octets to whoever is a
Protocol as well, which spares a small request a call, a view and its copy. No view of
the receive buffer leaves ``buffer_updated``: a task runs later, and by then the buffer
holds another client's octets.

A connection ends in one of three ways. At once, by RST, where a response is cut short:
a FIN would say that it is whole. In stages, where the peer may still be sending: no
reset may destroy our last response. Or plainly, where the peer has no more to say.
"""

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, cast

from blazeio.errors import RemoteProtocolError
from blazeio.loggers import get_logger
from blazeio.protocol import http1_states as states
from blazeio.protocol.carrier import ConnectionOrigin, Handover, RequestCarrier
from blazeio.protocol.context import ServerContext
from blazeio.protocol.flow import (
    NO_CONTENT,
    UNTIL_CLOSE,
    ContentStream,
    PendingOctets,
    WriteGate,
)
from blazeio.protocol.http1_states import (
    HEAD,
    IDLE,
    NEXT_STATE,
    REQUEST,
    RESPONSE_END,
    WHOLE,
    ReceivedContent,
)
from blazeio.protocol.kernel import (
    HAS_SENDFILE,
    ReadControl,
    end_output,
    send_past_transport,
)
from blazeio.protocol.request import BlazeioServerProtocol
from blazeio.protocol.timeouts import ConnectionTimeouts
from blazeio.wire.framing import OutgoingMessage
from blazeio.wire.headers import serialize_status_line
from blazeio.wire.proxy_protocol import ProxyHeader
from blazeio.wire.request import cached_heads, parse_head, parse_whole

log = get_logger("blazeio.protocol")


class _NoCarrier:
    gate = WriteGate()
    send_whole = None


_NO_REQUEST: Final = BlazeioServerProtocol(
    cast("ServerContext", None), cast("RequestCarrier", _NoCarrier())
)
"""In the place of a request whose connection is over."""


class Http1Connection(ReceivedContent, asyncio.BufferedProtocol, asyncio.Protocol):
    """One connection, and the requests that come on it one after the other.

    Args:
        context: What the connections of this server share.
        header: What the peer said by the PROXY protocol, if it spoke it.
        request_class: The class of ``r``.

    Attributes:
        request: The one that is served, and used again for the next.
    """

    __slots__ = (
        "_context",
        "_has_fin",
        "_is_handed_over",
        "_pending",
        "_read_control",
        "_scanned",
        "_state",
        "gate",
        "origin",
        "request",
        "timeouts",
        "transport",
    )

    transport: asyncio.Transport

    def __init__(
        self,
        context: ServerContext,
        header: ProxyHeader | None = None,
        request_class: type[BlazeioServerProtocol] = BlazeioServerProtocol,
    ) -> None:
        self._context = context
        self._state = states.OPENED
        self._has_fin = self._is_handed_over = False
        self._is_reading_on = self._owes_continue = False
        self._linger_bytes = self._scanned = 0
        self._pending = PendingOctets()
        self._read_control: ReadControl | None = None
        trust = context.trust
        self.origin = None if trust is None else ConnectionOrigin(trust, header)
        self.gate = WriteGate()
        self.request = request_class(context, self)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {states.STATE_NAMES[self._state]}>"

    def _switch(self, event: int) -> None:
        """Change the state, as the table says."""
        # Hot: runs twice per request.
        self._state = NEXT_STATE[self._state][event]

    # Called by the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected."""
        # uvloop's transports do not derive from asyncio's. A cast is a call.
        if TYPE_CHECKING:
            assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        context = self._context
        limits = context.limits
        self.timeouts = ConnectionTimeouts(self, self, context)
        if context.sets_marks:
            transport.set_write_buffer_limits(high=limits.high_water_bytes)
        if self.origin is not None:
            self.origin.connect(transport)
        self.request.connection_made(transport)
        context.connections.add(self)
        if context.is_closed:
            self.abort()
        elif context.raw_handler is None:
            self.timeouts.begin(limits.head_timeout_s)
            if context.is_draining:
                self.drain()
        else:
            self._switch(states.HTTP_LEFT)
            self.request.content = ContentStream(length=UNTIL_CLOSE)
            self.request.handler_task.start_raw(context.raw_handler)

    @property
    def read_control(self) -> ReadControl:
        """Pauses reading; made when it is first asked for, which few requests do."""
        control = self._read_control
        if control is None:
            control = ReadControl(self.transport, self._context, self)
            self._read_control = control
        return control

    @property
    def _is_paused(self) -> bool:
        control = self._read_control
        return control is not None and not control.is_open

    def get_buffer(self, sizehint: int) -> memoryview:
        """Lend the loop's one receive buffer."""
        return self._context.receive_view

    def buffer_updated(self, nbytes: int) -> None:
        """Octets have arrived; they are copied out before we return."""
        # Hot: runs once per read.
        self.data_received(self._context.receive_view[:nbytes].tobytes())

    def data_received(self, octets: bytes) -> None:
        """Octets have arrived."""
        # Hot: runs once per read. A request that came before, to the octet, is found
        # here: with ``parse_head`` it takes 1.1x.
        state = self._state
        if state <= IDLE:
            limits = self._context.limits
            head = cached_heads.recent.get(octets) or parse_whole(octets, limits)
            if head is not None and head.limits is limits:
                self._state = NEXT_STATE[state][REQUEST]
                self.request.handler_task.start(head)
                return
        if state <= HEAD:
            if state == HEAD:
                octets = self._pending.window + octets
            self._receive_head(octets)
        elif state == WHOLE:  # octets of the next request wait
            self._pending.append(octets)
            if not self._has_room():
                self.read_control.pause()
        elif state == states.LINGER:  # octets are dropped, up to a bound
            self._linger_bytes -= len(octets)
            if self._linger_bytes < 0:
                self._close()
        else:  # CONTENT, DISCARD, RAW
            self._receive_content(octets)

    def eof_received(self) -> bool:
        """The peer will send no more; it may still read (half-close)."""
        self._has_fin = True
        request = self.request
        while self._state in states.CONTENT_DUE and request.content.has_undecoded:
            self._receive_content(b"")  # without a turn: nothing more will come
        request.eof_received()
        response = request.response
        state = self._state
        if state == states.LINGER or not request.handler_task.is_running:
            self._close()
        elif state == states.CONTENT:
            self._disconnected("the client closed before its content was whole")
        elif state == states.RAW or response.is_complete:
            pass  # the other protocol was told; or nothing more is to be sent
        elif not response.status:
            self.timeouts.end_state_in(self._context.limits.half_close_grace_s)
        elif not request._stays_for_response():
            self._disconnected("the client closed while the response was streamed")
        return True  # the transport stays open: we close it ourselves

    def pause_writing(self) -> None:
        """The transport holds more than the high watermark."""
        self.request.pause_writing()
        self.timeouts.start_reading()

    def resume_writing(self) -> None:
        """The transport has sent enough."""
        self.request.resume_writing()
        if not self.transport.is_closing():
            self.timeouts.stop_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is over, by either side."""
        context = self._context
        if context.is_uvloop:
            self._lose(exc)
        else:
            context.run_outside(self._lose, exc)

    def _lose(self, exc: Exception | None) -> None:
        # Hot: runs once per connection; by hand: _switch.
        self._state = NEXT_STATE[self._state][states.LOST]
        pending = self._pending
        if pending.window or pending.has_more:  # to clear it takes 1 %
            pending.clear()
        context = self._context
        context.connections.discard(self)
        self.timeouts.close()
        if self._read_control is not None:
            self._read_control.close()
        request = self.request
        request.connection_lost(exc)
        if context.when_closed is not None:
            context.when_closed()
        if not request.handler_task.is_running and request.response.head.minor:
            # Nobody refers to them any more, but they do to each other. Python's
            # collector would find that: it takes 7 % of a request on a connection of
            # its own, and the memory is another one for each connection until then.
            # (Of HTTP/1.0 the version is asked of here, whenever that may be.)
            self.request = request.handler_task.request = _NO_REQUEST

    # Receiving

    def _receive_head(self, octets: bytes) -> None:
        # Hot: runs once per request.
        limits = self._context.limits
        try:
            head = parse_head(octets, limits, 0, self._scanned)
        except RemoteProtocolError as error:
            task = self.request.handler_task
            if task.begun_at or not self._context.turn_to_http2(self, octets):
                task.refuse_head(error)
            return
        if head is None:
            self._await_more_of_head(octets)
            return
        self._scanned = 0
        if head.is_chunked or head.content_length:
            self._begin_with_content(head, octets[head.end :])
            return
        pending = self._pending
        if len(octets) > head.end or pending.has_more:
            pending.keep(octets[head.end :])
        elif pending.window:
            pending.window = b""
        self._switch(REQUEST)
        self.request.handler_task.start(head)

    def _await_more_of_head(self, octets: bytes) -> None:
        pending = self._pending
        if pending.has_more:
            self._scanned = max(len(octets) - 3, 0)
            self._receive_head(octets + pending.next_window())
            return
        if self._state != HEAD:
            self.timeouts.end_state_in(self._context.limits.head_timeout_s)
            self._switch(states.HEAD_BEGUN)
        pending.window = octets
        self._scanned = max(len(octets) - 3, 0)  # the end of the head has 4 octets

    # As the carrier of a request

    frames_content = False
    send_whole = None

    @property
    def http_version(self) -> str:
        """The version of the request: ``1.0`` or ``1.1``."""
        return "1.1" if self.request.response.head.minor else "1.0"

    @property
    def can_sendfile(self) -> bool:
        """Not over TLS, where octets have to be enciphered."""
        return HAS_SENDFILE and self.transport.get_extra_info("ssl_object") is None

    def send_interim(self, status: int, lines: bytes) -> None:
        """Send an interim response; not to HTTP/1.0, which knows none."""
        if self.request.response.minor:
            self.transport.write(b"%b%b\r\n" % (serialize_status_line(status), lines))

    def send(
        self, message: OutgoingMessage, octets: bytes | memoryview, *, is_last: bool
    ) -> None:
        """Send content in its framing; the head goes first where it is still held."""
        framed: bytes | memoryview
        framed = message.end(bytes(octets)) if is_last else message.content(octets)
        if framed:
            self.transport.write(framed)

    def send_head(self, message: OutgoingMessage) -> None:
        """Send the head alone."""
        self.transport.write(message.begin())

    async def sendfile(self, file: int, first: int, size: int) -> bool:
        """Send octets of a file past the transport, by sendfile(2)."""
        return await send_past_transport(self, file, first, size)

    def take_over(self, head: bytes, receive: Callable[[bytes], None] | None) -> None:
        """Send a 101 response; what arrives from now on is not HTTP."""
        self.transport.write(head)
        self._switch(states.HTTP_LEFT)
        octets = self._pending.take_all()
        if receive is None:
            receive = self._receive_content
        else:
            self._is_handed_over = True
            self.transport.set_protocol(Handover(self, receive))
        if octets:
            receive(octets)

    def lost_request_is_over(self) -> None:
        """Nothing waits for it here."""

    def request_is_over(self) -> None:
        """The response is complete: the next request, or the end."""
        # Hot: runs once per request; by hand: _switch and end_state_at.
        request = self.request
        response = request.response
        persists = response.is_plain or (
            response.is_persistent
            and (response.message is None or response.message.is_persistent)
        )
        if self._state == WHOLE and persists:
            self._state = NEXT_STATE[WHOLE][RESPONSE_END]
            now = request.handler_task.ended_at
        elif self._state == IDLE:  # the rest of its content was read past
            now = self._context.now()
        elif self._state == states.CONTENT:
            self._finish_content(persists=persists)
            return
        else:
            self._close_after_response()
            return
        timeouts = self.timeouts
        timeouts.state_ends_at = now = now + self._context.idle_timeout_s
        if now < timeouts.entered_at:
            timeouts.end_state_at(now)
        if request.content is not NO_CONTENT or self._pending.window or self._has_fin:
            self._turn_to_next()
        elif request.store or request.path_params:
            request._forget()

    def _turn_to_next(self) -> None:
        """Read what has arrived since; only content and what follows pause reading."""
        self.request._forget()
        pending = self._pending
        if pending.window:
            octets, pending.window = pending.window, b""
            # We are in the task of the request before: its contextvars end here.
            self._context.run_outside(self._receive_head, octets)
        if self._has_fin:
            self.eof_received()  # once more: what it means depends on the request
        elif self._is_paused and self._has_room():
            self.read_control.resume()

    # As the server sees it

    @property
    def is_idle(self) -> bool:
        """It is kept alive, and nothing of a next request has arrived."""
        return self._state == IDLE

    def list_running(self) -> list[BlazeioServerProtocol]:
        """Return the request whose handler runs, if one does."""
        return [self.request] if self.request.handler_task.is_running else []

    def close_idle(self) -> None:
        """Close it if it is idle: another client needs its place."""
        if self._state == IDLE:
            self._close()

    def silence_s(self, now: float) -> float:
        """Return for how long no whole head has come; below 0: one is served."""
        if self._state > HEAD:
            return -1.0
        head_timeout_s = self._context.limits.head_timeout_s
        return now - self.timeouts.state_ends_at + head_timeout_s

    def close_silent(self) -> None:
        """Close it as if the time for a head were over."""
        self.on_state_timeout()

    def drain(self) -> None:
        """The server drains: an idle connection is kept only a little longer."""
        if self._state <= HEAD:
            self.timeouts.end_state_within(self._context.idle_timeout_s)

    def cancel(self) -> None:
        """Cancel the handler, if one runs, and cut the connection."""
        # The loss of the connection, one turn later, cancels most handlers. A second
        # cancellation would break into what they clean up.
        task = self.request.handler_task
        if self.request.response.is_complete or task.outlives_carrier:
            task.cancel()
        self.abort()

    # Called by its timeouts

    def on_state_timeout(self) -> None:
        """End a connection for which what it waits for has not come.

        A request that has come meanwhile has not lifted the end of the time for its
        head: to do that for each would cost more than to look at it here.
        """
        if self._state == HEAD:
            error = RemoteProtocolError("the request head took too long", 408)
            self.request.handler_task.refuse_head(error)
        elif not self.request.handler_task.is_running:
            self._close()
        elif self._has_fin and not self.request.response.status:
            self._disconnected("the half-closed client waited in vain")

    def on_reading_timeout(self) -> None:
        """The peer does not read what it asked for."""
        self._disconnected("the client does not read what it asked for")

    # The ends

    def abort(self) -> None:
        """End the connection at once, by RST: the peer sees that it was cut."""
        if self.request.is_alive:
            self.request.is_alive = False
            self.read_control.resume()
            self.read_control.reset_at_close()
            self.transport.abort()

    def unsent_bytes(self) -> int:
        """Return how many octets wait for the client to read them."""
        return self.read_control.unsent_bytes()

    def _disconnected(self, reason: str) -> None:
        """The peer cannot or will not take the response: the loss cancels the task."""
        log.debug("%r: %s", self.request, reason)
        self.abort()

    def _close_after_response(self) -> None:
        """Close; in stages unless the client asked for it and is silent."""
        is_theirs = not self.request.response.is_persistent
        is_silent = not (self._pending.window or self._is_paused)
        if self._has_fin or (is_theirs and is_silent):
            self._close()
        else:
            self.close()

    def close(self) -> None:
        """Close in stages: our side first, then theirs (RFC 9112 section 9.6)."""
        if self._is_handed_over:
            self.transport.set_protocol(self)  # what still comes is dropped here
        if self._has_fin or not self.transport.can_write_eof():
            self._close()
            return
        limits = self._context.limits
        self._switch(states.OUTPUT_SHUT)
        self._linger_bytes = limits.linger_bytes
        self._pending.clear()
        self.timeouts.end_state_in(limits.linger_timeout_s)
        if self._is_paused:
            self.read_control.resume()
        end_output(self.transport)

    def _close(self) -> None:
        if self._is_paused:
            self.read_control.resume()
        if self.transport.get_write_buffer_size():
            self.timeouts.start_reading()  # or a stalled reader would keep it for ever
        self.transport.close()
