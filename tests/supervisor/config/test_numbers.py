import pytest

from blazeio_supervisor.config.types import (
    NONE,
    Count,
    Mode,
    Number,
    Seconds,
    Size,
)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (Count(), "12", 12),
        (Count(words=NONE), "none", None),
        (Number(), "0.5", 0.5),
        (Seconds(), "86400", 86400.0),
        (Size(), "64K", 65536),
        (Mode(), "027", 0o27),
    ],
)
def test_a_number_is_read(kind: Number, text: str, value: float | None) -> None:
    assert kind.read(text) == value


@pytest.mark.parametrize(
    ("kind", "text", "line"),
    [
        (Count(1), "0", "expected a whole number, 1 or more"),
        (Count(1, 9), "10", "expected a whole number, 1 to 9"),
        (Count(words=NONE), "x", "expected a whole number, 0 or more, or none"),
        (Seconds(0.1), "nan", "expected seconds, 0.1 to 86400"),
        (Size(1024), "1", "expected a size such as 64K or 16M, 1K or more"),
        (Count(1, told="one"), "0", "expected one"),
        (Mode(), "888", "expected octal digits, 000 to 777"),
    ],
)
def test_another_is_refused_with_bounds_and_unit(
    kind: Number, text: str, line: str
) -> None:
    with pytest.raises(ValueError, match=f"^{line}$"):
        kind.read(text)


@pytest.mark.parametrize(
    ("kind", "native", "value"),
    [(Count(), 3, 3), (Seconds(), 3, 3.0), (Seconds(), 2.5, 2.5), (Size(), "1K", 1024)],
)
def test_a_number_of_a_file_is_read(kind: Number, native: object, value: float) -> None:
    assert kind.read_native(native) == value


@pytest.mark.parametrize(
    ("kind", "native", "got"),
    [
        (Count(), "3", "a string"),
        (Count(), 3.5, "a number"),
        (Count(), True, "true or false"),
        (Mode(), 27, "a whole number"),
    ],
)
def test_another_type_is_refused(kind: Number, native: object, got: str) -> None:
    with pytest.raises(ValueError, match=f", got {got}$"):
        kind.read_native(native)


@pytest.mark.parametrize(
    ("kind", "value", "written"),
    [
        (Count(), 3, 3),
        (Count(words=NONE), None, "none"),
        (Seconds(), 30.0, 30),
        (Seconds(), 0.5, 0.5),
        (Size(), 65536, "64K"),
        (Mode(), 0o7, "007"),
        (Mode(), None, None),
    ],
)
def test_it_is_written_briefly(kind: Number, value: float, written: object) -> None:
    assert kind.write(value) == written


def test_only_seconds_leave_their_unit_away() -> None:
    assert Seconds().strip_unit("drain_idle_s") == "drain_idle"
    assert Number().strip_unit("progress_bytes_per_s") == "progress_bytes_per_s"
