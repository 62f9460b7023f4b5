"""Against the frames of ``websockets``; which breach is which: conformance."""

import gc
import tracemalloc

import pytest
from websockets.extensions.permessage_deflate import PerMessageDeflate
from websockets.frames import Frame, Opcode
from websockets.protocol import Side

from blazeio.errors import LocalProtocolError
from blazeio.websocket.frames import INFLATED_STEP_BYTES, FrameEndpoint

Message = str | bytes


def endpoint(
    side: Side = Side.SERVER, *, compress: bool = False, message_bytes: int = 1000
) -> FrameEndpoint:
    extensions = [deflate()] if compress else []
    return FrameEndpoint(side, message_bytes=message_bytes, extensions=extensions)


def deflate() -> PerMessageDeflate:
    return PerMessageDeflate(False, False, 15, 15)


def masked(
    opcode: Opcode, data: bytes, *, fin: bool = True, compress: bool = False
) -> bytes:
    extensions = [deflate()] if compress else []
    return Frame(opcode, data, fin=fin).serialize(mask=True, extensions=extensions)


HELLO = masked(Opcode.TEXT, b"hello")


def read(end: FrameEndpoint, octets: bytes) -> list[Message]:
    message = end.receive(octets)
    messages = [] if message is None else [message]
    while end.has_unread:
        messages += end.read_on()
    return messages


def test_a_message_that_is_alone_is_given_at_once() -> None:
    assert endpoint().receive(HELLO) == "hello"


@pytest.mark.parametrize(
    "octets",
    [
        HELLO + HELLO,
        masked(Opcode.PING, b"") + HELLO + HELLO,
        masked(Opcode.TEXT, b"he", fin=False) + masked(Opcode.CONT, b"llo") + HELLO,
    ],
    ids=["two", "behind a ping", "behind fragments"],  # masks are drawn by lot
)
def test_messages_come_whole_however_their_octets_come(octets: bytes) -> None:
    for cut in range(1, len(octets)):
        end = endpoint()
        messages = read(end, octets[:cut]) + read(end, octets[cut:])
        assert messages == ["hello", "hello"]
        assert end.receive(HELLO) == "hello"  # the short way again


def test_a_message_that_is_alone_is_not_read_into_another() -> None:
    end = endpoint()
    assert read(end, masked(Opcode.TEXT, b"a", fin=False)) == []
    assert read(end, HELLO) == []
    assert end.is_over
    assert end.take_octets()[2:4] == (1002).to_bytes(2)


MB = 1024 * 1024


@pytest.mark.parametrize(
    ("compress", "octets"),
    [
        (True, masked(Opcode.BINARY, b"x" * 2 * MB, compress=True)),
        (False, masked(Opcode.TEXT, b"x" * MB, fin=False) + masked(Opcode.TEXT, b"")),
        (False, masked(Opcode.TEXT, b"x" * MB)[:-1]),
    ],
    ids=["decompressed", "in fragments", "a part of a frame"],
)
def test_what_was_received_is_not_kept_when_it_is_over(
    compress: bool, octets: bytes
) -> None:
    """Nor in a cycle: many such connections were more than a worker's memory."""
    gc.disable()
    tracemalloc.start()
    try:
        end = endpoint(compress=compress, message_bytes=MB if compress else 2 * MB)
        assert read(end, octets) == []
        end.end()
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        gc.enable()
    assert kept < MB / 2


def test_a_message_that_is_too_large_closes() -> None:
    end = endpoint(message_bytes=4)
    assert read(end, HELLO) == []
    assert end.take_octets()[2:4] == (1009).to_bytes(2)


def test_a_ping_is_answered_and_a_close_agreed_to() -> None:
    end = endpoint()
    read(end, masked(Opcode.PING, b"a") + masked(Opcode.CLOSE, b"\x0f\xa0why"))
    assert end.take_octets() == b"\x8a\x01a" + b"\x88\x05\x0f\xa0why"
    assert (end.is_open, end.is_over) == (False, True)
    end.end()
    assert (end.close_code, end.close_reason) == (4000, "why")


def test_a_close_may_come_between_fragments() -> None:
    end = endpoint()
    read(end, masked(Opcode.TEXT, b"a", fin=False) + masked(Opcode.CLOSE, b"\x03\xe8"))
    assert end.take_octets() == b"\x88\x02\x03\xe8"


def test_a_close_does_not_come_before_broken_text() -> None:
    end = endpoint()
    messages = read(
        end, HELLO + masked(Opcode.TEXT, b"\xff") + masked(Opcode.CLOSE, b"")
    )
    assert messages == ["hello"]
    assert end.take_octets()[2:4] == (1007).to_bytes(2)


def test_what_comes_after_the_end_is_dropped() -> None:
    end = endpoint()
    end.end()
    assert read(end, HELLO) == []
    assert end.close_code == 1006


def test_what_comes_after_our_close_is_still_given() -> None:
    end = endpoint()
    end.close(1000, "")
    assert (end.is_open, end.is_over) == (False, False)
    assert read(end, HELLO) == ["hello"]
    read(end, masked(Opcode.CLOSE, b"\x03\xe8"))
    assert end.is_over


@pytest.mark.parametrize(("code", "reason"), [(999, ""), (1005, ""), (1000, "x" * 124)])
def test_a_close_that_cannot_be_said_raises(code: int, reason: str) -> None:
    with pytest.raises(LocalProtocolError, match=rf"^close\({code}\): "):
        endpoint().close(code, reason)


def test_what_is_compressed_is_read_in_steps() -> None:
    frame = Frame(Opcode.BINARY, bytes(1000)).serialize(
        mask=True, extensions=[deflate()]
    )
    count = 20 * INFLATED_STEP_BYTES // len(frame)
    end = endpoint(compress=True)
    assert end.receive(frame * count) is None
    messages = end.read_on()
    assert len(messages) == INFLATED_STEP_BYTES // len(frame)
    while end.has_unread:
        messages += end.read_on()
    assert messages == [bytes(1000)] * count


@pytest.mark.parametrize("compress", [False, True])
def test_both_ends_understand_each_other(compress: bool) -> None:
    server = endpoint(compress=compress)
    client = endpoint(Side.CLIENT, compress=compress)
    for message in ("", "☃", b"\xff" * 200):
        assert read(server, client.serialize(message)) == [message]
        assert read(client, server.serialize(message)) == [message]
    client.close(4001, "enough")
    read(server, client.take_octets())
    read(client, server.take_octets())
    client.end()
    assert (client.close_code, client.close_reason) == (4001, "enough")
