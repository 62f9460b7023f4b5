"""RFC 9112 section 6: where the content of a request ends."""

import pytest

from tests.wire.feeding import Reading, read_every_way

CHUNKED = b"5\r\nhello\r\n0\r\n\r\n"
HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n"


def read(fields: bytes, content: bytes, line: bytes = b"POST / HTTP/1.1") -> Reading:
    return read_every_way(line + b"\r\nHost: h\r\n" + fields + b"\r\n" + content)


LENGTHS_REFUSED = [
    *(b"+5", b"-5", b"-0", b"0x5", b"5.0", b"5e0", b"1_0", b"1 0", b"5;q=1", b'"5"'),
    *(b"5\0", b"\0005", b"five", b"", b"5h", b"h5", b"(5)", b"5\t5", b"5:5", b"NaN"),
    *(b"\xa05", b"5\x85", b"\xb9", b"\xd9\xa5", b"\xef\xbc\x95", b"\xb2"),
    *(b"5, 6", b"5,", b",5", b"5,5", b"5, 5", b"5,,5", b", ", b"5\x0b", b"\x0c5"),
]


@pytest.mark.parametrize("value", LENGTHS_REFUSED)
def test_a_content_length_that_is_no_number_is_refused(value: bytes) -> None:
    reading = read(b"Content-Length: " + value + b"\r\n", b"hello")
    assert (reading.status, reading.messages) == (400, [])


@pytest.mark.parametrize(
    "value",
    [b"18446744073709551621", b"9223372036854775808", b"9" * 5_000, b"0" * 18 + b"5"],
)
def test_a_content_length_beyond_all_bounds_is_refused_with_413(value: bytes) -> None:
    assert read(b"Content-Length: " + value + b"\r\n", b"hello").status == 413


@pytest.mark.parametrize("second", [b"5", b"6", b"05", b""])
def test_a_second_content_length_is_refused_with_400(second: bytes) -> None:
    fields = b"Content-Length: 5\r\nA: b\r\ncontent-length: " + second + b"\r\n"
    assert read(fields, b"hello").status == 400


@pytest.mark.parametrize(
    ("value", "length"),
    [(b"0", 0), (b"5", 5), (b" \t 5 \t ", 5), (b"010", 10), (b"0" * 17 + b"5", 5)],
)
def test_content_ends_where_content_length_says(value: bytes, length: int) -> None:
    content = bytes(range(256))[-length:] if length else b""
    reading = read(b"cOnTeNt-LeNgTh:" + value + b"\r\n", content + HIDDEN)
    assert reading.contents == [content, b""]
    assert reading.messages[0].head.content_length == length


def test_octets_after_the_content_are_the_next_request() -> None:
    reading = read(b"Content-Length: 5\r\n", b"hello\0\1\2 junk\r\n\r\n")
    assert (reading.status, reading.contents) == (400, [b"hello"])


def test_content_that_looks_like_a_request_is_content() -> None:
    for method in (b"GET", b"HEAD", b"OPTIONS", b"DELETE", b"POST", b"TRACE"):
        length = b"Content-Length: %d\r\n" % len(HIDDEN)
        reading = read(length, HIDDEN, method + b" / HTTP/1.1")
        assert reading.contents == [HIDDEN]


def test_content_of_line_ends_is_no_delimiter() -> None:
    reading = read(b"Content-Length: 8\r\n", b"\r\n" * 4)
    assert reading.contents == [b"\r\n" * 4]


def test_content_that_is_cut_short_is_not_whole() -> None:
    [message] = read(b"Content-Length: 10\r\n", b"hello").messages
    assert not message.is_whole


def test_without_framing_fields_there_is_no_content() -> None:
    reading = read(b"Content_Length: 5\r\n", HIDDEN)
    assert reading.contents == [b"", b""]
    assert reading.messages[0].head.content_length is None


