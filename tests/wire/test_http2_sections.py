"""RFC 9113, section by section, in raw frames: what ends what, and with which code."""

import pytest

from blazeio.limits import Limits
from blazeio.wire.http2_frames import ErrorCode
from tests.support.http2 import (
    ACK,
    COMPRESSION_ERROR,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    FLOW_CONTROL_ERROR,
    FRAME_SIZE_ERROR,
    GET,
    GOAWAY,
    HAS_PRIORITY,
    HEADERS,
    NO_ERROR,
    OPENING,
    PADDED,
    PING,
    POST,
    PREFACE,
    PRIORITY,
    PROTOCOL_ERROR,
    PUSH_PROMISE,
    REFUSED_STREAM,
    RST_STREAM,
    SETTINGS,
    SETTINGS_ACK,
    STREAM_CLOSED,
    WINDOW_UPDATE,
    Fields,
    block,
    data,
    frame,
    headers,
    literal,
    reset,
    settings,
    window_update,
)
from tests.wire.http2_talk import Talk, answered, kinds

PROBE = frame(PING, 0, 0, b"12345678")
ON_ITSELF = (1).to_bytes(4, "big") + b"\x10"
ON_3 = (3).to_bytes(4, "big") + b"\x10"


def ends(*octets: bytes, talk: Talk | None = None) -> int:
    """The code of the GOAWAY with which the connection ends."""
    talk = talk or Talk()
    frames = talk.exchange(*octets, PROBE)
    assert talk.failure
    assert not [each for each in frames if each.kind == PING]
    last = frames[-1]
    assert last.kind == GOAWAY
    assert last.payload[8:].decode() == talk.failure
    return last.code


def resets(*octets: bytes, talk: Talk | None = None) -> tuple[int, int]:
    """The stream that is reset, and the code; another is served afterwards."""
    talk = talk or Talk()
    frames = talk.exchange(*octets, headers(101))
    assert talk.failure is None
    assert answered(frames)[-1] == 101
    (one,) = [each for each in frames if each.kind == RST_STREAM]
    return one.stream_id, one.code


def ignores(*octets: bytes, talk: Talk | None = None) -> None:
    """Nothing comes of it."""
    talk = talk or Talk()
    talk.take()
    assert kinds(talk.exchange(*octets, PROBE)) == [(PING, 0)]


def opened(talk: Talk) -> Talk:
    """A connection with stream 1 half closed (remote), and no answer yet."""
    talk.answer = None
    talk.exchange(headers(1))
    return talk


# 3.4: the preface


def test_3_4_our_first_frame_is_settings() -> None:
    first, *_ = Talk(opening=b"").opened
    assert (first.kind, first.flags, first.stream_id) == (SETTINGS, 0, 0)


def test_3_4_a_broken_preface() -> None:
    for octets in (b"GET / HTTP/1.1\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX", b"X"):
        talk = Talk(opening=b"")
        assert ends(octets, talk=talk) == PROTOCOL_ERROR


def test_3_4_the_first_frame_of_the_client_is_settings() -> None:
    assert ends(PREFACE, headers(1), talk=Talk(opening=b"")) == PROTOCOL_ERROR
    assert ends(PREFACE, SETTINGS_ACK, talk=Talk(opening=b"")) == PROTOCOL_ERROR


def test_3_4_in_single_octets() -> None:
    talk = Talk(opening=b"")
    octets = OPENING + headers(1)
    frames = talk.exchange(*[octets[at : at + 1] for at in range(len(octets))])
    assert answered(frames) == [1]


# 4.1 to 4.3: frames


def test_4_1_unknown_frames_and_flags_are_ignored() -> None:
    ignores(frame(0x16, 0xFF, 0, b"abc"), frame(0x16, 0, 77))
    assert answered(Talk().exchange(frame(PING, 0x16, 0, b"12345678"), headers(1)))


def test_4_1_the_reserved_bit_is_ignored() -> None:
    assert answered(Talk().exchange(headers(1 | 2**31))) == [1]


def test_4_2_a_frame_that_is_too_large() -> None:
    assert ends(data(1, b"x" * 16_385)) == FRAME_SIZE_ERROR
    # its header is enough to know
    assert ends(b"\x00\x40\x01\x00\x00\x00\x00\x00\x01") == FRAME_SIZE_ERROR
    talk = Talk()
    talk.exchange(headers(1, POST, ends=False), data(1, b"x" * 16_384))
    assert len(talk.requests[1].content) == 16_384


