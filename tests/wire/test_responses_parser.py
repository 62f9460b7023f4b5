"""Each head is fed whole, octet by octet, and with octets behind it."""

import pytest

from blazeio.errors import RemoteProtocolError
from blazeio.limits import Limits
from blazeio.wire.heads import (
    ResponseHead,
    cached_response_heads,
    parse_response_head,
)

LIMITS = Limits()


def parse(octets: bytes, limits: Limits = LIMITS) -> ResponseHead:
    """The head that ``octets`` are, however they arrive."""
    cached_response_heads.clear()
    head = parse_response_head(octets + b"content\r\n\r\n", limits)
    assert head is not None
    assert head.size == len(octets)
    for end in range(len(octets)):
        scanned = max(end - 4, 0)
        assert parse_response_head(octets[:end], limits, scanned) is None
    return head


def refuse(octets: bytes, limits: Limits = LIMITS) -> str:
    """Why ``octets`` are no head; octet by octet they are refused as well."""
    cached_response_heads.clear()
    with pytest.raises(RemoteProtocolError) as caught:
        parse_response_head(octets, limits)
    with pytest.raises(RemoteProtocolError):
        feed_octet_by_octet(octets, limits)
    return str(caught.value)


def feed_octet_by_octet(octets: bytes, limits: Limits) -> None:
    for end in range(len(octets) + 1):
        parse_response_head(octets[:end], limits, max(end - 4, 0))


def test_a_head_is_taken_apart() -> None:
    head = parse(
        b"HTTP/1.1 404 Not Found\r\nServer: x\r\nContent-Length: 12\r\n"
        b"Set-Cookie: a=1\r\nset-cookie: b=2\r\nKeep-Alive: timeout=7\r\n"
        b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    )
    assert (head.upgrade, head.keep_alive_s) == ("websocket", 7)
    assert (head.status, head.reason, head.minor) == (404, "Not Found", 1)
    assert (head.content_length, head.is_chunked) == (12, False)
    assert head.is_persistent
    assert head.headers.get_all("set-cookie") == ["a=1", "b=2"]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"HTTP/1.1 200 OK", (1, 200, "OK")),
        (b"HTTP/1.1 200 ", (1, 200, "")),
        (b"HTTP/1.1 200", (1, 200, "")),
        (b"HTTP/1.0 200 OK", (0, 200, "OK")),
        (b"HTTP/1.2 599 a\tb \xfc", (1, 599, "a\tb \xfc")),
        (b"HTTP/1.1 100 Continue", (1, 100, "Continue")),
        (b"HTTP/1.1 600 High", (1, 600, "High")),
        (b"HTTP/1.1 999", (1, 999, "")),
    ],
)
def test_status_lines(line: bytes, expected: tuple[int, int, str]) -> None:
    head = parse(line + b"\r\n\r\n")
    assert (head.minor, head.status, head.reason) == expected


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"HTTP/2.0 200 OK", "HTTP/2.0 is not spoken here"),
        (b"HTTP/1.1 099 Low", "malformed status line b'HTTP/1.1 099 Low'"),
        (b"HTTP/1.1 000 Low", "malformed status line b'HTTP/1.1 000 Low'"),
        (b"HTTP/1.1 1000 High", "malformed status line b'HTTP/1.1 1000 High'"),
        (b"HTTP/1.0 20 Short", "malformed status line b'HTTP/1.0 20 Short'"),
        (b"HTTP/1.1 20 Short", "malformed status line b'HTTP/1.1 20 Short'"),
        (b"HTTP/1.1  200 OK", "malformed status line b'HTTP/1.1  200 OK'"),
        (b"HTTP/1.1 200 O\x00K", "malformed status line b'HTTP/1.1 200 O\\x00K'"),
        (b"HTTP/11 200 OK", "malformed status line b'HTTP/11 200 OK'"),
        (b"http/1.1 200 OK", "malformed status line b'http/1.1 200 OK'"),
        (b"", "malformed status line b''"),
    ],
)
def test_bad_status_lines(line: bytes, message: str) -> None:
    assert refuse(line + b"\r\n\r\n") == message


