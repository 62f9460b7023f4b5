"""RFC 9112 section 7: the chunked transfer coding, as requests carry it."""

import pytest

from tests.wire.feeding import Reading, read_every_way

HEAD = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
NEXT = b"GET /next HTTP/1.1\r\nHost: h\r\n\r\n"


def read(content: bytes) -> Reading:
    return read_every_way(HEAD + content)


READ: dict[bytes, bytes] = {
    b"0\r\n\r\n": b"",
    b"00000\r\n\r\n": b"",
    b"5\r\nhello\r\n0\r\n\r\n": b"hello",
    b"2\r\nhe\r\n3\r\nllo\r\n1\r\n!\r\n0\r\n\r\n": b"hello!",
    b"A\r\n0123456789\r\n0\r\n\r\n": b"0123456789",
    b"a\r\n0123456789\r\n0\r\n\r\n": b"0123456789",
    b"0005\r\nhello\r\n0\r\n\r\n": b"hello",
    b"0000000000000005\r\nhello\r\n0\r\n\r\n": b"hello",
    b"2\r\n\r\n\r\n0\r\n\r\n": b"\r\n",
    b"7\r\n0\r\n\r\n\r\n\r\n0\r\n\r\n": b"0\r\n\r\n\r\n",
    # section 7.1.1: extensions are ignored; BWS is accepted
    b"5;a\r\nhello\r\n0\r\n\r\n": b"hello",
    b"5;a=b;c=d;e\r\nhello\r\n0;f\r\n\r\n": b"hello",
    b'5;a="x;y"\r\nhello\r\n0\r\n\r\n': b"hello",
    b'5;a=""\r\nhello\r\n0\r\n\r\n': b"hello",
    b'5;a="\\"\\\\ \\;"\r\nhello\r\n0\r\n\r\n': b"hello",
    b'5;a="\t\x80\xff";b\r\nhello\r\n0\r\n\r\n': b"hello",
    b"5 ; a=b\r\nhello\r\n0\r\n\r\n": b"hello",
    b"5\t;\t a \t=\t b\r\nhello\r\n0\r\n\r\n": b"hello",
    # section 7.1.2: trailers
    b"5\r\nhello\r\n0\r\nX-T: v\r\n\r\n": b"hello",
    b"5\r\nhello\r\n0\r\nA: 1\r\nB: 2\r\n\r\n": b"hello",
    b"0;a=b\r\nX-T:\r\n\r\n": b"",
}


@pytest.mark.parametrize("content", READ)
def test_chunks_are_joined_and_what_follows_is_the_next_request(content: bytes) -> None:
    assert read(content).contents == [READ[content]]
    reading = read(content + NEXT)
    assert reading.contents == [READ[content], b""]
    assert reading.messages[1].head.target == "/next"


_SIZES = [
    *(b"", b"0x5", b"g", b"5g", b" 5", b"\t5", b"5 ", b"5\t", b"-5", b"+5", b"5.0"),
    *(b"5,0", b"5_0", b"5:5", b"5h", b"0h", b"\xb9", b"\xb2", b"\xd9\xa5", b"\xa05"),
    *(b"5\xa0", b"5\0", b"\x005", b"5\x1c", b"5\x85", b"5\x0b", b"\x0c5", b'"5"'),
    *(b"10000000000000005", b"00000000000000005", b"f" * 100, b"1" + b"0" * 32),
]
_EXTENSIONS = [
    *(b";", b"; ", b";;", b";=b", b";a=", b";a= ", b";a==b", b";a=b;", b";a;;b"),
    *(
        b"g",
        b",a",
        b" a",
        b"=a",
        b";a b",
        b";a=b c",
        b";a=b ",
        b";a ",
        b";(a)",
        b";a/b",
    ),
    *(b';"a"', b';a="', b';a="b', b';a=b"', b';a="b"c', b';a="\\"', b';a="b" '),
    *(b";a\0b", b';a="\0"', b';a="\x7f"', b';a="\x01"', b';a="\\\x01"', b";a\x01"),
    *(b";a\nb", b";a\rb", b";a=b\r", b"\r", b';a="\r"', b';a="\n"', b';a="\\\n"'),
    *(b";\xe4", b";a=\xe4", b";a\x0bb", b" \x0b;a", b"; a = b = c"),
]


