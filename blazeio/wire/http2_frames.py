"""The frames of RFC 9113 as octets, its error codes, and what breaks its rules.

Reading is done by ``http2_connection``, since what a frame may be depends on
the state of its stream.
"""

from enum import IntEnum
from struct import Struct
from typing import Final

from blazeio.errors import RemoteProtocolError

PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""RFC 9113 section 3.4: what a client sends first. No HTTP/1 request begins so."""

HEADER_BYTES: Final = 9
"""RFC 9113 section 4.1: length, type, flags and stream of each frame."""
# The 24 bits of the length are read as 16 and 8.
FRAME_HEADER: Final = Struct(">HBBBL")

LEAST_FRAME_BYTES: Final = 16_384
"""SETTINGS_MAX_FRAME_SIZE where nothing else was said; nobody may refuse it."""
MOST_FRAME_BYTES: Final = 2**24 - 1
# Section 6.9.1: what takes a window beyond it is a FLOW_CONTROL_ERROR.
MOST_WINDOW_BYTES: Final = 2**31 - 1
# Sections 4.1, 6.9: the bit above is reserved, and is masked where it is received.
MOST_STREAM_ID: Final = 2**31 - 1
DEFAULT_WINDOW_BYTES: Final = 65_535
"""RFC 9113 section 6.9.2: of a connection, and of streams before SETTINGS."""


# RFC 9113 section 6.
DATA: Final = 0
HEADERS: Final = 1
PRIORITY: Final = 2
RST_STREAM: Final = 3
SETTINGS: Final = 4
PUSH_PROMISE: Final = 5
PING: Final = 6
GOAWAY: Final = 7
WINDOW_UPDATE: Final = 8
CONTINUATION: Final = 9

END_STREAM: Final = 0x1
ACK: Final = 0x1
END_HEADERS: Final = 0x4
PADDED: Final = 0x8
PRIORITY_FLAG: Final = 0x20

MOST_SETTINGS: Final = 32
"""A SETTINGS frame has at most this many pairs: each may concern all streams."""


class ErrorCode(IntEnum):
    """RFC 9113 section 7."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13


class Setting(IntEnum):
    """RFC 9113 section 6.5.2, and RFC 8441 section 3."""

    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6
    ENABLE_CONNECT_PROTOCOL = 8


class Http2ConnectionError(RemoteProtocolError):
    """A connection error (RFC 9113 section 5.4.1): GOAWAY, then the end.

    Args:
        code: What GOAWAY says.
        message: What was wrong.
    """

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class Http2StreamError(RemoteProtocolError):
    """A stream error (RFC 9113 section 5.4.2): RST_STREAM; the others go on.

    Args:
        code: What RST_STREAM says.
        message: What was wrong.
    """

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code


def serialize_frame_header(
    length: int, frame_type: int, flags: int, stream_id: int
) -> bytes:
    """Return the nine octets in front of a payload of ``length`` octets."""
    return FRAME_HEADER.pack(length >> 8, length & 0xFF, frame_type, flags, stream_id)


def serialize_frame(
    frame_type: int, flags: int, stream_id: int, payload: bytes
) -> bytes:
    """Return a whole frame."""
    return serialize_frame_header(len(payload), frame_type, flags, stream_id) + payload


def serialize_head(
    stream_id: int, block: bytes, most_bytes: int, *, is_last: bool
) -> bytes:
    """Return HEADERS, and CONTINUATION where the block does not fit in one frame.

    Args:
        stream_id: Of the stream.
        block: The whole header block.
        most_bytes: The peer's SETTINGS_MAX_FRAME_SIZE.
        is_last: Nothing follows: END_STREAM.
    """
    flags = END_STREAM if is_last else 0
    # Section 4.3: a block is one unit. Nothing of another stream may come between its
    # frames, so they are written together, and END_STREAM is on the first of them.
    if len(block) <= most_bytes:
        return serialize_frame(HEADERS, flags | END_HEADERS, stream_id, block)
    parts = [block[at : at + most_bytes] for at in range(0, len(block), most_bytes)]
    frames = [serialize_frame(HEADERS, flags, stream_id, parts[0])]
    frames += [
        serialize_frame(CONTINUATION, 0, stream_id, part) for part in parts[1:-1]
    ]
    last = serialize_frame(CONTINUATION, END_HEADERS, stream_id, parts[-1])
    return b"".join([*frames, last])


def serialize_settings(settings: dict[Setting, int]) -> bytes:
    """Return a SETTINGS frame."""
    payload = b"".join(
        int(name).to_bytes(2, "big") + value.to_bytes(4, "big")
        for name, value in settings.items()
    )
    return serialize_frame(SETTINGS, 0, 0, payload)


SETTINGS_ACK: Final = serialize_frame(SETTINGS, ACK, 0, b"")


def serialize_reset(stream_id: int, code: ErrorCode) -> bytes:
    """Return RST_STREAM."""
    payload = code.to_bytes(4, "big")
    return serialize_frame(RST_STREAM, 0, stream_id, payload)


def serialize_window_update(stream_id: int, size: int) -> bytes:
    """Return WINDOW_UPDATE; of the connection where the stream is 0."""
    payload = size.to_bytes(4, "big")
    return serialize_frame(WINDOW_UPDATE, 0, stream_id, payload)


