"""What a client may have us do, and what honest ones do."""

import pytest

from blazeio.limits import Limits
from tests.support.http2 import (
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    GOAWAY,
    HEADERS,
    NO_ERROR,
    OPENING,
    PADDED,
    PING,
    POST,
    PREFACE,
    PRIORITY,
    Frame,
    data,
    frame,
    headers,
    literal,
    reset,
    settings,
    window_update,
)
from tests.wire.http2_talk import Talk, answered

PROBE = frame(PING, 0, 0, b"12345678")


def count_until_end(talk: Talk, *flood: bytes, most: int = 3000) -> int:
    """How often this may be sent before the connection ends for it."""
    for count in range(most):
        frames = talk.exchange(*flood)
        if talk.failure:
            assert frames[-1].kind == GOAWAY
            assert frames[-1].code == ENHANCE_YOUR_CALM
            return count
    raise AssertionError("it never ends")


@pytest.mark.parametrize(
    "octets",
    [
        PROBE,
        frame(PING, 1, 0, b"12345678"),
        settings(),
        settings((4, 65_535)),
        frame(4, 1, 0),
        frame(0x16, 0, 0),
        frame(0x0A, 0, 0),
        frame(PRIORITY, 0, 1, b"\0\0\0\3\0"),
        window_update(0, 1),
        data(1),
        frame(0, PADDED, 1, b"\xff" + bytes(255)),
        window_update(1, 1),
        frame(GOAWAY, 0, 0, bytes(8)),
        reset(5),
        window_update(5, 2000),
    ],
    ids=lambda octets: f"{octets[3]}-{octets[8]}-{len(octets)}",
)
def test_frames_that_carry_nothing(octets: bytes) -> None:
    talk = Talk(answer=None)
    talk.exchange(headers(1, POST, ends=False), headers(5), reset(5))
    assert 900 < count_until_end(talk, octets) <= 1000


def test_seconds_refill_the_budget() -> None:
    talk = Talk(Limits(control_frames=10, control_frames_per_s=5))
    for _ in range(100):
        talk.now += 0.2
        talk.exchange(PROBE)
    assert talk.failure is None
    assert count_until_end(talk, PROBE) <= 10


def test_windows_of_one_octet_earn_nothing() -> None:
    opening = PREFACE + settings((4, 0))
    talk = Talk(opening=opening, answer=bytes(100_000))
    talk.exchange(headers(1))
    assert count_until_end(talk, window_update(1, 1)) <= 1010


def test_a_window_of_a_kibibyte_costs_nothing() -> None:
    talk = Talk(Limits(control_frames=10))
    talk.exchange(*[window_update(0, 1024)] * 100)
    assert talk.failure is None
    assert count_until_end(talk, window_update(0, 1023)) < 10


def test_each_frame_of_a_download_is_credited_by_itself() -> None:
    """What was once cut small, at the end of a write, stays small: credit of two octets
    lets two more octets through. It is the average that tells a client from a flood.
    """
    talk = Talk(answer=None)
    talk.exchange(headers(1))
    stream = talk.requests[1].stream
    left, frames = 3_000_000, list[Frame]()
    for size in range(1, 60):  # small pieces to begin with
        talk.wire.send(stream, bytes(size))
        left -= size
        frames += talk.take()
    smallest = 0
    while left or stream.waiting_bytes:
        if left and stream.waiting_bytes < 16_384:
            size = min(left, 16_384)
            talk.wire.send(stream, bytes(size))
            left -= size
            frames += talk.take()
        if frames:
            size = len(frames.pop(0).payload)
            smallest += size < 1024
            frames += talk.exchange(window_update(1, size), window_update(0, size))
        assert talk.failure is None
    assert smallest > 1000


def test_settings_of_many_pairs() -> None:
    talk = Talk()
    talk.exchange(settings(*[(4, 65_535)] * 32))
    assert talk.failure is None
    frames = talk.exchange(settings(*[(4, 65_535)] * 33))
    assert frames[-1].code == ENHANCE_YOUR_CALM


def test_rapid_reset() -> None:
    talk, last = Talk(answer=None), 1
    while talk.failure is None:
        talk.exchange(headers(last), reset(last))
        last += 2
    assert last < 600
    assert talk.failure == "too many reset streams"


@pytest.mark.parametrize(
    "octets",
    [
        lambda stream: window_update(stream, 0),
        lambda stream: frame(PRIORITY, 0, stream, stream.to_bytes(4, "big") + b"\0"),
        lambda stream: data(stream, b"x"),
        lambda stream: headers(stream),
        lambda stream: window_update(stream, 2**31 - 1),
    ],
)
def test_resets_that_we_are_made_to_send(octets: object) -> None:
    assert callable(octets)
    talk, last = Talk(answer=None), 1
    while talk.failure is None:
        talk.exchange(headers(last), octets(last))
        last += 2
    assert last < 600


