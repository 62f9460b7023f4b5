"""What a client sent is written so that it can neither end a line nor a quote."""

import json
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blazeio.server.log_format import (
    VALUE_CHARS,
    Escaped,
    escape_json,
    escape_text,
    make_clf_clock,
    make_iso_clock,
)

PRINTABLE = set(string.printable) - set(string.whitespace) | {" "}


@pytest.mark.parametrize(
    ("value", "escaped"),
    [
        ("", "-"),
        ("curl/8.5", "curl/8.5"),
        ('say "hi"', r"say \"hi\""),
        ("back\\slash", r"back\\slash"),
        ('\\"', r"\\\""),
        ("a\r\nb\tc\x00\x1b[31m\x7f", r"a\r\nb\tc\x00\x1b[31m\x7f"),
        ("\xe9 \u20ac \u2028 \U0001f600", r"\xe9 \u20ac \u2028 \U0001f600"),
        ("\udc80", r"\udc80"),
    ],
)
def test_text_is_escaped_as_in_a_python_string(value: str, escaped: str) -> None:
    assert escape_text(value) == escaped


@given(st.text())
def test_escaped_text_is_printable_ascii_and_can_be_read_back(value: str) -> None:
    escaped = escape_text(value)
    assert set(escaped) <= PRINTABLE
    unquoted = escaped.replace("\\\\", "").replace('\\"', "")
    assert '"' not in unquoted
    if value:
        plain = escaped.replace('\\"', '"').encode().decode("unicode_escape")
        assert plain == value


@given(st.text(min_size=1))
def test_json_is_ascii_and_can_be_read_back(value: str) -> None:
    escaped = escape_json(value)
    assert set(escaped) <= PRINTABLE
    assert json.loads(escaped) == value


def test_json_of_nothing_is_null() -> None:
    assert escape_json("") == "null"


@pytest.mark.parametrize(
    "character", ["a", '"', "\\", "\n", "\x00", "\xe9", "\u20ac", "\U0001f600"]
)
@pytest.mark.parametrize("escape", [escape_text, escape_json])
def test_a_long_value_is_cut_within_the_bound(escape: object, character: str) -> None:
    assert callable(escape)
    written = Escaped(escape)[character * 100_000]
    assert len(written) <= VALUE_CHARS + len('"..."')
    assert "..." in written
    if escape is escape_json:
        assert json.loads(written).strip(character) == "..."


def test_a_value_within_the_bound_is_whole() -> None:
    value = "x" * VALUE_CHARS
    assert Escaped(escape_text)[value] == value
    assert Escaped(escape_json)[value] == f'"{value}"'


def test_what_is_kept_is_bounded() -> None:
    escaped = Escaped(escape_text)
    for number in range(5000):
        assert escaped[f"/{number}"] == f"/{number}"
    assert escaped["y" * 257] == "y" * 257
    assert len(escaped) <= 1024
    assert "y" * 257 not in escaped


def test_the_time_of_apache_is_utc_and_moves_on() -> None:
    clock = make_clf_clock()
    assert clock(1_763_841_240.9) == "22/Nov/2025:19:54:00 +0000"
    assert clock(1_763_841_240.95) == "22/Nov/2025:19:54:00 +0000"
    assert clock(1_763_841_301.05) == "22/Nov/2025:19:55:01 +0000"


@pytest.mark.parametrize("month", range(12))
def test_every_month_has_its_name(month: int) -> None:
    name = "JanFebMarAprMayJunJulAugSepOctNovDec"[month * 3 : month * 3 + 3]
    assert make_clf_clock()((15 + month * 30) * 86_400.0)[3:6] == name


def test_the_time_of_rfc_3339_has_milliseconds() -> None:
    clock = make_iso_clock()
    assert clock(1_763_841_240.25) == "2025-11-22T19:54:00.250Z"
    assert clock(1_763_841_241.003) == "2025-11-22T19:54:01.003Z"
