"""The decoder as an object; the grammar is in tests/conformance/test_rfc9112_7_*."""

import pytest

from blazeio.errors import RemoteProtocolError
from blazeio.limits import Limits
from blazeio.wire.chunked import (
    DROPPED_TRAILERS,
    LAST_CHUNK,
    REFUSED_TRAILERS,
    ChunkDecoder,
    serialize_chunk,
)
from tests.wire.feeding import cut

LIMITS = Limits()


def decode(
    pieces: list[bytes], limits: Limits = LIMITS
) -> tuple[ChunkDecoder, list[bytes], bytes]:
    """The decoder, the content, and what was not consumed."""
    decoder = ChunkDecoder(limits)
    content: list[bytes] = []
    rest = b""
    for piece in pieces:
        rest += piece[decoder.decode(piece, 0, content) :]
    return decoder, content, rest


def refusal_of(octets: bytes, limits: Limits = LIMITS) -> tuple[int, str]:
    """The same refusal for any cut."""
    refusals = set()
    for size in (1, 3, len(octets)):
        with pytest.raises(RemoteProtocolError) as caught:
            decode(cut(octets, size), limits)
        refusals.add((caught.value.status_hint, str(caught.value)))
    [refusal] = {status for status, _ in refusals}
    return refusal, str(caught.value)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
def test_any_cut_gives_the_same_content(size: int) -> None:
    octets = b"2;a=b\r\nhe\r\n3\r\nllo\r\n0\r\nX: y\r\n\r\n"
    decoder, content, rest = decode([*cut(octets, size), b"next"])
    assert b"".join(content) == b"hello"
    assert decoder.is_complete
    assert decoder.content_bytes == 5
    assert decoder.trailers is not None
    assert decoder.trailers.pairs == [("x", "y")]
    assert rest == b"next"


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
def test_a_padded_size_is_read_by_user_agents_alone(size: int) -> None:
    octets = b"2      \r\nhe\r\n3 \t\r\nllo\r\n0   \r\n\r\n"
    decoder = ChunkDecoder(LIMITS, unfolds=True)
    content: list[bytes] = []
    for piece in cut(octets, size):
        assert decoder.decode(piece, 0, content) == len(piece)
    assert b"".join(content) == b"hello"
    assert decoder.is_complete
    assert refusal_of(octets)[0] == 400


@pytest.mark.parametrize(
    ("line", "is_read"),
    [
        (b"5".ljust(16), True),
        (b"5".ljust(17), False),
        (b"5" + b" " * 99, False),
        (b"5X", False),
        (b"5\f", False),
        (b"5\v ", False),
    ],
)
def test_a_size_is_padded_with_blanks_up_to_its_most_digits(
    line: bytes, is_read: bool
) -> None:
    decoder = ChunkDecoder(LIMITS, unfolds=True)
    octets = line + b"\r\nhello"
    if is_read:
        assert decoder.decode(octets, 0, []) == len(octets)
        return
    with pytest.raises(RemoteProtocolError, match="malformed chunk line"):
        decoder.decode(octets, 0, [])


def test_it_begins_where_it_is_told_and_ends_where_the_message_does() -> None:
    decoder = ChunkDecoder(LIMITS)
    content: list[bytes] = []
    octets = b"head1\r\nx\r\n0\r\n\r\nnext"
    end = decoder.decode(octets, 4, content)
    assert (content, octets[end:]) == ([b"x"], b"next")
    assert decoder.decode(b"more", 0, content) == 0
    assert decoder.decode(b"more", 2, content) == 2
    assert content == [b"x"]


def test_nothing_is_known_before_the_end() -> None:
    decoder, content, _ = decode([b"5\r\nhell"])
    assert (decoder.is_complete, decoder.trailers) == (False, None)
    assert (decoder.content_bytes, content) == (4, [b"hell"])


def test_without_trailers_there_are_none() -> None:
    assert decode([b"0\r\n\r\n"])[0].trailers is None


def test_content_that_fills_what_was_received_is_not_copied() -> None:
    piece = b"x" * 65_536
    octets = [b"30000\r\n", piece, piece, piece, b"\r\n0\r\n\r\n"]
    decoder, content, _ = decode(octets)
    assert all(each is piece for each in content[:2])  # the third one ends the chunk
    assert decoder.content_bytes == 3 * 65_536


def test_an_octet_of_content_is_held_once() -> None:
    decoder, content, _ = decode([b"10\r\n" + b"x" * 10])
    assert content == [b"x" * 10]
    assert decoder._held == b""


def test_no_octets_change_nothing() -> None:
    _, content, _ = decode([b"", b"1\r\n", b"", b"x", b"", b"\r", b"", b"\n0\r\n\r\n"])
    assert content == [b"x"]