CODINGS_REFUSED: dict[bytes, int] = {
    # rule 4: chunked is not the final coding
    b"": 400,
    b"gzip": 400,
    b"identity": 400,
    b"chunked, gzip": 400,
    b"chunked, identity": 400,
    b"chunked, chunked": 400,
    b"chunked,": 400,
    b", chunked": 400,
    b"chunked,,": 400,
    b"gzip chunked": 400,
    b"cow chunked bar": 400,
    b"xchunked": 400,
    b"chunkedx": 400,
    b"chunkedchunked": 400,
    b'"chunked"': 400,
    b"'chunked'": 400,
    b"\x0bchunked": 400,
    b"chunked\x0b": 400,
    b"\x0cchunked": 400,
    b"\xa0chunked": 400,
    b"chunked\x85": 400,
    b"chunked\0": 400,
    b"ch\x96nked": 400,
    b"c\xe2\x84\xaaunked": 400,
    b"chunked;q=1": 400,
    b"chunked;": 400,
    b"chunked ;a=b": 400,
    b"chunked\tx": 400,
    b"chunked: x": 400,
    b"{}, chunked": 400,
    # section 6.1: codings that we do not implement
    b"gzip, chunked": 501,
    b"deflate,chunked": 501,
    b"compress , CHUNKED": 501,
    b"cow, chunked": 501,
    b"identity, chunked": 501,
    b"gzip;q=1, chunked": 501,
}


@pytest.mark.parametrize("value", CODINGS_REFUSED)
def test_transfer_codings_other_than_one_chunked_are_refused(value: bytes) -> None:
    reading = read(b"Transfer-Encoding: " + value + b"\r\n", CHUNKED)
    assert (reading.status, reading.messages) == (CODINGS_REFUSED[value], [])


@pytest.mark.parametrize("value", CODINGS_REFUSED)
def test_they_are_refused_beside_content_length_too(value: bytes) -> None:
    for fields in (
        b"Content-Length: 5\r\nTransfer-Encoding: " + value + b"\r\n",
        b"Transfer-Encoding: " + value + b"\r\nContent-Length: 5\r\n",
    ):
        assert read(fields, CHUNKED).status in (400, 501)


@pytest.mark.parametrize(
    ("first", "second", "status"),
    [
        (b"chunked", b"chunked", 400),
        (b"chunked", b"identity", 400),
        (b"chunked", b"", 400),
        (b"gzip", b"chunked", 501),
        (b"", b"chunked", 400),
    ],
)
def test_two_lines_are_one_list(first: bytes, second: bytes, status: int) -> None:
    fields = b"Transfer-Encoding: %b\r\nA: b\r\ntransfer-encoding: %b\r\n"
    assert read(fields % (first, second), CHUNKED).status == status


@pytest.mark.parametrize(
    "value", [b"chunked", b"CHUNKED", b"Chunked", b" \tchunked", b"chunked \t"]
)
def test_chunked_in_any_case(value: bytes) -> None:
    for method in (b"POST", b"GET", b"HEAD", b"DELETE", b"OPTIONS"):
        fields = b"Transfer-Encoding:" + value + b"\r\n"
        reading = read(fields, CHUNKED + HIDDEN, method + b" / HTTP/1.1")
        assert reading.contents == [b"hello", b""]
        assert reading.messages[0].head.is_chunked


@pytest.mark.parametrize("length", [b"0", b"5", b"15", b"49"])
@pytest.mark.parametrize("line", [b"POST / HTTP/1.1", b"GET / HTTP/1.1"])
def test_both_framings_are_refused_in_any_order(length: bytes, line: bytes) -> None:
    fields = [b"Content-Length: " + length + b"\r\n", b"Transfer-Encoding: chunked\r\n"]
    content = b"0\r\n\r\n" + HIDDEN
    assert read(b"".join(fields), content, line).status == 400
    assert read(b"".join(reversed(fields)), content, line).status == 400


def test_transfer_encoding_is_refused_in_http_1_0() -> None:
    for fields in (
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 15\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
    ):
        assert read(fields, CHUNKED + HIDDEN, b"POST / HTTP/1.0").status == 400


def test_content_length_is_good_in_http_1_0() -> None:
    reading = read(b"Content-Length: 5\r\n", b"hello", b"POST / HTTP/1.0")
    assert reading.contents == [b"hello"]
