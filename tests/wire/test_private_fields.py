"""Heads with a Cookie or the like: the rest is kept, the secret never is."""

from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blazeio.errors import RemoteProtocolError
from blazeio.limits import Limits
from blazeio.wire.grammar import cached_lines
from blazeio.wire.heads import (
    AUTHORIZATION_MARK,
    COOKIE_MARK,
    PRIVATE_MARKS,
    cached_directives,
    cached_sections,
)
from blazeio.wire.request import (
    RequestHead,
    _recall_around,
    cached_heads,
    cached_heads_with_content,
    parse_head,
    parse_whole,
)

LIMITS = Limits()
SHARED = [
    b"Host: www.example.com",
    b"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like)",
    b"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
    b"Accept-Encoding: gzip, deflate, br",
    b"Connection: keep-alive",
]
PRIVATE = [mark[2:] + b"the secret" for mark in PRIVATE_MARKS]
LOWER = [
    b": ".join((name.lower(), rest))
    for name, _, rest in (line.partition(b": ") for line in SHARED)
]


def forget() -> None:
    for memo in (cached_heads, cached_heads_with_content, cached_sections):
        memo.clear()
    cached_lines.clear()
    cached_directives.clear()


@pytest.fixture(autouse=True)
def nothing_kept() -> Iterator[None]:
    forget()
    yield
    forget()


def join(lines: list[bytes], start: bytes = b"GET /page HTTP/1.1") -> bytes:
    return b"\r\n".join([start, *lines, b"", b""])


def warm(*heads: bytes) -> None:
    for _ in range(4):
        for head in heads:
            parse_head(head, LIMITS)


def outcome(octets: bytes, limits: Limits = LIMITS) -> object:
    """All that parsing gives, or how it fails."""
    try:
        head = parse_head(octets, limits)
    except RemoteProtocolError as error:
        return error.status_hint, str(error)
    return None if head is None else describe(head)


def describe(head: RequestHead) -> tuple[dict[str, object], list[tuple[str, str]]]:
    names = set(head.__struct_fields__) - {"headers"}
    values = {name: getattr(head, name) for name in names}
    return values, head.headers.pairs


def outcome_line_by_line(octets: bytes, limits: Limits) -> object:
    """The same: behind an empty line a head is neither looked up nor cut."""
    forget()
    found = outcome(b"\r\n" + octets, limits)
    if isinstance(found, tuple) and isinstance(found[0], dict):
        found[0]["end"] -= 2
    return found


def check(octets: bytes, limits: Limits = LIMITS) -> None:
    """What the memos give is what reading gives, line by line as well."""
    whole = parse_whole(octets, limits)
    found = outcome(octets, limits)
    forget()
    assert found == outcome(octets, limits)
    assert found == outcome_line_by_line(octets, limits)
    assert whole is None or describe(whole) == found


@pytest.mark.parametrize("private", PRIVATE)
@pytest.mark.parametrize("place", range(len(SHARED) + 1))
def test_a_private_field_keeps_its_place(private: bytes, place: int) -> None:
    lines = [*SHARED[:place], private, *SHARED[place:]]
    warm(join(SHARED))
    head = parse_head(join(lines), LIMITS)
    assert head is not None
    name, _, value = private.decode().partition(": ")
    assert head.headers.pairs[place] == (name.lower(), value)
    check(join(lines))


@pytest.mark.parametrize("start", [b"POST /page?a=b HTTP/1.1", b"GET /%41 HTTP/1.1"])
def test_several_private_fields_and_content(start: bytes) -> None:
    lines = [SHARED[0], *PRIVATE[:3], *SHARED[1:], PRIVATE[3], b"Content-Length: 3"]
    warm(join(lines, start), join([*SHARED, b"Content-Length: 3"], start))
    check(join(lines, start) + b"abc")
    warm(join(lines, start))
    check(join(lines, start))


QUERY = b"GET /page?a=%d&b=%%41 HTTP/1.1"


@pytest.mark.parametrize("start", [QUERY, b"HEAD /%%41?%d HTTP/1.1", b"POST /%d ?"])
@pytest.mark.parametrize("place", range(len(SHARED) + 1))
def test_query_and_cookie_differ_each_time(start: bytes, place: int) -> None:
    warm(join(SHARED))
    for number in range(4):
        cookie = b"Cookie: n=%d" % number
        lines = [*SHARED[:place], cookie, *SHARED[place:]]
        for follows in (b"", b"content", b"\r\n"):
            check(join(lines, start % number) + follows)
            warm(join(SHARED))


