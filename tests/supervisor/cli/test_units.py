import pytest

from blazeio_supervisor.cli.output import (
    format_bytes,
    format_count,
    format_ms,
    format_rate,
    format_span,
)

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


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0"), (99_999, "99999"), (123_456, "123k"), (3.14e6, "3.1M"), (2e9, "2.0G")],
)
def test_a_count_has_at_most_six_characters(count: float, text: str) -> None:
    assert format_count(count) == text


@pytest.mark.parametrize(("rate", "text"), [(0, "0"), (0.5, "0.5"), (4212.3, "4212")])
def test_a_small_rate_has_a_decimal(rate: float, text: str) -> None:
    assert format_rate(rate) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0004, "0.4 ms"), (0.12, "120 ms"), (2.04, "2.0 s")]
)
def test_a_short_span_is_in_milliseconds(seconds: float, text: str) -> None:
    assert format_ms(seconds) == text