def serialize_ping(payload: bytes, *, is_ack: bool = False) -> bytes:
    """Return PING; its payload has eight octets."""
    return serialize_frame(PING, ACK if is_ack else 0, 0, payload)


def serialize_goaway(last_id: int, code: ErrorCode, reason: str = "") -> bytes:
    """Return GOAWAY.

    Args:
        last_id: The last stream that is, or was, served.
        code: Why.
        reason: For the log of who runs the client.
    """
    payload = last_id.to_bytes(4, "big") + code.to_bytes(4, "big")
    payload += reason.encode("ascii", "backslashreplace")[: LEAST_FRAME_BYTES // 2]
    return serialize_frame(GOAWAY, 0, 0, payload)


def parse_settings(payload: bytes) -> list[tuple[int, int]]:
    """Read the pairs of a SETTINGS frame; unknown ones too.

    Raises:
        Http2ConnectionError: It has no multiple of six octets, more pairs than
            ``MOST_SETTINGS``, or a value that its setting cannot have.
    """
    # Checked first: each INITIAL_WINDOW_SIZE goes through all open streams, so a frame
    # of 2,730 pairs would cost 2,730 times as much (CVE-2019-9515).
    if len(payload) > MOST_SETTINGS * 6:
        message = f"SETTINGS of {len(payload) // 6} pairs, {MOST_SETTINGS} are the most"
        raise Http2ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, message)
    if len(payload) % 6:
        message = f"SETTINGS of {len(payload)} octets"
        raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, message)
    settings = []
    for at in range(0, len(payload), 6):
        name = int.from_bytes(payload[at : at + 2], "big")
        value = int.from_bytes(payload[at + 2 : at + 6], "big")
        # Section 6.5.2: an identifier that is unknown must be ignored.
        _check_setting(name, value)
        settings.append((name, value))
    return settings


def _check_setting(name: int, value: int) -> None:
    """RFC 9113 section 6.5.2, RFC 8441 section 3."""
    # The one value whose code is another: section 6.5.2, FLOW_CONTROL_ERROR.
    code = ErrorCode.PROTOCOL_ERROR
    if name == Setting.INITIAL_WINDOW_SIZE:
        is_wrong, code = value > MOST_WINDOW_BYTES, ErrorCode.FLOW_CONTROL_ERROR
    elif name == Setting.MAX_FRAME_SIZE:
        is_wrong = not LEAST_FRAME_BYTES <= value <= MOST_FRAME_BYTES
    else:
        is_switch = name in (Setting.ENABLE_PUSH, Setting.ENABLE_CONNECT_PROTOCOL)
        is_wrong = is_switch and value > 1
    if is_wrong:
        raise Http2ConnectionError(code, f"{Setting(name).name} cannot be {value}")


def strip_padding(payload: bytes) -> bytes:
    """Return the payload of a padded DATA or HEADERS frame without its padding.

    Raises:
        Http2ConnectionError: The padding is not shorter than the payload (RFC 9113
            section 6.1), or there is no length of it.
    """
    if not payload:
        message = "a padded frame without the length of its padding"
        raise Http2ConnectionError(ErrorCode.FRAME_SIZE_ERROR, message)
    # Section 6.1: padding that reaches back over its own length field is a connection
    # error, since the data that the sender means cannot be known.
    end = len(payload) - payload[0]
    if end < 1:
        message = f"padding of {payload[0]} octets in a payload of {len(payload)}"
        raise Http2ConnectionError(ErrorCode.PROTOCOL_ERROR, message)
    return payload[1:end]


class Budget:
    """What a peer may have us do for nothing: so much at once, and so much a second.

    Frames that cost their sender little and us more (RFC 9113 section 10.5) are paid
    from a budget. It refills with time, and with what honest clients do: each request
    and each DATA frame, in either direction, earns some of it back, since a gRPC
    client sends PING and WINDOW_UPDATE for every message.

    Args:
        name: What is counted, for the message of GOAWAY.
        most: What it holds, and begins with.
        per_s: What a second adds.
    """

    __slots__ = ("_at", "_left", "_most", "_name", "_per_s")

    def __init__(self, name: str, most: int, per_s: float) -> None:
        self._name = name
        self._most = float(most)
        self._per_s = per_s
        self._left = float(most)
        self._at: float | None = None

    def spend(self, now: float) -> None:
        """Pay for one.

        Raises:
            Http2ConnectionError: Nothing is left.
        """
        if self._at is not None:
            # A bucket that leaks: bursts of an honest client pass, a flood does not
            # (PING, SETTINGS, RST_STREAM: CVE-2019-9512, 9515, 2023-44487).
            gained = (now - self._at) * self._per_s
            self._left = min(self._left + gained, self._most)
        self._at = now
        self._left -= 1
        if self._left < 0:
            message = f"too many {self._name}"
            raise Http2ConnectionError(ErrorCode.ENHANCE_YOUR_CALM, message)

    def earn(self, count: float = 1.0) -> None:
        """Get some of it back."""
        if self._left < self._most:
            # It may exceed ``_most`` by less than ``count``: the next second takes that
            # back.
            self._left += count
