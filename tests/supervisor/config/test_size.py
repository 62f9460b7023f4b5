import pytest

from blazeio_supervisor.config.types import format_size, parse_size


@pytest.mark.parametrize(
    ("text", "octets"),
    [
        ("0", 0),
        ("1000", 1000),
        ("64K", 65536),
        ("16M", 2**24),
        ("3G", 3 * 2**30),
        ("1T", 2**40),
    ],
)
def test_a_size_is_read_and_written_likewise(text: str, octets: int) -> None:
    assert parse_size(text) == octets
    assert format_size(octets) == text


@pytest.mark.parametrize("text", ["64k", "64KB", "64KiB", "65536"])
def test_a_unit_may_be_written_in_several_ways(text: str) -> None:
    assert parse_size(text) == 65536


@pytest.mark.parametrize("text", ["", "x", "-1", "1.5G", "1_000", "K", "12x"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=f"^{text}: expected a size such as 512M"):
        parse_size(text)
