"""Raw frames of HTTP/2: made octet by octet, and read back."""

from typing import NamedTuple

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = range(5)
PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(5, 10)
END_STREAM = ACK = 0x1
END_HEADERS, PADDED, HAS_PRIORITY = 0x4, 0x8, 0x20

NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR = range(4)
STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL = range(5, 9)
COMPRESSION_ERROR, ENHANCE_YOUR_CALM = 9, 11

Fields = list[tuple[str, str]]
GET: Fields = [
    (":method", "GET"),
    (":scheme", "http"),
    (":authority", "a.example"),
    (":path", "/"),
]
POST: Fields = [(":method", "POST"), *GET[1:]]


class Frame(NamedTuple):
    kind: int
    flags: int
    stream_id: int
    payload: bytes

    @property
    def code(self) -> int:
        """Of RST_STREAM and GOAWAY."""
        at = 4 if self.kind == GOAWAY else 0
        return int.from_bytes(self.payload[at : at + 4], "big")


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    size = len(payload).to_bytes(3, "big")
    return size + bytes((kind, flags)) + stream_id.to_bytes(4, "big") + payload


def parse_frames(octets: bytes) -> list[Frame]:
    """Whole frames; what is left of one is an error."""
    frames = []
    while octets:
        size = int.from_bytes(octets[:3], "big")
        stream_id = int.from_bytes(octets[5:9], "big")
        assert len(octets) >= 9 + size, "a frame that is cut"
        payload = octets[9 : 9 + size]
        frames.append(Frame(octets[3], octets[4], stream_id, payload))
        octets = octets[9 + size :]
    return frames


def integer(value: int, prefix: int, pattern: int = 0) -> bytes:
    if value < prefix:
        return bytes((pattern | value,))
    octets = [pattern | prefix]
    value -= prefix
    while value >= 128:
        octets.append(value % 128 + 128)
        value //= 128
    return bytes((*octets, value))


def literal(name: str, value: str, pattern: int = 0) -> bytes:
    """A field with its name spelled out: not indexed unless the pattern says so."""
    octets = bytes((pattern,))
    for text in (name, value):
        raw = text.encode("latin-1")
        octets += integer(len(raw), 0x7F) + raw
    return octets


def block(fields: Fields) -> bytes:
    return b"".join(literal(name, value) for name, value in fields)


def headers(
    stream_id: int,
    fields: Fields = GET,
    *,
    ends: bool = True,
    more: Fields | None = None,
) -> bytes:
    """A whole request head in one frame."""
    flags = END_HEADERS | (END_STREAM if ends else 0)
    return frame(HEADERS, flags, stream_id, block([*fields, *(more or [])]))


def data(stream_id: int, octets: bytes = b"", *, ends: bool = False) -> bytes:
    return frame(DATA, END_STREAM if ends else 0, stream_id, octets)


def settings(*pairs: tuple[int, int]) -> bytes:
    payload = b"".join(
        name.to_bytes(2, "big") + value.to_bytes(4, "big") for name, value in pairs
    )
    return frame(SETTINGS, 0, 0, payload)


def window_update(stream_id: int, increment: int) -> bytes:
    return frame(WINDOW_UPDATE, 0, stream_id, increment.to_bytes(4, "big"))


def reset(stream_id: int, code: int = CANCEL) -> bytes:
    return frame(RST_STREAM, 0, stream_id, code.to_bytes(4, "big"))


SETTINGS_ACK = frame(SETTINGS, ACK, 0)
OPENING = PREFACE + settings() + SETTINGS_ACK
