import zlib
from collections.abc import Callable

import brotlicffi
import pytest

from blazeio.content.codings import AVAILABLE, encode_once, open_encoder


def gzip_reader() -> Callable[[bytes], bytes]:
    return zlib.decompressobj(wbits=31).decompress


def br_reader() -> Callable[[bytes], bytes]:
    process = brotlicffi.Decompressor().process

    def read(encoded: bytes) -> bytes:
        decoded = pieces = process(encoded)
        while pieces:  # it gives out 32 KiB at a time
            pieces = process(b"")
            decoded += pieces
        return bytes(decoded)

    return read


def zstd_reader() -> Callable[[bytes], bytes]:
    zstd = pytest.importorskip("backports.zstd", reason="backports.zstd is missing")
    reader: Callable[[bytes], bytes] = zstd.ZstdDecompressor().decompress
    return reader


READERS = {"gzip": gzip_reader, "br": br_reader, "zstd": zstd_reader}


@pytest.mark.parametrize("coding", AVAILABLE)
def test_each_piece_can_be_read_before_the_next_is_written(coding: str) -> None:
    encoder, read = open_encoder(coding), READERS[coding]()
    for piece in (b"data: 1\n\n", b"data: 2\n\n", b"x" * 100_000):
        assert read(encoder.encode(piece)) == piece


@pytest.mark.parametrize("coding", AVAILABLE)
def test_the_stream_is_ended_by_finish(coding: str) -> None:
    encoder, read = open_encoder(coding), READERS[coding]()
    assert read(encoder.encode(b"all") + encoder.finish()) == b"all"


def test_br_and_gzip_are_always_there_and_the_denser_comes_first() -> None:
    assert AVAILABLE[-2:] == ("br", "gzip")


@pytest.mark.parametrize("coding", AVAILABLE)
def test_what_is_encoded_once_can_be_read(coding: str) -> None:
    text = b"<p>again and again</p>" * 1000
    encoded = encode_once(coding, text)
    assert len(encoded) < len(text) / 10
    assert READERS[coding]()(encoded) == text
