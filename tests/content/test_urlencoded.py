from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blazeio.content.forms import (
    FormInput,
    Params,
    parse_urlencoded,
    serialize_urlencoded,
)

FIELD_COUNT = 1000
UNICODE = st.text(st.characters(exclude_categories=["Cs"]))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("a=1&b=2", {"a": "1", "b": "2"}),
        ("a", {"a": ""}),
        ("a=", {"a": ""}),
        ("=a", {"": "a"}),
        ("a=1=2", {"a": "1=2"}),
        ("a+b=c+d", {"a b": "c d"}),
        ("%61=%C3%BC", {"a": "ü"}),
        ("a=%", {"a": "%"}),
        ("a=%zz", {"a": "%zz"}),
        ("a=%ff", {"a": "\ufffd"}),
        ("a=1;b=2", {"a": "1;b=2"}),
        ("&&a=1&&", {"a": "1"}),
        ("a=1&a=2", {"a": "2"}),
    ],
)
def test_fields_are_parsed_as_forms_write_them(
    text: str, expected: dict[str, str]
) -> None:
    assert parse_urlencoded(text, FIELD_COUNT) == expected


def test_every_value_of_a_repeated_field_is_kept_in_order() -> None:
    params = parse_urlencoded("a=1&b=0&a=2", FIELD_COUNT)
    assert params.get_all("a") == ["1", "2"]
    assert params.get_all("c") == []


def test_a_field_can_be_added() -> None:
    params = Params([("a", "1")])
    params.add("a", "2")
    params.add("b", "3")
    assert params == {"a": "2", "b": "3"}
    assert params.pairs == [("a", "1"), ("a", "2"), ("b", "3")]


def test_the_number_of_fields_is_bounded() -> None:
    assert len(parse_urlencoded("a=1&b=2&c=3", 3)) == 3
    with pytest.raises(ValueError, match="Max number of fields"):
        parse_urlencoded("a=1&b=2&c=3&d=4", 3)


@given(st.dictionaries(UNICODE, UNICODE, max_size=20))
def test_what_was_encoded_is_read_back(fields: dict[str, str]) -> None:
    assert parse_urlencoded(urlencode(fields), FIELD_COUNT) == fields


@given(st.text())
def test_any_text_is_read(text: str) -> None:
    params = parse_urlencoded(text, len(text) + 1)
    assert all(isinstance(value, str) for value in params.values())


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ({}, ""),
        ({"a": 1, "b": [2.5, "x y"]}, "a=1&b=2.5&b=x+y"),
        ([("a", "1"), ("b", "&="), ("a", b"\xff")], "a=1&b=%26%3D&a=%FF"),
        ({"ü": "\r\n"}, "%C3%BC=%0D%0A"),
    ],
)
def test_a_form_is_written(form: FormInput, text: str) -> None:
    assert serialize_urlencoded(form) == text


@given(st.lists(st.tuples(UNICODE, UNICODE), max_size=10))
def test_what_was_written_can_be_read(pairs: list[tuple[str, str]]) -> None:
    assert parse_urlencoded(serialize_urlencoded(pairs), FIELD_COUNT).pairs == pairs
