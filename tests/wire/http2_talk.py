"""A connection of HTTP/2 without a socket: what it is told, and what it sends."""

from dataclasses import dataclass, field

from blazeio.errors import RemoteProtocolError
from blazeio.limits import Limits
from blazeio.wire.headers import Headers
from blazeio.wire.http2_connection import Multiplexer
from blazeio.wire.http2_heads import encode_head
from blazeio.wire.http2_sending import StreamState
from blazeio.wire.request import RequestHead
from tests.support.http2 import DATA, HEADERS, OPENING, Frame, parse_frames

OK = b"HTTP/1.1 200 OK\r\nServer: a\r\n\r\n"


@dataclass
class Request:
    """What came on one stream."""

    stream: StreamState
    head: RequestHead | None = None
    refusal: RemoteProtocolError | None = None
    content: bytes = b""
    is_whole: bool = False
    trailers: Headers | None = None
    reset_for: str | None = None
    is_released: bool = False


@dataclass
class Talk:
    """Answers each whole request with 200 and ``answer``, unless that is None.

    Its requests are over with their answer, or a reset unless it ``runs_on``.
    """

    limits: Limits = field(default_factory=Limits)
    answer: bytes | None = b"hello"
    is_pausing: bool = False
    runs_on: bool = False
    opening: bytes = OPENING
    requests: dict[int, Request] = field(default_factory=dict)
    failure: str | None = None
    sent: bytes = b""
    now: float = 100.0
    unblocked: list[int] = field(default_factory=list)
    waiting: list[int] = field(default_factory=list)
    left: list[int] = field(default_factory=list)
    has_drained: bool = False
    flushes: int = 0
    asked_to_flush: int = 0

    def __post_init__(self) -> None:
        self.wire = Multiplexer(self, self.limits)
        self.wire.begin()
        self.send(self.opening)
        self.opened = self.take()

    def send(self, *octets: bytes) -> None:
        for each in octets:
            self.wire.receive(each, self.now)

    def take(self) -> list[Frame]:
        """The frames since the last call."""
        self._gather()
        frames, self.sent = parse_frames(self.sent), b""
        return frames

    def exchange(self, *octets: bytes) -> list[Frame]:
        self.send(*octets)
        return self.take()

    def content_sent(self, stream_id: int, frames: list[Frame]) -> bytes:
        return b"".join(
            each.payload
            for each in frames
            if each.kind == DATA and each.stream_id == stream_id
        )

    # What the connection calls

    def request_received(
        self, stream: StreamState, head: RequestHead, *, is_whole: bool
    ) -> None:
        self.requests[stream.stream_id] = Request(stream, head, is_whole=is_whole)
        stream.is_paused = self.is_pausing
        if is_whole:
            self.reply(stream)

    def request_refused(
        self, stream: StreamState, error: RemoteProtocolError, *, is_whole: bool
    ) -> None:
        request = Request(stream, refusal=error, is_whole=is_whole)
        self.requests[stream.stream_id] = request
        start = b"HTTP/1.1 %d X\r\n" % error.status_hint
        self.wire.send_head(stream, encode_head(start)[1], is_last=True)
        self.wire.want_no_more(stream)
        self._release(stream)

    def content_received(self, stream: StreamState, octets: bytes) -> None:
        self.requests[stream.stream_id].content += octets

    def content_ended(self, stream: StreamState, trailers: Headers | None) -> None:
        request = self.requests[stream.stream_id]
        request.is_whole, request.trailers = True, trailers
        self.reply(stream)

    def stream_reset(self, stream: StreamState, reason: str) -> None:
        self.requests[stream.stream_id].reset_for = reason
        if not self.runs_on:
            self._release(stream)

    def stream_left(self, stream: StreamState) -> None:
        self.left.append(stream.stream_id)

    def stream_waits(self, stream: StreamState) -> None:
        self.waiting.append(stream.stream_id)

    def stream_sent(self, stream: StreamState) -> None:
        self.unblocked.append(stream.stream_id)

    def all_sent(self) -> None:
        self.unblocked.append(0)

    def flush_soon(self) -> None:
        self.asked_to_flush += 1

    def flush(self) -> None:
        self.flushes += 1
        self._gather()

    def _gather(self) -> None:
        self.sent += b"".join(self.wire.take_frames())

    def drain_acknowledged(self) -> None:
        self.has_drained = True

    def connection_failed(self, reason: str) -> None:
        self.failure = reason

    def reply(self, stream: StreamState) -> None:
        if self.answer is None:
            return
        self.wire.send_head(stream, encode_head(OK)[1], is_last=not self.answer)
        if self.answer:
            self.wire.send(stream, self.answer, is_last=True)
        self.wire.answered()
        self._release(stream)

    def _release(self, stream: StreamState) -> None:
        request = self.requests[stream.stream_id]
        if not request.is_released:
            request.is_released = True
            self.wire.release()


def kinds(frames: list[Frame]) -> list[tuple[int, int]]:
    """Types and streams."""
    return [(each.kind, each.stream_id) for each in frames]


def answered(frames: list[Frame]) -> list[int]:
    """The streams that got an answer, or the head of one."""
    return [each.stream_id for each in frames if each.kind == HEADERS]
