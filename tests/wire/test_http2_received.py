"""What we receive: the windows of it, and what was declared; RFC 9113 section 6.9."""

import pytest

from blazeio.limits import Limits
from blazeio.wire.http2_frames import ErrorCode
from blazeio.wire.http2_sending import StreamState
from tests.support.http2 import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    FLOW_CONTROL_ERROR,
    GOAWAY,
    HAS_PRIORITY,
    HEADERS,
    PADDED,
    POST,
    PREFACE,
    RST_STREAM,
    SETTINGS_ACK,
    WINDOW_UPDATE,
    Frame,
    data,
    frame,
    headers,
    settings,
)
from tests.wire.http2_talk import Talk, answered, kinds

KIB = 1024


def credits_of(frames: list[Frame]) -> list[tuple[int, int]]:
    return [
        (each.stream_id, int.from_bytes(each.payload, "big"))
        for each in frames
        if each.kind == WINDOW_UPDATE
    ]


# Windows


def test_our_windows_are_announced() -> None:
    limits = Limits(receive_bytes=100_000, connection_receive_bytes=200_000)
    talk = Talk(limits)
    octets = talk.opened[0].payload
    pairs = [
        (int.from_bytes(octets[at : at + 2]), int.from_bytes(octets[at + 2 : at + 6]))
        for at in range(0, len(octets), 6)
    ]
    assert dict(pairs) == {
        1: limits.header_table_bytes,
        3: limits.streams,
        4: 100_000,
        6: limits.head_bytes,
        8: 1,
    }
    assert credits_of(talk.opened) == [(0, 200_000 - 65_535)]


@pytest.mark.parametrize("wider", [1, 2])
def test_the_window_of_the_connection_is_widened_by_what_is_more(wider: int) -> None:
    talk = Talk(Limits(connection_receive_bytes=65_535 + wider))
    assert credits_of(talk.opened) == [(0, wider)]


def test_the_stream_is_credited_as_its_user_takes() -> None:
    talk = Talk()
    talk.exchange(headers(1, POST, ends=False))
    for _ in range(3):
        frames = talk.exchange(*[data(1, bytes(16 * KIB))] * 8)
        own = [each for each in credits_of(frames) if each[0] == 1]
        assert own == [(1, 128 * KIB)]
    stream = talk.requests[1].stream
    stream.is_paused = True
    talk.exchange(*[data(1, bytes(16 * KIB))] * 16)
    assert talk.requests[1].reset_for is None
    talk.exchange(data(1, b"x"))
    assert talk.requests[1].reset_for


def test_a_paused_stream_is_not_credited_but_the_connection_is() -> None:
    talk = Talk(is_pausing=True)
    talk.exchange(headers(1, POST, ends=False))
    stream = talk.requests[1].stream
    frames = talk.exchange(*[data(1, bytes(16 * KIB))] * 16)
    assert {each for each, _ in credits_of(frames)} == set()
    talk.exchange(headers(3, POST, ends=False))
    frames = talk.exchange(*[data(3, bytes(16 * KIB))] * 16)
    assert {each for each, _ in credits_of(frames)} == {0}
    talk.wire.credit(stream)
    assert credits_of(talk.take()) == [(1, 256 * KIB)]
    frames = talk.exchange(*[data(1, bytes(16 * KIB))] * 8)
    assert (1, 128 * KIB) in credits_of(frames)


def test_more_than_the_window_of_a_stream() -> None:
    talk = Talk(is_pausing=True)
    talk.exchange(headers(1, POST, ends=False), *[data(1, bytes(16 * KIB))] * 16)
    frames = talk.exchange(data(1, b"x"), headers(3))
    assert (frames[0].kind, frames[0].code) == (RST_STREAM, FLOW_CONTROL_ERROR)
    assert talk.failure is None


