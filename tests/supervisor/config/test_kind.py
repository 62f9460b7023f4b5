from datetime import date

import pytest

from blazeio_supervisor.config.types import (
    Count,
    Flag,
    Many,
    Pairs,
    Parsed,
    Text,
    name_type,
)


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
