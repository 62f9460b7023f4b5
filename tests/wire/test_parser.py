"""The parser as a function; the grammar by section is in tests/conformance."""

import pytest

from blazeio.errors import ConfigurationError, RemoteProtocolError
from blazeio.limits import Limits
from blazeio.wire.request import (
    RequestHead,
    cached_heads,
    cached_heads_with_content,
    parse_head,
)
from tests.wire.feeding import cut, read_every_way, read_messages

LIMITS = Limits()
GET = b"GET /a%20b?c=d HTTP/1.1\r\nHost: h\r\nAccept: */*\r\n\r\n"


def refusal_of(octets: bytes, limits: Limits = LIMITS) -> tuple[int, str]:
    with pytest.raises(RemoteProtocolError) as caught:
        parse_head(octets, limits)
    return caught.value.status_hint, str(caught.value)


@pytest.mark.parametrize("times", range(3))
def test_every_attribute_of_a_head_is_set(times: int) -> None:
    head = parse_head(GET, LIMITS)
    assert head is not None
    assert (head.method, head.target) == ("GET", "/a%20b?c=d")
    assert (head.path, head.query, head.minor) == ("/a b", "c=d", 1)
    assert head.headers == {"host": "h", "accept": "*/*"}
    assert (head.host, head.upgrade) == ("h", None)
    assert (head.content_length, head.is_chunked) == (None, False)
    assert (head.is_persistent, head.expects_continue) == (True, False)
    assert head.end == len(GET)


START, HOST = b"GET /a?b?c HTTP/1.1", b"\r\nHost: h"


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        (START + HOST, {"path": "/a", "query": "b?c", "is_plain": True}),
        (b"GET /a HTTP/1.1" + HOST, {"path": "/a", "query": ""}),
        (b"HEAD / HTTP/1.1" + HOST, {"is_plain": False, "is_persistent": True}),
        (
            START + HOST + b"\r\nConnection: close",
            {"is_plain": False, "is_persistent": False},
        ),
        (
            b"GET / HTTP/1.0" + HOST + b"\r\nConnection: keep-alive",
            {"minor": 0, "is_plain": False, "is_persistent": True},
        ),
        (b"GET / HTTP/1.2" + HOST, {"minor": 1, "is_plain": True}),
        (
            START + HOST + b"\r\nConnection: upgrade\r\nUpgrade: x\r\nUpgrade: y",
            {"upgrade": "x, y"},
        ),
        (
            START + HOST + b"\r\nExpect: 100-continue\r\nContent-Length: 3",
            {"expects_continue": True, "content_length": 3, "is_chunked": False},
        ),
        (START + HOST + b"\r\nTransfer-Encoding: chunked", {"is_chunked": True}),
        (b"M" * 32 + b" / HTTP/1.1" + HOST, {"method": "M" * 32}),
        (b"OPTIONS * HTTP/1.1\r\nHost:", {"path": "*", "host": ""}),
        (
            b"GET http://o/?a HTTP/1.0\r\nA: b",
            {
                "path": "/",
                "query": "a",
                "host": "o",
                "headers": {"host": "o", "a": "b"},
            },
        ),
    ],
)
def test_what_a_head_says(octets: bytes, expected: dict[str, object]) -> None:
    for _ in range(3):
        head = parse_head(octets + b"\r\n\r\n", LIMITS)
        assert head is not None
        assert {name: getattr(head, name) for name in expected} == expected


@pytest.mark.parametrize("count", range(2, 6))
def test_empty_lines_before_a_head_that_is_not_whole(count: int) -> None:
    octets = b"\r\n" * count + b"GET / HT"
    if count <= 4:
        assert parse_head(octets, LIMITS) is None
    else:
        assert refusal_of(octets)[0] == 400


def test_a_head_may_begin_anywhere_and_more_may_follow() -> None:
    octets = b"\r\nx" + GET + b"more" + GET
    head = parse_head(octets, LIMITS, 3)
    assert head is not None
    assert octets[head.end :] == b"more" + GET
    second = parse_head(octets, LIMITS, head.end + 4)
    assert second is not None
    assert second.end == len(octets)


@pytest.mark.parametrize("size", range(len(GET)))
def test_a_head_that_is_not_whole_gives_none(size: int) -> None:
    assert parse_head(GET[:size], LIMITS) is None
    assert parse_head(b"xyz" + GET[:size], LIMITS, 3) is None


