"""One HTTP/2 connection, as a server: RFC 9113 without I/O and without a clock.

``Multiplexer`` is given the octets that arrive and the time, and tells its user what
they mean; the user says what is to be sent. Frames are gathered until somebody
takes them.

A stream is in ``streams`` from its HEADERS on until both sides have ended it, or
one has reset it. What the peer sends on it afterwards depends on who ended it: what
was under way when we reset it is ignored, but counts for the connection's window;
on a stream that the peer has ended nothing may follow (RFC 9113 section 5.1).

The window of the connection is credited as octets come, or a slow handler would
stop all the others; that of a stream as its user takes them.
"""

from typing import Final

from blazeio.errors import RemoteProtocolError
from blazeio.limits import Limits
from blazeio.wire.headers import Headers
from blazeio.wire.http2_control import (
    PRIORITY_BYTES,
    STOP_PING,
    Controlling,
    broken,
    check_priority,
)
from blazeio.wire.http2_frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FRAME_HEADER,
    HEADER_BYTES,
    HEADERS,
    LEAST_FRAME_BYTES,
    MOST_STREAM_ID,
    PADDED,
    PREFACE,
    PRIORITY_FLAG,
    SETTINGS,
    ErrorCode,
    Http2ConnectionError,
    Http2StreamError,
    serialize_ping,
    serialize_reset,
    serialize_window_update,
    strip_padding,
)
from blazeio.wire.http2_sending import DATA_EARNS, ConnectionUser, StreamState

_CACHED_ENDED: Final = 256
"""Numbers of streams that the peer has ended: so many of the last, at least."""
_CACHED_RESET: Final = 1024
"""Those that we have reset, likewise: what is under way for them is ignored."""
_DIFFER: Final = "DATA and content-length differ"
_MOST_BLOCK_TIMES: Final = 4
"""A header block has at most this many times the octets that a head may have."""


