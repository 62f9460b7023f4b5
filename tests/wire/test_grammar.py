"""The patterns; what they are for is tested by section in tests/conformance."""

import re
import string
from time import process_time

import pytest

from blazeio.wire.grammar import (
    CHUNK_LINE,
    CONTENT_LENGTH,
    FIELD_VALUE,
    HOST,
    TOKEN,
    VERSION,
    has_bare_line_end,
    quote,
)
from tests.support.clock import time_scale

LATIN_1 = [chr(code) for code in range(256)]


def test_token_is_made_of_tchar() -> None:
    tchar = set("!#$%&'*+-.^_`|~" + string.digits + string.ascii_letters)
    assert {char for char in LATIN_1 if TOKEN.fullmatch(char)} == tchar
    assert TOKEN.fullmatch("") is None


def test_a_value_holds_no_control_but_htab() -> None:
    allowed = {char for char in LATIN_1 if FIELD_VALUE.fullmatch(char)}
    assert set(LATIN_1) - allowed == {*map(chr, range(0x20)), "\x7f"} - {"\t"}
    assert FIELD_VALUE.fullmatch("\u0100") is None


@pytest.mark.parametrize("pattern", [TOKEN, FIELD_VALUE, VERSION, CONTENT_LENGTH, HOST])
def test_no_pattern_lets_a_line_end_slip_through_at_the_end(
    pattern: re.Pattern[str],
) -> None:
    for good in ("HTTP/1.1", "5", "h", "x"):
        assert pattern.fullmatch(good + "\n") is None
        assert pattern.fullmatch(good + "\r\n") is None


@pytest.mark.parametrize(
    ("octets", "start", "has_one"),
    [
        (b"", 0, False),
        (b"a\r\nb\r\n", 0, False),
        (b"a\r\nb\r", 0, False),
        (b"\r", 0, False),
        (b"\n", 0, True),
        (b"a\nb", 0, True),
        (b"a\rb", 0, True),
        (b"a\r\r\n", 0, True),
        (b"a\r\n\n", 0, True),
        (b"a\n\r", 0, True),
        (b"a\n\r\n", 0, True),
        (b"\n\rx", 0, True),
        # what is before the start was judged already
        (b"a\r\nb", 3, False),
        (b"a\nb", 2, False),
        (b"ab\n", 2, True),
        # halves of a line end that the start cuts through
        (b"a\r\nb", 2, False),
        (b"a\rb", 2, True),
        (b"a\r", 2, False),
        (b"a\r\r", 2, True),
    ],
)
def test_a_line_end_of_one_half_is_found(
    octets: bytes, start: int, has_one: bool
) -> None:
    assert has_bare_line_end(octets, start) is has_one


HOSTILE = {
    "host of colons": (HOST, "[" + ":" * 50_000),
    "host of groups": (HOST, "[" + "1:" * 50_000 + "]"),
    "host of digits": (HOST, "[" + "1" * 50_000),
    "host of percents": (HOST, "%41" * 50_000 + "%"),
    "host with a long port": (HOST, "h:" + "1" * 50_000 + "x"),
    "token": (TOKEN, "a" * 50_000 + " "),
    "value": (FIELD_VALUE, "a \t" * 50_000 + "\n"),
    "length": (CONTENT_LENGTH, "1" * 50_000),
    "extensions": (CHUNK_LINE, b"5" + b";a=b" * 50_000 + b"\n"),
    "extension of whitespace": (CHUNK_LINE, b"5" + b" \t" * 50_000),
    "extension of backslashes": (CHUNK_LINE, b'5;a="' + b"\\" * 50_000),
    "extension of quotes": (CHUNK_LINE, b"5" + b';a="b"' * 50_000 + b'"'),
    "chunk size": (CHUNK_LINE, b"f" * 50_000),
}


@pytest.mark.parametrize(("pattern", "text"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_octets_are_refused_in_linear_time(
    pattern: re.Pattern[str] | re.Pattern[bytes], text: str | bytes
) -> None:
    began_at = process_time()
    assert pattern.fullmatch(text) is None  # type: ignore[arg-type]
    assert process_time() - began_at < 0.2 * time_scale()


def test_error_texts_show_a_bounded_part_of_the_octets() -> None:
    assert quote(b"a\r\n") == "b'a\\r\\n'"
    assert quote("a" * 64) == repr("a" * 64)
    assert quote("a" * 65) == repr("a" * 64) + "..."
    assert quote(b"abc", 2) == "b'ab'..."