def test_no_secret_is_kept() -> None:
    for private in PRIVATE:
        warm(join([*SHARED, private]), join([SHARED[0], private, *SHARED[1:]]))
    warm(join([*SHARED[:2], *PRIVATE, *SHARED[2:]]))
    assert cached_heads.recent
    for memo in (
        cached_heads,
        cached_heads_with_content,
        cached_sections,
        cached_lines,
    ):
        assert not [key for key in memo.recent if b"secret" in key]


@pytest.mark.parametrize("read", [parse_head, parse_whole])
@pytest.mark.parametrize("shared", [SHARED, LOWER], ids=["browser", "node"])
@pytest.mark.parametrize("place", [1, len(SHARED)])
@pytest.mark.parametrize("is_referred", [False, True])
def test_what_is_left_of_a_head_is_cached_though_none_comes_without_a_cookie(
    read: Callable[[bytes, Limits], RequestHead | None],
    shared: list[bytes],
    place: int,
    is_referred: bool,
) -> None:
    heads = []
    for number in range(5):
        cookie, referer = b"Cookie: n=?%d" % number, b"Referer: /%d" % number
        if shared is LOWER:
            cookie, referer = cookie.lower(), referer.lower()
        fields = [*shared[:place], cookie, *shared[place:], *([referer] * is_referred)]
        heads.append(read(join(fields), LIMITS))
    assert list(cached_heads.recent) == [join(shared)]
    # What was looked up is the same object, and not only equal to it.
    *_, before, last = heads
    assert before
    assert last
    assert last.target is before.target


MARKS = [(COOKIE_MARK, "cookie"), (AUTHORIZATION_MARK, "authorization")]
STARTS = [b"GET /page HTTP/1.1", b"GET /page?a=%41&b=/?c HTTP/1.1", b"POST /? HTTP/1.1"]


@pytest.mark.parametrize(("mark", "name"), MARKS)
@pytest.mark.parametrize("place", [2, len(SHARED)])
@pytest.mark.parametrize("start", STARTS)
def test_a_known_head_is_found_around_one_private_field(
    mark: bytes, name: str, place: int, start: bytes
) -> None:
    lines = [*SHARED[:place], mark[2:] + b"b" * 90, *SHARED[place:]]
    octets = join(lines, start)
    size, longest = len(octets), max(len(line) for line in lines)
    limits = Limits(head_bytes=size, field_count=len(lines), field_bytes=longest)
    at = octets.find(mark)
    for _ in range(4):
        parse_head(join(SHARED), limits)
        parse_head(join(SHARED, start), limits)
    found = _recall_around(octets, at, mark, name, limits)
    assert found is not None
    assert describe(found) == outcome_line_by_line(octets, limits)
    smaller = (
        Limits(head_bytes=size - 1),
        Limits(field_count=len(lines) - 1),
        Limits(field_bytes=longest - 1),
    )
    for each in smaller:
        for _ in range(4):
            outcome(join(SHARED, start), each)
        assert _recall_around(octets, at, mark, name, each) is None
        assert _recall_around(octets, at, mark, name, Limits()) is None


@pytest.mark.parametrize("private", [*PRIVATE, b"X-Own: the secret"])
@pytest.mark.parametrize("place", [0, 2, len(SHARED)])
@pytest.mark.parametrize("start", [b"GET /page HTTP/1.1", b"GET /page?a=b HTTP/1.1"])
def test_what_is_one_head_is_the_same_head(
    private: bytes, place: int, start: bytes
) -> None:
    octets = join([*SHARED[:place], private, *SHARED[place:]], start)
    for _ in range(4):
        head = parse_whole(octets, LIMITS)
        assert head is not None
        assert describe(head) == outcome(octets)


@pytest.mark.parametrize(
    "octets",
    [
        join(SHARED) + b"more",
        join(SHARED) * 2,
        join(SHARED)[:-1],
        join([*SHARED, b"Content-Length: 1"]),
        join([*SHARED, b"Transfer-Encoding: chunked"]),
        join([*SHARED, b"Cookie: \x01"]),
        join([*SHARED, b"Cookie: " + b"a" * 9000]),
        join(SHARED, b"\r\nGET / HTTP/1.1"),
        join(SHARED)[:-1] + b"\r\nCookie: a\n\r\n\r\n",
        join(SHARED)[:-2] + b"\r\nCookie: a\r\n\r\n",
        join(SHARED) + b"Cookie: a\r\n\r\n",
        join(SHARED)[:-1] + b"\r\nCookie: a\n",
        join([]),
    ],
)
def test_what_is_more_or_less_than_one_head_is_left_to_others(octets: bytes) -> None:
    warm(join(SHARED))
    for _ in range(3):
        assert parse_whole(octets, LIMITS) is None


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("private", [[], [b"Cookie: a=b"]])
def test_other_limits_judge_what_is_known_too(
    start: bytes, private: list[bytes]
) -> None:
    octets = join([*SHARED, *private], start)
    for _ in range(4):
        assert parse_whole(octets, LIMITS)
    for limits in (
        Limits(field_count=len(SHARED) + len(private) - 1),
        Limits(field_bytes=10),
        Limits(head_bytes=len(octets) - 1),
    ):
        assert parse_whole(octets, limits) is None
        assert parse_whole(octets, limits) is None


