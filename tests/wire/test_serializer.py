from collections import OrderedDict
from types import MappingProxyType
from typing import Any

import pytest

from blazeio.errors import FieldInput, LocalProtocolError
from blazeio.wire.headers import (
    FieldBlock,
    Headers,
    _cached_blocks,
    _cached_names,
    serialize_error,
    serialize_field,
    serialize_fields,
    serialize_status_line,
)


@pytest.mark.parametrize(
    ("status", "line"),
    [
        (200, b"HTTP/1.1 200 OK\r\n"),
        (404, b"HTTP/1.1 404 Not Found\r\n"),
        (413, b"HTTP/1.1 413 Content Too Large\r\n"),
        (100, b"HTTP/1.1 100 Continue\r\n"),
        (599, b"HTTP/1.1 599 \r\n"),
        (299, b"HTTP/1.1 299 \r\n"),
    ],
)
def test_status_lines(status: int, line: bytes) -> None:
    for _ in range(2):
        assert serialize_status_line(status) == line


@pytest.mark.parametrize("status", [0, 99, 600, -200, 2000, "200", 200.5, None])
def test_a_status_outside_of_100_to_599_is_refused(status: Any) -> None:
    with pytest.raises(LocalProtocolError, match="is not 100 to 599"):
        serialize_status_line(status)


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("X-A", "b", b"X-A: b\r\n"),
        (b"X-A", b"b", b"X-A: b\r\n"),
        ("x-a", 5, b"x-a: 5\r\n"),
        ("X-A", -5, b"X-A: -5\r\n"),
        ("X-A", "", b"X-A: \r\n"),
        ("X-A", " \tb c\t ", b"X-A: b c\r\n"),
        ("X-A", "XbX", b"X-A: XbX\r\n"),
        ("X-A", "a\tb", b"X-A: a\tb\r\n"),
        ("X-A", "na\xefve", b"X-A: na\xefve\r\n"),
        ("X-A", b"\x80\xff", b"X-A: \x80\xff\r\n"),
        ("!#$%&'*+-.^_`|~09aZ", "v", b"!#$%&'*+-.^_`|~09aZ: v\r\n"),
        ("N" * 300, "v", b"N" * 300 + b": v\r\n"),
    ],
)
def test_a_field_line(name: str | bytes, value: str | bytes | int, line: bytes) -> None:
    for _ in range(2):
        assert serialize_field(name, value) == line


INJECTED = [
    *("\r", "\n", "\0", "a\r\nSet-Cookie: x=y", "a\nX: y", "a\rX: y", "a\0b"),
    *("\r\n\r\n<html>", "a\r\n b", "\x0b", "\x0c", "\x1f", "\x7f", "a\n", "\ra"),
]


@pytest.mark.parametrize("value", INJECTED)
def test_a_control_character_in_a_value_is_refused(value: str) -> None:
    for each in (value, value.encode()):
        for give in (
            lambda: serialize_field("X-A", each),  # noqa: B023 - called at once
            lambda: serialize_fields({"X-A": each}),  # noqa: B023
            lambda: serialize_fields([("A", "b"), ("X-A", ["c", each])]),  # noqa: B023
            lambda: serialize_fields({"Connection": each}),  # noqa: B023
        ):
            with pytest.raises(LocalProtocolError, match="holds a control character"):
                give()


@pytest.mark.parametrize(
    "name",
    ["", " ", "X A", "X-A:", "X:A", " X", "X ", "\tX", "X\r\nY", "X\n", "X\0", "\xe4"],
)
def test_a_name_that_is_no_token_is_refused(name: str) -> None:
    for each in (name, name.encode("latin-1")):
        with pytest.raises(LocalProtocolError, match="is not a token"):
            serialize_field(each, "v")
        with pytest.raises(LocalProtocolError, match="is not a token"):
            serialize_fields([(each, "v")])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "value of field 'X-A' is a NoneType, not str, bytes or int"),
        (1.5, "value of field 'X-A' is a float, not str, bytes or int"),
        (
            "\u20ac",
            "value of field 'X-A' holds a control character (CR, LF ...) or no latin-1",
        ),
    ],
)
def test_the_error_names_the_field(value: Any, message: str) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        serialize_field("X-A", value)
    assert str(caught.value) == message
    with pytest.raises(LocalProtocolError, match="X-A"):
        serialize_fields({"X-A": value})


def test_an_error_never_shows_a_value() -> None:
    with pytest.raises(LocalProtocolError) as caught:
        serialize_field("Set-Cookie", "secret\n")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("fields", [None, {}, [], (), Headers([])])
