import random
import struct
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blazeio.content.codings import (
    ACCEPTED,
    AVAILABLE,
    BYTES_OF_MEMBER,
    FREE_BYTES,
    FREE_MEMBERS,
    MOST_CODINGS,
    MOST_GROWTH,
    PIECE_BYTES,
    ContentDecoder,
    br,
    can_undo,
    encode_once,
    find_zstd,
    gzip,
    open_encoder,
    parse_codings,
)
from blazeio.errors import ContentDecodingError, DecompressionBombError

ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip,
    "deflate": zlib.compress,
    "br": br,
    "zstd": lambda octets: encode_once("zstd", octets),
}
CODINGS = tuple(ENCODERS)
TEXT = b"<p>now and again</p>\n" * 5000


def decode(codings: str, *pieces: bytes) -> bytes:
    decoder = ContentDecoder(parse_codings(codings))
    decoded = b"".join(part for each in pieces for part in decoder.decode(each))
    decoder.finish()
    return decoded


def encode(codings: tuple[str, ...], octets: bytes) -> bytes:
    for coding in codings:
        octets = ENCODERS[coding](octets)
    return octets


def test_every_coding_that_is_given_here_can_be_undone() -> None:
    assert set(ACCEPTED) == set(ENCODERS)


@pytest.mark.parametrize("coding", CODINGS)
@given(content=st.binary(max_size=4000), step=st.integers(1, 500))
def test_content_comes_back_however_it_was_cut(
    coding: str, content: bytes, step: int
) -> None:
    encoded = ENCODERS[coding](content)
    cuts = [encoded[at : at + step] for at in range(0, len(encoded), step)]
    assert decode(coding, *cuts) == content


@pytest.mark.parametrize("coding", AVAILABLE)
def test_a_stream_is_decoded_as_it_comes(coding: str) -> None:
    encoder, decoder = open_encoder(coding), ContentDecoder([coding])
    for piece in (b"data: 1\n\n", b"data: 2\n\n", b"x" * 100_000):
        assert b"".join(decoder.decode(encoder.encode(piece))) == piece


@pytest.mark.parametrize("coding", CODINGS)
def test_large_content_comes_back(coding: str) -> None:
    content = random.Random(1).randbytes(3 * PIECE_BYTES) + bytes(PIECE_BYTES)
    assert decode(coding, ENCODERS[coding](content)) == content


@given(codings=st.lists(st.sampled_from(CODINGS), max_size=MOST_CODINGS))
def test_several_codings_are_undone_from_the_last(codings: list[str]) -> None:
    encoded = encode(tuple(codings), TEXT)
    assert decode(", ".join(codings), encoded) == TEXT


@pytest.mark.parametrize("coding", CODINGS)
def test_no_octets_at_all_are_empty_content(coding: str) -> None:
    assert decode(coding) == b""


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("left", [1, 5, 50])
def test_a_truncated_stream_is_an_error(coding: str, left: int) -> None:
    encoded = ENCODERS[coding](TEXT[:2000] + bytes(range(256)))[:-left]
    with pytest.raises(ContentDecodingError, match=f"ends before its {coding} does"):
        decode(coding, encoded)


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("octets", [b"plain text, no coding at all", b"\xff" * 40])
def test_what_is_not_of_the_coding_is_an_error(coding: str, octets: bytes) -> None:
    with pytest.raises(ContentDecodingError, match=f"the content is not {coding}"):
        decode(coding, octets)


def test_what_has_the_header_of_zlib_is_not_gzip() -> None:
    with pytest.raises(ContentDecodingError, match="the content is not gzip"):
        decode("gzip", zlib.compress(TEXT))


def test_a_wrong_checksum_is_an_error() -> None:
    encoded = bytearray(gzip(TEXT))
    encoded[-5] ^= 1
    with pytest.raises(ContentDecodingError, match="the content is not gzip"):
        decode("gzip", bytes(encoded))


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("is_apart", [True, False])
def test_octets_after_the_end_are_an_error(coding: str, is_apart: bool) -> None:
    encoded, garbage = ENCODERS[coding](TEXT), b"garbage, not a member"
    pieces = [encoded, garbage] if is_apart else [encoded + garbage]
    with pytest.raises(ContentDecodingError, match=f"the content is not {coding}"):
        decode(coding, *pieces)


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_members_and_frames_follow_one_another(coding: str) -> None:
    assert decode(coding, ENCODERS[coding](b"one ") + ENCODERS[coding](b"two")) == (
        b"one two"
    )


