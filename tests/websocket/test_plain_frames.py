"""Against the frames of ``websockets``: what is read here it would read so."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from blazeio.websocket.frames import (
    FrameBounds,
    read_plain_frame,
    write_plain_frame,
)

SIZES = [0, 1, 125, 126, 127, 65535]


@pytest.mark.parametrize("size", SIZES)
def test_a_whole_message_in_one_frame_is_read(size: int) -> None:
    data = bytes(ord("a") + each % 26 for each in range(size))
    text = Frame(Opcode.TEXT, data).serialize(mask=True)
    octets = Frame(Opcode.BINARY, data).serialize(mask=True)
    assert read_plain_frame(text) == data.decode()
    assert read_plain_frame(octets) == data


@pytest.mark.parametrize("size", [*SIZES, 65536, 70_000])
def test_what_is_written_is_the_same(size: int) -> None:
    data = b"x" * size
    octets = Frame(Opcode.BINARY, data).serialize(mask=False)
    assert write_plain_frame(data) == octets
    assert write_plain_frame(bytearray(data)) == octets
    text = Frame(Opcode.TEXT, data).serialize(mask=False)
    assert write_plain_frame(data.decode()) == text


def test_a_number_is_no_message() -> None:
    with pytest.raises(TypeError):
        write_plain_frame(5)  # type: ignore[arg-type]


HELLO = Frame(Opcode.TEXT, b"hello").serialize(mask=True)
UNUSUAL = {
    "a ping": Frame(Opcode.PING, b"").serialize(mask=True),
    "a close": Frame(Opcode.CLOSE, b"\x03\xe8").serialize(mask=True),
    "a fragment": Frame(Opcode.TEXT, b"a", fin=False).serialize(mask=True),
    "a continuation": Frame(Opcode.CONT, b"a").serialize(mask=True),
    "compressed": b"\xc1\x81\0\0\0\0a",
    "not masked": Frame(Opcode.TEXT, b"hello").serialize(mask=False),
    "two": HELLO + HELLO,
    "not whole": HELLO[:-1],
    "its head alone": HELLO[:1],
    "nothing": b"",
    "64 KiB": Frame(Opcode.TEXT, b"a" * 65536).serialize(mask=True),
    "a length with zeros before it": b"\x81\xfe\x00\x01\0\0\0\0a",
    "text that is not UTF-8": Frame(Opcode.TEXT, b"\xff").serialize(mask=True),
}


@pytest.mark.parametrize("octets", UNUSUAL.values(), ids=UNUSUAL.keys())
def test_every_other_goes_the_long_way(octets: bytes) -> None:
    assert read_plain_frame(octets) is None


@given(
    sizes=st.lists(st.sampled_from([0, 5, 125, 126, 300, 65536]), max_size=4),
    data=st.data(),
)
def test_the_bounds_of_frames_are_known_however_they_come(
    sizes: list[int], data: st.DataObject
) -> None:
    frames = [Frame(Opcode.BINARY, b"x" * size) for size in sizes]
    octets = b"".join(frame.serialize(mask=True) for frame in frames)
    ends = {0}
    for frame in frames:
        ends.add(max(ends) + len(frame.serialize(mask=True)))
    cuts = data.draw(st.lists(st.integers(0, len(octets)), max_size=6))
    places = sorted({0, len(octets), *cuts})
    bounds = FrameBounds()
    for start, end in itertools.pairwise(places):
        bounds.skip(octets[start:end])
        assert bounds.is_at_start == (end in ends)
