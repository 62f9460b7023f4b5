import pytest
from hypothesis import given
from hypothesis import strategies as st

from blazeio.content.parsers import parse_parameters


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ("", {})),
        ("Text/HTML", ("text/html", {})),
        (" \tXbX\t ", ("xbx", {})),
        ("\xa0a\xa0", ("\xa0a\xa0", {})),
        ("a/b; C=D", ("a/b", {"c": "D"})),
        ("a/b;c=d;e=f", ("a/b", {"c": "d", "e": "f"})),
        ('a/b ; c="d;e" ', ("a/b", {"c": "d;e"})),
        (r'a/b; c="\"d\\"', ("a/b", {"c": r'"d' + "\\"})),
        ('a/b; c=""', ("a/b", {"c": ""})),
        ("a/b; boundary=----=_Part_1/2", ("a/b", {"boundary": "----=_Part_1/2"})),
        ("a/b;; c=d;", ("a/b", {"c": "d"})),
    ],
)
def test_parameters_are_read(text: str, expected: tuple[str, dict[str, str]]) -> None:
    assert parse_parameters(text) == expected


@pytest.mark.parametrize(
    "text", ["a; b", "a; b=", 'a; b="c', "a; b c=d", "a; =c", 'a; b="c"d', "a; b=c d"]
)
def test_what_is_malformed_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="malformed"):
        parse_parameters(text)


def test_a_parameter_that_is_there_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="there twice"):
        parse_parameters("a; b=1; B=2")


@given(st.text(st.characters(max_codepoint=126), max_size=60))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        parse_parameters(text)
    except ValueError:
        pass


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126)))
def test_what_was_quoted_is_read_back(value: str) -> None:
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    assert parse_parameters(f'a; b="{quoted}"') == ("a", {"b": value})