def test_more_than_the_window_of_the_connection() -> None:
    limits = Limits(receive_bytes=2**20, connection_receive_bytes=64 * KIB)
    talk = Talk(limits)
    talk.exchange(headers(1, POST, ends=False))
    talk.exchange(*[data(1, bytes(16 * KIB))] * 2)  # half of it, which is credited
    talk.wire._owed_bytes = -(2**20)  # as if nothing were, from here on
    talk.exchange(*[data(1, bytes(16 * KIB))] * 4)
    assert talk.failure is None
    frames = talk.exchange(data(1, b"x"))
    assert (frames[-1].kind, frames[-1].code) == (GOAWAY, FLOW_CONTROL_ERROR)
    assert talk.failure == "more DATA than the window of the connection"


def test_the_first_window_holds_until_the_settings_are_acknowledged() -> None:
    small = Limits(receive_bytes=1000)
    talk = Talk(small, is_pausing=True, opening=PREFACE + settings())
    talk.exchange(headers(1, POST, ends=False), data(1, bytes(2000)))
    assert talk.requests[1].reset_for is None
    talk.exchange(SETTINGS_ACK, headers(3, POST, ends=False), data(3, bytes(1001)))
    assert talk.requests[3].reset_for == "more DATA than the window of the stream"


def test_a_stream_of_before_has_the_new_window_once_it_is_acknowledged() -> None:
    talk = Talk(
        Limits(receive_bytes=100_000), is_pausing=True, opening=PREFACE + settings()
    )
    talk.exchange(headers(1, POST, ends=False), headers(3, POST, ends=False))
    talk.wire.reset(talk.requests[3].stream, ErrorCode.CANCEL)
    talk.exchange(SETTINGS_ACK)
    for stream_id in (1, 3):
        talk.exchange(*[data(stream_id, bytes(10_000))] * 10)
    assert talk.failure is None
    assert talk.requests[1].reset_for is None
    talk.exchange(data(1, b"x"))
    assert talk.requests[1].reset_for == "more DATA than the window of the stream"
    talk.exchange(data(3, b"x"))
    assert talk.failure == "more DATA than the window of the stream"


def test_padding_is_credited() -> None:
    talk = Talk()
    padded = frame(DATA, PADDED, 1, b"\xff" + b"x" + bytes(255))
    talk.exchange(headers(1, POST, ends=False))
    frames = talk.exchange(*[padded] * 3000)
    total = 3000 * 257
    got = sum(size for each, size in credits_of(frames) if each == 1)
    assert total - 128 * KIB < got <= total
    assert talk.requests[1].content == b"x" * 3000


def test_data_for_what_is_over_is_credited_to_the_connection() -> None:
    talk = Talk()
    talk.exchange(headers(1, POST, ends=False))
    talk.wire.reset(talk.requests[1].stream, ErrorCode.NO_ERROR)
    late = talk.exchange(*[data(1, bytes(16 * KIB))] * 16)
    assert talk.failure is None
    talk.exchange(headers(3, POST, ends=False))
    frames = late + talk.exchange(*[data(3, bytes(16 * KIB))] * 16)
    assert sum(size for each, size in credits_of(frames) if each == 0) == 512 * KIB
    frames = talk.exchange(data(1, b"x"))
    assert frames[-1].code == FLOW_CONTROL_ERROR


# What was declared


@pytest.mark.parametrize("ends_with", ["data", "empty", "trailers"])
@pytest.mark.parametrize("cuts", [[5], [2, 3], [1, 1, 1, 2]])
def test_content_of_its_length_is_whole(ends_with: str, cuts: list[int]) -> None:
    talk = Talk()
    frames = [data(1, bytes(size)) for size in cuts]
    if ends_with == "data":
        frames[-1] = data(1, bytes(cuts[-1]), ends=True)
    elif ends_with == "empty":
        frames.append(data(1, ends=True))
    else:
        frames.append(headers(1, [("a", "b")]))
    talk.send(headers(1, POST, ends=False, more=[("content-length", "5")]), *frames)
    assert talk.failure is None
    assert talk.requests[1].is_whole
    assert talk.requests[1].content == bytes(5)


