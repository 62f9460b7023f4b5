"""RFC 9112 section 5 and RFC 9110 section 5: field lines."""

import pytest

from tests.wire.feeding import Reading, read_every_way


def read(fields: bytes) -> Reading:
    return read_every_way(b"GET / HTTP/1.1\r\nHost: h\r\n" + fields + b"\r\n")


REFUSED = [
    b"NoColonHere",
    b"X",
    b": v",
    b":",
    b":: v",
    # section 5.1: no whitespace before the colon
    b"X-A : b",
    b"X-A\t: b",
    b"X-A \t : b",
    b"Host : x",
    b"Transfer-Encoding : chunked",
    b"Content-Length : 5",
    b"Transfer Encoding: chunked",
    # section 5.2: obs-fold
    b" X-A: b",
    b"\tX-A: b",
    b" Content-Length: 5",
    b"X-A: b\r\n c",
    b"X-A: b\r\n\tc",
    b"X-A: b\r\n ",
    b"X-A:\r\n b",
    b"Transfer-Encoding:\r\n chunked",
    # RFC 9110 section 5.6.2: field-name = token
    *(b"X%cA: v" % octet for octet in b'"(),/;<=>?@[\\]{}\x00\x01\x0b\x0c\x1f\x7f'),
    *(b"X%cA: v" % octet for octet in b"\x80\x85\xa0\xad\xb5\xff"),
    b"X-A\xa0: v",
    b"X-A\x85: v",
    b"X-\xc3\xa4: v",
    b"\xef\xbb\xbfX-A: v",
    # RFC 9110 section 5.5: no CTL in field-value
    *(b"X-A: a%cb" % octet for octet in bytes(range(0x20)) if octet != 0x09),
    b"X-A: a\x7fb",
    b"X-A: \0",
    b"X-A:\x0bb",
    b"X-A: b\x0c",
    b"X-A: a\nX-B: c",
    b"X-A: a\n c",
]


@pytest.mark.parametrize("line", REFUSED)
def test_a_malformed_field_line_is_refused(line: bytes) -> None:
    for fields in (line, b"A: b\r\n" + line, line + b"\r\nA: b"):
        assert read(fields + b"\r\n").status == 400


def test_a_field_before_host_is_judged_too() -> None:
    head = b"GET / HTTP/1.1\r\n X-A: b\r\nHost: h\r\n\r\n"
    assert read_every_way(head).status == 400
    assert read_every_way(b"POST" + head[3:] + b"hello").status == 400


READ: dict[bytes, tuple[str, str]] = {
    b"X-A: b": ("x-a", "b"),
    b"X-A:b": ("x-a", "b"),
    b"X-A:": ("x-a", ""),
    b"X-A: \t ": ("x-a", ""),
    b"X-A: \t b \t": ("x-a", "b"),
    b"X-A: a\tb": ("x-a", "a\tb"),
    b"X-A: a  b": ("x-a", "a  b"),
    b"X-A: a:b: c": ("x-a", "a:b: c"),
    b"X-A: \xa0b\xa0": ("x-a", "\xa0b\xa0"),
    b"X-A: \x80\x85\xff": ("x-a", "\x80\x85\xff"),
    b"X-A: na\xc3\xafve": ("x-a", "na\u00c3\u00afve"),
    b'X-A: "quoted \\" string", (comment)': ("x-a", '"quoted \\" string", (comment)'),
    b"X!#$%&'*+-.^_`|~09azAZ: v": ("x!#$%&'*+-.^_`|~09azaz", "v"),
    b"1: v": ("1", "v"),
    b"Content_Length: 5": ("content_length", "5"),
    b"Transfer_Encoding: chunked": ("transfer_encoding", "chunked"),
}


@pytest.mark.parametrize("line", READ)
def test_a_good_field_line_gives_lower_case_name_and_trimmed_value(line: bytes) -> None:
    [message] = read(line + b"\r\n").messages
    assert message.head.headers.pairs == [("host", "h"), READ[line]]
    assert message.head.content_length is None
    assert not message.head.is_chunked


def test_repeated_fields_keep_their_order() -> None:
    fields = b"X-A: 1\r\nCookie: a=b\r\nX-B: 2\r\nx-a: 3\r\nCookie: c=d\r\n"
    headers = read(fields).messages[0].head.headers
    assert headers["X-A"] == "1, 3"
    assert headers["cookie"] == "a=b; c=d"
    assert [name for name, _ in headers.pairs][1:] == [
        "x-a",
        "cookie",
        "x-b",
        "x-a",
        "cookie",
    ]


def test_a_bad_octet_that_comes_late_is_refused() -> None:
    assert read(b"X-A: a\0b\r\n").status == 400


def test_no_field_at_all() -> None:
    [message] = read_every_way(b"GET / HTTP/1.0\r\n\r\n").messages
    assert message.head.headers.pairs == []
