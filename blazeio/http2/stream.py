"""``Http2Stream``: what carries one request on a connection of HTTP/2.

It has a ``BlazeioServerProtocol``, which is the ``r`` of handlers, and does for it what
an HTTP/1 connection does: content in, response out, deadlines. Octets of both ways are
DATA frames, whose windows are the flow control; a head is a header block, translated
from the lines that each response is composed of.

A stream is made once and used for many requests, one after the other, of whichever
connection of its server. One whose handler runs on after a reset is not used again.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final, Protocol

from blazeio.errors import LocalProtocolError, RemoteProtocolError
from blazeio.loggers import get_logger
from blazeio.protocol.carrier import ConnectionOrigin
from blazeio.protocol.context import ServerContext
from blazeio.protocol.flow import NO_CONTENT, UNTIL_CLOSE, ContentStream, WriteGate
from blazeio.protocol.request import BlazeioServerProtocol
from blazeio.protocol.timeouts import ConnectionTimeouts
from blazeio.wire.framing import OutgoingMessage
from blazeio.wire.headers import Headers
from blazeio.wire.http2_connection import Multiplexer
from blazeio.wire.http2_frames import ErrorCode
from blazeio.wire.http2_heads import encode_head, encode_lines, encode_status
from blazeio.wire.http2_sending import StreamState
from blazeio.wire.request import RequestHead

log = get_logger("blazeio.http2")

_ERROR: Final = 400
"""From this status on a client looks for the answer while it still sends: curl then
stops by itself, and drops an answer that comes together with a reset (7.88 does). To
others it has to be said at once: without a reset it would wait for ever."""
_CONTINUE: Final = encode_status(100)
_OF_HANDSHAKES: Final = (b"sec-websocket-accept", b"upgrade", b"connection")
"""Lines of a 101 that mean nothing here (RFC 8441 section 5)."""
_NO_STATE: Final = StreamState(0, 0, 0)
_NO_STATE.is_read = _NO_STATE.is_written = True


class StreamOwner(Protocol):
    """The connection of a stream.

    Attributes:
        context: What the connections of the loop share.
        transport: Of the socket, or of its TLS.
        origin: Who is believed about the client.
        wire: Frames, windows and streams, without I/O.
    """

    context: ServerContext
    transport: asyncio.Transport
    origin: ConnectionOrigin | None
    wire: Multiplexer

    def call_soon(self, work: Callable[[], None]) -> None:
        """Call it in the next turn, without the contextvars of a handler."""
        ...

    def stop_in_time(self, stream: StreamState) -> None:
        """Stop a stream some time after its answer, also where nobody reads that."""
        ...

    def release(self, stream: "Http2Stream") -> None:
        """The handler of a stream is over."""
        ...

    def stream_is_over(self, stream: "Http2Stream | None") -> None:
        """Nothing is left of a request; its stream, if there is one, is free again."""
        ...


class StreamReading:
    """Whether content comes from the client: its window is opened, or not.

    Args:
        stream: Whose content it is.
    """

    __slots__ = ("_stream",)

    def __init__(self, stream: "Http2Stream") -> None:
        self._stream = stream

    @property
    def is_open(self) -> bool:
        """Open the window of the stream as its content is taken."""
        return not self._stream.state.is_paused

    def pause(self) -> None:
        """Let no more come than the window has room for."""
        self._stream.state.is_paused = True

    def resume(self) -> None:
        """Let more come."""
        self._stream.open_window()

    def unsent_bytes(self) -> int:
        """Count what waits to be sent, for the pace at which the client reads."""
        return self._stream.state.waiting_bytes


class StreamTransport(asyncio.Transport):
    """Octets of one stream as they are, and the facts of its connection.

    Args:
        stream: Whose octets they are.
    """

    __slots__ = ("_stream",)

    def __init__(self, stream: "Http2Stream") -> None:
        self._stream = stream

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """Return what the connection's transport says."""
        return self._stream.connection.transport.get_extra_info(name, default)

    def is_closing(self) -> bool:
        """Whether nothing more can be sent."""
        return not self._stream.request.is_alive

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send octets of another protocol, once HTTP was left.

        Raises:
            LocalProtocolError: It was not: a stream has no octets but content.
        """
        self._stream.write_octets(bytes(data))

    def close(self) -> None:
        """End the stream once what was written has been sent."""
        self._stream.close()

    def abort(self) -> None:
        """Reset the stream."""
        self._stream.abort()

    def can_write_eof(self) -> bool:
        """Yes: a stream is ended on one side by END_STREAM."""
        return True

    def write_eof(self) -> None:
        """End our side of the stream."""
        self._stream.end()

    def get_write_buffer_size(self) -> int:
        """Octets that wait for a window, or for the connection's transport.

        While the window of the stream is shut it is full: who has a large write to cut
        gives the least piece of it, and not all that a transport would take.
        """
        state = self._stream.state
        if state.send_window > 0 or state.is_written:
            return state.waiting_bytes
        limits = self._stream.connection.context.limits
        return max(state.waiting_bytes, limits.high_water_bytes)


class Http2Stream:
    """One request on a connection; a ``RequestCarrier``.

    Args:
        connection: That its first request is on.
        context: Shared by the connections of the loop.
        request_class: The class of ``r``.

    Attributes:
        connection: The one it is on, or was on last.
        request: The request, ``r``.
        state: What the connection knows of the stream.
    """

    __slots__ = (
        "_early",
        "_has_left_http",
        "_is_over",
        "_owes_continue",
        "_receive",
        "_timeouts",
        "connection",
        "gate",
        "read_control",
        "request",
        "state",
        "transport",
    )

    frames_content: Final = True
    can_sendfile: Final = False
    http_version: Final = "2"

    def __init__(
        self,
        connection: StreamOwner,
        context: ServerContext,
        request_class: type[BlazeioServerProtocol],
    ) -> None:
        self.connection = connection
        self.state = _NO_STATE
        self.gate = WriteGate()
        self.read_control = StreamReading(self)
        self.transport: asyncio.Transport = StreamTransport(self)
        self.request = request_class(context, self)
        self.request.connection_made(self.transport)
        self._timeouts: ConnectionTimeouts | None = None
        self._receive: Callable[[bytes], None] | None = None
        self._early: bytes | None = None
        self._has_left_http = self._is_over = self._owes_continue = False

    def __repr__(self) -> str:
        return f"<Http2Stream {self.state.stream_id}>"

    @property
    def origin(self) -> ConnectionOrigin | None:
        """Who is believed about the client."""
        return self.connection.origin

    @property
    def is_over(self) -> bool:
        """Its handler is over, and its response is complete."""
        return self._is_over

    @property
    def _pace(self) -> ConnectionTimeouts:
        """The deadlines of the stream; most requests need none."""
        if self._timeouts is None:
            self._timeouts = ConnectionTimeouts(
                self, self.read_control, self.connection.context
            )
        return self._timeouts

    # Called by the connection

    def begin(
        self,
        connection: StreamOwner,
        state: StreamState,
        head: RequestHead,
        *,
        is_whole: bool,
    ) -> None:
        """Serve a request.

        Args:
            connection: That the stream is on.
            state: Of its stream.
            head: Of the request.
            is_whole: No content follows.
        """
        # Hot: runs once per request.
        if connection is not self.connection:
            self._join(connection)
        self.state = state
        state.user = self
        self._is_over = False
        task = self.request.handler_task
        content = NO_CONTENT if is_whole else self._begin_content(head)
        if content is NO_CONTENT:
            task.start(head)
        else:
            task.start_with_content(head, content)

    def _begin_content(self, head: RequestHead) -> ContentStream:
        length = head.content_length
        if head.upgrade is not None:  # what comes is for the other protocol
            # From now on octets are kept here until ``take_over`` says whose they are;
            # None where no other protocol was asked for.
            self._early = b""
            self.state.is_paused = True
            return NO_CONTENT
        if length == 0:
            return NO_CONTENT
        bound = self.connection.context.find_content_bound(head)
        length = UNTIL_CLOSE if length is None else length
        content = ContentStream(length=length, bound=bound)
        self._owes_continue = head.expects_continue
        if content.error is not None:
            self.state.is_paused = True
        elif not self._owes_continue:
            self._pace.start_content(content)
        return content

    def refuse(
        self,
        connection: StreamOwner,
        state: StreamState,
        error: RemoteProtocolError,
    ) -> None:
        """Answer what is not to be served with the status of an error."""
        if connection is not self.connection:
            self._join(connection)
        self.state = state
        state.user = self
        self._is_over = False
        self.request.handler_task.refuse_head(error)

    def _join(self, connection: StreamOwner) -> None:
        """Move to another connection, and tell the request: its peer is another."""
        self.connection = connection
        self.request.connection_made(self.transport)

    def receive(self, octets: bytes) -> None:
        """Take content."""
        if self._receive is not None:
            self._receive(octets)
            return
        if self._early is not None:
            self._early += octets  # as much as a window
            return
        content = self.request.content
        self._owes_continue = False  # the client did not wait for it
        content.feed(octets)
        if content.error is not None:
            self.state.is_paused = True  # the handler will see it
            self._stop_content()
        elif content.queued_bytes > self.connection.context.limits.receive_bytes:
            self.state.is_paused = True
            self._stop_content()  # it is the handler that is slow

    def receive_end(self, trailers: Headers | None) -> None:
        """Take the end of the content."""
        self._stop_content()
        if self._has_left_http or self._early is not None:
            self.request.eof_received()
            return
        content = self.request.content
        if content is not NO_CONTENT and content.error is None:
            content.end(trailers)

    def peer_has_ended(self) -> None:
        """The connection is half closed: nothing more comes on this stream either."""
        if self.state.is_stopping:
            self.connection.wire.stop(self.state)
            return
        request = self.request
        request.eof_received()
        response = request.response
        if self._has_left_http or response.is_complete:
            return
        if not self.state.is_read:
            self.disconnect("the client closed before its content was whole")
        elif response.status:
            self.disconnect("the client closed while the response was streamed")

    def sent(self) -> None:
        """Let writers go on: what waited was sent, or enough of it."""
        if not self.state.waiting_bytes:
            if self._timeouts is not None:
                self._timeouts.stop_reading()
            if self._is_over:
                if not self.state.is_stopping:
                    self._recycle()
                return
        if not self.gate.is_open:
            self.request.resume_writing()

    def waits(self) -> None:
        """The window of the stream is shut, and content waits for it."""
        self._pace.start_reading()

    def was_reset(self, reason: str) -> None:
        """The stream is over: its client has reset it, or made us do so."""
        log.debug("%r: %s", self, reason)
        if self._is_over:
            self._recycle()
        else:
            self.connection.call_soon(self.lose)

    def was_left(self) -> None:
        """Its answer was seen: nothing more comes on the stream."""
        self._recycle()

    def lose(self) -> None:
        """Tell the request that its client is gone."""
        if self._timeouts is not None:
            self._timeouts.close()
        if self._is_over:
            return
        request = self.request
        is_running = request.handler_task.is_running
        request.connection_lost(None)
        if not is_running:
            self.lost_request_is_over()

    # The deadlines

    def on_content_timeout(self) -> None:
        """For ``ConnectionTimeouts``: the handler sees it, as 408."""
        error = RemoteProtocolError("the content came too slowly", 408)
        self.request.content.fail(error)
        self.state.is_paused = True

    def on_reading_timeout(self) -> None:
        """For ``ConnectionTimeouts``: the window stays shut."""
        pace = self._pace
        pace.stop_reading()
        if self.state.send_window > 0:  # it waits for the others, not for the client
            pace.start_reading()
        else:
            self.disconnect("the client does not read what it asked for")

    def on_state_timeout(self) -> None:
        """For ``ConnectionTimeouts``: streams have no state of that kind."""

    def _stop_content(self) -> None:
        if self._timeouts is not None:
            self._timeouts.stop_content()

    # As the carrier of the request: its content

    def resume_content(self) -> None:
        """The handler waits for content: let it come."""
        content = self.request.content
        if content.is_whole or content.error is not None:
            return
        if self._owes_continue:
            self._owes_continue = False
            # RFC 9110 section 10.1.1: no 100 once the final response has begun. A
            # handler that reads late gets the content all the same, if the client sends
            # it.
            if not self.request.response.status:
                self.connection.wire.send_head(self.state, _CONTINUE, is_last=False)
        self.open_window()
        if not self._has_left_http:
            self._pace.start_content(content)

    def open_window(self) -> None:
        """Let more content come."""
        if self.state.is_paused and not self.state.is_unwanted:
            self.connection.wire.credit(self.state)

    # Its response

    def note_early_response(self) -> None:
        """Do nothing: once the response is whole, a reset gives the content up."""

    def send_interim(self, status: int, lines: bytes) -> None:
        """Send an interim response."""
        block = encode_status(status) + encode_lines(lines)
        self.connection.wire.send_head(self.state, block, is_last=False)

    def send_whole(self, start: bytes, line: bytes, content: bytes) -> None:
        """Send a whole response; see ``RequestCarrier``."""
        # Hot: runs once per request.
        head = b"%b%bContent-Length: %d\r\n" % (start, line, len(content))
        self.connection.wire.respond(self.state, encode_head(head)[1], content)

    def send(
        self, message: OutgoingMessage, octets: bytes | memoryview, *, is_last: bool
    ) -> None:
        """Send content; see ``RequestCarrier``."""
        head, content = message.take(octets, is_last=is_last)
        trailers = message.trailers if is_last else b""
        wire, state = self.connection.wire, self.state
        if head:
            ends = is_last and not (content or trailers)
            self._send_head(head, is_last=ends or not message.has_content)
        if state.is_written:
            return  # there is no content, as after HEAD
        if trailers:
            if content:
                wire.send(state, _own(content))
            wire.send_trailers(state, encode_lines(trailers))
        elif content or is_last:
            wire.send(state, _own(content), is_last=is_last)
        if state.is_blocked:
            self.request.pause_writing()

    def send_head(self, message: OutgoingMessage) -> None:
        """Send the head alone."""
        if not message.is_begun:
            self._send_head(message.begin(), is_last=not message.has_content)

    def _send_head(self, head: bytes, *, is_last: bool) -> None:
        block = encode_head(head)[1]
        self.connection.wire.send_head(self.state, block, is_last=is_last)

    async def sendfile(self, file: int, first: int, size: int) -> bool:
        """Never called: ``can_sendfile`` says so."""
        raise LocalProtocolError("octets of a file cannot pass by the frames of HTTP/2")

    # Another protocol

    def take_over(self, head: bytes, receive: Callable[[bytes], None] | None) -> None:
        """Send 200 for a 101: what comes from now on is another protocol's."""
        lines = [
            line
            for line in head.split(b"\r\n")[1:]
            if line.partition(b":")[0].lower() not in _OF_HANDSHAKES
        ]
        block = encode_status(200) + encode_lines(b"\r\n".join(lines))
        # RFC 8441 section 5: a 200 opens the tunnel, whose octets are the DATA of the
        # stream. The lines of an HTTP/1.1 handshake say nothing here.
        self._has_left_http = True
        self._receive = receive
        self.connection.wire.send_head(self.state, block, is_last=False)
        early, self._early = self._early, None
        self.open_window()
        if early:
            self.receive(early)

    def write_octets(self, octets: bytes) -> None:
        """Send octets of another protocol; see ``StreamTransport.write``."""
        if not self._has_left_http:
            raise LocalProtocolError("a stream of HTTP/2 has no octets but its content")
        if self.state.is_written:
            return
        self.connection.wire.send(self.state, octets)
        if self.state.is_blocked:
            self.request.pause_writing()

    # The ends

    def request_is_over(self) -> None:
        """The handler is over and its response complete."""
        # Hot: runs once per request.
        connection = self.connection
        state = self.state
        self._is_over = True
        wire = connection.wire
        if not state.is_read:
            self._stop_content()
            is_patient = self.request.status >= _ERROR
            wire.want_no_more(state, is_patient=is_patient)
            if is_patient:
                connection.stop_in_time(state)
        wire.answered()
        connection.release(self)
        if not (state.waiting_bytes or state.is_stopping):
            self._recycle()

    def end(self) -> None:
        """End our side of the stream."""
        if not self.state.is_written and not self.state.ends:
            self.connection.wire.send(self.state, b"", is_last=True)

    def close(self) -> None:
        """The response was the last one, or the other protocol has ended."""
        self.end()
        self.request_is_over()

    def abort(self) -> None:
        """Reset the stream: the response is cut, and the client sees it."""
        self._cut(ErrorCode.INTERNAL_ERROR)

    def disconnect(self, reason: str) -> None:
        """Reset the stream: the client cannot or will not take the response."""
        log.debug("%r: %s", self, reason)
        self._cut(ErrorCode.CANCEL)

    def _cut(self, code: ErrorCode) -> None:
        if not self.request.is_alive:
            return
        self.connection.wire.reset(self.state, code)
        if self._is_over:
            self._recycle()
        else:
            self.request.is_alive = False
            self.connection.call_soon(self.lose)

    def lost_request_is_over(self) -> None:
        """The handler of a request that had lost its client is over."""
        # Not into the pool: the handler that has lost its client may have kept ``r``,
        # and a next request must not be seen through it.
        self.connection.release(self)
        self._is_over = True
        self.state = _NO_STATE
        self.connection.stream_is_over(None)

    def _recycle(self) -> None:
        """Nothing of the request is left: another may have the stream."""
        # Hot: runs once per request.
        self.request.handler_task.forget()
        self.state = _NO_STATE
        may_change = self.request._may_change_carriers and not self._has_left_http
        self._early = None
        if self._timeouts is not None:
            self._timeouts.close()
        # A writer of the last request may have shut it; the next one begins with an
        # open gate.
        if not self.gate.is_open:
            self.request.resume_writing()
        self._owes_continue = False
        self.connection.stream_is_over(self if may_change else None)


def _own(octets: bytes | memoryview) -> bytes:
    """Octets that nobody can change while they wait."""
    # A view or a bytearray is the caller's, who may write into it before the window
    # opens.
    return octets if isinstance(octets, bytes) else bytes(octets)