def test_no_piece_of_the_content_is_empty() -> None:
    octets = b"1\r\nx\r\n2\r\nyz\r\n0\r\n\r\n"
    for end in range(len(octets)):
        _, content, _ = decode([octets[:end], octets[end:]])
        assert b"" not in content
        assert b"".join(content) == b"xyz"


def test_the_largest_chunk_size_is_awaited() -> None:
    decoder, content, _ = decode([b"ffffffffffffffff\r\nhello"])
    assert (content, decoder.is_complete) == ([b"hello"], False)


# What is refused before its line is whole


@pytest.mark.parametrize(
    "octets",
    [
        *(b"g", b"\r", b" ", b";", b"\n", b"-", b"5x", b"5\n", b"5\rx", b"0" * 17),
        *(b"1\r\nxx", b"1\r\nx\n", b"1\r\nx\rx", b"0\r\nA: b\n", b"0\r\nA: b\rc"),
        b"5;a\n",
    ],
)
def test_what_no_later_octet_can_mend_is_refused_at_once(octets: bytes) -> None:
    assert refusal_of(octets)[0] == 400


# Limits


@pytest.mark.parametrize(("size", "is_read"), [(100, True), (101, False)])
def test_extension_bytes_are_those_of_the_whole_message(
    size: int, is_read: bool
) -> None:
    limits = Limits(chunk_extension_bytes=100)
    one = b"1" + b";a=".ljust(size, b"b") + b"\r\nx\r\n0\r\n\r\n"
    many = b"1;a\r\nx\r\n" * 49 + b"0" + b";".ljust(size - 98, b"a") + b"\r\n\r\n"
    for octets in (one, many):
        if is_read:
            assert decode([octets], limits)[0].is_complete
        else:
            refusal = (400, "chunk size or chunk extensions too long")
            assert refusal_of(octets, limits) == refusal


def test_an_extension_without_an_end_is_refused_at_the_limit() -> None:
    limits = Limits(chunk_extension_bytes=100)
    longest = b"0" * 16 + b";".ljust(100, b"a")
    decode([longest], limits)
    decode([longest + b"\r"], limits)
    assert refusal_of(longest + b"aa", limits)[0] == 400
    assert refusal_of(b"5;a=" + b"b" * 1_048_576)[0] == 400


@pytest.mark.parametrize(("size", "is_read"), [(100, True), (101, False)])
def test_trailer_bytes_is_inclusive(size: int, is_read: bool) -> None:
    limits = Limits(trailer_bytes=100)
    one = b"A: ".ljust(size - 2, b"b") + b"\r\n"
    two = b"A: b\r\n" + b"C: ".ljust(size - 8, b"d") + b"\r\n"
    for trailers in (one, two):
        for octets in (
            b"0\r\n" + trailers + b"\r\n",
            b"1\r\nx\r\n0\r\n" + trailers + b"\r\n",
        ):
            if is_read:
                assert decode([octets], limits)[0].trailers is not None
            else:
                refusal = (431, "trailers larger than 100 octets")
                assert refusal_of(octets, limits) == refusal


def test_trailers_without_an_end_are_refused_at_the_limit() -> None:
    octets = b"0\r\n" + b"A: bbbbbbbbbbbbbbbbbbbbbbbbb\r\n" * 70_000
    with pytest.raises(RemoteProtocolError) as caught:
        decode([octets])
    assert caught.value.status_hint == 431
    assert refusal_of(b"0\r\n" + b"a" * 20_000)[0] == 431


def test_trailers_that_are_dropped_count_too() -> None:
    octets = b"0\r\n" + b"Host: h\r\n" * 2_000
    assert refusal_of(octets)[0] == 431


def test_trailer_fields_are_counted() -> None:
    limits = Limits(field_count=2)
    assert decode([b"0\r\na:\r\nb:\r\n\r\n"], limits)[0].is_complete
    octets = b"0\r\na:\r\nb:\r\nc:\r\n\r\n"
    assert refusal_of(octets, limits) == (431, "too many trailer fields")


def test_only_the_unfinished_line_is_held_between_calls() -> None:
    octets = b"5;a=b\r\nhello\r\n3;cc"
    decoder, _, _ = decode(cut(octets, 1))
    assert decoder._held == b"3;cc"
    decoder, _, _ = decode([octets])
    assert decoder._held == b"3;cc"


# Texts


