import codecs
import gc
from typing import Any

import msgspec
import pytest

from blazeio.content.forms import LARGE_BYTES, decode_without_gc, read_json

TEXT = '{"a": ["\xfc"]}'
VALUE = {"a": ["\xfc"]}


@pytest.mark.parametrize(
    "octets",
    [
        TEXT.encode(),
        TEXT.encode("utf-8-sig"),
        codecs.BOM_UTF16_LE + TEXT.encode("utf-16-le"),
        codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
        codecs.BOM_UTF32_LE + TEXT.encode("utf-32-le"),
        codecs.BOM_UTF32_BE + TEXT.encode("utf-32-be"),
    ],
)
def test_a_byte_order_mark_says_how_it_is_written(octets: bytes) -> None:
    assert read_json(octets) == VALUE


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        codecs.BOM_UTF8,
        codecs.BOM_UTF8 * 2 + b"{}",
        codecs.BOM_UTF16_LE,
        codecs.BOM_UTF16_LE + b"{",
        codecs.BOM_UTF16_BE + b"\xd8\x00\x00\x00",
        b"\xef\xbb{}",
        b"\xff",
        b'"\xff"',
        b"{}x",
        b"1" * 5000,
        b"1e999",
        b'"\\ud800"',
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'[{"a":' * 100_000 + b"1" + b"}]" * 100_000,
        codecs.BOM_UTF8 + b"[" * 100_000,
    ],
)
@pytest.mark.parametrize("expected", [Any, list[Any], dict[str, Any], msgspec.Raw])
def test_what_is_no_json_is_a_value_error(octets: bytes, expected: Any) -> None:
    try:
        read_json(octets, expected)
    except ValueError:
        return
    assert expected is msgspec.Raw  # it looks at nothing below


class Node(msgspec.Struct):
    child: "Node | None" = None


def test_depth_is_an_error_for_types_too() -> None:
    with pytest.raises(ValueError, match=r"^JSON is nested too deeply$"):
        read_json(b'{"child":' * 100_000, Node)
    assert read_json(b'{"child":{}}', Node) == Node(Node())


LARGE = b"[" + b"[]," * LARGE_BYTES + b"1]"


def test_nothing_is_collected_in_the_midst_of_something_large() -> None:
    began: list[str] = []

    def note(phase: str, _: object) -> None:
        began.append(phase)

    def decode(octets: bytes) -> int:
        value = msgspec.json.decode(octets)
        return len(began) if value else 0

    gc.callbacks.append(note)
    try:
        assert decode(LARGE) > 0
        began.clear()
        assert decode_without_gc(decode, LARGE) == 0
    finally:
        gc.callbacks.remove(note)
    assert gc.isenabled()


def test_something_large_has_its_type_too() -> None:
    with pytest.raises(ValueError, match="Expected `object`"):
        read_json(LARGE, dict[str, Any])


def test_it_is_collected_again_after_something_that_is_no_json() -> None:
    with pytest.raises(ValueError, match="malformed"):
        read_json(LARGE + b"x")
    assert gc.isenabled()


def test_who_collects_by_hand_goes_on_so() -> None:
    gc.disable()
    try:
        read_json(LARGE)
        assert not gc.isenabled()
    finally:
        gc.enable()
