"""How the octets of a response arrive changes nothing of what they mean."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blazeio.errors import RemoteProtocolError
from blazeio.protocol.flow import UNTIL_CLOSE, ContentStream
from blazeio.wire.chunked import ChunkDecoder
from blazeio.wire.framing import Framing, find_response_framing
from blazeio.wire.heads import parse_response_head
from tests.property.wire_octets import (
    NASTY,
    fields,
    framed_contents,
    in_pieces,
    join_head,
)
from tests.wire.feeding import LIMITS, cut

pytestmark = pytest.mark.slow
thorough = settings(max_examples=150, deadline=None)

lines = st.sampled_from(
    ["HTTP/1.1 200 OK", "HTTP/1.1 404 ", "HTTP/1.0 200 OK", "HTTP/1.1 204 No Content"]
)
interims = st.sampled_from(["", "HTTP/1.1 100 Continue\r\n\r\n"])


@st.composite
def responses(draw: st.DrawFn) -> bytes:
    """A good response, maybe with an interim one before it."""
    framing, content = draw(framed_contents())
    line = draw(lines)
    if line.startswith("HTTP/1.0") and ("Transfer-Encoding", "chunked") in framing:
        line = "HTTP/1.1 200 OK"
    rest = draw(st.lists(fields, max_size=3))
    head = join_head(line, draw(st.permutations([*framing, *rest])))
    return draw(interims).encode() + head + (b"" if "204" in line else content)


@st.composite
def nearly_good(draw: st.DrawFn) -> bytes:
    """A good one after one to three edits."""
    octets = draw(responses())
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(octets)))
        gone = draw(st.sampled_from([0, 0, 1, 2]))
        octets = (
            octets[:at] + draw(st.sampled_from([b"", *NASTY])) + octets[at + gone :]
        )
    return octets


@dataclass
class Reading:
    """What a client makes of octets: the smallest correct shell."""

    heads: list[tuple[object, ...]] = field(default_factory=list)
    content: bytes = b""
    rest: bytes = b""
    is_whole: bool = False
    is_refused: bool = False

    @property
    def told(self) -> tuple[object, ...]:
        if self.is_refused:  # how far it came hangs on the cut
            return (True,)
        return self.heads, self.content, self.rest, self.is_whole


def read(pieces: Iterable[bytes]) -> Reading:
    reading, held, scanned = Reading(), b"", 0
    stream: ContentStream | None = None
    for piece in pieces:
        held += piece
        while held and stream is None and not reading.is_refused:
            try:
                head = parse_response_head(held, LIMITS, scanned)
            except RemoteProtocolError:
                reading.is_refused = True
                break
            if head is None:
                scanned = max(len(held) - 3, 0)
                break
            held, scanned = held[head.size :], 0
            told = (head.status, head.reason, head.minor, head.headers.pairs)
            reading.heads.append((*told, head.is_persistent, head.keep_alive_s))
            if head.status >= 200:
                framing = find_response_framing(
                    method="GET",
                    status=head.status,
                    content_length=head.content_length,
                    is_chunked=head.is_chunked,
                )
                stream = open_stream(framing, head.content_length)
        if stream is not None and held:
            held = held if stream.is_whole else stream.feed(held)
            reading.is_refused |= stream.error is not None
            while (taken := stream.take()) is not None:
                reading.content += taken
            reading.is_whole = stream.is_whole
    reading.rest = held
    return reading


def open_stream(framing: Framing, length: int | None) -> ContentStream:
    if framing is Framing.CHUNKED:
        return ContentStream(decoder=ChunkDecoder(LIMITS))
    if framing is Framing.CLOSE:
        return ContentStream(length=UNTIL_CLOSE)
    return ContentStream(length=(length or 0) if framing is Framing.LENGTH else 0)


@thorough
@given(st.data(), responses())
def test_any_cut_of_a_good_response_gives_the_same(
    data: st.DataObject, octets: bytes
) -> None:
    whole = read([octets])
    assert not whole.is_refused
    assert read(data.draw(in_pieces(octets))).told == whole.told
    assert read(cut(octets, 1)).told == whole.told


@thorough
@given(st.data(), nearly_good())
def test_any_cut_of_a_nearly_good_response_is_refused_or_read_alike(
    data: st.DataObject, octets: bytes
) -> None:
    whole = read([octets])
    assert read(data.draw(in_pieces(octets))).told == whole.told
    assert read(cut(octets, 1)).told == whole.told


@thorough
@given(st.binary(max_size=200))
def test_no_octets_make_anything_but_a_refusal(octets: bytes) -> None:
    for prefix in (b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nA: "):
        read([prefix + octets])
