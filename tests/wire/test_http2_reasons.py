"""What GOAWAY says to whoever runs the client, and a reset stream to its handler."""

import pytest

from blazeio.limits import Limits
from tests.support.http2 import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    GOAWAY,
    HAS_PRIORITY,
    HEADERS,
    OPENING,
    PADDED,
    PING,
    POST,
    PREFACE,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    block,
    data,
    frame,
    headers,
    reset,
    settings,
    window_update,
)
from tests.wire.http2_talk import Talk

ON_ITSELF = (1).to_bytes(4, "big") + b"\x10"
UNPRIVILEGED = b"\0\0\0\0\0"


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (frame(DATA, 0, 1, bytes(16_385)), "a frame of 16385 octets"),
        (
            frame(HEADERS, 0, 1) + frame(PING, 0, 0, bytes(8)),
            "a frame within a header block",
        ),
        (
            headers(2),
            "HEADERS on a stream that no client begins",
        ),
        (frame(CONTINUATION, END_HEADERS, 1), "CONTINUATION without HEADERS"),
        (data(1), "DATA on a stream that is idle"),
        (data(0), "DATA on a stream that is idle"),
        (headers(1) + data(1), "DATA on a closed stream"),
        (headers(1) + headers(1), "HEADERS on a closed stream"),
        (headers(3) + headers(1), "stream 1 after stream 3"),
        (frame(PRIORITY, 0, 0, UNPRIVILEGED), "PRIORITY on stream 0"),
        (frame(PRIORITY, 0, 1, b"\0"), "PRIORITY of 1 octets"),
        (frame(SETTINGS, 0, 1), "SETTINGS on a stream"),
        (frame(SETTINGS, ACK, 0, bytes(6)), "a SETTINGS ACK with settings"),
        (frame(SETTINGS, 0, 0, bytes(7)), "SETTINGS of 7 octets"),
        (
            frame(SETTINGS, 0, 0, bytes(33 * 6)),
            "SETTINGS of 33 pairs, 32 are the most",
        ),
        (settings((2, 2)), "ENABLE_PUSH cannot be 2"),
        (settings((8, 2)), "ENABLE_CONNECT_PROTOCOL cannot be 2"),
        (settings((5, 16_383)), "MAX_FRAME_SIZE cannot be 16383"),
        (settings((5, 2**24)), f"MAX_FRAME_SIZE cannot be {2**24}"),
        (settings((4, 2**31)), f"INITIAL_WINDOW_SIZE cannot be {2**31}"),
        (frame(PING, 0, 1, bytes(8)), "PING on a stream"),
        (frame(PING, 0, 0, bytes(9)), "PING of 9 octets"),
        (frame(GOAWAY, 0, 1, bytes(8)), "GOAWAY on a stream"),
        (frame(GOAWAY, 0, 0, bytes(7)), "GOAWAY of 7 octets"),
        (frame(WINDOW_UPDATE, 0, 0, bytes(3)), "WINDOW_UPDATE of 3 octets"),
        (frame(WINDOW_UPDATE, 0, 1, bytes(3)), "WINDOW_UPDATE of 3 octets"),
        (window_update(0, 0), "WINDOW_UPDATE of 0"),
        (window_update(1, 1), "WINDOW_UPDATE on a stream that is idle"),
        (
            window_update(0, 2**31 - 1),
            "the window of the connection exceeds 2**31-1 octets",
        ),
        (
            headers(1, POST, ends=False) + settings((4, 0))
            + window_update(1, 2**31 - 1) + settings((4, 1)),
            "the window of the stream exceeds 2**31-1 octets",
        ),
        (frame(PUSH_PROMISE, 0, 1), "PUSH_PROMISE from a client"),
        (frame(RST_STREAM, 0, 1, bytes(3)), "RST_STREAM of 3 octets"),
        (reset(1), "RST_STREAM on a stream that is idle"),
        (
            frame(HEADERS, END_HEADERS | HAS_PRIORITY, 1, bytes(4)),
            "HEADERS without the priority that their flags say",
        ),
        (
            headers(1, POST, ends=False) + frame(DATA, PADDED, 1),
            "a padded frame without the length of its padding",
        ),
        (
            headers(1, POST, ends=False) + frame(DATA, PADDED, 1, b"\x03\0\0"),
            "padding of 3 octets in a payload of 3",
        ),
    ],
)  # fmt: skip
def test_why_the_connection_ends(octets: bytes, reason: str) -> None:
    talk = Talk(answer=None if b"POST" in octets else b"hello")
    talk.send(octets)
    assert talk.failure == reason