@pytest.mark.parametrize(
    "octets", [b"\xff\xff\xff\xff\xff\xff", b"\xbf", b"\x82\x40", b"\x80"]
)
def test_4_3_a_header_block_that_cannot_be_decoded(octets: bytes) -> None:
    broken = frame(HEADERS, END_HEADERS | END_STREAM, 1, octets)
    assert ends(broken) == COMPRESSION_ERROR


def test_4_3_nothing_comes_between_the_parts_of_a_block() -> None:
    start = frame(HEADERS, END_STREAM, 1, block(GET)[:5])
    end = frame(CONTINUATION, END_HEADERS, 1, block(GET)[5:])
    other = frame(CONTINUATION, END_HEADERS, 3, block(GET)[5:])
    assert answered(Talk().exchange(start, end)) == [1]
    for between in (PROBE, headers(3), data(1, b"x"), frame(0x16, 0, 0), other):
        assert ends(start, between, end) == PROTOCOL_ERROR
    assert ends(start, SETTINGS_ACK, end) == PROTOCOL_ERROR


# 5.1: the states of a stream


@pytest.mark.parametrize(
    "octets",
    [data(1, b"x"), reset(1), window_update(1, 100), data(2, b"x"), data(3, b"")],
)
def test_5_1_idle(octets: bytes) -> None:
    assert ends(octets) == PROTOCOL_ERROR


def test_5_1_priority_may_come_on_any_stream() -> None:
    ignores(frame(PRIORITY, 0, 1, ON_3), frame(PRIORITY, 0, 2, ON_3))
    talk = opened(Talk())
    ignores(frame(PRIORITY, 0, 1, ON_3), talk=talk)


def test_5_1_half_closed_remote() -> None:
    for octets in (data(1, b"x"), headers(1), data(1, b"", ends=True)):
        assert resets(octets, talk=opened_but(Talk())) == (1, STREAM_CLOSED)
    ignores(window_update(1, 2000), talk=opened(Talk()))


def opened_but(talk: Talk) -> Talk:
    opened(talk).answer = b"hello"
    return talk


def test_5_1_what_the_client_has_ended_is_closed() -> None:
    for octets in (data(1, b"x"), headers(1), frame(CONTINUATION, 0, 1)):
        talk = Talk()
        talk.exchange(headers(1))
        expected = PROTOCOL_ERROR if octets[3] == CONTINUATION else STREAM_CLOSED
        assert ends(octets, talk=talk) == expected
    for octets in (data(1, b"x"), headers(1)):
        assert ends(headers(1), reset(1), octets) == STREAM_CLOSED


def test_5_1_little_frames_for_what_is_closed_are_ignored() -> None:
    talk = Talk()
    talk.exchange(headers(1))
    ignores(window_update(1, 10), reset(1), frame(PRIORITY, 0, 1, ON_3), talk=talk)


def test_5_1_what_we_have_reset_is_ignored() -> None:
    talk = Talk()
    talk.exchange(headers(1, POST, ends=False))
    talk.wire.reset(talk.requests[1].stream, ErrorCode.NO_ERROR)
    talk.take()
    trailers = frame(HEADERS, END_HEADERS | END_STREAM, 1, block([("x", "y")]))
    ignores(data(1, b"x"), window_update(1, 9), reset(1), trailers, talk=talk)
    assert talk.requests[1].content == b""


def test_5_1_what_is_ignored_still_goes_through_the_table() -> None:
    talk = Talk()
    talk.exchange(headers(1, POST, ends=False))
    talk.wire.reset(talk.requests[1].stream, ErrorCode.NO_ERROR)
    late = literal("x-a", "of the table", 0x40)
    talk.exchange(frame(HEADERS, END_HEADERS | END_STREAM, 1, late))
    talk.exchange(frame(HEADERS, END_HEADERS | END_STREAM, 3, block(GET) + b"\xbe"))
    head = talk.requests[3].head
    assert head is not None
    assert head.headers["x-a"] == "of the table"


def test_5_1_1_numbers_of_streams() -> None:
    assert ends(headers(2)) == PROTOCOL_ERROR
    assert ends(headers(0)) == PROTOCOL_ERROR
    assert ends(headers(5), headers(3)) == PROTOCOL_ERROR


