"""The chunked transfer coding: RFC 9112 section 7.1.

The decoder takes octets however they are cut. Content is appended to the caller's list
as slices, so that each octet is copied once at most. Between calls it holds only an
unfinished line, whose length is bounded.
"""

import re
import sys
from enum import Enum
from typing import Final

from blazeio.errors import RemoteProtocolError
from blazeio.limits import Limits
from blazeio.wire.grammar import CHUNK_LINE, has_bare_line_end, parse_field_line, quote
from blazeio.wire.headers import Headers

LAST_CHUNK: Final = b"0\r\n\r\n"
# RFC 9112 section 7.1 has a recipient anticipate numerals that overflow. Sixteen digits
# are 64 bits, so no consumer behind us can cut one off; leading zeros count as digits.
_SIZE_DIGITS: Final = 16
_PARTIAL_CHUNK_LINE: Final = re.compile(rb"[0-9A-Fa-f]{1,16}+(?:[ \t;\r]|\Z)")
# The common case: no extension, and the whole line has arrived.
_PLAIN_CHUNK_LINE: Final = re.compile(rb"([0-9A-Fa-f]{1,16}+)\r\n")
_NEXT_CHUNK: Final = re.compile(rb"\r\n([0-9A-Fa-f]{1,16}+)\r\n")

# RFC 9110 section 6.5.1: fields for framing, routing, request modifiers,
# authentication, response control or content format must not be sent as trailers;
# section 6.5.2: nor may we merge them into the head. They are dropped (section 6.5:
# trailers can be ignored). Those of the framing are refused, since an intermediary
# before or behind us might believe them.
REFUSED_TRAILERS: Final = frozenset(("content-length", "transfer-encoding"))
DROPPED_TRAILERS: Final = frozenset(
    """
    accept accept-charset accept-encoding accept-language age authorization
    cache-control connection content-encoding content-language content-location
    content-range content-type cookie date expect expires forwarded host
    if-match if-modified-since if-none-match if-range if-unmodified-since
    keep-alive location max-forwards origin pragma proxy-authenticate
    proxy-authorization proxy-connection range referer retry-after set-cookie te
    trailer upgrade vary via warning www-authenticate x-forwarded-for
    x-forwarded-host x-forwarded-proto x-real-ip
    """.split()  # noqa: SIM905 - a table reads better as text
)


class _State(Enum):
    CHUNK_LINE = "chunk line"
    DATA = "data"
    DATA_END = "end of data"
    TRAILERS = "trailer section"