@pytest.mark.parametrize(
    "octets",
    [
        b"HTTP/1.1 200 OK\nServer: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nServer : x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n A: b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\t\r\nA: b\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\n c\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked,\r\n gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding:\r\n chunked"
        b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: b\x00\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_bad_fields(octets: bytes) -> None:
    assert refuse(octets)


@pytest.mark.parametrize(
    ("octets", "message"),
    [
        (b"SSH-2.0-OpenSSH_9.2\r\n", "this is not HTTP: b'SSH-2.0-OpenSSH_9.2'"),
        (b"\x15\x03\x01", "this is not HTTP: b'\\x15\\x03\\x01'"),
        (b"HTTP/2.0 4", "HTTP/2.0 is not spoken here"),
        (b"HTTP/1.1 2 OK\r\n", "malformed status line b'HTTP/1.1 2 OK'"),
        (b"HTTP/1.1 200 OK\nA: b", "bare CR or LF in the head"),
    ],
)
def test_what_cannot_become_a_head_is_refused_at_once(
    octets: bytes, message: str
) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        parse_response_head(octets, LIMITS)
    assert str(caught.value) == message


def test_the_bounds_hold_before_the_end_has_come() -> None:
    limits = Limits(head_bytes=100, field_count=2, field_bytes=20)
    start = b"HTTP/1.1 200 OK\r\n"
    assert refuse(start + b"A: " + b"b" * 200, limits) == "head larger than 100 octets"
    assert refuse(start + b"A: b\r\n" * 3 + b"\r\n", limits).startswith("3 fields")
    assert refuse(start + b"A: " + b"b" * 20 + b"\r\n\r\n", limits).startswith("field")
    assert refuse(b"HTTP/1.1 200 " + b"a" * 9000).startswith("status line longer")


def test_the_bounds_are_inclusive() -> None:
    head = b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n"
    size = len(head)
    assert parse(head, Limits(head_bytes=size)).size == size
    smaller = Limits(head_bytes=size - 1)
    refusal = f"head larger than {size - 1} octets"
    assert refuse(head, smaller) == refusal
    assert parse_response_head(head[: size - 2], smaller) is None
    assert refuse(head[: size - 1], smaller) == refusal


def test_the_bound_of_a_status_line_is_inclusive() -> None:
    longest = b"HTTP/1.1 200 ".ljust(8192, b"a")
    for end in (b"", b"\r\n"):
        assert parse_response_head(longest + end, LIMITS) is None
        assert refuse(longest + b"a" + end).startswith("status line longer")
    assert parse_response_head(longest + b"\r\n\r\n", LIMITS) is not None
    assert refuse(longest + b"a\r\n\r\n").startswith("status line longer")


def test_a_head_of_1_kib_is_kept() -> None:
    start = b"HTTP/1.1 200 OK\r\n" + b"Server: a\r\n" * 80 + b"Vary: "
    for size, is_kept in ((1024, True), (1025, False)):
        octets = start.ljust(size - 4, b"b") + b"\r\n\r\n"
        for _ in range(3):
            parse_response_head(octets, LIMITS)
        assert (octets in cached_response_heads.recent) is is_kept


def test_equal_heads_are_one_object_unless_they_set_a_cookie() -> None:
    shared = b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 2\r\n\r\n"
    parse_response_head(shared, LIMITS)  # each line is seen for the first time
    first = parse_response_head(shared, LIMITS)
    assert parse_response_head(shared + b"more", LIMITS) is first
    secret = shared[:-2] + b"Set-Cookie: a=1\r\n\r\n"
    parse_response_head(secret, LIMITS)
    assert parse_response_head(secret, LIMITS) is not parse_response_head(
        secret, LIMITS
    )


def test_a_kept_head_is_not_for_other_limits() -> None:
    octets = b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\n"
    for _ in range(2):
        parse_response_head(octets, LIMITS)
    assert refuse(octets, Limits(head_bytes=20)) == "head larger than 20 octets"


# A field over several lines


@pytest.mark.parametrize(
    ("fields", "pairs"),
    [
        (b"A: b\r\n c", [("a", "b c")]),
        (b"A: b \r\n\t \t c\r\nD: e", [("a", "b  c"), ("d", "e")]),
        (b"A:\r\n b", [("a", "b")]),
        (b"A: b\r\n \r\n c", [("a", "b  c")]),
        (b"A: b\r\n ", [("a", "b")]),
        (b"A: b\r\n C: d", [("a", "b C: d")]),
    ],
)
def test_line_ends_within_a_field_are_blanks(
    fields: bytes, pairs: list[tuple[str, str]]
) -> None:
    assert parse(b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n\r\n").headers.pairs == pairs


def test_framing_may_be_folded_and_is_never_hidden() -> None:
    start = b"HTTP/1.1 200 OK\r\n"
    assert parse(start + b"Content-Length:\r\n 7\r\n\r\n").content_length == 7
    assert parse(start + b"Transfer-Encoding:\r\n\tchunked\r\n\r\n").is_chunked
    head = parse(start + b"A: b\r\n Content-Length: 7\r\n\r\n")
    assert head.content_length is None


def test_a_folded_field_has_the_bound_of_a_field() -> None:
    octets = b"HTTP/1.1 200 OK\r\nA: " + b"b\r\n " * 20 + b"\r\n\r\n"
    assert refuse(octets, Limits(field_bytes=30)).startswith("field line of ")


def read() -> ResponseHead:
    head = parse_response_head(b"HTTP/1.1 404 Not Found\r\n\r\n", Limits())
    assert head is not None
    return head


def test_repr_is_the_status_line() -> None:
    assert repr(read()) == "<ResponseHead HTTP/1.1 404 Not Found>"


def test_nothing_of_it_can_be_set() -> None:
    for name in (*ResponseHead.__struct_fields__, "other"):
        with pytest.raises(AttributeError):
            setattr(read(), name, None)