class Multiplexer(Controlling):
    """The streams of one connection.

    Args:
        user: Told what happens.
        limits: See ``Limits``.

    Attributes:
        running: Requests that are being served; they count until ``release``.
    """

    __slots__ = (
        "_block",
        "_block_count",
        "_block_flags",
        "_block_id",
        "_block_size",
        "_ended",
        "_fault",
        "_has_preface",
        "_owed_bytes",
        "_receive_window",
        "running",
    )

    def __init__(self, user: ConnectionUser, limits: Limits) -> None:
        super().__init__(user, limits)
        self._has_preface = False
        self.running = 0
        self._ended: list[int] = []
        self._block: list[bytes] = []
        self._block_id = self._block_flags = self._block_size = self._block_count = 0
        self._fault: Http2StreamError | None = None
        self._receive_window = limits.connection_receive_bytes
        self._owed_bytes = 0

    @property
    def is_in_head(self) -> bool:
        """A header block has begun and has not ended."""
        return self._block_id > 0

    # What the shell asks

    def reset(self, stream: StreamState, code: ErrorCode) -> None:
        """End a stream at once; what it has waiting is dropped."""
        if self.streams.pop(stream.stream_id, None) is None:
            return
        self._put(serialize_reset(stream.stream_id, code))
        # The oldest is forgotten: a dict keeps the order of its keys. A client that
        # still sends on it by then gets a connection error, as on any stream that is
        # closed.
        if len(self._reset) >= _CACHED_RESET:
            del self._reset[next(iter(self._reset))]
        self._reset[stream.stream_id] = stream.receive_window
        _close(stream)

    def release(self) -> None:
        """A request is over, its handler too: another stream may take its place."""
        self.running -= 1

    def answered(self) -> None:
        """A request was answered: its client has earned a reset."""
        self._resets.earn()

    def want_no_more(self, stream: StreamState, *, is_patient: bool = False) -> None:
        """Nobody reads what the peer still sends on a stream.

        RFC 9113 section 8.1: once the answer is whole, RST_STREAM(NO_ERROR) says so.
        Some clients drop an answer that they read together with the reset, though the
        same section forbids that.

        Args:
            stream: Which one.
            is_patient: Send the reset when the peer has read the answer, which a PING
                behind it tells, or at ``stop``; ``stream_left`` is called then.
        """
        stream.is_unwanted = stream.is_paused = True
        stream.is_stopping = is_patient
        # Before the answer is whole a reset would tear it: a client that sees
        # RST_STREAM may throw away what it has of the response.
        if stream.is_written and not stream.is_read:
            self._begin_stop(stream)

    def _begin_stop(self, stream: StreamState) -> None:
        if stream.is_stopping:
            stream_id = stream.stream_id.to_bytes(4, "big")
            self._put(serialize_ping(STOP_PING + stream_id))
        else:
            self.reset(stream, ErrorCode.NO_ERROR)

    def stop(self, stream: StreamState) -> None:
        """Reset a stream that was answered, whether the peer has seen it or not."""
        if stream.is_stopping and self.streams.get(stream.stream_id) is stream:
            stream.is_stopping = False
            self.reset(stream, ErrorCode.NO_ERROR)
            self._user.stream_left(stream)

    def credit(self, stream: StreamState) -> None:
        """The user of a stream keeps up: its window is opened again."""
        stream.is_paused = False
        self._credit(stream)

    def rest(self) -> None:
        """Give up memory that only saves time: no stream is open."""
        self._reader.forget()
        self._ended = []
        self.streams = {}

    def receive(self, octets: bytes, now: float) -> None:
        """Take what has arrived; what it means is told to the user meanwhile.

        Args:
            octets: In any cut.
            now: Monotonic seconds.
        """
        # Hot: runs once per read.
        if self._rest:
            octets = self._rest + octets
        self._now = now
        at, end = 0, len(octets)
        try:
            if not self._has_preface:
                at = self._read_preface(octets)
                end = at and end  # 0 until it is whole
            while end - at >= HEADER_BYTES and not self.is_over:
                high, low, kind, flags, stream_id = FRAME_HEADER.unpack_from(octets, at)
                size = high << 8 | low
                # Section 4.2: refused by its header, before its octets have come, so
                # that nobody makes us hold 16 MB.
                if size > LEAST_FRAME_BYTES:
                    message = f"a frame of {size} octets"
                    raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, message)
                start = at + HEADER_BYTES
                if start + size > end:
                    break
                at = start + size
                self._receive_frame(
                    kind, flags, stream_id & MOST_STREAM_ID, octets[start:at]
                )
        except Http2ConnectionError as fault:
            self.fail(fault.code, str(fault))
        if not self.is_over:
            self._rest = octets[at:]

    # Frames

    def _read_preface(self, octets: bytes) -> int:
        # Refused at the first octet that is wrong: a client of HTTP/1.1 that was led
        # here is told so, and does not wait for an answer until its timeout.
        if not PREFACE.startswith(octets[: len(PREFACE)]):
            message = "the connection does not begin with the preface of HTTP/2"
            raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, message)
        if len(octets) < len(PREFACE):
            return 0
        self._has_preface = True
        return len(PREFACE)

    def _receive_frame(
        self, kind: int, flags: int, stream_id: int, payload: bytes
    ) -> None:
        # Hot: runs once per frame.
        # Section 4.3: a header block is contiguous. Between its frames not even a PING
        # is allowed: the state of the compression is shared by all streams.
        if self._block_id and (kind != CONTINUATION or stream_id != self._block_id):
            raise broken("a frame within a header block")
        # Section 3.4: the preface ends with a SETTINGS frame, which may be empty.
        if not self.has_settings and (kind != SETTINGS or flags & ACK):
            raise broken("the first frame is not SETTINGS")
        try:
            if kind == DATA:
                self._receive_data(flags, stream_id, payload)
            elif kind == HEADERS:
                self._receive_headers(flags, stream_id, payload)
            elif kind < len(_RECEIVERS):
                _RECEIVERS[kind](self, flags, stream_id, payload)
            else:
                self._control.spend(self._now)  # RFC 9113 section 5.5: ignored
        except Http2StreamError as fault:
            self._fail_stream(stream_id, fault)

    def _receive_data(self, flags: int, stream_id: int, payload: bytes) -> None:
        size = len(payload)
        # Section 6.9.1: padding counts for the windows, too, also on a stream that is
        # closed; a receiver that forgets some of it lets the connection stall.
        self._count_for_connection(stream_id, size)
        if flags & PADDED:
            payload = strip_padding(payload)
        is_last = flags & END_STREAM
        self._pay_for_data(payload, is_last)
        stream = self.streams.get(stream_id)
        if stream is None:
            self._receive_data_late(stream_id, size)
            return
        # Section 5.1, half-closed (remote): a stream error of type STREAM_CLOSED.
        if stream.is_read:
            raise Http2StreamError(ErrorCode.STREAM_CLOSED, "DATA after END_STREAM")
        _count(stream, size, len(payload), is_last)
        if payload and not stream.is_unwanted:
            self._user.content_received(stream, payload)
        if is_last and not stream.is_read:  # nor reset by its user just now
            self._end_reading(stream, None)
        elif not stream.is_paused:
            self._credit(stream)

    def _pay_for_data(self, payload: bytes, is_last: int) -> None:
        if payload:
            self._control.earn(DATA_EARNS)
        # Empty DATA without END_STREAM says nothing at all: CVE-2019-9518.
        elif not is_last:
            self._control.spend(self._now)

    def _count_for_connection(self, stream_id: int, size: int) -> None:
        """DATA counts for the connection's window, whatever becomes of it."""
        self._check_begun(stream_id, "DATA")
        self._receive_window -= size
        if self._receive_window < 0:
            message = "more DATA than the window of the connection"
            raise Http2ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, message)
        self._owed_bytes += size
        # At half of the window: a frame of 13 octets for some 100 KB, and the peer
        # never has to wait for it.
        if self._owed_bytes * 2 >= self._limits.connection_receive_bytes:
            self._put(serialize_window_update(0, self._owed_bytes))
            self._receive_window += self._owed_bytes
            self._owed_bytes = 0

    def _receive_data_late(self, stream_id: int, size: int) -> None:
        """DATA on a stream that is over."""
        left = self._reset.get(stream_id)
        if left is None:
            # Section 5.1.1: numbers only grow; a lower one that was skipped is closed
            # by that.
            if stream_id > self.last_id:
                return  # RFC 9113 section 6.8: after GOAWAY
            raise Http2ConnectionError(
                ErrorCode.STREAM_CLOSED, "DATA on a closed stream"
            )
        # It was sent before our RST_STREAM had arrived. More than the window that the
        # stream had cannot have been.
        self._reset[stream_id] = left - size
        if left < size:
            message = "more DATA than the window of the stream"
            raise Http2ConnectionError(ErrorCode.FLOW_CONTROL_ERROR, message)

    def _credit(self, stream: StreamState) -> None:
        owed = stream.owed_bytes
        if owed * 2 >= self._stream_window and not stream.is_read:
            stream.owed_bytes = 0
            stream.receive_window += owed
            self._put(serialize_window_update(stream.stream_id, owed))

    def _receive_headers(self, flags: int, stream_id: int, payload: bytes) -> None:
        # Section 5.1.1: clients begin streams of odd numbers; stream 0 is the
        # connection.
        if not stream_id & 1:
            raise broken("HEADERS on a stream that no client begins")
        if flags & PADDED:
            payload = strip_padding(payload)
        fault = None
        if flags & PRIORITY_FLAG:
            # A stream error has to wait until the block was decoded, or the table of
            # the connection would be wrong from here on.
            fault = check_priority(stream_id, payload)
            payload = payload[PRIORITY_BYTES:]
        if flags & END_HEADERS:
            self._receive_block(stream_id, payload, fault, is_last=flags & END_STREAM)
            return
        self._block = [payload]
        self._block_id, self._block_flags = stream_id, flags
        self._block_size, self._block_count, self._fault = len(payload), 0, fault

    def _receive_continuation(self, flags: int, stream_id: int, payload: bytes) -> None:
        if not self._block_id:
            raise broken("CONTINUATION without HEADERS")
        self._block.append(payload)
        self._block_size += len(payload)
        self._block_count += 1
        limits = self._limits
        if (
            # Neither an endless run of empty CONTINUATION frames, which cost no octet
            # of a limit (CVE-2024-27316), nor a block that is never decoded since it
            # never ends.
            self._block_count > limits.continuations
            or self._block_size > _MOST_BLOCK_TIMES * limits.head_bytes
        ):
            message = "a header block without an end"
            raise Http2ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, message)
        if flags & END_HEADERS:
            block, self._block, self._block_id = b"".join(self._block), [], 0
            is_last = self._block_flags & END_STREAM
            self._receive_block(stream_id, block, self._fault, is_last=is_last)

    def _receive_block(
        self,
        stream_id: int,
        block: bytes,
        fault: Http2StreamError | None,
        *,
        is_last: int,
    ) -> None:
        """A header block is whole. Whatever becomes of it, it has to be decoded."""
        # RST_STREAM must not be sent for a stream that is idle (section 6.4).
        if stream_id > self.last_id:
            self._begin_stream(stream_id, block, fault, is_whole=bool(is_last))
            return
        stream = self.streams.get(stream_id)
        if stream is None:
            self._receive_headers_late(stream_id, block)
            return
        trailers = None
        try:
            # Decoded before anything is refused, for the table's sake.
            trailers = self._reader.read_trailers(block)
        except Http2StreamError as error:
            fault = error
        if stream.is_read:
            message = "HEADERS after END_STREAM"
            raise Http2StreamError(ErrorCode.STREAM_CLOSED, message)
        # Section 8.1: a second header block is the trailer section, which ends the
        # stream.
        if not is_last:
            message = "trailers without END_STREAM"
            fault = Http2StreamError(ErrorCode.PROTOCOL_ERROR, message)
        # Section 8.1.1: DATA and content-length must agree. Whoever forwards the
        # request as HTTP/1.1 would otherwise let a next one be smuggled in.
        elif stream.due_bytes:
            fault = Http2StreamError(ErrorCode.PROTOCOL_ERROR, _DIFFER)
        if fault is not None:
            raise fault
        self._end_reading(stream, trailers)

    def _receive_headers_late(self, stream_id: int, block: bytes) -> None:
        """HEADERS on a stream that is over, or was never begun."""
        # What was under way when we reset it is ignored; it is paid for, or a client
        # could have us decode blocks for streams that do not exist.
        if stream_id in self._reset:
            self._control.spend(self._now)
            try:
                self._reader.read_trailers(block)
            except Http2StreamError:
                return  # for a stream that is over already
        elif stream_id in self._ended:
            message = "HEADERS on a closed stream"
            raise Http2ConnectionError(ErrorCode.STREAM_CLOSED, message)
        else:
            raise broken(f"stream {stream_id} after stream {self.last_id}")

    def _begin_stream(
        self,
        stream_id: int,
        block: bytes,
        fault: Http2StreamError | None,
        *,
        is_whole: bool,
    ) -> None:
        # Hot: runs once per request.
        head = refusal = None
        try:
            head = self._reader.read(block)
            if fault is None and is_whole and head.content_length:
                fault = Http2StreamError(ErrorCode.PROTOCOL_ERROR, _DIFFER)
        except Http2ConnectionError:
            raise
        except Http2StreamError as error:
            fault = error
        except RemoteProtocolError as refused:  # another name: mypyc has one type each
            refusal = refused
        # Its request will not be served, and the client knows that from our GOAWAY.
        if self.is_draining:
            return  # RFC 9113 section 6.8
        self.last_id = stream_id
        most = self._limits.streams
        # Handlers that still run count, though their streams were reset: a client that
        # resets each request at once would else have any number of them running (rapid
        # reset, CVE-2023-44487).
        if fault is None and (self.running >= most or len(self.streams) >= most):
            message = f"more than {self._limits.streams} streams"
            fault = Http2StreamError(ErrorCode.REFUSED_STREAM, message)
        if fault is not None:
            raise fault
        self.running += 1
        # A request earns a control frame: a client that works is not a flood.
        self._control.earn()
        stream = StreamState(stream_id, self._first_window, self._stream_window)
        self.streams[stream_id] = stream
        stream.is_read = is_whole
        if head is None:
            assert refusal is not None
            self._user.request_refused(stream, refusal, is_whole=is_whole)
            return
        stream.due_bytes = head.content_length
        self._user.request_received(stream, head, is_whole=is_whole)

    def _receive_reset(self, flags: int, stream_id: int, payload: bytes) -> None:
        self._check_known(stream_id, payload, 4, "RST_STREAM")
        stream = self.streams.pop(stream_id, None)
        if stream is None:
            self._control.spend(self._now)
            return
        self._note_ended(stream_id)
        code = int.from_bytes(payload, "big")
        _close(stream)
        self._user.stream_reset(stream, f"the client reset the stream: error {code}")
        self._resets.spend(self._now)

    # The end of streams

    def _fail_stream(self, stream_id: int, fault: Http2StreamError) -> None:
        """RFC 9113 section 5.4.2; a stream that is idle cannot be reset."""
        if stream_id > self.last_id:
            raise Http2ConnectionError(fault.code, str(fault))
        stream = self.streams.get(stream_id)
        if stream is None:
            self._put(serialize_reset(stream_id, fault.code))
            self._reset[stream_id] = self._stream_window
            if len(self._reset) > _CACHED_RESET:
                del self._reset[next(iter(self._reset))]
        else:
            self.reset(stream, fault.code)
            self._user.stream_reset(stream, str(fault))
        # A peer that makes us reset is as costly as one that resets: MadeYouReset,
        # CVE-2025-8671.
        self._resets.spend(self._now)

    def _end_reading(self, stream: StreamState, trailers: Headers | None) -> None:
        stream.is_read = True
        if stream.is_written:
            self._forget_ended(stream)
        if stream.is_stopping:
            stream.is_stopping = False
            if stream.is_written:
                self._user.stream_left(stream)
        if not stream.is_unwanted:
            self._user.content_ended(stream, trailers)

    def _has_ended(self, stream: StreamState) -> None:
        stream.is_written = True
        self._control.earn()
        if stream.is_read:
            self._forget_ended(stream)
        elif stream.is_unwanted:
            self._begin_stop(stream)

    def _answer_seen(self, stream_id: int) -> None:
        """The peer has read what was sent before the PING that named this stream."""
        stream = self.streams.get(stream_id)
        if stream is not None:
            self.stop(stream)

    def _forget_ended(self, stream: StreamState) -> None:
        if self.streams.pop(stream.stream_id, None) is not None:
            self._note_ended(stream.stream_id)

    def _note_ended(self, stream_id: int) -> None:
        # Hot: runs once per request.
        self._ended.append(stream_id)
        if len(self._ended) > 2 * _CACHED_ENDED:
            del self._ended[:_CACHED_ENDED]


