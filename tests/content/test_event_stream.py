from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blazeio.app.deliver import serialize_event
from blazeio.content.parsers import ID_BYTES, EventStreamParser, ServerSentEvent
from blazeio.errors import RemoteProtocolError

Event = ServerSentEvent


def parse(*pieces: bytes) -> list[ServerSentEvent]:
    parser = EventStreamParser()
    return [event for piece in pieces for event in parser.feed(piece)]


CASES = {
    "two lines are joined": (b"data: YHOO\ndata: +2\n\n", [Event("YHOO\n+2")]),
    "the type": (b"event: add\ndata: 7\n\n", [Event("7", "add")]),
    "an empty type is none": (b"event: add\nevent:\ndata\n\n", [Event("")]),
    "the type is of one event": (
        b"event: add\ndata: 1\n\ndata: 2\n\n",
        [Event("1", "add"), Event("2")],
    ),
    "without data there is none": (b"event: add\n\ndata: 2\n\n", [Event("2")]),
    "one without value is empty": (b"data\n\ndata\ndata\n\n", [Event(""), Event("\n")]),
    "one space is dropped": (b"data:a\n\ndata:  a\n\n", [Event("a"), Event(" a")]),
    "a colon in the value": (b"data: a: b\n\n", [Event("a: b")]),
    "a comment": (b": ping\n\ndata: 1\n:x\ndata: 2\n\n", [Event("1\n2")]),
    "an unknown field": (b"dat: 1\nDATA: 1\n data: 1\ndata: 2\n\n", [Event("2")]),
    "an id stays": (
        b"id: 1\ndata: a\n\ndata: b\n\nid\ndata: c\n\n",
        [Event("a", event_id="1"), Event("b", event_id="1"), Event("c")],
    ),
    "an id without data counts": (b"id: 1\n\ndata\n\n", [Event("", event_id="1")]),
    "an id with NUL does not": (b"id: a\0\ndata\n\n", [Event("")]),
    "a cut off event is none": (b"data: a\n\ndata: b\n", [Event("a")]),
    "a byte order mark": (b"\xef\xbb\xbfdata: a\n\n", [Event("a")]),
    "only the first": (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n", []),
    "only at the start": (b"\n\xef\xbb\xbfdata: a\n\n", []),
    "octets that are not UTF-8": (b"data: a\xff\xe2\x82\n\n", [Event("a\ufffd\ufffd")]),
    "CR": (b"data: a\rdata: b\r\r", [Event("a\nb")]),
    "CRLF": (b"data: a\r\ndata: b\r\n\r\n", [Event("a\nb")]),
    "all three": (b"data: a\r\ndata: b\rdata: c\n\r", [Event("a\nb\nc")]),
    "LF CR are two": (b"data: a\n\rdata: b\n\r", [Event("a"), Event("b")]),
}


@pytest.mark.parametrize(("octets", "events"), CASES.values(), ids=CASES)
def test_a_stream_is_read_as_the_standard_says(
    octets: bytes, events: list[ServerSentEvent]
) -> None:
    assert parse(octets) == events
    assert parse(*(bytes([each]) for each in octets)) == events


@given(
    lines=st.lists(
        st.sampled_from([b"data: a\xe2\x82\xac", b"id: 7", b"event: e", b": c", b""])
        | st.binary(max_size=6),
        max_size=12,
    ),
    ends=st.lists(st.sampled_from([b"\r", b"\n", b"\r\n"]), min_size=12, max_size=12),
    cuts=st.sets(st.integers(0, 100)),
)
def test_any_cut_gives_the_same_events(
    lines: list[bytes], ends: list[bytes], cuts: set[int]
) -> None:
    octets = b"".join(line + end for line, end in zip(lines, ends, strict=False))
    at = [0, *sorted(cuts), len(octets)]
    pieces = [octets[a:b] for a, b in pairwise(at)]
    assert parse(*pieces) == parse(octets)


@given(
    st.text(st.characters(exclude_characters="\r", exclude_categories=["Cs"])),
    st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"])),
    st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"])),
)
def test_what_the_server_side_writes_is_read(data: str, kind: str, name: str) -> None:
    octets = serialize_event(data, event=kind, event_id=name)
    assert parse(octets) == [Event(data, kind or "message", name)]


def test_an_event_does_not_wait_for_the_line_feed_of_its_last_line() -> None:
    assert parse(b"data: a\r\n\r") == [Event("a")]


@pytest.mark.parametrize(
    ("value", "retry_s"),
    [
        (b"1500", 1.5),
        (b"0", 0.0),
        *[(bad, None) for bad in (b"", b"-1", b"1.5", b"1" * 10, "²".encode())],
    ],
)
def test_the_wait_before_coming_back_is_in_ascii_digits(
    value: bytes, retry_s: float | None
) -> None:
    parser = EventStreamParser()
    parser.feed(b"retry: " + value + b"\n")
    assert parser.retry_s == retry_s


def test_the_last_id_is_that_of_a_whole_event() -> None:
    parser = EventStreamParser("0")
    parser.feed(b"id: 1\ndata: a\n\nid: 2\ndata: b\n")
    assert parser.last_event_id == "1"


def test_a_stream_goes_on_with_the_id_of_the_one_before() -> None:
    (event,) = EventStreamParser("7").feed(b"data: a\n\n")
    assert event.event_id == "7"


def test_a_line_without_end_is_refused() -> None:
    parser = EventStreamParser(event_bytes=100)
    parser.feed(b": " + b"x" * 98)
    with pytest.raises(RemoteProtocolError, match=r"a line .* larger than 100 octets"):
        parser.feed(b"x")


def test_an_event_without_end_is_refused() -> None:
    parser = EventStreamParser(event_bytes=100)
    parser.feed(b"data: 7\n" * 33)
    with pytest.raises(RemoteProtocolError, match="an event is larger than 100"):
        parser.feed(b"data: 7\n")


def test_an_event_of_the_bound_is_read() -> None:
    parser = EventStreamParser(event_bytes=99)
    for _ in range(2):  # each line counts for its value and its end
        (event,) = parser.feed(b"data: 7\n" * 33 + b"\n")
        assert event.data == "\n".join(["7"] * 33)


def test_an_id_beyond_its_bound_is_ignored() -> None:
    parser = EventStreamParser()
    longest = b"x" * ID_BYTES
    (event,) = parser.feed(b"id:" + longest + b"\ndata: 1\n\n")
    assert event.event_id == longest.decode()
    (event,) = parser.feed(b"id:y" + longest + b"\ndata: 1\n\n")
    assert event.event_id == longest.decode()


def test_comments_without_end_are_not_kept() -> None:
    parser = EventStreamParser(event_bytes=100)
    assert parser.feed(b": ping\n" * 100 + b"data: 1\n\n") == [Event("1")]