def test_5_1_2_more_streams_than_may_be() -> None:
    talk = Talk(Limits(streams=2), answer=None)
    talk.exchange(headers(1), headers(3))
    (one,) = talk.exchange(headers(5))
    assert (one.kind, one.stream_id, one.code) == (RST_STREAM, 5, REFUSED_STREAM)


def test_5_1_2_a_stream_counts_until_its_handler_is_over() -> None:
    talk = Talk(Limits(streams=1), answer=None, runs_on=True)
    talk.exchange(headers(1), reset(1))
    (one,) = talk.exchange(headers(3))
    assert (one.kind, one.stream_id, one.code) == (RST_STREAM, 3, REFUSED_STREAM)
    talk.wire.release()
    talk.answer = b"hello"
    assert answered(talk.exchange(headers(5))) == [5]


def test_5_1_2_the_block_of_a_refused_stream_is_decoded() -> None:
    talk = Talk(Limits(streams=1), answer=None)
    talk.exchange(headers(1))
    octets = block(GET) + literal("x-a", "of the table", 0x40)
    talk.exchange(frame(HEADERS, END_HEADERS | END_STREAM, 3, octets))
    talk.exchange(reset(1))
    talk.exchange(frame(HEADERS, END_HEADERS | END_STREAM, 5, block(GET) + b"\xbe"))
    head = talk.requests[5].head
    assert head is not None
    assert head.headers["x-a"] == "of the table"


def test_5_3_a_stream_cannot_depend_on_itself() -> None:
    flags = END_HEADERS | END_STREAM | HAS_PRIORITY
    assert resets(frame(HEADERS, flags, 1, ON_ITSELF + block(GET))) == (1, 1)
    assert answered(Talk().exchange(frame(HEADERS, flags, 1, ON_3 + block(GET)))) == [1]
    talk = opened_but(Talk())
    assert resets(frame(PRIORITY, 0, 1, ON_ITSELF), talk=talk) == (1, PROTOCOL_ERROR)
    assert ends(frame(PRIORITY, 0, 1, ON_ITSELF)) == PROTOCOL_ERROR


# 6.1 to 6.10: each frame


def test_6_1_data_on_stream_0() -> None:
    assert ends(data(0, b"x")) == PROTOCOL_ERROR


def test_6_1_padding() -> None:
    talk = Talk()
    padded = frame(DATA, PADDED | END_STREAM, 1, b"\x03abc\0\0\0")
    talk.exchange(headers(1, POST, ends=False), padded)
    assert talk.requests[1].content == b"abc"
    start = headers(1, POST, ends=False)
    assert ends(start, frame(DATA, PADDED, 1, b"\x03abc"[:3])) == PROTOCOL_ERROR
    assert ends(start, frame(DATA, PADDED, 1, b"\x04abc")) == PROTOCOL_ERROR
    assert ends(start, frame(DATA, PADDED, 1, b"")) == FRAME_SIZE_ERROR
    whole = frame(DATA, PADDED | END_STREAM, 1, b"\x02\0\0")
    assert answered(Talk().exchange(start, whole)) == [1]


def test_6_2_padding_of_headers() -> None:
    flags = END_HEADERS | END_STREAM | PADDED
    assert answered(
        Talk().exchange(frame(HEADERS, flags, 1, b"\x02" + block(GET) + b"00"))
    )
    assert ends(frame(HEADERS, flags, 1, b"\xff" + b"x" * 9)) == PROTOCOL_ERROR
    short = frame(HEADERS, END_HEADERS | HAS_PRIORITY, 1, b"\0\0")
    assert ends(short) == FRAME_SIZE_ERROR


def test_6_3_priority() -> None:
    assert ends(frame(PRIORITY, 0, 0, ON_3)) == PROTOCOL_ERROR
    talk = opened_but(Talk())
    assert resets(frame(PRIORITY, 0, 1, ON_3[1:]), talk=talk) == (1, FRAME_SIZE_ERROR)


def test_6_4_rst_stream() -> None:
    assert ends(reset(0)) == PROTOCOL_ERROR
    assert ends(headers(1), frame(RST_STREAM, 0, 1, b"abc")) == FRAME_SIZE_ERROR
    talk = opened(Talk())
    talk.exchange(reset(1))
    assert talk.requests[1].reset_for == "the client reset the stream: error 8"