def test_malformed_and_refused_requests_are_paid_for() -> None:
    talk, last = Talk(), 1
    while talk.failure is None:
        talk.exchange(headers(last, POST[1:]))
        last += 2
    assert last < 600


def test_each_answer_earns_a_reset() -> None:
    talk = Talk()
    for number in range(2000):
        first = number * 4 + 1
        talk.exchange(headers(first))
        talk.answer = None
        talk.exchange(headers(first + 2), reset(first + 2))
        talk.answer = b"hello"
    assert talk.failure is None


def test_ninety_of_ninety_may_be_aborted() -> None:
    talk = Talk(answer=None)
    streams = range(1, 181, 2)
    talk.exchange(
        *[headers(each) for each in streams], *[reset(each) for each in streams]
    )
    talk.answer = b"hello"
    assert answered(talk.exchange(headers(201))) == [201]


def test_ten_thousand_requests() -> None:
    talk = Talk()
    for number in range(10_000):
        talk.exchange(headers(number * 2 + 1))
    assert talk.failure is None
    assert talk.wire.running == 0
    assert not talk.wire.streams


def test_a_ping_and_two_windows_for_each_call() -> None:
    talk = Talk(answer=bytes(100))
    for number in range(6000):
        stream = number * 2 + 1
        talk.exchange(
            headers(stream, POST, ends=False), data(stream, b"x" * 20, ends=True)
        )
        talk.exchange(PROBE, window_update(0, 100), window_update(stream, 100))
    assert talk.failure is None


def test_a_ping_for_each_message_of_a_stream() -> None:
    talk = Talk(answer=None)
    talk.exchange(headers(1, POST, ends=False))
    stream = talk.requests[1].stream
    for _ in range(6000):
        talk.wire.send(stream, b"x" * 20)
        talk.exchange(PROBE, window_update(0, 20), window_update(1, 20))
        talk.exchange(data(1, b"x" * 20))
    assert talk.failure is None


def test_a_bomb_of_the_compression() -> None:
    octets = literal("a", "b" * 4000, 0x40) + b"\xbe" * 12_000  # 48 MB
    talk = Talk()
    frames = talk.exchange(frame(HEADERS, END_HEADERS | END_STREAM, 1, octets))
    assert frames[-1].code == ENHANCE_YOUR_CALM
    assert (talk.failure or "").startswith("a head of more than")


def test_an_early_end_is_told_to_what_is_open() -> None:
    talk = Talk(answer=None)
    talk.exchange(headers(1))
    while talk.failure is None:
        talk.exchange(PROBE)
    assert talk.wire.is_over
    assert talk.exchange(headers(3)) == []


# The end


def test_the_drain_is_announced_and_then_bound() -> None:
    talk = Talk()
    talk.exchange(headers(1))
    talk.wire.begin_drain()
    goaway, ping = talk.take()
    assert goaway.payload == (2**31 - 1).to_bytes(4, "big") + bytes(4)
    assert answered(talk.exchange(headers(3))) == [3]  # it was under way
    talk.exchange(frame(PING, 1, 0, ping.payload))
    assert talk.has_drained
    talk.answer = None
    talk.exchange(headers(5, POST, ends=False))
    talk.wire.finish_drain()
    (last,) = talk.take()
    assert last.payload == (5).to_bytes(4, "big") + NO_ERROR.to_bytes(4, "big")
    late = [headers(7, POST, ends=False), data(7, b"x"), reset(7), window_update(7, 1)]
    assert talk.exchange(*late) == []
    talk.answer = b"hello"
    assert answered(talk.exchange(data(5, b"x", ends=True))) == [5]
    assert talk.failure is None
    talk.wire.finish_drain()
    talk.wire.begin_drain()
    assert talk.take() == []


def test_what_comes_after_the_last_stream_still_goes_through_the_table() -> None:
    talk = Talk()
    talk.wire.finish_drain()
    talk.take()
    talk.exchange(frame(HEADERS, END_HEADERS | END_STREAM, 1, b"\x40\x01a\x01b"))
    assert talk.exchange(headers(3)) == []
    assert talk.wire._reader.decoder.decode(b"\xbe") == [("a", "b")]


def test_in_any_cut_the_same_is_understood() -> None:
    octets = OPENING + headers(1) + headers(3, POST, ends=False) + data(3, b"x" * 50)
    for size in (1, 2, 7, 10, 100):
        talk = Talk(opening=b"")
        talk.send(*[octets[at : at + size] for at in range(0, len(octets), size)])
        assert talk.requests[3].content == b"x" * 50
        assert answered(talk.take()) == [1]


def test_a_block_without_an_end_is_known() -> None:
    talk = Talk()
    assert not talk.wire.is_in_head
    talk.exchange(frame(HEADERS, END_STREAM, 1, b"\x82"))
    assert talk.wire.is_in_head
    talk.exchange(frame(9, END_HEADERS, 1, b"\x86\x84\x01\x01a"))
    assert not talk.wire.is_in_head