@pytest.mark.parametrize("empty", [b"", b"\r\n", b"\r\n\r\n"])
def test_the_end_is_found_from_where_the_last_search_ended(empty: bytes) -> None:
    octets = empty + GET
    for size in range(len(octets)):
        head = parse_head(octets, LIMITS, 0, max(0, size - 3))
        assert head is not None
        assert head.end == len(octets)


def test_heads_that_differ_in_one_line_do_not_share_it() -> None:
    for value in ("1", "2", "1"):
        for _ in range(3):
            octets = b"GET / HTTP/1.1\r\nHost: h\r\nAccept: " + value.encode()
            head = parse_head(octets + b"\r\n\r\n", LIMITS)
            assert head is not None
            assert head.headers["accept"] == value


def test_equal_heads_share_nothing_that_can_be_changed() -> None:
    for _ in range(3):
        head = parse_head(GET, LIMITS)
        assert head is not None
        assert len(head.headers.pairs) == 2
        head.headers.pairs.append(("x", "y"))
        head.headers.get_all("host").append("y")
        with pytest.raises(AttributeError):
            head.is_persistent = False  # type: ignore[misc]


def test_the_target_of_one_request_never_reaches_the_next() -> None:
    absolute = b"GET http://other/ HTTP/1.1\r\nHost: h\r\nAccept: */*\r\n\r\n"
    for octets, host in ((GET, "h"), (absolute, "other")) * 3:
        head = parse_head(octets, LIMITS)
        assert head is not None
        assert head.host == head.headers["host"] == host


# What is refused though the head is not whole


@pytest.mark.parametrize(
    ("octets", "status"),
    [
        (b"GET /\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost", 505),
        (b"GET / HTTP/1.1 \r\n", 400),
        (b"G(T / HTTP/1.1\r\n", 400),
        (b"GET /a#b HTTP/1.1\r\nHos", 400),
        (b"\x16\x03\x01", 400),
        (b" ", 400),
        (b"\n", 400),
        (b"GE(", 400),
        (b"GET\t/", 400),
        (b"GET\r", 400),
        (b"M" * 33, 501),
        (b"M" * 33 + b" /", 501),
        (b"GET / HTTP/1.1xxxxxxxxxxx", 400),
        (b"GET / HTTP/1.1\r\nHost: h\n", 400),
        (b"GET / HTTP/1.1\r\nHost: h\rX", 400),
        (b"GET / HTTP/1.1\nHost: h\n\n", 400),
        (b"\r\n" * 5, 400),
        (b"\rG", 400),
    ],
)
def test_what_no_later_octet_can_mend_is_refused_at_once(
    octets: bytes, status: int
) -> None:
    assert refusal_of(octets)[0] == status
    assert refusal_of(b"\r\n" + octets)[0] == status
    assert read_messages(cut(octets, 1)).status == status


@pytest.mark.parametrize(
    "octets",
    [b"", b"\r", b"\r\n", b"\r\n\r", b"M" * 32, b"M" * 32 + b" ", b"GET / HTTP/1.1\r"],
)
def test_what_may_become_a_head_is_not_refused(octets: bytes) -> None:
    assert parse_head(octets, LIMITS) is None
    assert parse_head(b"\r\n" + octets, LIMITS) is None


def test_a_line_that_was_judged_is_not_judged_again() -> None:
    bad = b"GET / HTTP/3.0\r\nHost: h"
    assert parse_head(bad, LIMITS, 0, 20) is None


# Limits


@pytest.mark.parametrize(
    "prefix", [b"/", b"http://h/", b"/?"], ids=["path", "absolute", "query"]
)
@pytest.mark.parametrize("size", [99, 100, 101])
def test_target_bytes_is_inclusive(prefix: bytes, size: int) -> None:
    limits = Limits(target_bytes=100)
    octets = b"GET " + prefix.ljust(size, b"a") + b" HTTP/1.1\r\nHost: h\r\n\r\n"
    reading = read_every_way(octets, limits)
    assert reading.status == (None if size <= 100 else 414)


@pytest.mark.parametrize("size", [8_000, 16_384])
def test_a_request_line_of_the_recommended_size_is_read(size: int) -> None:
    octets = b"GET " + b"/".ljust(size, b"a") + b" HTTP/1.1\r\nHost: h\r\n\r\n"
    assert read_every_way(octets).status is None


