"""How settings are written, read and shown, by their kinds."""

from datetime import date

import pytest

from blazeio_supervisor.config.types import (
    NONE,
    Choice,
    Count,
    Flag,
    Kind,
    Many,
    Mode,
    Number,
    Pairs,
    Parsed,
    Seconds,
    Size,
    Text,
    format_size,
    name_type,
    parse_size,
)
from blazeio_supervisor.errors import UsageError
from tests.supervisor.typed import read_settings


@pytest.mark.parametrize("text", ["1", "true", "Yes", "ON"])
def test_a_switch_is_on_by_several_words(text: str) -> None:
    assert Flag().read(text) is True


@pytest.mark.parametrize("text", ["0", "False", "no", "off"])
def test_a_switch_is_off_likewise(text: str) -> None:
    assert Flag().read(text) is False


def test_another_word_is_no_switch() -> None:
    with pytest.raises(ValueError, match=r"^expected true or false$"):
        Flag().read("maybe")


def test_a_list_is_read_in_each_place() -> None:
    many = Many(Count())
    assert many.read("7") == (7,)
    assert many.read_variable("7  8\n9") == (7, 8, 9)
    assert many.read_native([7, 8]) == (7, 8)
    assert many.read_native(7) == (7,)


def test_a_separator_keeps_blanks() -> None:
    assert Many(Text(), "\n").read_variable("a b\n c ") == ("a b", "c")


def test_a_list_is_written_as_texts() -> None:
    assert Many(Count()).write((7, 8)) == ["7", "8"]
    assert Many(Count()).write_text((7, 8)) == "7 8"


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (True, "true or false"),
        (1, "a whole number"),
        (1.5, "a number"),
        ("", "a string"),
        ([], "a list"),
        ({}, "a table"),
        (date(2026, 1, 1), "a date or time"),
    ],
)
def test_a_type_has_a_name_that_is_no_pythons(value: object, name: str) -> None:
    assert name_type(value) == name


def test_another_type_is_refused_with_both_names() -> None:
    with pytest.raises(ValueError, match=r"^expected true or false, got a string$"):
        Flag().read_native("yes")


def test_pairs_are_a_table_or_texts() -> None:
    pairs = Pairs(Parsed(lambda text: tuple(text.split("=")), "A=B", "=".join))
    assert pairs.read_native({"a": "1"}) == pairs.read_native(["a=1"]) == (("a", "1"),)
    assert pairs.write((("a", "1"),)) == ["a=1"]
    with pytest.raises(ValueError, match="a string for each name, got a whole number"):
        pairs.read_native({"a": 1})


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


def test_a_text_is_kept_as_it_is() -> None:
    assert Text("PATH").read(" a b ") == " a b "


def test_a_choice_is_read_in_any_case_and_written_small() -> None:
    level = Choice(("INFO", "ERROR"), "LEVEL")
    assert level.read("info") == "INFO"
    assert level.write("INFO") == "info"
    with pytest.raises(ValueError, match=r"^expected info or error$"):
        level.read("loud")


def test_a_parser_reads_and_a_format_writes() -> None:
    kind = Parsed(lambda text: text.split("="), "A=B", "=".join)
    assert kind.read("a=b") == ["a", "b"]
    assert kind.write(["a", "b"]) == "a=b"


@pytest.mark.parametrize("kind", [Text(), Parsed(str, "X"), Choice(("a", "b"), "X")])
def test_a_number_of_a_file_is_no_text(kind: Kind[str]) -> None:
    with pytest.raises(ValueError, match="got a whole number"):
        kind.read_native(1)


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "90000", "soon"])
def test_a_span_that_cannot_be_is_refused(text: str) -> None:
    line = f"--timeout {text}: expected seconds, 1 to 86400"
    with pytest.raises(UsageError, match=line):
        read_settings("--timeout", text)


def test_a_span_may_be_the_least() -> None:
    assert read_settings("--timeout=1").timeout_s == 1.0


def test_a_reload_must_have_longer_than_its_canary() -> None:
    message = "--rollout-timeout 30: no reload could end, since --canary-hold"
    with pytest.raises(UsageError, match=message):
        read_settings("--rollout-timeout=30", "--canary-hold=30")