@pytest.mark.parametrize(
    ("opening", "reason"),
    [
        (
            b"GET / HTTP/1.1\r\n",
            "the connection does not begin with the preface of HTTP/2",
        ),
        (PREFACE + frame(SETTINGS, ACK, 0), "the first frame is not SETTINGS"),
        (PREFACE + headers(1), "the first frame is not SETTINGS"),
    ],
)
def test_why_it_does_not_begin(opening: bytes, reason: str) -> None:
    assert Talk(opening=opening).failure == reason


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (window_update(1, 0), "WINDOW_UPDATE of 0"),
        (
            settings((4, 2**31 - 1)) + window_update(1, 1),
            "the window of the stream exceeds 2**31-1 octets",
        ),
        (
            frame(HEADERS, END_HEADERS, 1, block([("a", "b")])),
            "trailers without END_STREAM",
        ),
        (frame(PRIORITY, 0, 1, ON_ITSELF), "a stream that depends on itself"),
        (frame(PRIORITY, 0, 1, bytes(4)), "PRIORITY of 4 octets"),
        (data(1, b"abc") + data(1, b"abc"), "DATA and content-length differ"),
        (data(1, b"a", ends=True), "DATA and content-length differ"),
        (
            data(1, b"a") + headers(1, [("a", "b")]),
            "DATA and content-length differ",
        ),
    ],
)
def test_why_a_stream_is_reset(octets: bytes, reason: str) -> None:
    talk = Talk(answer=None)
    talk.send(headers(1, POST, ends=False, more=[("content-length", "5")]), octets)
    assert talk.failure is None
    assert talk.requests[1].reset_for == reason


def test_why_what_has_ended_is_reset() -> None:
    for octets, reason in (
        (data(1, b"a"), "DATA after END_STREAM"),
        (headers(1, [("a", "b")]), "HEADERS after END_STREAM"),
    ):
        talk = Talk(answer=None)
        talk.send(headers(1), octets)
        assert talk.requests[1].reset_for == reason


def test_why_a_flood_ends_the_connection() -> None:
    talk = Talk(Limits(continuations=2))
    talk.send(frame(HEADERS, 0, 1), *(frame(CONTINUATION, 0, 1) for _ in range(3)))
    assert talk.failure == "a header block without an end"
    talk = Talk(Limits(control_frames=3))
    talk.send(*(frame(PING, 0, 0, bytes(8)) for _ in range(4)))
    assert talk.failure == "too many control frames"
    talk = Talk(Limits(stream_resets=3), answer=None)
    for stream_id in (1, 3, 5, 7, 9, 11):
        talk.send(headers(stream_id), reset(stream_id))
    assert talk.failure == "too many reset streams"


def test_a_reset_of_the_client_is_told_with_its_code() -> None:
    talk = Talk(answer=None)
    talk.send(headers(1), reset(1, 8))
    assert talk.requests[1].reset_for == "the client reset the stream: error 8"


def test_values_at_the_edge_are_taken() -> None:
    for pair in ((2, 1), (2, 0), (8, 1), (5, 16_384), (5, 2**24 - 1), (4, 2**31 - 1)):
        talk = Talk(opening=OPENING + settings(pair))
        assert talk.failure is None
        assert talk.exchange(headers(1))
