"""Control frames of an HTTP/2 connection, and the budgets that they are paid from.

SETTINGS, PING, GOAWAY, PRIORITY and WINDOW_UPDATE: RFC 9113 sections 6.3 to 6.9.
"""

from typing import Final

from blazeio.limits import Limits
from blazeio.wire.http2_frames import (
    ACK,
    DEFAULT_WINDOW_BYTES,
    MOST_STREAM_ID,
    SETTINGS_ACK,
    Budget,
    ErrorCode,
    Http2ConnectionError,
    Http2StreamError,
    Setting,
    parse_settings,
    serialize_goaway,
    serialize_ping,
    serialize_settings,
    serialize_window_update,
)
from blazeio.wire.http2_heads import HeadReader
from blazeio.wire.http2_sending import MOST_TURN_BYTES, ConnectionUser, Sending

DRAIN_PING: Final = b"draining"
STOP_PING: Final = b"stop"
"""The first octets of the PING that follows an answer; the rest names its stream."""
PRIORITY_BYTES: Final = 5
_SMALL_INCREMENT: Final = 1024
"""WINDOW_UPDATE of less is paid from the budget of control frames."""


class Controlling(Sending):
    """What concerns the connection as a whole. A base of ``Multiplexer``.

    Args:
        user: Told what happens.
        limits: See ``Limits``.

    Attributes:
        is_over: GOAWAY was sent for a fault: nothing more is read.
        is_draining: GOAWAY was sent: no stream after ``last_id`` will be served.
        last_id: The last stream that was begun.
        has_settings: The preface and the first SETTINGS have come.
    """

    __slots__ = (
        "_limits",
        "_now",
        "_reader",
        "_reset",
        "_resets",
        "_rest",
        "_stream_window",
        "has_settings",
        "is_draining",
        "is_over",
        "last_id",
    )

    def __init__(self, user: ConnectionUser, limits: Limits) -> None:
        super().__init__(user, limits)
        self._limits = limits
        self._reader = HeadReader(limits)
        self._resets = Budget(
            "reset streams", limits.stream_resets, limits.stream_resets_per_s
        )
        self._rest = b""
        self._now = 0.0
        self.has_settings = self.is_over = self.is_draining = False
        self.last_id = 0
        # Streams that we have reset, with what is left of their windows.
        self._reset: dict[int, int] = {}
        self._stream_window = DEFAULT_WINDOW_BYTES

    def begin(self) -> None:
        """Send our half of the preface: SETTINGS, and the connection's window."""
        limits = self._limits
        settings = {
            # RFC 9113 section 6.5.2. MAX_FRAME_SIZE is left at its least: larger frames
            # would only make one stream hold up the others for longer. ENABLE_PUSH is
            # not sent: a server has nothing to say about it.
            Setting.HEADER_TABLE_SIZE: limits.header_table_bytes,
            Setting.MAX_CONCURRENT_STREAMS: limits.streams,
            Setting.INITIAL_WINDOW_SIZE: limits.receive_bytes,
            Setting.MAX_HEADER_LIST_SIZE: limits.head_bytes,
            Setting.ENABLE_CONNECT_PROTOCOL: 1,
        }
        self._put(serialize_settings(settings))
        # Section 6.9.2: SETTINGS change the windows of streams alone; that of the
        # connection is changed by WINDOW_UPDATE; ``Limits`` has none as small as that.
        wider = limits.connection_receive_bytes - DEFAULT_WINDOW_BYTES
        self._put(serialize_window_update(0, wider))

    def begin_drain(self) -> None:
        """Announce that the connection will end; streams on their way are served."""
        if not (self.is_draining or self.is_over):
            # Section 6.8: first a GOAWAY with the highest number, so that requests
            # which are under way now are not lost; the answer to the PING says that the
            # client has read it, and that the number of the last stream is final.
            self._put(serialize_goaway(MOST_STREAM_ID, ErrorCode.NO_ERROR))
            self._put(serialize_ping(DRAIN_PING))

    def finish_drain(self) -> None:
        """Say which stream was the last; later ones are ignored."""
        if not (self.is_draining or self.is_over):
            self.is_draining = True
            self._put(serialize_goaway(self.last_id, ErrorCode.NO_ERROR))

    def fail(self, code: ErrorCode, reason: str) -> None:
        """End the connection by GOAWAY."""
        self.is_over = self.is_draining = True
        self._rest = b""
        # ``last_id`` tells the client which requests were never looked at: those, and
        # those only, it may send again elsewhere, also where they are not idempotent.
        self._put(serialize_goaway(self.last_id, code, reason))
        self._user.connection_failed(reason)

    # Frames

    def _receive_priority(self, flags: int, stream_id: int, payload: bytes) -> None:
        """RFC 9113 section 5.3.2: priorities are read and ignored."""
        if not stream_id:
            raise broken("PRIORITY on stream 0")
        # Read and thrown away, so it has to cost its sender something: CVE-2019-9513.
        self._control.spend(self._now)
        if len(payload) != PRIORITY_BYTES:
            message = f"PRIORITY of {len(payload)} octets"
            raise Http2StreamError(ErrorCode.FRAME_SIZE_ERROR, message)
        fault = check_priority(stream_id, payload)
        if fault is not None:
            raise fault

    def _receive_settings(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise broken("SETTINGS on a stream")
        if flags & ACK:
            # Section 6.5: an ACK with a payload is a FRAME_SIZE_ERROR.
            if payload:
                message = "a SETTINGS ACK with settings"
                raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, message)
            self._accept_settings()
            return
        if self.has_settings:
            self._control.spend(self._now)
        self.has_settings = True
        for name, value in parse_settings(payload):
            if name == Setting.INITIAL_WINDOW_SIZE:
                self._set_first_window(value)
            elif name == Setting.MAX_FRAME_SIZE:
                self._frame_bytes = min(value, MOST_TURN_BYTES)
            elif name == Setting.HEADER_TABLE_SIZE:
                # RFC 7541 section 4.2: our encoder has to say that its table is smaller
                # now. It has none at all, so the answer is the same for each value.
                self._owes_table_update = True
        # Section 6.5.3: acknowledged once all of it is applied, in the order of its
        # pairs.
        self._put(SETTINGS_ACK)

    def _accept_settings(self) -> None:
        """The peer keeps to ours; a further ACK acknowledges nothing."""
        # Streams of before the ACK began with 65,535: section 6.9.2 adjusts the windows
        # of all that are open by the difference, and those may become negative. Streams
        # that we have reset count, too: their octets are still under way.
        change = self._limits.receive_bytes - self._stream_window
        self._reader.accept_settings()
        self._control.spend(self._now)
        self._stream_window += change
        if change:
            for stream in self.streams.values():
                stream.receive_window += change
            self._reset = {each: left + change for each, left in self._reset.items()}

    def _receive_ping(self, flags: int, stream_id: int, payload: bytes) -> None:
        if stream_id:
            raise broken("PING on a stream")
        if len(payload) != 8:
            message = f"PING of {len(payload)} octets"
            raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, message)
        if flags & ACK and payload.startswith(STOP_PING):
            self._answer_seen(int.from_bytes(payload[len(STOP_PING) :], "big"))
            return
        self._control.spend(self._now)
        # Section 6.7: an ACK must not be answered, or two peers would echo for ever.
        if not flags & ACK:
            self._put(serialize_ping(payload, is_ack=True))
        elif payload == DRAIN_PING:
            self._user.drain_acknowledged()

    def _receive_goaway(self, flags: int, stream_id: int, payload: bytes) -> None:
        """The peer begins no further streams; those that are open go on."""
        if stream_id:
            raise broken("GOAWAY on a stream")
        if len(payload) < 8:
            message = f"GOAWAY of {len(payload)} octets"
            raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, message)
        self._control.spend(self._now)

    def _receive_window_update(
        self, flags: int, stream_id: int, payload: bytes
    ) -> None:
        if stream_id:
            self._check_known(stream_id, payload, 4, "WINDOW_UPDATE")
        elif len(payload) != 4:
            message = f"WINDOW_UPDATE of {len(payload)} octets"
            raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, message)
        increment = int.from_bytes(payload, "big") & MOST_STREAM_ID
        # A window that is opened octet by octet makes us send a frame of ten octets for
        # each: the data dribble of CVE-2019-9511.
        if increment < _SMALL_INCREMENT:
            self._control.spend(self._now)
        if not stream_id:
            # Section 6.9: an error of the connection for stream 0, else of the stream.
            if not increment:
                raise broken("WINDOW_UPDATE of 0")
            self._widen(increment)
            return
        # Section 5.1: it may arrive for some time after the stream has ended, so that
        # is no error; but it is paid for.
        stream = self.streams.get(stream_id)
        if stream is None:
            self._control.spend(self._now)
        elif not increment:
            raise Http2StreamError(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE of 0")
        else:
            self._widen_stream(stream, increment)

    def _receive_push(self, flags: int, stream_id: int, payload: bytes) -> None:
        raise broken("PUSH_PROMISE from a client")

    def _answer_seen(self, stream_id: int) -> None:
        """The peer has read what was sent on a stream that nobody reads."""
        raise NotImplementedError

    def _check_known(
        self, stream_id: int, payload: bytes, size: int, name: str
    ) -> None:
        """A frame that has a fixed length, on a stream that is not idle."""
        if len(payload) != size:
            message = f"{name} of {len(payload)} octets"
            raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, message)
        self._check_begun(stream_id, name)

    def _check_begun(self, stream_id: int, name: str) -> None:
        """Refuse an idle stream; after GOAWAY it cannot be told which ones are idle."""
        # Section 5.1.1: even numbers are those of streams that a server begins; we
        # begin none, so they stay idle for ever.
        is_idle = stream_id > self.last_id and not self.is_draining
        if is_idle or not stream_id & 1:
            raise broken(f"{name} on a stream that is idle")


def broken(message: str) -> Http2ConnectionError:
    """Make a connection error of the usual code."""
    return Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, message)


def check_priority(stream_id: int, payload: bytes) -> Http2StreamError | None:
    """Check the five octets of a priority: a stream cannot depend on itself.

    Raises:
        Http2ConnectionError: There are fewer.
    """
    if len(payload) < PRIORITY_BYTES:
        message = "HEADERS without the priority that their flags say"
        raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, message)
    if int.from_bytes(payload[:4], "big") & MOST_STREAM_ID == stream_id:
        message = "a stream that depends on itself"
        return Http2StreamError(ErrorCode.PROTOCOL_ERROR, message)
    return None
