"""The sending half of an HTTP/2 connection: windows, turns of streams, frames out.

Pure: frames are gathered, and whoever has the socket takes them. A stream has the
octets that wait for its window, for the window of the connection, or for the
transport. Streams that may send take turns, one frame each, so that a download
does not hold up the small answers beside it.
"""

from collections import deque
from typing import Any, Final, Protocol

from blazeio.errors import RemoteProtocolError
from blazeio.limits import Limits
from blazeio.wire.headers import Headers
from blazeio.wire.http2_frames import (
    DATA,
    DEFAULT_WINDOW_BYTES,
    END_HEADERS,
    END_STREAM,
    FRAME_HEADER,
    HEADERS,
    LEAST_FRAME_BYTES,
    MOST_WINDOW_BYTES,
    Budget,
    ErrorCode,
    Http2ConnectionError,
    Http2StreamError,
    serialize_frame_header,
    serialize_head,
)
from blazeio.wire.http2_heads import NO_TABLE
from blazeio.wire.request import RequestHead

FLUSH_BYTES: Final = 64 * 1024
"""From here on frames leave at once; fewer wait for the end of the loop's turn. Else
a stream would learn too late that the transport is full."""
MOST_TURN_BYTES: Final = 64 * 1024
"""The largest frame that we send, so that each stream soon has its turn."""

DATA_EARNS: Final = 2.0
"""Control frames that a client may send for each DATA frame: it acknowledges each
to stream and connection, and a gRPC client sends a PING as well."""
EARNING_BYTES: Final = 1024
"""So much content that waited earns its client as much as one DATA frame, in frames of
any size: those of a client that credits each by itself become small, and stay so, but
not on the average. Windows of a few octets earn nothing to speak of."""


class StreamState:
    """What the connection knows of one stream.

    Attributes:
        stream_id: Its number.
        user: What the shell has made of it.
        send_window: Octets that the peer still takes; below 0 after it has
            made its windows smaller.
        waiting: Content that waits to be sent; ``waiting_bytes`` in all.
        ends: END_STREAM follows what waits; ``trailers`` carry it where they are.
        is_blocked: The user was told to wait.
        has_turn: It is in the queue of those that may send.
        receive_window: Octets that the peer may still send.
        owed_bytes: Octets that were received and not yet credited.
        is_paused: They are not credited: the user does not keep up.
        due_bytes: What its content-length leaves; None where none was sent.
        is_read: The peer has ended it, or has reset it.
        is_written: We have ended it, or have reset it.
        is_unwanted: Nobody reads what the peer still sends.
        is_stopping: It is unwanted, and not reset before the peer has read the answer.
    """

    __slots__ = (
        "due_bytes",
        "ends",
        "has_turn",
        "is_blocked",
        "is_paused",
        "is_read",
        "is_stopping",
        "is_unwanted",
        "is_written",
        "owed_bytes",
        "receive_window",
        "send_window",
        "stream_id",
        "trailers",
        "user",
        "waiting",
        "waiting_bytes",
    )

    def __init__(self, stream_id: int, send_window: int, receive_window: int) -> None:
        # Hot: runs once per request.
        self.stream_id = stream_id
        self.user: Any = None
        self.send_window = send_window
        self.receive_window = receive_window
        self.waiting: deque[bytes | memoryview] | None = None
        self.waiting_bytes = 0
        self.owed_bytes = 0
        self.due_bytes: int | None = None
        self.trailers = b""
        self.ends = self.is_blocked = self.has_turn = False
        self.is_paused = self.is_unwanted = self.is_stopping = False
        self.is_read = self.is_written = False

    def __repr__(self) -> str:
        return f"<StreamState {self.stream_id}>"