class ChunkDecoder:
    """Decodes the content of one message.

    Args:
        limits: ``chunk_extension_bytes`` and ``trailer_bytes``, both for the whole
            message, and ``field_count``.
        unfolds: Read as a user agent does: a trailer field over several lines
            (obs-fold), as RFC 9112 section 5.2 demands, and a chunk size that is padded
            with blanks, which old servers send and every browser accepts. Else both are
            refused.

    Attributes:
        is_complete: The last octet of the message was consumed.
        content_bytes: Octets of content so far.
        trailers: None before the end, and where there was no trailer section or none of
            its fields is allowed there.
    """

    __slots__ = (
        "_extension_bytes",
        "_folded",
        "_held",
        "_limits",
        "_remaining",
        "_state",
        "_trailer_bytes",
        "_trailer_pairs",
        "_unfolds",
        "content_bytes",
        "is_complete",
        "trailers",
    )

    def __init__(self, limits: Limits, *, unfolds: bool = False) -> None:
        self.is_complete = False
        self.content_bytes = 0
        self.trailers: Headers | None = None
        self._limits = limits
        self._state = _State.CHUNK_LINE
        self._held = b""
        self._remaining = 0
        self._extension_bytes = limits.chunk_extension_bytes
        self._trailer_bytes = limits.trailer_bytes
        self._trailer_pairs: list[tuple[str, str]] = []
        self._unfolds = unfolds
        # A trailer field that the next line may continue.
        self._folded: tuple[str, str] | None = None

    def decode(
        self,
        octets: bytes,
        start: int,
        pieces: list[bytes],
        most_pieces: int = sys.maxsize,
    ) -> int:
        """Decode what arrived.

        Args:
            octets: What was received.
            start: Offset of the first octet that belongs to this message.
            pieces: Content is appended to it.
            most_pieces: Decoding pauses when ``pieces`` has so many: a chunk of a few
                octets takes as long as a large one.

        Returns:
            The offset just after what was consumed: ``len(octets)`` unless the message
                ended before, or decoding pauses.

        Raises:
            RemoteProtocolError: The peer's fault; 400, or 431 for too large a trailer
                section. The connection is not reusable.
        """
        at = start
        size = len(octets)
        # A loop over states and no recursion: one read may hold thousands of chunks of
        # an octet.
        while at < size and not self.is_complete and len(pieces) < most_pieces:
            match self._state:
                case _State.DATA:
                    at = self._decode_data(octets, at, pieces, most_pieces)
                case _State.DATA_END:
                    at = self._decode_data_end(octets, at)
                case _State.CHUNK_LINE:
                    at = self._decode_chunk_line(octets, at)
                case _:
                    at = self._decode_trailer(octets, at)
        return at

    def _decode_data(
        self, octets: bytes, at: int, pieces: list[bytes], most_pieces: int
    ) -> int:
        # Hot: runs once per chunk; see tests/bench/wire_parser.py.
        size = len(octets)
        end = at + self._remaining
        # One pattern matches the end of a chunk and the next chunk's line, so that a
        # chunk costs one slice and one match. Whatever it does not match (an extension,
        # a line that has not arrived) is left to the other states.
        while end <= size:
            pieces.append(octets[at:end])
            self.content_bytes += end - at
            following = _NEXT_CHUNK.match(octets, end)
            if following is None:
                self._state = _State.DATA_END
                return end
            at = following.end()
            end = at + int(following[1], 16)
            if end == at:
                self._state = _State.TRAILERS
                return at
            if len(pieces) >= most_pieces:
                self._remaining = end - at
                return at
        if at < size:
            # The octets themselves, where they are all content: no copy of them.
            pieces.append(octets[at:] if at else octets)
            self.content_bytes += size - at
        self._remaining = end - size
        return size

    def _decode_data_end(self, octets: bytes, at: int) -> int:
        """Decode the CRLF after chunk-data; it may come in two pieces."""
        found = self._held + octets[at : at + 2 - len(self._held)]
        # RFC 9112 section 7.1: exactly CRLF. A recipient that skips anything else here
        # would read a chunk of a smuggled request as framing.
        if not b"\r\n".startswith(found):
            message = f"chunk data not followed by CRLF but by {quote(found)}"
            raise RemoteProtocolError(message)
        at += len(found) - len(self._held)
        self._held = found
        if len(found) == 2:
            self._held = b""
            self._state = _State.CHUNK_LINE
        return at

    def _decode_chunk_line(self, octets: bytes, at: int) -> int:
        match = None if self._held else _PLAIN_CHUNK_LINE.match(octets, at)
        if match is not None:  # 2x faster than what follows
            at = match.end()
        else:
            line, at = self._take_line(octets, at, _SIZE_DIGITS + self._extension_bytes)
            if line is None:
                # A size that no further octet can make valid is refused now, and not
                # when the line ends, which the peer may never send.
                if _PARTIAL_CHUNK_LINE.match(self._held) is None:
                    raise RemoteProtocolError(f"bad chunk size {quote(self._held, 20)}")
                return at
            # Blanks behind a plain size only: with an extension the ABNF has its own
            # place for them (BWS, RFC 9112 section 7.1.1).
            if self._unfolds and len(line) <= _SIZE_DIGITS:
                line = line.rstrip(b" \t")
            match = CHUNK_LINE.fullmatch(line)
            if match is None:
                raise RemoteProtocolError(f"malformed chunk line {quote(line)}")
            # RFC 9112 section 7.1.1: extensions are ignored, and their total is
            # limited: they are a way to send octets that count as no content.
            self._extension_bytes -= len(match[2])
            if self._extension_bytes < 0:
                self._refuse_line()
        self._remaining = int(match[1], 16)
        self._state = _State.DATA if self._remaining else _State.TRAILERS
        return at

    def _decode_trailer(self, octets: bytes, at: int) -> int:
        line, at = self._take_line(octets, at, self._trailer_bytes)
        # An empty line ends the trailer section, and with it the message.
        if line:
            self._trailer_bytes -= len(line) + 2
            if self._trailer_bytes < 0:
                self._refuse_line()
            self._take_trailer(line)
        elif line is not None:
            self._end_folded()
            self.is_complete = True
            if self._trailer_pairs:
                self.trailers = Headers(self._trailer_pairs)
        return at

    def _take_trailer(self, line: bytes) -> None:
        """Check a line at once; keep its field, since the next line may continue it."""
        if self._folded is not None and line[:1] in b" \t":
            name, value = self._folded
            # Parsed as a field of its own, so that its octets are checked, too. RFC
            # 9112 section 5.2: each obs-fold is replaced by SP.
            more = parse_field_line(b"x:" + line)[1]
            self._folded = name, f"{value} {more}".strip(" ")
            return
        self._end_folded()
        pair = parse_field_line(line)
        if pair[0] in REFUSED_TRAILERS:
            message = f"field {quote(pair[0])} in the trailer section"
            raise RemoteProtocolError(message)
        self._folded = pair
        if not self._unfolds:
            self._end_folded()

    def _end_folded(self) -> None:
        pair, self._folded = self._folded, None
        if pair is not None:
            self._keep_trailer(pair)

    def _keep_trailer(self, pair: tuple[str, str]) -> None:
        name = pair[0]
        if name not in DROPPED_TRAILERS:
            self._trailer_pairs.append(pair)
        if len(self._trailer_pairs) > self._limits.field_count:
            raise RemoteProtocolError("too many trailer fields", 431)

    def _take_line(
        self, octets: bytes, at: int, longest: int
    ) -> tuple[bytes | None, int]:
        """Return the line that ends here; None, and keep its part, if it does not."""
        held = self._held
        # The CRLF itself may come in two pieces.
        if held[-1:] == b"\r" and octets[at : at + 1] == b"\n":
            self._held = b""
            return held[:-1], at + 1
        stop = at + longest + 2 - len(held)
        line_end = octets.find(b"\r\n", at, stop)
        if line_end >= 0 and held[-1:] != b"\r":
            self._held = b""
            return held + octets[at:line_end], line_end + 2
        if len(octets) >= stop:
            self._refuse_line()
        self._held = held + octets[at:]
        # RFC 9112 section 2.2 allows a recipient to accept a bare LF as a line end. We
        # do not: an intermediary that sees another line end sees another chunk.
        if has_bare_line_end(self._held, len(held)):
            message = f"bare CR or LF in the {self._state.value}"
            raise RemoteProtocolError(message)
        return None, len(octets)

    def _refuse_line(self) -> None:
        if self._state is _State.TRAILERS:
            message = f"trailers larger than {self._limits.trailer_bytes} octets"
            raise RemoteProtocolError(message, 431)
        message = "chunk size or chunk extensions too long"
        raise RemoteProtocolError(message)


def serialize_chunk(data: bytes | memoryview) -> bytes:
    """Frame one piece of content; b"" for none: a chunk of size 0 is the last."""
    # RFC 9112 section 7.1: chunk = chunk-size [ chunk-ext ] CRLF chunk-data CRLF
    return b"".join((b"%X\r\n" % len(data), data, b"\r\n")) if data else b""
