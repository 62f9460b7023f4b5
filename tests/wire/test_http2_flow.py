"""What we send, and when: RFC 9113 sections 5.2 and 6.9."""

import pytest

from blazeio.limits import Limits
from blazeio.wire.http2_frames import ErrorCode
from tests.support.http2 import (
    DATA,
    END_STREAM,
    HEADERS,
    POST,
    PREFACE,
    RST_STREAM,
    Frame,
    headers,
    reset,
    settings,
    window_update,
)
from tests.wire.http2_talk import Talk, kinds

KIB = 1024
LARGE = bytes(range(256)) * 1024  # 256 KiB


def sizes(frames: list[Frame], stream_id: int = 1) -> list[int]:
    return [
        len(each.payload)
        for each in frames
        if each.kind == DATA and each.stream_id == stream_id
    ]


def turns_of(frames: list[Frame]) -> list[int]:
    return [each.stream_id for each in frames if each.kind == DATA]


# What we send


def test_exactly_what_the_window_of_the_stream_allows_is_sent() -> None:
    talk = Talk(opening=PREFACE + settings((4, 10)), answer=b"0123456789abcde")
    frames = talk.exchange(headers(1))
    assert sizes(frames) == [10]
    assert talk.requests[1].stream.waiting_bytes == 5
    frames += talk.exchange(window_update(1, 2), window_update(1, 3))
    assert sizes(frames) == [10, 2, 3]
    assert talk.content_sent(1, frames) == b"0123456789abcde"
    assert [each.flags & END_STREAM for each in frames[-2:]] == [0, 1]


def test_a_window_of_1_is_used_as_well() -> None:
    talk = Talk(opening=PREFACE + settings((4, 1)))
    assert sizes(talk.exchange(headers(1))) == [1]
    talk = Talk(opening=PREFACE + settings((4, 16_385)), answer=bytes(20_000))
    assert sizes(talk.exchange(headers(1))) == [16_384, 1]


@pytest.mark.parametrize(
    ("stream_window", "size"), [(10, 10), (2**20, 65_535), (2**20, 16_384)]
)
def test_content_that_just_fits_does_not_wait(stream_window: int, size: int) -> None:
    opening = PREFACE + settings((4, stream_window), (5, max(size, 16_384)))
    talk = Talk(opening=opening, answer=bytes(size))
    assert sizes(talk.exchange(headers(1))) == [size]
    assert (talk.waiting, talk.unblocked) == ([], [])


def test_a_window_may_have_its_most_and_no_more() -> None:
    talk = Talk()
    talk.exchange(window_update(0, 2**31 - 1 - 65_535))
    assert talk.failure is None
    talk.exchange(window_update(0, 1))
    assert talk.failure


def test_a_window_of_0_holds_content_but_no_head_and_no_end() -> None:
    talk = Talk(opening=PREFACE + settings((4, 0)))
    assert kinds(talk.exchange(headers(1))) == [(HEADERS, 1)]
    talk.answer = b""
    (head,) = talk.exchange(headers(3))
    assert head.flags & END_STREAM
    talk.answer = None
    talk.exchange(headers(5))
    stream = talk.requests[5].stream
    talk.wire.send(stream, b"", is_last=True)
    (end,) = talk.take()
    assert (end.kind, end.payload, end.flags) == (DATA, b"", END_STREAM)


def test_the_window_of_the_connection_is_shared() -> None:
    talk = Talk(opening=PREFACE + settings((4, 2**20)), answer=LARGE)
    frames = talk.exchange(headers(1), headers(3))
    assert sum(sizes(frames)) + sum(sizes(frames, 3)) == 65_535
    frames += talk.exchange(window_update(0, 2**20))
    assert talk.content_sent(1, frames) == LARGE
    assert talk.content_sent(3, frames) == LARGE