def test_a_target_without_an_end_is_refused_at_the_limit() -> None:
    limits = Limits(target_bytes=100)
    line = b"GET /".ljust(104, b"a")
    assert parse_head(line, limits) is None
    refusal = (414, "target longer than 100 octets")
    assert refusal_of(line + b"a", limits) == refusal
    assert read_every_way(b"GET /?" + b"a" * 262_144).status == 414


@pytest.mark.parametrize("size", [999, 1_000, 1_001])
def test_head_bytes_is_inclusive(size: int) -> None:
    limits = Limits(head_bytes=1_000)
    start = b"GET / HTTP/1.1\r\nHost: h\r\nA: "
    octets = start.ljust(size - 4, b"a") + b"\r\n\r\n"
    assert len(octets) == size
    for empty in (b"", b"\r\n\r\n"):
        reading = read_every_way(empty + octets + GET, limits)
        assert reading.status == (None if size <= 1_000 else 431)
        assert len(reading.messages) == (2 if size <= 1_000 else 0)


def test_a_head_without_an_end_is_refused_at_the_limit() -> None:
    limits = Limits(head_bytes=1_000)
    start = b"GET / HTTP/1.1\r\nHost: h\r\nA: "
    assert parse_head(start.ljust(999, b"a"), limits) is None
    octets = start.ljust(1_000, b"a")
    assert refusal_of(octets, limits) == (431, "head larger than 1000 octets")
    assert read_every_way(start.ljust(2_000_000, b"a")).status == 431
    assert read_every_way(start[:-3] + b"A: b\r\n" * 400_000).status == 431


def test_an_endless_field_name_is_refused() -> None:
    octets = b"GET / HTTP/1.1\r\nHost: h\r\n" + b"A" * 102_400 + b": b\r\n\r\n"
    assert read_every_way(octets).status == 431


@pytest.mark.parametrize(("count", "status"), [(100, None), (101, 431), (5_000, 431)])
def test_field_count_is_inclusive(count: int, status: int | None) -> None:
    fields = b"Host: h\r\n" + b"X-A: b\r\n" * (count - 1)
    assert read_every_way(b"GET / HTTP/1.1\r\n" + fields + b"\r\n").status == status


@pytest.mark.parametrize(("size", "status"), [(32_768, None), (32_769, 431)])
def test_field_bytes_is_inclusive(size: int, status: int | None) -> None:
    field = b"X: ".ljust(size, b"a") + b"\r\n\r\n"
    octets = b"GET / HTTP/1.1\r\nHost: h\r\n" + field
    assert read_every_way(octets).status == status


def test_limits_are_those_of_the_call() -> None:
    small = Limits(field_count=1)
    for _ in range(3):
        assert parse_head(GET, LIMITS) is not None
        assert refusal_of(GET, small)[0] == 431


def test_a_limit_below_zero_is_a_mistake_of_ours() -> None:
    with pytest.raises(ConfigurationError):
        Limits(head_bytes=-1)


# Texts


@pytest.mark.parametrize(
    ("octets", "status", "message"),
    [
        (b"GET /\r\n\r\n", 400, "malformed request line b'GET /'"),
        (b"G(T / HTTP/1.1\r\n\r\n", 400, "malformed method 'G(T'"),
        (b"G(", 400, "malformed method 'G('"),
        (
            b"M" * 40 + b" / HTTP/1.1\r\n\r\n",
            501,
            f"method too long: '{'M' * 40}'",
        ),
        (
            b"CONNECT / HTTP/1.1\r\nHost: h\r\n\r\n",
            400,
            "CONNECT needs host:port as its target, got '/'",
        ),
        (
            b"GET /".ljust(4 + LIMITS.target_bytes, b"#") + b" HTTP/1.1\r\n\r\n",
            400,
            f"malformed target '/{'#' * 63}'...",
        ),
        (b"GET /\x01 HTTP/1.1\r\n\r\n", 400, "malformed target '/\\x01'"),
        (b"GET / HTTP/1\r\n\r\n", 400, "malformed HTTP version 'HTTP/1'"),
        (b"GET / HTTP/2.0\r\n\r\n", 505, "HTTP/2.0 is not spoken here"),
        (b"GET / HTTP/1.1\r\nHost: h\n", 400, "bare CR or LF in the head"),
        (b"GET / HTTP/1.1\r\nHost:\r\n\r\n", 400, "empty Host"),
        (
            b"\r\n" * 5,
            400,
            "more than 4 empty lines before a request line",
        ),
        (
            b"GET /" + b"a" * 90 + b" HTTP/1.1 and on",
            400,
            f"malformed request line b'GET /{'a' * 59}'...",
        ),
        (
            b"GET /a HTTP/1.1 and on and on",
            400,
            "malformed request line b'GET /a HTTP/1.1 and on'",
        ),
    ],
)
def test_the_error_says_what_is_wrong(octets: bytes, status: int, message: str) -> None:
    assert refusal_of(octets) == (status, message)