def test_no_fields(fields: FieldInput | None) -> None:
    assert serialize_fields(fields) == FieldBlock(b"", None, False, frozenset())


LINES = b"A: 1\r\nB: x\r\nB: y\r\n"


@pytest.mark.parametrize(
    "fields",
    [
        {"A": 1, "B": ["x", "y"]},
        OrderedDict([("A", "1"), ("B", ["x", b"y"])]),
        MappingProxyType({b"A": b"1", "B": ["x", "y"]}),
        [("A", "1"), ("B", "x"), ("B", "y")],
        (("A", 1), (b"B", ["x", "y"])),
    ],
)
def test_every_kind_of_input_gives_the_same_lines(fields: FieldInput) -> None:
    assert serialize_fields(fields).lines == LINES


def test_an_iterator_of_pairs_gives_the_same_lines() -> None:
    fields = iter([("A", "1"), ("B", "x"), ("B", "y")])
    assert serialize_fields(fields).lines == LINES


def test_headers_keep_their_repeats() -> None:
    fields = Headers([("a", "1"), ("set-cookie", "x"), ("set-cookie", "y")])
    lines = b"a: 1\r\nset-cookie: x\r\nset-cookie: y\r\n"
    assert serialize_fields(fields).lines == lines


def test_an_empty_list_gives_no_line() -> None:
    assert serialize_fields({"A": []}).lines == b""


@pytest.mark.parametrize(
    "name",
    [
        *("Connection", "Keep-Alive", "Proxy-Connection", "TE", "Trailer"),
        *("Transfer-Encoding", "Upgrade", "Content-Length", "TRANSFER-ENCODING"),
    ],
)
def test_framing_and_connection_are_not_the_callers(name: str) -> None:
    assert serialize_fields({name: "5", "A": "b"}).lines == b"A: b\r\n"
    assert serialize_fields([(name.encode(), "5")]).lines == b""


@pytest.mark.parametrize("spell", [str, str.lower, str.upper])
@pytest.mark.parametrize("name", ["Date", "Content-Type", "Content-Length"])
def test_what_is_there_is_told(spell: Any, name: str) -> None:
    for _ in range(2):
        assert serialize_fields({spell(name): "5"}).names == {name.lower()}


@pytest.mark.parametrize(
    ("value", "wants_close"),
    [
        ("close", True),
        ("Close", True),
        ("x, CLOSE", True),
        ("x,close,y", True),
        (["x", "close"], True),
        ("keep-alive", False),
        ("closed", False),
        ("", False),
    ],
)
def test_connection_close_is_told(value: str | list[Any], wants_close: bool) -> None:
    block = serialize_fields({"Connection": value})
    assert (block.wants_close, block.lines) == (wants_close, b"")


@pytest.mark.parametrize(
    ("value", "length"),
    [(5, 5), ("5", 5), (b" 5 ", 5), (0, 0), (["5", 5], 5), ("007", 7)],
)
def test_content_length_is_told(value: Any, length: int) -> None:
    block = serialize_fields({"content-length": value})
    assert (block.content_length, block.lines) == (length, b"")


@pytest.mark.parametrize("value", ["", "x", "-1", -1, "+5", "5, 5", "1_0", "1" * 19])
def test_a_content_length_that_is_no_number_is_refused(value: str | int) -> None:
    with pytest.raises(LocalProtocolError, match="is not a number"):
        serialize_fields({"Content-Length": value})


def test_differing_content_lengths_are_refused() -> None:
    message = "differing Content-Length: '5, 6'"
    with pytest.raises(LocalProtocolError, match=message):
        serialize_fields([("Content-Length", 6), ("content-length", "5")])


def test_a_block_that_a_program_repeats_is_kept() -> None:
    fields = {"Content-Type": "text/html", "Cache-Control": "no-store"}
    assert serialize_fields(fields) is serialize_fields(dict(fields))


def test_a_kept_block_comes_back_from_the_former_generation() -> None:
    block = serialize_fields({"Server": "kept"})
    for number in range(128):
        serialize_fields({"Server": str(number)})
    assert serialize_fields({"Server": "kept"}) is block
    assert len(_cached_blocks) <= 256


@pytest.mark.parametrize(
    "name", ["Set-Cookie", "Location", "Authorization", "X-Token", "ETag", "Link"]
)
def test_a_block_with_a_clients_own_value_is_never_kept(name: str) -> None:
    before = len(_cached_blocks)
    for _ in range(2):
        serialize_fields({name: "secret", "Server": "s"})
    assert len(_cached_blocks) == before