def test_a_change_of_the_settings_may_make_a_window_negative() -> None:
    talk = Talk(opening=PREFACE + settings((4, 100)), answer=bytes(300))
    assert sizes(talk.exchange(headers(1))) == [100]
    assert sizes(talk.exchange(settings((4, 40)))) == []
    assert sizes(talk.exchange(window_update(1, 60))) == []
    assert sizes(talk.exchange(window_update(1, 1))) == [1]
    assert sizes(talk.exchange(settings((4, 50)))) == [10]
    assert sizes(talk.exchange(settings((4, 10_000)))) == [189]


def test_streams_take_turns() -> None:
    talk = Talk(opening=PREFACE + settings((4, 2**20)), answer=LARGE)
    talk.wire.pause()
    talk.exchange(window_update(0, 2**22), headers(1), headers(3))
    talk.answer = b"small"
    talk.exchange(headers(5))
    talk.wire.resume()
    assert turns_of(talk.take())[:6] == [1, 3, 5, 1, 3, 1]


def test_a_stream_has_one_turn_however_often_it_is_written() -> None:
    talk = Talk(opening=PREFACE + settings((4, 100_000)), answer=None)
    talk.exchange(headers(1), headers(3))
    first, second = (talk.requests[each].stream for each in (1, 3))
    talk.wire.pause()
    for size in (20_000, 20_000):
        talk.wire.send(first, bytes(size))
    talk.wire.send(second, bytes(60_000))
    talk.wire.resume()
    assert turns_of(talk.take()) == [1, 3, 1, 3]
    # The window of the connection is used up, and both wait for it.
    talk.wire.send(first, bytes(40_000))
    assert turns_of(talk.exchange(window_update(0, 2**20))) == [1, 3, 1, 3, 1]


def test_a_stream_has_one_turn_however_often_its_window_grows() -> None:
    talk = Talk(opening=PREFACE + settings((4, 0)), answer=bytes(30_000))
    talk.exchange(headers(1), headers(3))
    talk.wire.pause()
    talk.exchange(*[window_update(1, 15_000)] * 2, window_update(3, 30_000))
    talk.wire.resume()
    assert turns_of(talk.take()) == [1, 3, 1, 3]


def test_a_window_that_has_shrunk_meanwhile_holds_back_its_stream_alone() -> None:
    talk = Talk(opening=PREFACE + settings((4, 10)), answer=None)
    talk.exchange(headers(1), headers(3), headers(5))
    talk.wire.pause()
    for stream_id in (1, 3, 5):
        talk.wire.send(talk.requests[stream_id].stream, b"0123456789")
    talk.exchange(settings((4, 0)), window_update(5, 10), reset(3))
    talk.wire.resume()
    assert kinds(talk.take()) == [(DATA, 5)]
    assert sizes(talk.exchange(window_update(1, 3))) == [3]


def test_pieces_that_wait_share_frames() -> None:
    talk = Talk(opening=PREFACE + settings((4, 0)), answer=None)
    talk.exchange(headers(1))
    stream = talk.requests[1].stream
    for _ in range(10):
        talk.wire.send(stream, b"0123456789")
    assert sizes(talk.exchange(window_update(1, 10))) == [10]
    assert sizes(talk.exchange(window_update(1, 15))) == [15]
    frames = talk.exchange(window_update(1, 1000))
    assert sizes(frames) == [75]
    assert talk.content_sent(1, frames) == b"56789" + b"0123456789" * 7


def test_frames_leave_at_once_when_there_are_64_kib_of_them() -> None:
    opening = PREFACE + settings((4, 2**20))
    for short in (1, 0):
        talk = Talk(opening=opening, answer=None)
        talk.exchange(headers(1), window_update(0, 2**20))
        stream = talk.requests[1].stream
        asked = talk.asked_to_flush
        for _ in range(3):
            talk.wire.send(stream, bytes(16_384 - 9))
        talk.wire.send(stream, bytes(16_384 - 9 - 1000))
        talk.wire.send(stream, bytes(1000 - 9 - short))
        assert (talk.flushes, talk.asked_to_flush) == (1 - short, asked + 1)
    for short in (1, 0):
        talk = Talk(opening=opening, answer=None)
        talk.exchange(headers(1), window_update(0, 2**20))
        stream = talk.requests[1].stream
        for _ in range(3):
            talk.wire.send(stream, bytes(16_384 - 9))
        talk.wire.send(stream, bytes(16_384 - 9 - 1000))
        talk.wire.respond(stream, bytes(100), bytes(1000 - 9 - 100 - 9 - short))
        assert talk.flushes == 1 - short