class TestKeptHeads:
    """What was read before is taken as it was read."""

    AGAIN = b"GET /again HTTP/1.1\r\nHost: h\r\nAccept: */*\r\n\r\n"

    @staticmethod
    def read(octets: bytes, limits: Limits = LIMITS) -> object:
        for _ in range(3):  # its lines, its section, itself
            head = parse_head(octets, limits)
        return head

    def test_equal_octets_are_one_head(self) -> None:
        kept = self.read(self.AGAIN)
        assert parse_head(self.AGAIN, LIMITS) is kept
        assert cached_heads.recent[self.AGAIN] is kept

    @pytest.mark.parametrize(
        "octets",
        [
            GET,  # a query may hold a secret
            AGAIN + b"more",
            AGAIN.replace(b"/again", b"/" + b"a" * 1200),
            AGAIN.replace(b"Accept: */*", b"Authorization: Basic YTpi"),
            AGAIN.replace(b"Accept: */*", b"Cookie: a=b"),
            AGAIN.replace(b"1.1", b"1.0"),
            AGAIN.replace(b"/again", b"http://other/again"),
        ],
    )
    def test_what_is_secret_long_or_unusual_is_not_kept(self, octets: bytes) -> None:
        self.read(octets)
        assert octets not in cached_heads.recent

    def test_a_head_of_1_kib_is_kept(self) -> None:
        for size, is_kept in ((1024, True), (1025, False)):
            path = b"/" + b"a" * (size - len(self.AGAIN) + len(b"again"))
            octets = self.AGAIN.replace(b"/again", path)
            assert len(octets) == size
            self.read(octets)
            assert (octets in cached_heads.recent) is is_kept

    @pytest.mark.parametrize("more", [b"", b"User-Agent: " + b"a" * 200 + b"\r\n"])
    def test_one_before_content_is_apart(self, more: bytes) -> None:
        head = self.AGAIN.replace(b"GET", b"POST").replace(b"\r\n\r\n", b"\r\n" + more)
        head += b"Content-Length: 2\r\n\r\n"
        kept = self.read(head + b"ab")
        assert cached_heads_with_content.recent[head] is kept
        assert head not in cached_heads.recent
        assert parse_head(head, LIMITS) is kept

    def test_other_limits_judge_anew(self) -> None:
        self.read(self.AGAIN)
        assert refusal_of(self.AGAIN, Limits(target_bytes=3))[0] == 414
        assert refusal_of(self.AGAIN, Limits(field_count=1))[0] == 431

    def test_an_offset_is_not_forgotten(self) -> None:
        self.read(self.AGAIN)
        head = parse_head(self.AGAIN, LIMITS, 1)
        assert head is not None
        assert head.method == "ET"

    def test_endless_others_do_not_grow_it(self) -> None:
        for number in range(2_000):
            self.read(b"GET /%d HTTP/1.1\r\nHost: h\r\n\r\n" % number)
        assert len(cached_heads) <= 512


def read() -> RequestHead:
    head = parse_head(b"GET /a?b HTTP/1.1\r\nHost: h\r\n\r\n", Limits())
    assert head is not None
    return head


def test_repr_is_the_request_line() -> None:
    assert repr(read()) == "<RequestHead GET /a?b HTTP/1.1>"


def test_nothing_of_it_can_be_set() -> None:
    head = read()
    assert not hasattr(head, "__dict__")
    for name in (*RequestHead.__struct_fields__, "other"):
        with pytest.raises(AttributeError):
            setattr(head, name, None)