class ConnectionUser(Protocol):
    """Who is told what happens: the shell."""

    def request_received(
        self, stream: StreamState, head: RequestHead, *, is_whole: bool
    ) -> None:
        """A request has come; it ``is_whole`` where no content follows."""
        ...

    def request_refused(
        self, stream: StreamState, error: RemoteProtocolError, *, is_whole: bool
    ) -> None:
        """A request has come that is to be answered with an error's status."""
        ...

    def content_received(self, stream: StreamState, octets: bytes) -> None:
        """Content has come."""
        ...

    def content_ended(self, stream: StreamState, trailers: Headers | None) -> None:
        """The content is whole."""
        ...

    def stream_reset(self, stream: StreamState, reason: str) -> None:
        """It is over: the peer has reset it, or made us do so."""
        ...

    def stream_left(self, stream: StreamState) -> None:
        """One that was to be stopped when its answer was seen is over."""
        ...

    def stream_waits(self, stream: StreamState) -> None:
        """It has content that a window, or the transport, does not let through."""
        ...

    def stream_sent(self, stream: StreamState) -> None:
        """Nothing of a stream waits any more; or it was blocked, and may go on."""
        ...

    def all_sent(self) -> None:
        """No stream waits any more whose own window is open."""
        ...

    def flush_soon(self) -> None:
        """There are frames to be sent by the end of the loop's turn."""
        ...

    def flush(self) -> None:
        """There are so many that they had better be sent now."""
        ...

    def drain_acknowledged(self) -> None:
        """The peer has seen that no further stream will be served."""
        ...

    def connection_failed(self, reason: str) -> None:
        """GOAWAY is among the frames; nothing more will be read."""
        ...


