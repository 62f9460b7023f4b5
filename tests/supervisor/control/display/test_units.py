import pytest

from blazeio_supervisor.control.display.units import format_bytes, format_span

MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (59, "59 s"),
        (3599, "59 min"),
        (3660, "1 h 1 m"),
        (90_000, "1 d 1 h"),
    ],
)
def test_a_span_has_its_two_largest_units(seconds: float, text: str) -> None:
    assert format_span(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "-"),
        (2048, "2 KiB"),
        (MIB, "1.0 MiB"),
        (1536 * MIB, "1.50 GiB"),
    ],
)
def test_a_size_has_its_unit(count: int | None, text: str) -> None:
    assert format_bytes(count) == text