@pytest.mark.parametrize(
    "line", [*_SIZES, *(b"5" + extension for extension in _EXTENSIONS)]
)
def test_a_malformed_chunk_line_is_refused(line: bytes) -> None:
    assert read(line + b"\r\nhello\r\n0\r\n\r\n").status == 400
    assert read(b"1\r\nx\r\n" + line + b"\r\nhello\r\n0\r\n\r\n").status == 400
    last = b"0" + line.removeprefix(b"5")
    if last not in (b"0", b"00000000000000005"):
        assert read(b"1\r\nx\r\n" + last + b"\r\n\r\n").status == 400


REFUSED = {
    "LF after the size": b"5\nhello\r\n0\r\n\r\n",
    "LF everywhere": b"5\nhello\n0\n\n",
    "CR CRLF after the size": b"5\r\r\nhello\r\n0\r\n\r\n",
    "CR X after the size": b"5\rXhello\r\n0\r\n\r\n",
    "LF CR after the size": b"5\n\rhello\r\n0\r\n\r\n",
    "data longer than its size": b"5\r\nhelloXX\r\n0\r\n\r\n",
    "data longer by a CR": b"5\r\nhello\r\r\n0\r\n\r\n",
    "data shorter than its size": b"5\r\nhell\r\n0\r\n\r\n",
    "no CRLF after the data": b"5\r\nhello0\r\n\r\n",
    "LF after the data": b"5\r\nhello\n0\r\n\r\n",
    "CR X after the data": b"5\r\nhello\rX0\r\n\r\n",
    "two CRLF after the data": b"5\r\nhello\r\n\r\n0\r\n\r\n",
    "CRLF before the first size": b"\r\n5\r\nhello\r\n0\r\n\r\n",
    "LF after the last chunk": b"5\r\nhello\r\n0\n\r\n",
    "LF LF after the last chunk": b"5\r\nhello\r\n0\n\n",
    "LF as the end": b"5\r\nhello\r\n0\r\n\n",
    "CR X as the end": b"5\r\nhello\r\n0\r\n\rX",
    "space as the end": b"5\r\nhello\r\n0\r\n \r\n",
    "no empty line before the next request": b"5\r\nhello\r\n0\r\n" + NEXT,
    "trailer without a colon": b"0\r\nnocolon\r\n\r\n",
    "space before the colon of a trailer": b"0\r\nA : b\r\n\r\n",
    "folded trailer": b"0\r\nA: b\r\n c\r\n\r\n",
    "control octet in a trailer": b"0\r\nA: b\x00\r\n\r\n",
    "LF after a trailer": b"0\r\nA: b\nC: d\r\n\r\n",
    "CR in a trailer": b"0\r\nA: b\rc\r\n\r\n",
    "Content-Length as a trailer": b"0\r\nContent-Length: 99\r\n\r\n",
    "Transfer-Encoding as a trailer": b"0\r\nTransfer-Encoding: chunked\r\n\r\n",
    "empty name of a trailer": b"0\r\n: b\r\n\r\n",
}


@pytest.mark.parametrize("content", REFUSED.values(), ids=REFUSED)
def test_any_other_framing_is_refused(content: bytes) -> None:
    reading = read(content)
    assert reading.status == 400
    assert not reading.messages[0].is_whole


def test_content_without_its_end_is_not_whole() -> None:
    content = b"5;a=b\r\nhello\r\n0\r\nX: y\r\n\r\n"
    for end in range(len(content)):
        [message] = read(content[:end]).messages
        assert not message.is_whole


def test_trailers_are_kept_apart_from_the_head() -> None:
    [message] = read(b"0\r\nX-T: v\r\nX-T: w\r\n\r\n").messages
    assert message.trailers is not None
    assert message.trailers.pairs == [("x-t", "v"), ("x-t", "w")]
    assert "x-t" not in message.head.headers


@pytest.mark.parametrize(
    "line",
    [
        b"Host: evil.example",
        b"X-Forwarded-For: 127.0.0.1",
        b"Authorization: Basic eDp5",
        b"Cookie: a=b",
        b"Connection: close",
        b"Content-Type: text/html",
        b"Trailer: x",
    ],
)
def test_a_trailer_that_would_change_the_request_is_dropped(line: bytes) -> None:
    # RFC 9110 sections 6.5.1 and 6.5.2
    reading = read(b"5\r\nhello\r\n0\r\n" + line + b"\r\n\r\n" + NEXT)
    assert reading.contents == [b"hello", b""]
    assert reading.messages[0].trailers is None
    assert reading.messages[0].head.host == "h"


def test_many_small_chunks_are_read() -> None:
    reading = read(b"1\r\nx\r\n" * 5_000 + b"0\r\n\r\n")
    assert reading.contents == [b"x" * 5_000]
