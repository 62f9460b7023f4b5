"""``Http2Connection``: the asyncio protocol of a connection on which HTTP/2 is spoken.

What octets mean is decided by ``wire.http2_connection``. Here they are read and
written, streams are made for requests, and the connection is ended when it is time.

Frames are gathered and leave in one write at the end of the loop's turn, or at once
where they are many. When the transport is full, content waits in its streams and their
writers sleep.

It ends in stages. First GOAWAY says that no further stream will be served, and names
none, since requests may be under way; a PING tells when the client has seen it. Then
a second one names the last stream (RFC 9113 section 6.8), and when that is answered
the connection is closed. So no request is lost by a reload, nor by an idle connection
that is closed as the client uses it again.
"""

import asyncio
from collections.abc import Callable
from typing import Final, cast

from blazeio.errors import RemoteProtocolError
from blazeio.http2.stream import Http2Stream, StreamOwner
from blazeio.loggers import get_logger
from blazeio.protocol.carrier import ConnectionOrigin
from blazeio.protocol.context import ServerContext
from blazeio.protocol.kernel import ReadControl, end_output
from blazeio.protocol.request import BlazeioServerProtocol
from blazeio.protocol.timeouts import NEVER, ConnectionTimeouts
from blazeio.wire.headers import Headers
from blazeio.wire.http2_connection import Multiplexer
from blazeio.wire.http2_frames import ErrorCode
from blazeio.wire.http2_sending import StreamState
from blazeio.wire.request import RequestHead

log = get_logger("blazeio.http2")

ALPN: Final = "h2"
"""The name of HTTP/2 where it is agreed on within TLS (RFC 9113 section 3.2)."""
MOST_SPARE: Final = 128
"""How many ended streams a server keeps for its next requests."""
REST_S: Final = 1.0
"""A connection that is idle for so long gives up what its header blocks meant."""

_OPENING, _OPEN, _ANNOUNCED, _ENDING, _LINGERING, _LOST = range(6)
"""The first SETTINGS are awaited; requests are; the end was announced; no further
stream is served; our side is shut; it is over."""
_NAMES: Final = ("OPENING", "OPEN", "ANNOUNCED", "ENDING", "LINGERING", "LOST")


class StreamPool:
    """Streams that are over, for the next requests of any connection of a server.

    Args:
        context: Shared by the connections of the loop.
        request_class: The class of ``r``.

    Attributes:
        context: See above.
        base: The contextvars that what is called later runs in.
    """

    def __init__(
        self,
        context: ServerContext,
        request_class: type[BlazeioServerProtocol] = BlazeioServerProtocol,
    ) -> None:
        self.context = context
        self.base = context.base.copy()
        self._request_class = request_class
        self._spare: list[Http2Stream] = []

    def take(self, connection: StreamOwner) -> Http2Stream:
        """Return one that is over, or a new one of this connection."""
        # Hot: runs once per request.
        if self._spare:
            return self._spare.pop()
        return Http2Stream(connection, self.context, self._request_class)

    def put(self, stream: Http2Stream) -> None:
        """Keep one that is over."""
        if len(self._spare) < MOST_SPARE:
            self._spare.append(stream)


class _Unsent:
    """The octets of a connection that have not left, for the pace of its reader.

    Octets that were given out count as moved, so that a client that reads is not
    taken for one that does not, however much is written meanwhile.
    """

    __slots__ = ("_reading", "_wire")

    def __init__(self, reading: ReadControl, wire: Multiplexer) -> None:
        self._reading = reading
        self._wire = wire

    def unsent_bytes(self) -> int:
        """Return what waits in the transport, less all that ever left the streams."""
        return self._reading.unsent_bytes() - self._wire.sent_bytes