def _count(stream: StreamState, size: int, content_bytes: int, is_last: int) -> None:
    """Count DATA for the window of its stream and for its content-length."""
    stream.owed_bytes += size
    stream.receive_window -= size
    if stream.receive_window < 0:
        message = "more DATA than the window of the stream"
        raise Http2StreamError(ErrorCode.FLOW_CONTROL_ERROR, message)
    if stream.due_bytes is not None:
        stream.due_bytes -= content_bytes
        # More than declared is known at once, less when the stream ends: section 8.1.1.
        if stream.due_bytes < 0 or (is_last and stream.due_bytes):
            raise Http2StreamError(ErrorCode.PROTOCOL_ERROR, _DIFFER)


def _close(stream: StreamState) -> None:
    """Nothing more is sent or read; what waits is dropped."""
    stream.is_read = stream.is_written = True
    stream.waiting = None
    stream.waiting_bytes = 0


_RECEIVERS: Final = (
    Multiplexer._receive_data,
    Multiplexer._receive_headers,
    Multiplexer._receive_priority,
    Multiplexer._receive_reset,
    Multiplexer._receive_settings,
    Multiplexer._receive_push,
    Multiplexer._receive_ping,
    Multiplexer._receive_goaway,
    Multiplexer._receive_window_update,
    Multiplexer._receive_continuation,
)
"""By the type of the frame."""