@pytest.mark.parametrize("cut", [1, 2, 30])
def test_deflate_without_its_header_is_read_too(cut: int) -> None:
    compressor = zlib.compressobj(wbits=-15)
    encoded = compressor.compress(TEXT) + compressor.flush()
    assert decode("deflate", encoded[:cut], encoded[cut:]) == TEXT


def test_deflate_without_its_header_is_told_from_one_with_it() -> None:
    for number in range(200):
        content = b"%d" % number
        compressor = zlib.compressobj(wbits=-15)
        encoded = compressor.compress(content) + compressor.flush()
        assert decode("deflate", encoded) == content
    assert decode("deflate", b"\x03\0") == b""
    stored = b"\x08" + b"\3\0\xfc\xff" + b"abc"  # its padding is not 0
    assert decode("deflate", stored + b"\x03\0") == b"abc"


def test_what_is_decoded_after_the_last_octet_has_come_is_not_lost() -> None:
    for more in range(1, 300, 13):
        compressor = zlib.compressobj(wbits=-15)
        encoded = compressor.compress(bytes(PIECE_BYTES + more)) + compressor.flush()
        assert decode("deflate", encoded) == bytes(PIECE_BYTES + more)


def test_a_window_of_more_than_8_mib_is_refused() -> None:
    zstd = find_zstd()
    assert zstd is not None
    for log, is_read in ((23, True), (24, False)):
        options = {zstd.CompressionParameter.window_log: log}
        compressor = zstd.ZstdCompressor(options=options)
        encoded = compressor.compress(TEXT) + compressor.flush()
        if is_read:
            assert decode("zstd", encoded) == TEXT
        else:
            with pytest.raises(ContentDecodingError, match="the content is not zstd"):
                decode("zstd", encoded)


@pytest.mark.parametrize("coding", CODINGS)
def test_few_octets_that_stand_for_many_are_given_out_in_pieces(coding: str) -> None:
    encoded = ENCODERS[coding](bytes(20 * PIECE_BYTES))
    pieces = list(ContentDecoder([coding]).decode(encoded))
    assert sum(map(len, pieces)) == 20 * PIECE_BYTES
    assert max(map(len, pieces)) <= PIECE_BYTES


@pytest.mark.parametrize("coding", CODINGS)
def test_a_bomb_is_refused_soon_after_the_free_octets(coding: str) -> None:
    encoded = ENCODERS[coding](bytes(FREE_BYTES + 4 * PIECE_BYTES))
    taken: list[bytes] = []
    with pytest.raises(DecompressionBombError, match="stand for more than"):
        taken.extend(ContentDecoder([coding]).decode(encoded))
    assert sum(map(len, taken)) <= max(FREE_BYTES, len(encoded) * MOST_GROWTH)


def test_a_bomb_whose_next_coding_makes_nothing_of_it_is_one_too() -> None:
    skippable_frame = struct.pack("<II", 0x184D2A50, FREE_BYTES) + bytes(FREE_BYTES)
    with pytest.raises(DecompressionBombError):
        decode("zstd, gzip", gzip(skippable_frame))


@pytest.mark.parametrize("field", ["compress", "gzip, aes", "gzip;q=1"])
def test_an_unknown_coding_is_an_error(field: str) -> None:
    with pytest.raises(ContentDecodingError, match="is not known"):
        ContentDecoder(parse_codings(field))


def test_more_codings_than_anyone_means_are_an_error() -> None:
    five = ("gzip",) * MOST_CODINGS
    assert decode(", ".join(five), encode(five, TEXT)) == TEXT
    with pytest.raises(ContentDecodingError, match="more than 5 codings"):
        ContentDecoder(["gzip"] * (MOST_CODINGS + 1))


@pytest.mark.parametrize(
    ("field", "codings"),
    [
        ("", ()),
        ("identity", ()),
        ("GZip", ("gzip",)),
        ("gzip,\tbr , identity,", ("gzip", "br")),
    ],
)
def test_a_content_encoding_is_read(field: str, codings: tuple[str, ...]) -> None:
    assert parse_codings(field) == codings


def test_without_a_coding_octets_stay_as_they_are() -> None:
    assert decode("identity", b"as ", b"it is") == b"as it is"


# What follows the end