def test_6_5_settings() -> None:
    assert ends(frame(SETTINGS, ACK, 0, b"123456")) == FRAME_SIZE_ERROR
    assert ends(frame(SETTINGS, 0, 1)) == PROTOCOL_ERROR
    assert ends(frame(SETTINGS, 0, 0, b"123")) == FRAME_SIZE_ERROR
    assert kinds(Talk().exchange(settings((9, 1), (4, 5)))) == [(SETTINGS, 0)]


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        (2, 2, PROTOCOL_ERROR),
        (4, 2**31, FLOW_CONTROL_ERROR),
        (5, 16_383, PROTOCOL_ERROR),
        (5, 2**24, PROTOCOL_ERROR),
        (8, 2, PROTOCOL_ERROR),
    ],
)
def test_6_5_2_values_that_cannot_be(name: int, value: int, code: int) -> None:
    assert ends(settings((name, value))) == code


def test_6_5_3_each_settings_is_acknowledged_once() -> None:
    frames = Talk().exchange(settings((3, 100)), settings())
    assert [(each.kind, each.flags) for each in frames] == [(SETTINGS, ACK)] * 2


def test_6_5_3_a_response_uses_no_table_once_that_is_smaller() -> None:
    frames = Talk().exchange(settings((1, 0)), headers(1), headers(3))
    first, second = [each.payload for each in frames if each.kind == HEADERS]
    assert first == b"\x20" + second


def test_6_6_push_promise() -> None:
    pushed = frame(PUSH_PROMISE, END_HEADERS, 1, b"\0\0\0\2" + block(GET))
    assert ends(headers(1), pushed) == PROTOCOL_ERROR


def test_6_7_ping() -> None:
    (pong,) = Talk().exchange(PROBE)
    assert (pong.flags, pong.payload) == (ACK, b"12345678")
    ignores(frame(PING, ACK, 0, b"87654321"))
    assert ends(frame(PING, 0, 1, b"12345678")) == PROTOCOL_ERROR
    assert ends(frame(PING, 0, 0, b"1234567")) == FRAME_SIZE_ERROR


def test_6_8_goaway() -> None:
    assert ends(frame(GOAWAY, 0, 1, bytes(8))) == PROTOCOL_ERROR
    assert ends(frame(GOAWAY, 0, 0, bytes(7))) == FRAME_SIZE_ERROR
    ignores(frame(GOAWAY, 0, 0, bytes(8) + b"bye"))


def test_6_8_our_goaway_names_the_last_stream() -> None:
    talk = Talk()
    frames = talk.exchange(headers(7), reset(0))
    assert frames[-1].payload[:4] == (7).to_bytes(4, "big")


def test_6_9_window_update() -> None:
    assert ends(window_update(0, 0)) == PROTOCOL_ERROR
    assert ends(frame(WINDOW_UPDATE, 0, 0, b"123")) == FRAME_SIZE_ERROR
    assert ends(headers(1), frame(WINDOW_UPDATE, 0, 1, b"123")) == FRAME_SIZE_ERROR
    talk = opened_but(Talk())
    assert resets(window_update(1, 0), talk=talk) == (1, PROTOCOL_ERROR)


def test_6_9_1_a_window_that_overflows() -> None:
    assert ends(window_update(0, 2**31 - 1)) == FLOW_CONTROL_ERROR
    talk = opened_but(Talk())
    overflow = window_update(1, 2**31 - 1)
    assert resets(overflow, talk=talk) == (1, FLOW_CONTROL_ERROR)
    talk = opened(Talk())
    talk.exchange(window_update(1, 2**30))
    assert ends(settings((4, 2**31 - 1)), talk=talk) == FLOW_CONTROL_ERROR


def test_6_10_continuation() -> None:
    assert ends(frame(CONTINUATION, END_HEADERS, 1, block(GET))) == PROTOCOL_ERROR
    assert ends(frame(CONTINUATION, END_HEADERS, 0)) == PROTOCOL_ERROR
    whole = headers(1)
    more = frame(CONTINUATION, END_HEADERS, 1, block([("a", "b")]))
    assert ends(whole, more) == PROTOCOL_ERROR
    octets = block(GET)
    parts = [frame(CONTINUATION, 0, 1, octets[at : at + 9]) for at in range(0, 90, 9)]
    end = frame(CONTINUATION, END_HEADERS, 1, octets[90:])
    assert answered(Talk().exchange(frame(HEADERS, END_STREAM, 1), *parts, end)) == [1]


