from types import MappingProxyType
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blazeio.content.forms import (
    UNQUOTED_STEP_CHARS,
    FormInput,
    Params,
    parse_urlencoded,
    serialize_urlencoded,
)
from blazeio.errors import InvalidArgument

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


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (
            {"a": None},
            "form: the value of 'a' is None: leave it out, or give an empty str",
        ),
        (
            {"a": object()},
            "form: the value of 'a': expected str, bytes, int, float or a list, "
            "not object",
        ),
        (
            {"a": [None]},
            "form: the value of 'a': expected str, bytes, int, float or a list, "
            "not NoneType",
        ),
        ("a=1", "form: expected a dict or pairs, not str"),
        (b"a=1", "form: expected a dict or pairs, not bytes"),
        (5, "form: expected a dict or pairs, not int"),
        (["ab"], "form: expected pairs of name and value, not str"),
        ([5], "form: expected pairs of name and value, not int"),
        ([("a",)], "form: expected pairs of name and value"),
        ([("a", "b", "c")], "form: expected pairs of name and value"),
        ([(None, "b")], "form: expected pairs of name and value"),
        ({"a": "\ud800"}, "form: text that UTF-8 cannot say (a lone surrogate)"),
    ],
)  # fmt: skip
def test_what_is_no_form_is_told(form: Any, message: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        serialize_urlencoded(form)
    assert str(caught.value) == message


def test_a_mapping_that_is_no_dict_is_a_form_too() -> None:
    form: Any = MappingProxyType({"a": ["1", 2]})
    assert serialize_urlencoded(form) == "a=1&a=2"
    wrong: Any = "a"
    with pytest.raises(InvalidArgument, match="params: expected a dict"):
        serialize_urlencoded(wrong, "params")


def test_octets_that_are_no_utf_8_are_replaced() -> None:
    assert parse_urlencoded("a=%ff&%fe=b", 9).pairs == [
        ("a", "\ufffd"),
        ("\ufffd", "b"),
    ]


@pytest.mark.parametrize("filler", [0, 1, 2, 3])
def test_an_escape_at_the_end_of_a_step_is_whole(filler: int) -> None:
    text = "x" * (UNQUOTED_STEP_CHARS - filler) + "%E2%82%AC%%41+z"
    pairs = parse_urlencoded(f"a={text}&b", 9).pairs
    assert pairs[0] == ("a", "x" * (UNQUOTED_STEP_CHARS - filler) + "\u20ac%A z")
    assert pairs[1] == ("b", "")


def test_the_number_of_fields_of_a_long_text_is_bounded_alike() -> None:
    text = "&".join(["x" * UNQUOTED_STEP_CHARS, "b", "c"])
    assert len(parse_urlencoded(text, 3).pairs) == 3
    with pytest.raises(ValueError, match="Max number of fields exceeded"):
        parse_urlencoded(text, 2)