class Http2Connection(asyncio.BufferedProtocol, asyncio.Protocol):
    """A connection of HTTP/2; a ``ServerConnection``.

    Args:
        pool: Gives streams; and what the connections of the loop share.
        origin: Who is believed about the client; None: the transport tells it all.

    Attributes:
        context: What the connections of the loop share.
        transport: Of the socket, or of its TLS.
        origin: Who is believed about the client.
        wire: Frames, windows and streams, without I/O.
        read_control: Whether the transport reads.
    """

    __slots__ = (
        "_begun_at",
        "_has_fin",
        "_is_flush_due",
        "_is_head_due",
        "_is_resting",
        "_linger_bytes",
        "_pool",
        "_running",
        "_stage",
        "_timeouts",
        "context",
        "origin",
        "read_control",
        "transport",
        "wire",
    )

    transport: asyncio.Transport

    def __init__(self, pool: StreamPool, origin: ConnectionOrigin | None) -> None:
        self.context = context = pool.context
        self.origin = origin
        self._pool = pool
        self.wire = Multiplexer(self, context.limits)
        self._running: list[Http2Stream] = []  # an empty set has 0.2 KB
        self._stage = _OPENING
        self._has_fin = self._is_flush_due = self._is_head_due = False
        self._is_resting = False
        self._linger_bytes = 0
        self._begun_at = context.now()

    def __repr__(self) -> str:
        name = _NAMES[self._stage]
        return f"<{type(self).__name__} {name} {len(self._running)} requests>"

    def call_soon(self, work: Callable[[], None]) -> None:
        """Call it in the next turn, without the contextvars of a handler."""
        self.context.loop.call_soon(work, context=self._pool.base)

    # Called by the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected, and speaks HTTP/2."""
        transport = cast(asyncio.Transport, transport)  # uvloop's is none by name
        self.transport = transport
        context = self.context
        limits = context.limits
        self.read_control = ReadControl(transport, context, self)
        unsent = _Unsent(self.read_control, self.wire)
        self._timeouts = ConnectionTimeouts(self, unsent, context)
        transport.set_write_buffer_limits(high=limits.high_water_bytes)
        if self.origin is not None:
            self.origin.connect(transport)
        context.connections.add(self)
        # The handshake of TLS may end after the server was closed: such a connection
        # was not among those that it has closed.
        if context.is_closed:
            self.abort()
            return
        # The first SETTINGS count as the head of a request does: a client that sends
        # nothing must not hold a connection for longer than over HTTP/1.1.
        self._timeouts.end_state_in(limits.head_timeout_s)
        self.wire.begin()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Lend the loop's one receive buffer."""
        return self.context.receive_view

    def buffer_updated(self, nbytes: int) -> None:
        """Octets have arrived; they are copied out before we return."""
        self.data_received(self.context.receive_view[:nbytes].tobytes())

    def data_received(self, octets: bytes) -> None:
        """Octets have arrived."""
        # Hot: runs once per read.
        if self._stage >= _LINGERING:
            self._receive_late(len(octets))
            return
        wire = self.wire
        wire.receive(octets, self.context.now())
        if wire.is_in_head or self._stage == _OPENING or self._is_head_due:
            self._watch_head()
        # Each PING and SETTINGS asks for an answer: a client that sends them and does
        # not read would have us keep all of the answers (CVE-2019-9512, 9515). Content
        # is bounded by the windows.
        if self.transport.get_write_buffer_size() > self._most_unsent_bytes:
            self.read_control.pause()  # until what we have to say to it was read

    @property
    def _most_unsent_bytes(self) -> int:
        return 4 * self.context.limits.high_water_bytes

    def eof_received(self) -> bool:
        """The client will send no more."""
        self._has_fin = True
        if self._stage == _LINGERING or not self._is_busy:
            self._close()
        else:
            for stream in self._list_streams():
                stream.peer_has_ended()
            grace_s = self.context.limits.half_close_grace_s
            self._timeouts.end_state_within(grace_s)
        return True  # the transport stays open: we close it ourselves

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is over, by either side."""
        # asyncio calls from the context of whoever has written last
        self.context.run_outside(self._lose)

    def _lose(self) -> None:
        self._stage = _LOST
        context = self.context
        context.connections.discard(self)
        self._timeouts.close()
        self.read_control.close()
        for stream in self._list_streams():
            stream.lose()
        self.wire.streams.clear()
        if context.when_closed is not None:
            context.when_closed()

    def pause_writing(self) -> None:
        """The transport holds more than the high watermark."""
        self.wire.pause()
        self._timeouts.start_reading()

    def resume_writing(self) -> None:
        """The transport has sent enough."""
        if not self.read_control.is_open:
            self.read_control.resume()
        if not self.transport.is_closing():
            self.wire.resume()

    def on_hangup(self, *, is_reset: bool) -> None:
        """The side epoll saw FIN or RST while reading is paused."""
        self.abort()

    # Called by the wire: requests and content

    def request_received(
        self, stream: StreamState, head: RequestHead, *, is_whole: bool
    ) -> None:
        """Serve a request."""
        # Hot: runs once per request.
        carrier = self._take_stream()
        self.context.http2_count += 1
        if self._stage == _OPEN:
            self._timeouts.state_ends_at = NEVER
        carrier.begin(self, stream, head, is_whole=is_whole)

    def request_refused(
        self, stream: StreamState, error: RemoteProtocolError, *, is_whole: bool
    ) -> None:
        """Answer an error's status."""
        self._take_stream().refuse(self, stream, error)

    def _take_stream(self) -> Http2Stream:
        stream = self._pool.take(self)
        self._running.append(stream)
        return stream

    def content_received(self, stream: StreamState, octets: bytes) -> None:
        """Content has come."""
        cast(Http2Stream, stream.user).receive(octets)

    def content_ended(self, stream: StreamState, trailers: Headers | None) -> None:
        """The content is whole."""
        cast(Http2Stream, stream.user).receive_end(trailers)

    def stream_reset(self, stream: StreamState, reason: str) -> None:
        """A stream was reset, by its client or because of it."""
        cast(Http2Stream, stream.user).was_reset(reason)

    def stream_left(self, stream: StreamState) -> None:
        """Nothing more comes on a stream that was stopped."""
        cast(Http2Stream, stream.user).was_left()

    def stop_in_time(self, stream: StreamState) -> None:
        """Stop a stream some time after its answer, also where nobody reads that."""
        span_s = self.context.limits.linger_timeout_s
        loop, base = self.context.loop, self._pool.base
        loop.call_later(span_s, self.wire.stop, stream, context=base)

    def stream_waits(self, stream: StreamState) -> None:
        """Content waits for a window, or for the transport."""
        # The client holds back this stream alone, which has its own deadline. Else the
        # connection's window or the transport is shut, and all streams wait for the
        # same.
        if stream.send_window <= 0:
            cast(Http2Stream, stream.user).waits()
        else:
            self._timeouts.start_reading()

    def stream_sent(self, stream: StreamState) -> None:
        """A stream may go on."""
        cast(Http2Stream, stream.user).sent()

    def all_sent(self) -> None:
        """Nothing waits for the connection."""
        self._timeouts.stop_reading()

    def flush_soon(self) -> None:
        """Send what was gathered, by the end of the loop's turn."""
        if not self._is_flush_due:
            self._is_flush_due = True
            self.context.loop.call_soon(self._flush_due, context=self._pool.base)

    def _flush_due(self) -> None:
        self._is_flush_due = False
        self.flush()

    def flush(self) -> None:
        """Send what was gathered."""
        frames = self.wire.take_frames()
        may_write = self._stage < _LINGERING and not self.transport.is_closing()
        if frames and may_write:
            self.transport.write(frames[0] if len(frames) == 1 else b"".join(frames))

    def drain_acknowledged(self) -> None:
        """The client knows that the connection ends; nothing was under way."""
        if self._stage == _ANNOUNCED:
            self._end()

    def connection_failed(self, reason: str) -> None:
        """The client has broken the rules: GOAWAY says so, and it is over."""
        log.debug("%r of %s: %s", self, self.transport, reason)
        self._stage = _ENDING
        for stream in self._list_streams():
            stream.request.is_alive = False
            # In the next turn: this is called from within ``receive``, and to lose a
            # stream runs code of its request.
            self.call_soon(stream.lose)
        self.wire.streams.clear()
        self._close_in_stages()

    # Called by streams

    def release(self, stream: Http2Stream) -> None:
        """The handler of a stream is over."""
        # Hot: runs once per request.
        self._running.remove(stream)
        self.wire.release()

    def stream_is_over(self, stream: Http2Stream | None) -> None:
        """Nothing is left of a request; its stream, if there is one, is free again."""
        # Hot: runs once per request.
        if stream is not None:
            self._pool.put(stream)
        if not (self._running or self.wire.streams):
            self._become_idle()

    def _become_idle(self) -> None:
        if self._stage == _OPENING:
            return  # it was answered in the read that has opened: ``_watch_head`` asks
        if self._stage == _OPEN and not self._has_fin:
            self._is_resting = False
            self._timeouts.end_state_in(min(REST_S, self.context.idle_timeout_s))
        elif self._stage == _ANNOUNCED and not self._has_fin:
            self._timeouts.end_state_within(self.context.idle_timeout_s)
        elif self._stage < _LINGERING:
            self.call_soon(self._close_if_idle)

    def _close_if_idle(self) -> None:
        if not self._is_busy and self._stage in (_OPEN, _ANNOUNCED, _ENDING):
            self._close_in_stages()

    # Deadlines

    def _watch_head(self) -> None:
        """Bound how long the first SETTINGS, or a header block, may take."""
        wire = self.wire
        if self._stage == _OPENING and wire.has_settings:
            self._stage = _OPEN
            self._timeouts.state_ends_at = NEVER
            if self.context.is_draining:
                self.drain()
            elif not self._is_busy:
                self._become_idle()
        if wire.is_in_head and not self._is_head_due:
            self._is_head_due = True
            self._timeouts.end_state_in(self.context.limits.head_timeout_s)
        elif self._is_head_due and not wire.is_in_head:
            self._is_head_due = False
            self._timeouts.state_ends_at = NEVER
            if self._stage == _ANNOUNCED:
                self._timeouts.end_state_in(self.context.idle_timeout_s)
            elif not self._is_busy:
                self._become_idle()

    def on_state_timeout(self) -> None:
        """For ``ConnectionTimeouts``: what was waited for did not come."""
        stage = self._stage
        if stage >= _LINGERING:
            self._close()
        elif self._is_head_due or stage == _OPENING:
            what = "header block" if self._is_head_due else "first SETTINGS"
            self.wire.fail(ErrorCode.PROTOCOL_ERROR, f"the {what} took too long")
        elif self._has_fin:
            self._give_up_half_closed()
        elif stage == _OPEN and not self._is_resting:
            self._rest()
        elif stage == _OPEN:
            self._announce_end()
            self._timeouts.end_state_in(self.context.limits.linger_timeout_s)
        else:
            self._end()

    def _rest(self) -> None:
        self._is_resting = True
        self.wire.rest()
        self._timeouts.end_state_in(self.context.idle_timeout_s - REST_S)

    def _give_up_half_closed(self) -> None:
        for stream in self._list_streams():
            if not stream.request.status:
                stream.disconnect("the half-closed client waited in vain")

    def on_content_timeout(self) -> None:
        """For ``ConnectionTimeouts``: content is of streams, never of a connection."""

    def on_reading_timeout(self) -> None:
        """For ``ConnectionTimeouts``: the client does not read what it asked for."""
        log.debug("%r: the client does not read what it asked for", self)
        self.abort()

    # The end

    def _announce_end(self) -> None:
        self._stage = _ANNOUNCED
        self.wire.begin_drain()

    def _end(self) -> None:
        """Serve no further stream; close when the last one is over."""
        self._stage = _ENDING
        # GOAWAY names the last stream, so that a request which is under way just now
        # may be sent again elsewhere (RFC 9113 section 8.7).
        self.wire.finish_drain()
        if not self._is_busy:
            self._close_in_stages()

    def _close_in_stages(self) -> None:
        """Shut our side; read on for a while, so that what we said is seen."""
        if self._stage >= _LINGERING:
            return
        self.flush()
        # TLS has no half-close in asyncio: there the close alert and the linger are
        # done by ``protocol.tls``.
        if self._has_fin or not self.transport.can_write_eof():
            self._close()
            return
        limits = self.context.limits
        self._stage = _LINGERING
        self._linger_bytes = limits.linger_bytes
        self._timeouts.end_state_in(limits.linger_timeout_s)
        self.read_control.resume()
        if not self.transport.is_closing():
            end_output(self.transport)

    def _receive_late(self, nbytes: int) -> None:
        """Octets that come while we linger are dropped, up to a bound."""
        # RFC 9112 section 9.6 describes the same for HTTP/1.1: octets that are unread
        # when the socket is closed make the kernel send an RST, which may destroy our
        # last frames at the client.
        self._linger_bytes -= nbytes
        if self._linger_bytes < 0:
            self._close()

    def _close(self) -> None:
        self.flush()
        self._stage = max(self._stage, _LINGERING)
        self.read_control.resume()
        if self.transport.get_write_buffer_size():
            self._timeouts.start_reading()  # a stalled reader would keep it for ever
        self.transport.close()

    def abort(self) -> None:
        """End the connection at once, by RST."""
        if self._stage != _LOST:
            self._stage = max(self._stage, _LINGERING)
            self.read_control.resume()
            self.read_control.reset_at_close()
            self.transport.abort()

    # Asked by the server

    def _list_streams(self) -> list[Http2Stream]:
        """Streams whose handlers run, or whose responses were not sent yet."""
        waiting = [cast(Http2Stream, each.user) for each in self.wire.streams.values()]
        return list({*self._running, *waiting})

    @property
    def _is_busy(self) -> bool:
        return bool(self._running or self.wire.streams)

    @property
    def is_idle(self) -> bool:
        """No request is served, and none has begun to arrive."""
        return self._stage == _OPEN and not self._is_busy and not self.wire.is_in_head

    @property
    def is_serving(self) -> bool:
        """A handler runs."""
        return bool(self._running)

    def list_running(self) -> list[BlazeioServerProtocol]:
        """Return the requests whose handlers run."""
        return [stream.request for stream in self._running]

    def close_idle(self) -> None:
        """Make room for another client."""
        if self.is_idle:
            self.wire.finish_drain()
            self._close()

    def silence_s(self, now: float) -> float:
        """Return for how long there has been no SETTINGS; below 0: there was."""
        return now - self._begun_at if self._stage == _OPENING else -1.0

    def close_silent(self) -> None:
        """Make room, as if the time for the first SETTINGS were over."""
        self._close()

    @property
    def is_open(self) -> bool:
        """Whether its client may begin streams: its end was not announced."""
        return self._stage == _OPEN

    def drain(self) -> None:
        """Serve what is under way, then end."""
        if self._stage == _OPEN:
            self._announce_end()
        if self._stage <= _ANNOUNCED:
            self._timeouts.end_state_within(self.context.idle_timeout_s)

    def cancel(self) -> None:
        """Cancel the handlers that run, and cut the connection."""
        for stream in self._list_streams():
            request = stream.request
            if request.response.is_complete or self._stage == _LOST:
                request.handler_task.cancel()
        self.abort()  # the loss cancels the others
