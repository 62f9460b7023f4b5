import gzip as stdlib_gzip
import random
from collections.abc import Callable

import brotlicffi
import pytest
from hypothesis import given
from hypothesis import strategies as st

from blazeio.content.codings import br, choose_coding, encode_once, gzip

BOTH = ("br", "gzip")


@given(st.binary())
def test_gzip_is_undone_by_the_standard_library(data: bytes) -> None:
    assert stdlib_gzip.decompress(gzip(data)) == data


@given(st.binary())
def test_br_is_undone_by_a_brotli_decoder(data: bytes) -> None:
    assert brotlicffi.decompress(br(data)) == data


@pytest.mark.parametrize("compress", [gzip, br])
def test_equal_content_gives_equal_octets(compress: Callable[[bytes], bytes]) -> None:
    assert compress(b"hello " * 100) == compress(b"hello " * 100)


@pytest.mark.parametrize(("compress", "fast", "small"), [(gzip, 1, 9), (br, 0, 11)])
def test_a_higher_level_gives_fewer_octets(
    compress: Callable[[bytes, int], bytes], fast: int, small: int
) -> None:
    words = [b"%x" % (number * number % 997) for number in range(5000)]
    text = b" ".join(words)
    assert len(compress(text, small)) < len(compress(text, fast)) < len(text)


@pytest.mark.parametrize(("coding", "compress"), [("gzip", gzip), ("br", br)])
def test_what_is_encoded_once_has_fewer_octets(
    coding: str, compress: Callable[[bytes], bytes]
) -> None:
    chance = random.Random(1)
    words = [
        bytes(chance.choices(b"abcdefghij", k=chance.randint(2, 9))) for _ in range(300)
    ]
    text = b" ".join(chance.choices(words, k=20_000))
    assert len(encode_once(coding, text)) < len(compress(text))


@pytest.mark.parametrize(
    ("accept_encoding", "chosen"),
    [
        # the field's absence or emptiness
        (None, None),
        ("", None),
        # what browsers send
        ("gzip, deflate, br, zstd", "br"),
        ("gzip, deflate", "gzip"),
        # weights
        ("br;q=0.5, gzip;q=0.9", "gzip"),
        ("br;q=0.5, gzip;q=0.5", "br"),
        ("br ; q=0.5 , gzip ; q=0.6", "gzip"),
        ("br;Q=0, gzip;Q=1.000", "gzip"),
        ("br;q=0, gzip;q=0", None),
        ("br;q=0.001", "br"),
        ("gzip, br;q=1", "br"),
        ("gzip;q=1, br", "br"),
        # any other coding
        ("*", "br"),
        ("*;q=0.1, gzip", "gzip"),
        ("br;q=0, *", "gzip"),
        ("gzip, *;q=0", "gzip"),
        ("*;q=0", None),
        # identity
        ("identity", None),
        ("identity, gzip;q=0.5", None),
        ("identity;q=0.5, gzip;q=1.0", "gzip"),
        ("identity, gzip", "gzip"),
        ("identity;q=0", None),
        # old and foreign names
        ("x-gzip", "gzip"),
        ("GZIP", "gzip"),
        ("deflate, compress", None),
        # what is not of the grammar is ignored
        ("gzip;q=2", None),
        ("gzip;q=0.1234", None),
        ("gzip;q=-1", None),
        ("gzip;level=9", None),
        ("gzip q=1", None),
        (", ,gzip,", "gzip"),
        ("br;q=x, gzip", "gzip"),
    ],
)
def test_the_coding_is_chosen_by_weight(
    accept_encoding: str | None, chosen: str | None
) -> None:
    assert choose_coding(accept_encoding, BOTH) == chosen


def test_our_order_decides_between_equals() -> None:
    assert choose_coding("br, gzip", ("gzip", "br")) == "gzip"


@given(st.text(max_size=200))
def test_any_text_gives_one_of_ours_or_none(accept_encoding: str) -> None:
    assert choose_coding(accept_encoding, BOTH) in (*BOTH, None)