def test_a_block_in_parts_does_not_end_the_stream_unless_it_says_so() -> None:
    whole = headers(1, POST, ends=False)[9:]
    for flags, is_whole in ((0, False), (END_STREAM, True)):
        talk = Talk(answer=None)
        talk.send(frame(HEADERS, flags, 1, whole[:9]))
        talk.send(frame(CONTINUATION, END_HEADERS, 1, whole[9:]))
        assert talk.requests[1].is_whole is is_whole
        assert talk.requests[1].head is not None


def test_a_fault_of_the_first_part_is_kept_until_the_block_is_whole() -> None:
    whole = headers(1)[9:]
    on_itself = (1).to_bytes(4, "big") + b"\x10"
    talk = Talk()
    talk.send(frame(HEADERS, HAS_PRIORITY, 1, on_itself + whole))
    frames = talk.exchange(frame(CONTINUATION, END_HEADERS, 1))
    assert kinds(frames) == [(RST_STREAM, 1)]
    assert talk.failure is None


def test_only_its_own_continuation_may_follow_a_part_of_a_block() -> None:
    for octets in (frame(CONTINUATION, END_HEADERS, 3), frame(DATA, 0, 1)):
        talk = Talk()
        talk.send(frame(HEADERS, 0, 1), octets)
        assert talk.failure == "a frame within a header block"


def test_the_limits_of_a_block_in_parts_are_inclusive() -> None:
    parts = [frame(CONTINUATION, 0, 1)] * 2 + [frame(CONTINUATION, END_HEADERS, 1)]
    for most, is_read in ((3, True), (2, False)):
        talk = Talk(Limits(continuations=most))
        talk.send(frame(HEADERS, 0, 1, headers(1)[9:]), *parts)
        assert (talk.failure is None) is is_read


@pytest.mark.parametrize("over", [0, 1])
def test_a_block_in_parts_has_at_most_four_times_the_octets_of_a_head(
    over: int,
) -> None:
    talk = Talk(Limits(head_bytes=100))
    talk.send(frame(HEADERS, 0, 1, bytes(200)))
    talk.send(frame(CONTINUATION, 0, 1, bytes(200 + over)))
    assert (talk.failure is not None) == bool(over)


class ResettingTalk(Talk):
    """Resets each stream when its content comes."""

    def content_received(self, stream: StreamState, octets: bytes) -> None:
        super().content_received(stream, octets)
        self.wire.reset(stream, ErrorCode.CANCEL)


def test_content_whose_reader_resets_its_stream_does_not_end_it() -> None:
    talk = ResettingTalk()
    talk.exchange(headers(1, POST, ends=False))
    assert kinds(talk.exchange(data(1, b"x", ends=True))) == [(RST_STREAM, 1)]
    assert not talk.requests[1].is_whole
    talk.wire.reset(talk.requests[1].stream, ErrorCode.CANCEL)
    assert talk.take() == []


def test_a_connection_that_rests_goes_on_when_it_is_used() -> None:
    talk = Talk()
    talk.exchange(headers(1), headers(3))
    talk.wire.rest()
    assert answered(talk.exchange(headers(5))) == [5]
    assert answered(talk.exchange(headers(7))) == [7]


def test_the_whole_window_of_the_connection_may_be_used() -> None:
    limits = Limits(connection_receive_bytes=1_000_000, receive_bytes=2**20)
    talk = Talk(limits, answer=None, is_pausing=True)
    talk.send(headers(1, POST, ends=False))
    for _ in range(200):
        talk.send(data(1, bytes(5_000)))
    assert talk.failure is None
    credited = sum(size for each, size in credits_of(talk.take()) if each == 0)
    assert credited == 1_000_000


def test_the_preface_may_come_alone() -> None:
    talk = Talk(opening=PREFACE)
    assert talk.failure is None
    assert answered_after(talk)


def answered_after(talk: Talk) -> bool:
    frames = talk.exchange(settings(), SETTINGS_ACK, headers(1))
    return (HEADERS, 1) in kinds(frames)


def test_running_requests_are_counted() -> None:
    talk = Talk(answer=None)
    talk.send(headers(1), headers(3))
    assert talk.wire.running == 2
    talk.wire.release()
    assert talk.wire.running == 1