def test_no_frame_is_larger_than_the_peer_takes() -> None:
    opening = PREFACE + settings((4, 2**20), (5, 20_000))
    talk = Talk(opening=opening, answer=LARGE)
    frames = talk.exchange(window_update(0, 2**20), headers(1))
    assert max(sizes(frames)) == 20_000
    talk = Talk(opening=PREFACE + settings((4, 2**20), (5, 2**20)), answer=LARGE)
    frames = talk.exchange(window_update(0, 2**20), headers(1))
    assert max(sizes(frames)) == 64 * KIB


def test_a_head_that_is_larger_than_a_frame_is_continued() -> None:
    talk = Talk(answer=None)
    talk.exchange(headers(1))
    stream = talk.requests[1].stream
    talk.wire.send_head(stream, b"x" * 40_000, is_last=True)
    parts = talk.take()
    assert [len(each.payload) for each in parts] == [16_384, 16_384, 7_232]
    assert [each.flags for each in parts] == [END_STREAM, 0, 4]


def test_content_waits_while_the_transport_is_full() -> None:
    talk = Talk(answer=None)
    talk.exchange(headers(1))
    stream = talk.requests[1].stream
    talk.wire.pause()
    talk.wire.send(stream, b"a")
    assert talk.take() == []
    assert stream.is_blocked
    assert talk.waiting == [1]
    talk.wire.resume()
    assert sizes(talk.take()) == [1]
    assert talk.unblocked == [1, 0]


def test_a_stream_is_blocked_from_a_quarter_of_the_mark_on() -> None:
    talk = Talk(
        Limits(high_water_bytes=1000),
        answer=None,
        opening=PREFACE + settings((4, 0)),
    )
    talk.exchange(headers(1))
    stream = talk.requests[1].stream
    talk.wire.send(stream, bytes(249))
    assert not stream.is_blocked
    talk.wire.send(stream, bytes(2))
    assert stream.is_blocked
    talk.exchange(window_update(1, 1))
    assert talk.unblocked == []
    assert stream.is_blocked
    talk.exchange(window_update(1, 1))
    assert talk.unblocked == [1]
    assert not stream.is_blocked


def test_the_least_mark_blocks_by_the_first_octet() -> None:
    talk = Talk(
        Limits(high_water_bytes=1),
        answer=None,
        opening=PREFACE + settings((4, 0)),
    )
    talk.exchange(headers(1))
    stream = talk.requests[1].stream
    talk.wire.send(stream, b"")
    assert not stream.is_blocked
    talk.wire.send(stream, b"a")
    assert stream.is_blocked


def test_what_waits_is_dropped_with_its_stream() -> None:
    talk = Talk(opening=PREFACE + settings((4, 0)))
    talk.exchange(headers(1))
    stream = talk.requests[1].stream
    assert stream.waiting_bytes == 5
    talk.exchange(reset(1))
    assert stream.waiting is None
    assert stream.waiting_bytes == 0
    assert talk.exchange(settings((4, 100)))[0].kind != DATA
    talk.exchange(headers(3, POST, ends=False))
    other = talk.requests[3].stream
    talk.wire.pause()
    talk.wire.send(other, b"abc")
    talk.wire.reset(other, ErrorCode.CANCEL)
    talk.wire.resume()
    assert kinds(talk.take()) == [(RST_STREAM, 3)]


def test_who_waits_for_a_window_is_told_of() -> None:
    talk = Talk(opening=PREFACE + settings((4, 10)), answer=bytes(25))
    talk.exchange(headers(1))
    assert (talk.waiting, talk.unblocked) == ([1, 1], [])
    talk.exchange(window_update(1, 10))
    assert (talk.waiting, talk.unblocked) == ([1, 1, 1], [])
    talk.exchange(window_update(1, 10))
    assert talk.unblocked == [1]
    talk.answer = bytes(65_600)
    talk.exchange(settings((4, 100_000)), headers(3))
    assert talk.waiting[3:] == [3]
    talk.exchange(window_update(0, 1000))
    assert talk.unblocked == [1, 3, 0]


