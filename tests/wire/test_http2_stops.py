"""Content that nobody reads: the answer first, then the reset; RFC 9113 section 8.1."""

from tests.support.http2 import (
    ACK,
    DATA,
    END_STREAM,
    HEADERS,
    NO_ERROR,
    PING,
    POST,
    RST_STREAM,
    Frame,
    data,
    frame,
    headers,
    reset,
    window_update,
)
from tests.wire.http2_talk import Talk, answered, kinds


def answer_early(talk: Talk) -> Frame:
    """Answer a request whose content comes yet; return the PING behind the answer."""
    talk.exchange(headers(1, POST, ends=False))
    stream = talk.requests[1].stream
    talk.reply(stream)
    talk.wire.want_no_more(stream, is_patient=True)
    frames = talk.take()
    assert kinds(frames) == [(HEADERS, 1), (DATA, 1), (PING, 0)]
    assert frames[1].flags & END_STREAM
    return frames[2]


def test_the_reset_can_wait_until_the_answer_was_read() -> None:
    talk = Talk()
    ping = answer_early(talk)
    assert talk.exchange(data(1, b"under way")) == []
    assert talk.requests[1].content == b""
    frames = talk.exchange(frame(PING, ACK, 0, ping.payload))
    assert (kinds(frames), frames[0].code) == ([(RST_STREAM, 1)], NO_ERROR)
    assert talk.left == [1]
    assert talk.exchange(data(1, b"late")) == []
    assert talk.exchange(frame(PING, ACK, 0, ping.payload)) == []
    assert talk.left == [1]


def test_a_ping_of_the_client_is_answered_whatever_it_says() -> None:
    talk = Talk()
    ping = answer_early(talk)
    (answer,) = talk.exchange(frame(PING, 0, 0, ping.payload))
    assert (answer.kind, answer.flags, answer.payload) == (PING, ACK, ping.payload)
    assert talk.left == []


def test_a_reset_that_waited_comes_at_the_latest_when_it_is_told() -> None:
    talk = Talk()
    ping = answer_early(talk)
    stream = talk.requests[1].stream
    talk.wire.stop(stream)
    assert not stream.is_stopping
    assert kinds(talk.take()) == [(RST_STREAM, 1)]
    talk.wire.stop(stream)
    assert talk.exchange(frame(PING, ACK, 0, ping.payload)) == []
    assert talk.left == [1]


def test_only_what_was_to_be_stopped_is_stopped() -> None:
    talk = Talk(answer=None)
    talk.exchange(headers(1))
    stream = talk.requests[1].stream
    talk.wire.stop(stream)
    named = b"stop" + (1).to_bytes(4, "big")
    assert talk.exchange(frame(PING, ACK, 0, named)) == []
    assert talk.left == []
    assert talk.wire.streams == {1: stream}


def test_an_answer_that_comes_after_all_content_is_not_reset() -> None:
    talk = Talk(answer=None)
    talk.exchange(headers(1, POST, ends=False))
    stream = talk.requests[1].stream
    talk.wire.want_no_more(stream, is_patient=True)
    talk.exchange(data(1, ends=True))
    talk.wire.stop(stream)
    assert talk.take() == []
    talk.answer = b"hello"
    talk.reply(stream)
    assert kinds(talk.take()) == [(HEADERS, 1), (DATA, 1)]


def test_content_that_ends_meanwhile_needs_no_reset() -> None:
    talk = Talk()
    ping = answer_early(talk)
    assert talk.exchange(data(1, ends=True)) == []
    assert talk.left == [1]
    assert talk.exchange(frame(PING, ACK, 0, ping.payload)) == []
    assert talk.left == [1]


def test_a_client_that_resets_meanwhile_is_over() -> None:
    talk = Talk(runs_on=True)
    ping = answer_early(talk)
    assert talk.exchange(reset(1)) == []
    assert talk.requests[1].reset_for
    assert talk.exchange(frame(PING, ACK, 0, ping.payload)) == []
    assert talk.left == []


def test_an_answer_that_waits_for_its_window_is_whole_before_the_ping() -> None:
    talk = Talk(answer=b"x" * 70_000)
    talk.exchange(headers(1, POST, ends=False))
    stream = talk.requests[1].stream
    talk.reply(stream)
    talk.wire.want_no_more(stream, is_patient=True)
    assert PING not in [kind for kind, _ in kinds(talk.take())]
    frames = talk.exchange(window_update(0, 70_000), window_update(1, 70_000))
    assert kinds(frames)[-2:] == [(DATA, 1), (PING, 0)]


def test_an_acknowledged_ping_of_no_stream_means_nothing() -> None:
    talk = Talk()
    for stream_id in (0, 1, 2, 2**31):
        octets = frame(PING, ACK, 0, b"stop" + stream_id.to_bytes(4, "big"))
        assert talk.exchange(octets) == []
    assert answered(talk.exchange(headers(1))) == [1]
