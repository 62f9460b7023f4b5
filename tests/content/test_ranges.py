import pytest
from hypothesis import given
from hypothesis import strategies as st

from blazeio.content.representation import (
    MOST_RANGES,
    ByteRange,
    RangeNotSatisfiableError,
    compose_multipart,
    decide_ranges,
)


def parts_of(value: str, size: int = 1000) -> list[tuple[int, int]] | None:
    """First and last octet of each part."""
    ranges = decide_ranges(value, size)
    if ranges is None:
        return None
    return [(each.first, each.first + each.size - 1) for each in ranges]


@pytest.mark.parametrize(
    ("value", "parts"),
    [
        ("bytes=0-0", [(0, 0)]),
        ("bytes=0-499", [(0, 499)]),
        ("bytes=500-999", [(500, 999)]),
        ("bytes=900-", [(900, 999)]),
        ("bytes=0-", [(0, 999)]),
        ("bytes=900-5000", [(900, 999)]),
        ("bytes=-1", [(999, 999)]),
        ("bytes=-5000", [(0, 999)]),
        ("bytes=0-0,-1", [(0, 0), (999, 999)]),
        ("bytes=5-9 , 0-1,3-3", [(5, 9), (0, 1), (3, 3)]),
        ("BYTES=1-2", [(1, 2)]),
        ("bytes=1-2,2000-,5-2", [(1, 2)]),
        ("bytes=0-5,3-8", [(0, 5), (3, 8)]),
    ],
)
def test_what_exists_of_the_ranges_is_sent_in_their_order(
    value: str, parts: list[tuple[int, int]]
) -> None:
    assert parts_of(value) == parts


@pytest.mark.parametrize(
    "value",
    ["lines=0-5", "bytes", "bytes=", "bytes:0-5", "none=", "", "0-5", "bytes =0-5"],
)
def test_another_unit_is_ignored(value: str) -> None:
    assert parts_of(value) is None


@pytest.mark.parametrize(
    "value",
    [
        "bytes=1000-",
        "bytes=1000-2000",
        "bytes=-0",
        "bytes=5-2",
        "bytes=1000-,2000-3000",
        "bytes=-",
        "bytes=--5",
        "bytes=a-b",
        "bytes=0-1_0",
        "bytes=+1-2",
        "bytes=0-1,",
        "bytes=0-1;2-3",
        "bytes=0-1,x",
        "bytes=\u0661-\u0662",
        "bytes=0-" + "9" * 5000,
        "bytes=0x1-2",
    ],
)
def test_what_is_malformed_or_does_not_exist_is_not_satisfiable(value: str) -> None:
    with pytest.raises(RangeNotSatisfiableError):
        decide_ranges(value, 1000)


@pytest.mark.parametrize("value", ["bytes=0-", "bytes=0-0", "bytes=-5", "bytes=9-"])
def test_of_nothing_the_whole_is_sent(value: str) -> None:
    assert decide_ranges(value, 0) is None


def test_parts_that_are_more_than_the_whole_are_the_whole() -> None:
    assert parts_of("bytes=0-999,0-0") is None
    assert parts_of("bytes=0-499,500-999") == [(0, 499), (500, 999)]


def test_who_asks_for_too_many_gets_the_whole() -> None:
    members = [f"{2 * n}-{2 * n}" for n in range(MOST_RANGES + 1)]
    assert parts_of("bytes=" + ",".join(members)) is None
    assert len(parts_of("bytes=" + ",".join(members[:-1])) or ()) == MOST_RANGES


@given(st.text("0123456789-, ", max_size=60), st.integers(0, 300))
def test_no_part_is_empty_or_outside(text: str, size: int) -> None:
    try:
        ranges = decide_ranges("bytes=" + text, size) or []
    except RangeNotSatisfiableError:
        return
    assert all(0 <= each.first < each.first + each.size <= size for each in ranges)
    assert sum(each.size for each in ranges) <= size


def test_content_range_names_first_last_and_whole() -> None:
    assert ByteRange(5, 10).content_range(100) == "bytes 5-14/100"


def test_several_parts_are_framed_as_multipart() -> None:
    content = compose_multipart(
        [ByteRange(0, 1), ByteRange(8, 2)], 10, "text/plain", "frontier"
    )
    assert content.parts == [
        (
            b"\r\n--frontier\r\nContent-Type: text/plain\r\n"
            b"Content-Range: bytes 0-0/10\r\n\r\n",
            ByteRange(0, 1),
        ),
        (
            b"\r\n--frontier\r\nContent-Type: text/plain\r\n"
            b"Content-Range: bytes 8-9/10\r\n\r\n",
            ByteRange(8, 2),
        ),
    ]
    assert content.ending == b"\r\n--frontier--\r\n"
    sent = b"".join(before + bytes(part.size) for before, part in content.parts)
    assert content.size_bytes == len(sent + content.ending)
