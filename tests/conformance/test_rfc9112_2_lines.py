"""RFC 9112 section 2.2: line ends, and what may stand before a request line."""

import pytest

from tests.wire.feeding import read_every_way

GET = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


@pytest.mark.parametrize("empty_lines", range(5))
def test_empty_lines_before_a_request_line_are_skipped(empty_lines: int) -> None:
    reading = read_every_way(b"\r\n" * empty_lines + GET + b"\r\n" + GET)
    assert [each.head.method for each in reading.messages] == ["GET", "GET"]


@pytest.mark.parametrize("empty_lines", [5, 6, 1_000])
def test_endless_empty_lines_are_refused(empty_lines: int) -> None:
    assert read_every_way(b"\r\n" * empty_lines).status == 400
    assert read_every_way(b"\r\n" * empty_lines + GET).status == 400


def test_an_extra_crlf_after_content_is_skipped() -> None:
    post = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello"
    assert read_every_way(post + b"\r\n" + GET).contents == [b"hello", b""]


REFUSED = {
    "LF after the request line": b"GET / HTTP/1.1\nHost: h\r\n\r\n",
    "LF everywhere": b"GET / HTTP/1.1\nHost: h\n\n",
    "LF after a field": b"GET / HTTP/1.1\r\nHost: h\nA: b\r\n\r\n",
    "LF LF at the end": b"GET / HTTP/1.1\r\nHost: h\n\n",
    "CRLF LF at the end": b"GET / HTTP/1.1\r\nHost: h\r\n\nA: b\r\n\r\n",
    "LF CRLF at the end": b"GET / HTTP/1.1\r\nHost: h\n\r\n",
    "LF before the request line": b"\n" + GET,
    "CR before the request line": b"\r" + GET,
    "CRLF LF before the request line": b"\r\n\n" + GET,
    "CR CRLF before the request line": b"\r\r\n" + GET,
    "space before the request line": b" " + GET,
    "line of spaces before the request line": b"   \r\n" + GET,
    "CR after the request line": b"GET / HTTP/1.1\rHost: h\r\n\r\n",
    "CR CRLF after the request line": b"GET / HTTP/1.1\r\r\nHost: h\r\n\r\n",
    "CR in a field": b"GET / HTTP/1.1\r\nHost: h\r\nA: b\rc\r\n\r\n",
    "CR at the end of a field": b"GET / HTTP/1.1\r\nHost: h\r\nA: b\r\r\n\r\n",
    "CR at the start of a field": b"GET / HTTP/1.1\r\nHost: h\r\n\rA: b\r\n\r\n",
    "CR CR at the end": b"GET / HTTP/1.1\r\nHost: h\r\n\r\r\n\r\n",
    "CR X at the end": b"GET / HTTP/1.1\r\nHost: h\r\n\rZ" + GET,
    "NUL before the request line": b"\0" + GET,
    "byte order mark before the request line": b"\xef\xbb\xbf" + GET,
    "TLS ClientHello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 40,
    "octets of no meaning": b"\x80\xff\x00\x137" * 20 + b"\r\n\r\n",
}


@pytest.mark.parametrize("octets", REFUSED.values(), ids=REFUSED)
def test_any_other_line_end_or_prefix_is_refused(octets: bytes) -> None:
    reading = read_every_way(octets)
    assert (reading.status, reading.messages) == (400, [])


def test_what_can_still_become_a_head_is_waited_for() -> None:
    for end in range(len(GET)):
        reading = read_every_way(b"\r\n" + GET[:end])
        assert (reading.status, reading.messages) == (None, [])


def test_a_client_that_speaks_tls_is_refused_at_its_first_octet() -> None:
    assert read_every_way(b"\x16").status == 400
