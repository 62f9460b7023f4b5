"""Feed octets to the wire room as a connection would, in any cut.

``read_messages`` is the smallest correct shell: it keeps what is not yet a
message, remembers how far it searched, reads content by its framing, and
nothing after a message that ends the connection.
``read_every_way`` does so whole, in pieces and with further octets behind, and
checks that the cut changed nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from blazeio.errors import RemoteProtocolError
from blazeio.limits import Limits
from blazeio.wire.chunked import ChunkDecoder
from blazeio.wire.headers import Headers
from blazeio.wire.request import RequestHead, parse_head

LIMITS = Limits()


@dataclass
class Message:
    head: RequestHead
    content: bytes = b""
    trailers: Headers | None = None
    is_whole: bool = False

    def summary(self) -> tuple[object, ...]:
        head = self.head
        return (
            *(head.method, head.target, head.path, head.query, head.minor),
            *(head.headers.pairs, head.host, head.content_length, head.is_chunked),
            *(head.is_persistent, head.expects_continue, head.upgrade),
            *(self.content, self.trailers and self.trailers.pairs, self.is_whole),
        )


@dataclass
class Reading:
    """What a reader saw: the messages, and how it ended."""

    messages: list[Message] = field(default_factory=list)
    refusal: RemoteProtocolError | None = None
    rest: bytes = b""

    @property
    def status(self) -> int | None:
        return self.refusal.status_hint if self.refusal else None

    @property
    def contents(self) -> list[bytes]:
        return [each.content for each in self.messages]


@dataclass
class _Reader:
    limits: Limits
    reading: Reading = field(default_factory=Reading)
    buffered: bytes = b""
    scanned: int = 0
    decoder: ChunkDecoder | None = None

    def receive(self, octets: bytes) -> None:
        octets = self.buffered + octets
        self.buffered = b""
        while octets:
            before = len(octets), len(self.reading.messages)
            octets = self._content(octets) if self._is_in_content() else octets
            octets = octets if self._is_in_content() else self._head(octets)
            if (len(octets), len(self.reading.messages)) == before:
                break
        self.buffered = octets

    def _is_in_content(self) -> bool:
        messages = self.reading.messages
        return bool(messages) and not messages[-1].is_whole

    def _head(self, octets: bytes) -> bytes:
        messages = self.reading.messages
        if not octets or (messages and not messages[-1].head.is_persistent):
            return octets
        head = parse_head(octets, self.limits, 0, self.scanned)
        if head is None:
            self.scanned = max(0, len(octets) - 3)
            return octets
        self.scanned = 0
        message = Message(head)
        message.is_whole = not head.is_chunked and not head.content_length
        self.decoder = ChunkDecoder(self.limits) if head.is_chunked else None
        self.reading.messages.append(message)
        return octets[head.end :]

    def _content(self, octets: bytes) -> bytes:
        message = self.reading.messages[-1]
        if self.decoder is None:
            due = (message.head.content_length or 0) - len(message.content)
            message.content += octets[:due]
            message.is_whole = len(octets) >= due
            return octets[due:]
        pieces: list[bytes] = []
        end = self.decoder.decode(octets, 0, pieces)
        message.content += b"".join(pieces)
        message.is_whole = self.decoder.is_complete
        message.trailers = self.decoder.trailers
        assert message.is_whole or end == len(octets)
        assert self.decoder.content_bytes == len(message.content)
        return octets[end:]


def read_messages(pieces: Iterable[bytes], limits: Limits = LIMITS) -> Reading:
    """Read what arrives in these pieces; stop at the first refusal."""
    reader = _Reader(limits)
    try:
        for piece in pieces:
            reader.receive(piece)
    except RemoteProtocolError as refusal:
        reader.reading.refusal = refusal
        return reader.reading
    reader.reading.rest = reader.buffered
    return reader.reading


def cut(octets: bytes, size: int) -> list[bytes]:
    return [octets[at : at + size] for at in range(0, len(octets), size)]


def read_every_way(octets: bytes, limits: Limits = LIMITS) -> Reading:
    """Read whole, in equal pieces, and octet by octet where that is not long."""
    whole = read_messages([octets], limits)
    for size in (1, 2, 7) if len(octets) <= 1_000 else (997, 16_000):
        pieces = read_messages(cut(octets, size), limits)
        if whole.refusal is None:
            assert pieces.refusal is None, pieces.refusal
            assert pieces.rest == whole.rest
            _assert_same(pieces, whole)
        else:
            assert pieces.refusal is not None
            _assert_same(pieces, whole, is_last_cut=True)
    if whole.refusal is None and not whole.rest and octets:
        _check_octets_behind(octets, whole, limits)
    return whole


def _check_octets_behind(octets: bytes, whole: Reading, limits: Limits) -> None:
    """Octets of a next head change nothing of the messages before it."""
    if not whole.messages or not whole.messages[-1].is_whole:
        return
    longer = read_messages([octets + b"NEXT"], limits)
    assert longer.rest == b"NEXT"
    _assert_same(longer, whole)


def _assert_same(one: Reading, other: Reading, is_last_cut: bool = False) -> None:
    ones, others = (
        [each.summary() for each in reading.messages] for reading in (one, other)
    )
    if is_last_cut and others and not other.messages[-1].is_whole:
        # the content of the message that was refused may have come further
        ones, others = ones[:-1], others[:-1]
    assert ones == others