class Sending:
    """The half that sends. A base of ``Multiplexer``.

    Args:
        user: Told what happens.
        limits: A quarter of ``high_water_bytes``: so much of a stream blocks it.

    Attributes:
        streams: Those that are open on one side at least, by their numbers.
        sent_bytes: Octets of content given out, ever.
    """

    __slots__ = (
        "_control",
        "_first_window",
        "_frame_bytes",
        "_is_full",
        "_most_waiting_bytes",
        "_out",
        "_out_bytes",
        "_owes_table_update",
        "_turns",
        "_user",
        "_window",
        "sent_bytes",
        "streams",
    )

    def __init__(self, user: ConnectionUser, limits: Limits) -> None:
        self._user = user
        self._control = Budget(
            "control frames", limits.control_frames, limits.control_frames_per_s
        )
        self.streams: dict[int, StreamState] = {}
        # What waits for a window leaves when the client likes, and not within
        # milliseconds as what a transport holds. So it is no more than what is left in
        # a transport when it asks for more: a client may have many streams blocked.
        self._most_waiting_bytes = max(limits.high_water_bytes // 4, 1)
        self._window = self._first_window = DEFAULT_WINDOW_BYTES
        self._frame_bytes = LEAST_FRAME_BYTES
        self._out: list[bytes | memoryview] = []
        self._out_bytes = 0
        self._turns: list[StreamState] = []  # a deque has 0.6 KB, also when empty
        self._is_full = False
        self._owes_table_update = False
        self.sent_bytes = 0

    # What the shell asks

    def take_frames(self) -> list[bytes | memoryview]:
        """Return the octets that are to be sent, and forget them."""
        out, self._out = self._out, []
        self._out_bytes = 0
        return out

    def pause(self) -> None:
        """The transport is full: content waits, whatever the windows say."""
        self._is_full = True

    def resume(self) -> None:
        """The transport has room again."""
        self._is_full = False
        self._send_waiting()
        if not self._turns:
            self._user.all_sent()

    def send_head(self, stream: StreamState, block: bytes, *, is_last: bool) -> None:
        """Send a header block: of an interim or final response.

        Args:
            stream: Neither reset nor ended.
            block: The whole of it.
            is_last: No content follows.
        """
        if self._owes_table_update:
            self._owes_table_update = False
            block = NO_TABLE + block
        self._put(
            serialize_head(stream.stream_id, block, self._frame_bytes, is_last=is_last)
        )
        if is_last:
            self._has_ended(stream)

    def respond(self, stream: StreamState, block: bytes, content: bytes) -> None:
        """Send a whole response.

        Args:
            stream: Neither reset nor ended.
            block: Its header block.
            content: All of it; there may be none.
        """
        # Hot: runs once per request.
        size = len(content)
        if (
            # Whole in one piece, where it is small and everything lets it through; what
            # does not is left to the general way, so that no rule of it is written here
            # again.
            not 0 < size <= _JOINED_BYTES
            or len(block) > LEAST_FRAME_BYTES
            or size > stream.send_window
            or size > self._window
            or self._is_full
            or self._owes_table_update
        ):
            self.send_head(stream, block, is_last=not content)
            if content:
                self.send(stream, content, is_last=True)
            return
        stream.send_window -= size
        self._window -= size
        self.sent_bytes += size
        self._control.earn(DATA_EARNS)
        pack = FRAME_HEADER.pack
        stream_id, length = stream.stream_id, len(block)
        head = pack(length >> 8, length & 0xFF, HEADERS, END_HEADERS, stream_id)
        header = pack(size >> 8, size & 0xFF, DATA, END_STREAM, stream_id)
        self._put(b"".join((head, block, header, content)))
        self._has_ended(stream)
        if self._out_bytes >= FLUSH_BYTES:
            self._user.flush()

    def send(
        self, stream: StreamState, octets: bytes | memoryview, *, is_last: bool = False
    ) -> None:
        """Send content, or keep it until it can be sent.

        Args:
            stream: Neither reset nor ended.
            octets: They must not change. None are needed to end the stream.
            is_last: Nothing follows.
        """
        # Hot: runs once per write.
        size = len(octets)
        self.sent_bytes += size
        if (
            not stream.waiting_bytes
            and not self._is_full
            and size <= stream.send_window
            and size <= self._window
            and size <= self._frame_bytes
        ) or not (size or stream.waiting_bytes):
            # RFC 9113 section 6.9.1: an empty DATA frame with END_STREAM may be sent
            # whatever the windows are. An empty write that does not end the stream
            # sends nothing.
            if size or is_last:
                self._control.earn(DATA_EARNS)
                self._put_content(stream, octets, is_last=is_last)
            return
        if size:
            if stream.waiting is None:
                stream.waiting = deque()
            stream.waiting.append(octets)
            stream.waiting_bytes += size
        # END_STREAM is on the last frame of what waits, not in a frame of its own.
        stream.ends = is_last
        # RFC 9113 section 5.2.1: one stream without a window must not hold up the
        # others, so it has no turn until its WINDOW_UPDATE comes.
        if not stream.has_turn and stream.send_window > 0:
            stream.has_turn = True
            self._turns.append(stream)
        self._send_waiting()
        # While the transport is full, what waits here waits behind what waits there:
        # the user is told to stop at once, and not after another high-water mark.
        most_bytes = 1 if self._is_full else self._most_waiting_bytes
        stream.is_blocked = stream.waiting_bytes >= most_bytes
        if stream.waiting_bytes:
            self._user.stream_waits(stream)

    def send_trailers(self, stream: StreamState, block: bytes) -> None:
        """Send the trailer section, after what waits; it ends the stream."""
        if stream.waiting_bytes:
            stream.trailers = block
            stream.ends = True
        else:
            self.send_head(stream, block, is_last=True)

    # Within

    def _put(self, frame: bytes) -> None:
        """Gather a frame; the first of a turn asks for the flush."""
        if not self._out:
            self._user.flush_soon()
        self._out.append(frame)
        self._out_bytes += len(frame)

    def _put_content(
        self, stream: StreamState, octets: bytes | memoryview, *, is_last: bool
    ) -> None:
        size = len(octets)
        flags = END_STREAM if is_last else 0
        header = serialize_frame_header(size, DATA, flags, stream.stream_id)
        if size <= _JOINED_BYTES:
            self._put(b"".join((header, octets)))
        else:
            self._put(header)
            self._out.append(octets)
            self._out_bytes += size
        stream.send_window -= size
        self._window -= size
        if is_last:
            self._has_ended(stream)
        if self._out_bytes >= FLUSH_BYTES:
            self._user.flush()

    def _send_waiting(self) -> None:
        """Let streams take turns until nothing more may be sent."""
        turns = self._turns
        # A window may be negative (section 6.9.2), so it is compared, not tested for 0.
        while turns and not self._is_full and self._window > 0:
            # Each gets one frame and goes to the end: round robin, since priorities of
            # RFC 7540 are deprecated (RFC 9113 section 5.3.2).
            stream = turns.pop(0)
            stream.has_turn = False
            if not stream.waiting or stream.send_window <= 0:
                continue
            self._send_turn(stream)
            if stream.waiting:
                if stream.send_window > 0:
                    stream.has_turn = True
                    turns.append(stream)
                else:
                    self._user.stream_waits(stream)
                if not stream.is_blocked or (
                    stream.waiting_bytes >= self._most_waiting_bytes
                ):
                    continue
            stream.is_blocked = False
            self._user.stream_sent(stream)

    def _send_turn(self, stream: StreamState) -> None:
        """Send one frame of what a stream has waiting, as large as it may be.

        A client may credit each frame by itself: small ones would be small for ever.
        """
        most = min(stream.send_window, self._window, self._frame_bytes)
        waiting = stream.waiting
        assert waiting  # _send_waiting looks
        parts: list[bytes | memoryview] = []
        size = 0
        while waiting and size < most:
            octets = waiting[0]
            if len(octets) > most - size:
                view = memoryview(octets)
                waiting[0] = view[most - size :]
                # Views: a download of megabytes is not copied for each frame of it.
                octets = view[: most - size]
            else:
                waiting.popleft()
            parts.append(octets)
            size += len(octets)
        stream.waiting_bytes -= size
        self._control.earn(size * DATA_EARNS / EARNING_BYTES)
        # Section 8.1: where trailers follow, END_STREAM belongs to their HEADERS.
        is_last = stream.ends and not waiting
        trailers = stream.trailers if is_last else b""
        content = parts[0] if len(parts) == 1 else b"".join(parts)
        self._put_content(stream, content, is_last=is_last and not trailers)
        if trailers and not stream.is_written:  # reset in the meantime
            self.send_head(stream, trailers, is_last=True)

    def _has_ended(self, stream: StreamState) -> None:
        """END_STREAM is among the frames."""
        raise NotImplementedError

    # What the peer allows

    def _widen(self, increment: int) -> None:
        """The window of the connection grows."""
        # Section 6.9.1: the sum is checked, since each increment may be valid alone.
        self._window += increment
        if self._window > MOST_WINDOW_BYTES:
            message = "the window of the connection exceeds 2**31-1 octets"
            raise Http2ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, message)
        if self._turns:
            self._send_waiting()
            if not self._turns:
                self._user.all_sent()

    def _widen_stream(self, stream: StreamState, increment: int) -> None:
        """The window of a stream grows, or shrinks with the peer's settings."""
        stream.send_window += increment
        if stream.send_window > MOST_WINDOW_BYTES:
            message = "the window of the stream exceeds 2**31-1 octets"
            raise Http2StreamError(ErrorCode.FLOW_CONTROL_ERROR, message)
        if stream.waiting and stream.send_window > 0:
            if not stream.has_turn:
                stream.has_turn = True
                self._turns.append(stream)
            self._send_waiting()

    def _set_first_window(self, size: int) -> None:
        """SETTINGS_INITIAL_WINDOW_SIZE: of the streams to come and of those open."""
        # Section 6.9.2: the difference counts for all streams that are open, and may
        # take their windows below 0; the window of the connection stays as it is.
        change = size - self._first_window
        self._first_window = size
        try:
            for stream in list(self.streams.values()):
                self._widen_stream(stream, change)
        except Http2StreamError as fault:  # RFC 9113 section 6.9.2
            raise Http2ConnectionError(fault.code, str(fault)) from None


_JOINED_BYTES: Final = 2048
"""Up to here a frame is one piece: copying costs less than a further piece."""