@pytest.mark.parametrize(
    ("octets", "message"),
    [
        (b"5g\r\n", "malformed chunk line b'5g'"),
        (b"5g", "bad chunk size b'5g'"),
        (b"5;a\nb", "bare CR or LF in the chunk line"),
        (b"0\r\nA: b\n", "bare CR or LF in the trailer section"),
        (b"1\r\nxyz", "chunk data not followed by CRLF but by b'yz'"),
        (b"0\r\nnocolon\r\n", "field line without a colon: b'nocolon'"),
    ],
)
def test_the_error_says_what_is_wrong(octets: bytes, message: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        decode([octets])
    assert (str(caught.value), caught.value.status_hint) == (message, 400)


# Serializing


@pytest.mark.parametrize("size", [1, 9, 10, 15, 16, 255, 65_536])
def test_a_serialized_chunk_is_decoded_to_its_content(size: int) -> None:
    octets = serialize_chunk(b"x" * size) + LAST_CHUNK
    decoder, content, rest = decode([octets])
    assert b"".join(content) == b"x" * size
    assert (decoder.is_complete, rest) == (True, b"")


def test_no_content_is_no_chunk_since_that_would_be_the_end() -> None:
    assert serialize_chunk(b"") == b""
    assert serialize_chunk(b"hello") == b"5\r\nhello\r\n"
    assert LAST_CHUNK == b"0\r\n\r\n"


# Trailer fields over several lines, as a user agent reads them


@pytest.mark.parametrize("size", [1, 2, 3, 100])
def test_a_user_agent_reads_a_folded_trailer(size: int) -> None:
    octets = b"0\r\nX: a\r\n bX\r\n\t c\xa0\r\nY: d\r\nX-Z:\r\n e\r\n\r\n"
    decoder = ChunkDecoder(LIMITS, unfolds=True)
    for piece in cut(octets, size):
        decoder.decode(piece, 0, [])
    assert decoder.trailers is not None
    assert decoder.trailers.pairs == [
        ("x", "a bX c\xa0"),
        ("y", "d"),
        ("x-z", "e"),
    ]


@pytest.mark.parametrize(
    ("octets", "unfolds"),
    [
        (b"0\r\nX: a\r\n b\r\n\r\n", False),
        (b"0\r\n X: a\r\n\r\n", True),
        (b"0\r\nX: a\r\n \0\r\n\r\n", True),
        (b"0\r\nContent-Length:\r\n 5\r\n\r\n", True),
        (b"0\r\nX: a\r\n" + b" b\r\n" * 10_000, True),
    ],
)
def test_other_folds_are_refused(octets: bytes, unfolds: bool) -> None:
    with pytest.raises(RemoteProtocolError):
        ChunkDecoder(LIMITS, unfolds=unfolds).decode(octets, 0, [])


def test_decoding_pauses_at_so_many_pieces_and_goes_on_there() -> None:
    octets = b"2\r\nab\r\n10\r\n" + b"c" * 16 + b"\r\n1\r\nd\r\n0\r\n\r\nnext"
    decoder = ChunkDecoder(LIMITS)
    content: list[bytes] = []
    at = decoder.decode(octets, 0, content, 1)
    assert content == [b"ab"]
    at = decoder.decode(octets, at, content, 2)
    assert content == [b"ab", b"c" * 16]
    assert not decoder.is_complete
    at = decoder.decode(octets, at, content, 3)
    assert content[2:] == [b"d"]
    at = decoder.decode(octets, at, content, 4)
    assert decoder.is_complete
    assert octets[at:] == b"next"
    assert decoder.content_bytes == 19


def test_content_that_looks_like_the_next_chunk_is_content() -> None:
    decoder, content, rest = decode([b"a\r\nab\r\n3", b"\r\n3\r\n\r\n0\r\n\r\nx"])
    assert b"".join(content) == b"ab\r\n3\r\n3\r\n"
    assert decoder.is_complete
    assert rest == b"x"


@pytest.mark.parametrize("begun", [b"1\r", b"1;a\r"])
def test_a_cr_that_ends_a_piece_must_be_followed_by_lf(begun: bytes) -> None:
    decoder = ChunkDecoder(LIMITS)
    decoder.decode(begun, 0, [])
    with pytest.raises(RemoteProtocolError, match="bare CR or LF in the chunk line"):
        decoder.decode(b"0\r\nx\r\n0\r\n\r\n", 0, [])


def test_a_field_that_nobody_may_read_there_is_dropped() -> None:
    name = next(iter(DROPPED_TRAILERS))
    trailers = f"{name}: x\r\nX: y\r\n".encode()
    decoder, _, _ = decode([b"0\r\n" + trailers + b"\r\n"])
    assert decoder.trailers is not None
    assert decoder.trailers.pairs == [("x", "y")]


def test_a_refused_trailer_is_named() -> None:
    name = next(iter(REFUSED_TRAILERS))
    status, text = refusal_of(f"0\r\n{name}: secret\r\n\r\n".encode())
    assert status == 400
    assert text == f"field {name!r} in the trailer section"


def test_a_bad_chunk_size_is_shown_in_part() -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        ChunkDecoder(LIMITS).decode(b"z" * 30, 0, [])
    assert str(caught.value).count("z") == 21  # of "size" and of what is shown
