import random
from contextlib import suppress

import pytest
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

from blazeio.wire.hpack import _steps, decode_huffman

# RFC 7541 appendix C.4 and C.6
EXAMPLES = {
    "f1e3c2e5f23a6ba0ab90f4ff": "www.example.com",
    "a8eb10649cbf": "no-cache",
    "25a849e95ba97d7f": "custom-key",
    "25a849e95bb8e8b4bf": "custom-value",
    "6402": "302",
    "aec3771a4b": "private",
    "d07abe941054d444a8200595040b8166e082a62d1bff": "Mon, 21 Oct 2013 20:13:21 GMT",
    "9d29ad171863c78f0b97c8e9ae82ae43d3": "https://www.example.com",
    "": "",
}


@pytest.mark.parametrize(("octets", "text"), EXAMPLES.items())
def test_the_examples_of_the_rfc(octets: str, text: str) -> None:
    assert decode_huffman(bytes.fromhex(octets)) == text


PADDING, EOS = "padding that is not a prefix of EOS", "the symbol EOS"


@pytest.mark.parametrize(
    ("octets", "message"),
    [
        (b"\xff", PADDING),  # eight bits of it, and nothing before
        (b"\xf1\xe3\xff\xff", PADDING),
        (b"\x1e", PADDING),  # by zeros
        (b"\xff\xff\xff\xff", EOS),
        (b"\x07\xff\xff\xff\xff", EOS),
    ],
)
def test_wrong_padding_and_eos_are_refused(octets: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{message}$"):
        decode_huffman(octets)


def test_what_is_kept_of_endless_octets_is_bounded() -> None:
    chance = random.Random(1)
    for _ in range(10_000):
        with suppress(ValueError):
            decode_huffman(chance.randbytes(8))
        assert len(_steps) <= 8192


def test_each_octet_is_decoded() -> None:
    encoder = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)
    for octet in range(256):
        text = bytes((octet, 48, octet, octet))
        assert decode_huffman(encoder.encode(text)) == text.decode("latin-1")