@pytest.mark.parametrize("size", [0, 1, 100])
def test_6_10_continuations_are_counted(size: int) -> None:
    start = frame(HEADERS, END_STREAM, 1, b"")
    parts = [frame(CONTINUATION, 0, 1, b"x" * size)] * 17
    assert ends(start, *parts) == ENHANCE_YOUR_CALM


def test_6_10_so_are_their_octets() -> None:
    parts = [frame(CONTINUATION, 0, 1, b"x" * 1000)] * 5
    talk = Talk(Limits(head_bytes=1000))
    assert ends(frame(HEADERS, 0, 1), *parts, talk=talk) == ENHANCE_YOUR_CALM


# 8.1: messages


def test_8_1_trailers() -> None:
    talk = Talk()
    trailers = frame(HEADERS, END_HEADERS | END_STREAM, 1, block([("x-sum", "1")]))
    talk.exchange(headers(1, POST, ends=False), data(1, b"abc"), trailers)
    found = talk.requests[1].trailers
    assert found is not None
    assert found.pairs == [("x-sum", "1")]


def test_8_1_trailers_that_are_none() -> None:
    start = headers(1, POST, ends=False)
    for flags, fields in (
        (END_HEADERS, [("x", "1")]),
        (END_HEADERS | END_STREAM, [(":path", "/")]),
        (END_HEADERS | END_STREAM, [("Upper", "1")]),
        (END_HEADERS | END_STREAM, [("content-length", "1")]),
    ):
        trailers = frame(HEADERS, flags, 1, block(fields))
        assert resets(start, trailers) == (1, PROTOCOL_ERROR)


@pytest.mark.parametrize(
    "octets",
    [
        data(1, b"", ends=True),
        data(1, b"ab", ends=True),
        data(1, b"abcd", ends=True),
        data(1, b"abcd"),
        frame(HEADERS, END_HEADERS | END_STREAM, 1, block([("x", "1")])),
    ],
)
def test_8_1_1_content_length_and_data_differ(octets: bytes) -> None:
    start = headers(1, POST, ends=False, more=[("content-length", "3")])
    assert resets(start, octets) == (1, PROTOCOL_ERROR)


def test_8_1_1_content_length_without_data() -> None:
    start = headers(1, POST, more=[("content-length", "3")])
    assert resets(start) == (1, PROTOCOL_ERROR)
    assert answered(Talk().exchange(headers(1, POST, more=[("content-length", "0")])))


@pytest.mark.parametrize(
    "fields",
    [
        [*GET, ("Upper", "1")],
        [*GET, ("connection", "close")],
        [*GET, ("te", "gzip")],
        [*GET, ("a", "b\nc")],
        [*GET, (":status", "200")],
        GET[1:],
        [*GET[1:], ("a", "b"), GET[0]],
    ],
)
def test_8_1_1_a_malformed_request_leaves_the_connection(fields: Fields) -> None:
    assert resets(headers(1, fields)) == (1, PROTOCOL_ERROR)


def test_8_1_a_refused_request_is_answered_and_the_rest_not_read() -> None:
    talk = Talk(Limits(target_bytes=3))
    start = [*POST[:3], (":path", "/long")]
    frames = talk.exchange(headers(1, start, ends=False), headers(3))
    assert kinds(frames)[:2] == [(HEADERS, 1), (RST_STREAM, 1)]
    assert frames[1].code == NO_ERROR
    assert answered(frames) == [1, 3]
    ignores(data(1, b"late"), talk=talk)


def test_8_1_an_early_answer_ends_before_the_reset() -> None:
    talk = Talk()
    talk.exchange(headers(1, POST, ends=False))
    stream = talk.requests[1].stream
    talk.reply(stream)
    talk.wire.want_no_more(stream)
    frames = talk.take()
    assert kinds(frames) == [(HEADERS, 1), (DATA, 1), (RST_STREAM, 1)]
    assert frames[1].flags & END_STREAM
    assert frames[2].code == NO_ERROR
