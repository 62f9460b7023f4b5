"""A form is the same, however its octets were cut."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from blazeio.content.parsers import (
    Event,
    Field,
    FileHead,
    MultipartDecoder,
)
from blazeio.errors import RemoteProtocolError
from blazeio.limits import Limits
from tests.content.bodies import BOUNDARY, form, joined, part

LIMITS = Limits(part_field_count=4)
NASTY = [b"\r\n", b"--", b"\r", b"\n", b"-", b"\r\n--", b"b0undar", b"\x00", b"x" * 300]
CONTENT = st.lists(st.sampled_from(NASTY) | st.binary(max_size=40), max_size=8).map(
    b"".join
)
NAME = st.text(st.characters(min_codepoint=0x20, exclude_categories=["Cs", "Cc"]))
SAFE_NAME = NAME.map(lambda name: name.replace('"', "").replace("\\", ""))
CUTS = st.lists(st.integers(0, 2000), max_size=12)


@st.composite
def forms(draw: st.DrawFn) -> tuple[bytes, list[Event]]:
    """A body, and the events that it must give."""
    parts: list[bytes] = []
    events: list[Event] = []
    for _ in range(draw(st.integers(0, 5))):
        name, content = f"n{draw(st.integers(0, 9))}", draw(CONTENT)
        if f"--{BOUNDARY}".encode() in b"\r\n" + content:
            continue
        if draw(st.booleans()):
            filename = f"f{draw(st.integers(0, 9))}"
            parts.append(part(f'name="{name}"; filename="{filename}"', content))
            events += [FileHead(name, filename, ""), content, None]
        else:
            parts.append(part(f'name="{name}"', content))
            events.append(Field(name, content.decode(errors="replace")))
    return form(*parts), [event for event in events if event != b""]


def decode(body: bytes, cuts: list[int]) -> list[Event] | str:
    decoder = MultipartDecoder(BOUNDARY, LIMITS)
    events: list[Event] = []
    edges = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    try:
        for start, end in pairwise(edges):
            events += decoder.feed(body[start:end])
        decoder.end()
    except RemoteProtocolError as error:
        return f"{error.status_hint} {error}"
    return joined(events)


@given(forms(), CUTS)
def test_any_split_of_a_form_gives_the_same_parts(
    made: tuple[bytes, list[Event]], cuts: list[int]
) -> None:
    body, events = made
    assert decode(body, cuts) == events


@given(forms(), st.integers(1, 5))
def test_short_pieces_give_the_same_parts(
    made: tuple[bytes, list[Event]], step: int
) -> None:
    body, events = made
    assert decode(body, list(range(0, len(body), step))) == events


PIECES = [
    b"--b0undary",
    b"\r\n--b0undary",
    b"--b0undary--",
    b"\r\n",
    b"\r\n\r\n",
    b"\n",
    b'Content-Disposition: form-data; name="a"',
    b'Content-Disposition: form-data; name="f"; filename="g"',
    b": ",
    b"X",
    b"-",
    b"x" * 50,
]


@given(st.lists(st.sampled_from(PIECES), max_size=20).map(b"".join), CUTS)
def test_octets_that_are_no_form_are_refused_or_read_alike(
    body: bytes, cuts: list[int]
) -> None:
    whole, split = decode(body, []), decode(body, cuts)
    # which of several faults is named may differ
    assert split == whole or (isinstance(split, str) and isinstance(whole, str))


@given(SAFE_NAME, CUTS)
def test_any_name_is_read_back(name: str, cuts: list[int]) -> None:
    if "%" in name:
        return
    body = form(part(f'name="{name}"', "x"))
    assert decode(body, cuts) == [Field(name, "x")]


@given(st.integers(0, 200))
def test_a_bare_line_feed_in_a_head_is_refused_wherever_it_is_cut(cut: int) -> None:
    for head in ('name="a"\nX: y', 'name="a"; x=y\0z', 'name="a"\r\n\nX: y'):
        assert str(decode(form(part(head, "x")), [cut])).startswith("400 ")