def test_other_secrets_are_other_values() -> None:
    for number in range(10):
        head = parse_head(join([*SHARED, b"Cookie: %d" % number]), LIMITS)
        assert head is not None
        assert head.headers["cookie"] == str(number)


def test_what_follows_a_head_is_no_field_of_it() -> None:
    warm(join(SHARED))
    for follows in (
        b"Cookie: a=b\r\n\r\n",
        b"Cookie: a=b\r\n",
        b"\r\nCookie: a=b\r\n\r\n",
        b"GET / HTTP/1.1\r\nCookie: a=b\r\n\r\n",
    ):
        head = parse_head(join(SHARED) + follows, LIMITS)
        assert head is not None
        assert "cookie" not in head.headers
        assert head.end == len(join(SHARED))
        check(join(SHARED) + follows)
        warm(join(SHARED))


@pytest.mark.parametrize("cut", [1, 2, 3, 4, 10])
def test_a_head_that_is_not_whole_is_none(cut: int) -> None:
    warm(join([*SHARED, PRIVATE[0]]))
    assert parse_head(join([*SHARED, PRIVATE[0]])[:-cut], LIMITS) is None
    check(join([*SHARED, PRIVATE[0]])[:-cut])


@pytest.mark.parametrize(
    "value",
    [
        *(b"a\x00b", b"a\rb", b"a\nb", b"a\x7f", b"\xe4", b"\t"),
        *(b"a\x0b", b"\xa0a", b"XaX", b"\ta \t"),
    ],
)
@pytest.mark.parametrize("mark", PRIVATE_MARKS)
def test_the_value_is_judged_as_ever(mark: bytes, value: bytes) -> None:
    warm(join(SHARED))
    check(join([*SHARED, mark[2:] + value]))


@pytest.mark.parametrize("over", [0, 1])
@pytest.mark.parametrize("start", [b"GET /page HTTP/1.1", QUERY % 7])
def test_the_limits_hold(start: bytes, over: int) -> None:
    octets = join([*SHARED, PRIVATE[0]], start)
    for limits in (
        Limits(field_count=6 - over),
        Limits(head_bytes=len(octets) - over),
        Limits(field_bytes=max(len(line) for line in SHARED) - over),
    ):
        for each in (join(SHARED), octets):
            for _ in range(4):
                outcome(each, limits)
        assert isinstance(outcome(octets, limits)[0], int) == bool(over)  # type: ignore[index]
        check(octets, limits)
        check(join(SHARED, start), limits)
    long = join([*SHARED, b"Cookie: " + b"a" * 100], start)
    limits = Limits(field_bytes=108 - over)
    for _ in range(4):
        outcome(join(SHARED), limits)
    check(long, limits)


@pytest.mark.parametrize(
    "target", [b"http://other.example/page", b"*", b"/page", b"other.example:443"]
)
@pytest.mark.parametrize("query", [b"", b"?a=b"])
@pytest.mark.parametrize("method", [b"GET", b"OPTIONS", b"CONNECT"])
@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.0"])
def test_targets_of_every_form(
    method: bytes, target: bytes, query: bytes, version: bytes
) -> None:
    start = b" ".join([method, target + query, version])
    for lines in (SHARED, SHARED[1:], [b"Host:", *SHARED[1:]]):
        for private in ([], PRIVATE[:1]):
            for _ in range(4):
                for each in (lines, [*lines, *private]):
                    outcome(join(each))
                    outcome(join(each, start))
            check(join([lines[0], *private, *lines[1:]], start))


LINES = st.sampled_from(
    [
        *SHARED,
        *PRIVATE,
        *PRIVATE,
        b"Cookie: b",
        b"cookie:c",
        b" folded",
        b"",
        b"Cookie: \xff",
        b"Cookie: \x00",
        b"Host : x",
        b"Transfer-Encoding: chunked",
        b"Content-Length: 3",
        b"Expect: something",
    ]
)


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.lists(LINES, max_size=9), min_size=1, max_size=4),
    st.sampled_from([b"GET /page HTTP/1.1", QUERY % 1]),
)
def test_whatever_was_seen_before_the_outcome_is_the_same(
    heads: list[list[bytes]], start: bytes
) -> None:
    forget()
    for lines in (SHARED, *heads):
        for _ in range(3):
            outcome(join([*SHARED[:3], *lines], start))
    check(join([*SHARED[:3], *heads[-1]], start))
