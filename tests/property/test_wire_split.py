"""How octets arrive changes nothing of what they mean."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blazeio.wire.request import parse_head
from tests.property.wire_octets import in_pieces, nearly_good, requests, streams
from tests.wire.feeding import LIMITS, cut, read_messages

pytestmark = pytest.mark.slow
thorough = settings(max_examples=150, deadline=None)


@thorough
@given(st.data(), streams)
def test_any_cut_of_a_good_stream_gives_the_same_messages(
    data: st.DataObject, octets: bytes
) -> None:
    whole = read_messages([octets])
    pieces = read_messages(data.draw(in_pieces(octets)))
    assert whole.refusal is None
    assert pieces.refusal is None
    assert whole.rest == pieces.rest == b""
    assert [each.summary() for each in pieces.messages] == [
        each.summary() for each in whole.messages
    ]


@thorough
@given(st.data(), nearly_good())
def test_any_cut_of_a_nearly_good_stream_is_refused_or_read_alike(
    data: st.DataObject, octets: bytes
) -> None:
    whole = read_messages([octets])
    for pieces in (cut(octets, 1), data.draw(in_pieces(octets))):
        other = read_messages(pieces)
        assert (other.refusal is None) == (whole.refusal is None)
        assert other.rest == whole.rest
        assert [each.summary() for each in other.messages if each.is_whole] == [
            each.summary() for each in whole.messages if each.is_whole
        ]


@thorough
@given(requests(), st.integers(0))
def test_what_can_become_a_good_head_is_never_refused(octets: bytes, at: int) -> None:
    assert parse_head(octets[: at % octets.index(b"\r\n\r\n")], LIMITS) is None


@thorough
@given(st.binary(max_size=200))
def test_no_octets_make_anything_but_a_refusal(octets: bytes) -> None:
    head = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    for prefix in (b"", b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: ", head):
        assert read_messages([prefix + octets]).status in (None, 400, 417, 501, 505)
