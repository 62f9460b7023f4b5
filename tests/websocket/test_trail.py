"""What is left of a connection's octets, whatever was taken and however they came."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.protocol import Side

from blazeio.websocket.frames import FrameEndpoint
from blazeio.websocket.handover import FrameTrail

MOST = 64 * 1024


def masked(opcode: Opcode, data: bytes, *, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin=fin).serialize(mask=True)


def write(message: tuple[Any, ...]) -> bytes:
    kind, *parts = message
    if kind == "ping":
        return masked(Opcode.PING, parts[0])
    frames = []
    for place, data in enumerate(parts):
        opcode = Opcode.BINARY if place == 0 else Opcode.CONT
        frames.append(masked(opcode, data, fin=place == len(parts) - 1))
        if place == 0 and len(parts) > 1:
            frames.append(masked(Opcode.PING, b"between"))
    return b"".join(frames)


def read(endpoint: FrameEndpoint, octets: bytes) -> list[str | bytes]:
    found = []
    message = endpoint.receive(octets)
    if message is not None:
        found.append(message)
    while endpoint.has_unread:
        found += endpoint.read_on()
    endpoint.take_octets()
    return found


def new_endpoint() -> FrameEndpoint:
    return FrameEndpoint(Side.SERVER, message_bytes=MOST)


data = st.one_of(st.binary(max_size=40), st.binary(min_size=126, max_size=300))
messages = st.lists(
    st.one_of(
        st.tuples(st.just("ping"), st.binary(max_size=20)),
        st.tuples(st.just("one"), data),
        st.tuples(st.just("parts"), data, data, data),
    ),
    max_size=8,
)


@given(messages, st.data())
def test_the_rest_is_read_elsewhere_as_it_would_have_been_here(
    sent: list[tuple[Any, ...]], choice: st.DataObject
) -> None:
    octets = b"".join(map(write, sent))
    arrived = choice.draw(st.integers(0, len(octets)))
    trail, here, there = FrameTrail(MOST), new_endpoint(), new_endpoint()
    waiting: list[str | bytes] = []
    taken: list[str | bytes] = []
    at = 0
    while at < arrived:
        step = choice.draw(st.integers(1, arrived - at))
        trail.feed(octets[at : at + step])
        waiting += read(here, octets[at : at + step])
        at += step
        for _ in range(choice.draw(st.integers(0, len(waiting)))):
            taken.append(waiting.pop(0))
            trail.take()
    assert trail.is_whole
    expected = [b"".join(each[1:]) for each in sent if each[0] != "ping"]
    assert taken + read(there, trail.rest() + octets[arrived:]) == expected


def test_pings_that_were_answered_are_not_kept() -> None:
    trail = FrameTrail(MOST)
    for _ in range(1000):
        trail.feed(masked(Opcode.PING, b"x" * 100))
    assert trail.rest() == b""


def test_what_is_too_much_is_not_kept_until_it_was_taken() -> None:
    trail = FrameTrail(1000)
    large = masked(Opcode.BINARY, b"x" * 2000)
    trail.feed(large[:500])
    assert trail.is_whole
    trail.feed(large[500:])
    assert (trail.is_whole, trail.rest()) == (False, b"")
    trail.feed(masked(Opcode.BINARY, b"y"))
    assert not trail.is_whole
    trail.take()
    assert not trail.is_whole
    trail.take()
    assert trail.is_whole
    small = masked(Opcode.BINARY, b"z")
    trail.feed(small)
    assert (trail.is_whole, trail.rest()) == (True, small)
