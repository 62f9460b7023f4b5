import pytest

from blazeio.content.field_values import (
    ContentRange,
    read_content_range,
    read_unsatisfied_range,
)


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        ("bytes 0-0/1", ContentRange(0, 0, 1)),
        ("bytes 4000-4999/10000", ContentRange(4000, 4999, 10000)),
        ("Bytes 4-5/*", ContentRange(4, 5, None)),
        ("bytes 5-4/10", None),
        ("bytes 5-10/10", None),
        ("bytes */10", None),
        ("bytes=0-1/2", None),
        ("items 0-1/2", None),
        ("bytes 0-1/2, bytes 0-1/2", None),
        ("bytes -1-1/2", None),
        ("bytes 0-1/" + "9" * 19, None),
        ("", None),
    ],
)
def test_the_field_of_a_206(field: str, expected: ContentRange | None) -> None:
    assert read_content_range(field) == expected


@pytest.mark.parametrize(
    ("field", "expected"),
    [("bytes */0", 0), ("bytes */10", 10), ("bytes 0-1/2", None), ("", None)],
)
def test_the_field_of_a_416(field: str, expected: int | None) -> None:
    assert read_unsatisfied_range(field) == expected


@pytest.mark.parametrize(
    ("first", "last", "size_bytes"), [(0, 0, 1), (4000, 4999, 1000)]
)
def test_the_size_of_a_part_counts_both_ends(
    first: int, last: int, size_bytes: int
) -> None:
    assert ContentRange(first, last, None).size_bytes == size_bytes