def test_a_long_block_is_not_kept() -> None:
    for size, is_kept in ((1024, True), (1025, False)):
        fields = {"Vary": "a" * (size - len("Vary: \r\n"))}
        assert (serialize_fields(fields) is serialize_fields(fields)) is is_kept


def test_a_dict_that_changes_gives_its_new_fields() -> None:
    fields = {"Server": "a"}
    assert serialize_fields(fields).lines == b"Server: a\r\n"
    fields["Server"] = "b"
    assert serialize_fields(fields).lines == b"Server: b\r\n"


def test_an_error_is_a_whole_response() -> None:
    octets = serialize_error(
        400, b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n", "bad na\xefve"
    )
    assert octets == (
        b"HTTP/1.1 400 Bad Request\r\n"
        b"Date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
        b"Content-Type: text/plain; charset=utf-8\r\n"
        b"Content-Length: 10\r\n"
        b"Connection: close\r\n\r\nbad na\xc3\xafve"
    )


def test_an_error_without_a_text_says_its_reason() -> None:
    assert serialize_error(414, b"").endswith(b"\r\n\r\n414 URI Too Long")


def test_the_text_of_an_error_stays_in_its_content() -> None:
    octets = serialize_error(400, b"", "a\r\n\r\nHTTP/1.1 200 OK\r\n\r\n")
    head, _, content = octets.partition(b"\r\n\r\n")
    assert b"Content-Length: %d" % len(content) in head


GIVEN: Any = {
    "A": "1", "X-B": "a:b", "D": "2", "Content-Length": 5, "Connection": "close",
}  # fmt: skip
BLOCK = serialize_fields(GIVEN)


@pytest.mark.parametrize(
    ("names", "lines", "length", "left"),
    [
        (
            *({"c"}, b"A: 1\r\nX-B: a:b\r\nD: 2\r\n", 5),
            {"a", "x-b", "d", "content-length", "connection"},
        ),
        (
            *({"a"}, b"X-B: a:b\r\nD: 2\r\n", 5),
            {"x-b", "d", "content-length", "connection"},
        ),
        (
            *({"x-b", "content-length"}, b"A: 1\r\nD: 2\r\n", None),
            {"a", "d", "connection"},
        ),
    ],
)  # fmt: skip
def test_a_block_without_some_fields(
    names: set[str], lines: bytes, length: int | None, left: set[str]
) -> None:
    block = BLOCK.without(frozenset(names))
    assert (block.lines, block.content_length) == (lines, length)
    assert block.wants_close
    assert set(block.names) == left


def test_a_block_without_what_it_has_not_is_the_same() -> None:
    assert BLOCK.without(frozenset(("c",))) is BLOCK


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("a", b"X-B: a:b\r\nD: 2\r\na: new\r\n"),
        ("X-b", b"A: 1\r\nD: 2\r\nX-b: new\r\n"),
        ("C", b"A: 1\r\nX-B: a:b\r\nD: 2\r\nC: new\r\n"),
    ],
)
def test_a_field_in_the_place_of_others(name: str, lines: bytes) -> None:
    block = BLOCK.replaced(name, "new")
    assert (block.lines, block.content_length) == (lines, 5)
    assert block.wants_close
    assert block.names == BLOCK.names | {name.lower()}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (5, "header fields: expected a mapping or pairs, found 5"),
        ("a: b", "header fields: expected a mapping or pairs, found 'a: b'"),
        (["ab"], "header fields: expected a mapping or pairs, found 'ab'"),
        ([("a",)], "header fields: expected a mapping or pairs, found ('a',)"),
        ([("a", "b", "c")], "found ('a', 'b', 'c')"),
        ([(5, "b")], "field name 5 is a int, not str or bytes"),
        ({5: "b"}, "field name 5 is a int, not str or bytes"),
    ],
)
def test_what_is_no_field_is_shown(fields: Any, message: str) -> None:
    with pytest.raises(LocalProtocolError) as caught:
        serialize_fields(fields)
    assert message in str(caught.value)


def test_a_name_is_checked_once_up_to_its_length() -> None:
    for size, is_kept in ((64, True), (65, False)):
        name = "Y" * size
        serialize_field(name, "1")
        assert (name in _cached_names.recent) is is_kept


def test_options_of_several_connection_fields_are_read() -> None:
    fields = [("Connection", "close"), ("Connection", "x, y")]
    assert serialize_fields(fields).wants_close