@pytest.mark.parametrize("coding", ["gzip", "deflate", "zstd"])
@pytest.mark.parametrize("step", [1, 2, 7, 100_000])
def test_zeros_after_the_end_are_padding(coding: str, step: int) -> None:
    encoded = ENCODERS[coding](b"one") + bytes(1000)
    cuts = [encoded[at : at + step] for at in range(0, len(encoded), step)]
    assert decode(coding, *cuts) == b"one"


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
@pytest.mark.parametrize("step", [1, 3, 100_000])
def test_a_member_may_follow_the_padding(coding: str, step: int) -> None:
    encoded = ENCODERS[coding](b"one ") + bytes(50) + ENCODERS[coding](b"two")
    cuts = [encoded[at : at + step] for at in range(0, len(encoded), step)]
    assert decode(coding, *cuts) == b"one two"


@pytest.mark.parametrize("coding", ["gzip", "deflate", "zstd"])
@pytest.mark.parametrize("rest", [b"x", b"\0x", b"\x1f!", b"\x1f\x8b!", b"(\xb5x"])
@pytest.mark.parametrize("step", [1, 100_000])
def test_anything_else_is_an_error_that_can_be_turned_off(
    coding: str, rest: bytes, step: int
) -> None:
    encoded = ENCODERS[coding](b"one") + rest
    cuts = [encoded[at : at + step] for at in range(0, len(encoded), step)]
    with pytest.raises(ContentDecodingError):
        decode(coding, *cuts)
    decoder = ContentDecoder([coding], ignores_rest=True)
    taken = b"".join(part for each in cuts for part in decoder.decode(each))
    assert taken == b"one"
    decoder.finish()


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_a_member_that_is_broken_is_an_error_all_the_same(coding: str) -> None:
    whole = ENCODERS[coding](b"one")
    for broken in (whole[:1], whole[:-2], whole[:6] + b"\xff" * 20):
        decoder = ContentDecoder([coding], ignores_rest=True)
        with pytest.raises(ContentDecodingError):
            decode_all(decoder, whole + broken)


def decode_all(decoder: ContentDecoder, octets: bytes) -> bytes:
    decoded = b"".join(decoder.decode(octets))
    decoder.finish()
    return decoded


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_members_of_nothing_have_a_bound(coding: str) -> None:
    empty = ENCODERS[coding](b"")
    assert decode(coding, empty * FREE_MEMBERS) == b""
    with pytest.raises(ContentDecodingError, match="far too many members"):
        decode(coding, empty * (FREE_MEMBERS * 2))
    large = ENCODERS[coding](random.Random(1).randbytes(2 * BYTES_OF_MEMBER))
    assert len(decode(coding, large * 2 * FREE_MEMBERS)) == 4_096_000


@pytest.mark.parametrize(
    ("field", "codings"),
    [
        ("\tgzip , br", ("gzip", "br")),
        ("gzip\xa0", ("gzip\xa0",)),  # no blank to RFC 9110
        ("Xgzip", ("xgzip",)),
    ],
)
def test_only_sp_and_htab_surround_a_coding(
    field: str, codings: tuple[str, ...]
) -> None:
    assert parse_codings(field) == codings


def test_what_can_be_undone() -> None:
    assert can_undo(())
    assert can_undo(("gzip", "br"))
    assert not can_undo(("gzip", "pack200-gzip"))


def test_the_error_names_the_codings_and_the_fault() -> None:
    with pytest.raises(ContentDecodingError) as caught:
        list(ContentDecoder(("gzip", "br")).decode(br(gzip(b"a") + b"x")))
    assert str(caught.value) == "the content is not gzip, br: octets follow its end"
    members = gzip(b"") * 2_000
    with pytest.raises(ContentDecodingError) as caught:
        list(ContentDecoder(("gzip",)).decode(members))
    assert str(caught.value) == "the content is not gzip: far too many members"


def test_other_octets_than_zeros_are_no_padding() -> None:
    for octets in (b"X", b"XX", b"X\0"):
        with pytest.raises(ContentDecodingError, match="octets follow its end"):
            list(ContentDecoder(("gzip",)).decode(gzip(b"a") + octets))


def test_what_follows_the_ignored_rest_is_ignored_too() -> None:
    decoder = ContentDecoder(("gzip",), ignores_rest=True)
    whole = gzip(b"a")
    assert b"".join(decoder.decode(whole + b"rest")) == b"a"
    assert b"".join(decoder.decode(whole)) == b""
    decoder.finish()


def test_growth_counts_against_all_that_came() -> None:
    """So content in small pieces may be as large as in one."""
    octets = encode_once("gzip", random.Random(1).randbytes(1 << 20) * 20)
    decoder = ContentDecoder(("gzip",))
    size = 0
    for at in range(0, len(octets), 10_000):
        size += sum(map(len, decoder.decode(octets[at : at + 10_000])))
    assert size == 20 << 20