def test_what_waits_counts_for_the_streams_that_may_be() -> None:
    talk = Talk(Limits(streams=3), opening=PREFACE + settings((4, 0)))
    frames = talk.exchange(*[headers(each) for each in (1, 3, 5, 7)])
    assert (frames[-1].kind, frames[-1].stream_id) == (RST_STREAM, 7)
    talk.exchange(window_update(1, 10))
    assert talk.exchange(headers(9))[0].kind == HEADERS


def test_trailers_follow_what_waits() -> None:
    talk = Talk(opening=PREFACE + settings((4, 2)), answer=None)
    talk.exchange(headers(1))
    stream = talk.requests[1].stream
    talk.wire.send(stream, b"abcd")
    talk.wire.send_trailers(stream, b"\x88")
    assert kinds(talk.take()) == [(DATA, 1)]
    assert kinds(talk.exchange(window_update(1, 1))) == [(DATA, 1)]
    last = talk.exchange(window_update(1, 10))
    assert [(each.kind, each.flags) for each in last] == [(DATA, 0), (HEADERS, 5)]


def test_trailers_without_content() -> None:
    talk = Talk(opening=PREFACE + settings((4, 0)), answer=None)
    talk.exchange(headers(1))
    talk.wire.send_trailers(talk.requests[1].stream, b"\x88")
    (end,) = talk.take()
    assert (end.kind, end.flags) == (HEADERS, 5)


# A whole response at once


@pytest.mark.parametrize("content_bytes", [0, 1, 2, 2048, 2049, 20_000])
@pytest.mark.parametrize("window", [0, 1, 2048, 65_535])
@pytest.mark.parametrize("is_full", [False, True])
@pytest.mark.parametrize("block_bytes", [10, 16_384, 16_385])
def test_a_response_at_once_is_what_its_parts_are(
    content_bytes: int, window: int, is_full: bool, block_bytes: int
) -> None:
    block = b"\x88" * block_bytes
    content = bytes(content_bytes)
    outcomes = []
    for is_at_once in (True, False):
        talk = Talk(opening=PREFACE + settings((4, window)), answer=None)
        talk.exchange(headers(1))
        if is_full:
            talk.wire.pause()
        stream = talk.requests[1].stream
        if is_at_once:
            talk.wire.respond(stream, block, content)
        else:
            talk.wire.send_head(stream, block, is_last=not content)
            if content:
                talk.wire.send(stream, content, is_last=True)
        before = talk.take()
        talk.wire.resume()
        after = talk.exchange(window_update(1, 2**20), window_update(0, 2**20))
        outcomes.append(
            (before, after, talk.wire.sent_bytes, stream.send_window, stream.is_written)
        )
    assert outcomes[0] == outcomes[1]
    assert outcomes[0][2] == content_bytes


def test_two_responses_at_once_share_the_window_of_the_connection() -> None:
    talk = Talk(opening=PREFACE + settings((4, 2**20)), answer=bytes(65_000))
    talk.exchange(headers(1))
    talk.answer = None
    talk.exchange(headers(3), headers(5))
    talk.wire.respond(talk.requests[3].stream, b"\x88", bytes(535))
    talk.wire.respond(talk.requests[5].stream, b"\x88", b"a")
    frames = talk.take()
    assert (sizes(frames, 3), sizes(frames, 5)) == ([535], [])
    assert sizes(talk.exchange(window_update(0, 1)), 5) == [1]
    assert talk.wire.sent_bytes == 65_536


def test_sent_octets_are_counted() -> None:
    talk = Talk(answer=None)
    talk.exchange(headers(1))
    stream = talk.requests[1].stream
    talk.wire.send(stream, b"ab")
    talk.wire.send(stream, b"c")
    assert talk.wire.sent_bytes == 3
    assert not stream.is_written
    frames = talk.take()
    assert [each.flags for each in frames] == [0, 0]
