"""Heads with a Cookie or the like: the rest is kept, the secret never is."""

from collections.abc import Callable, Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blazeio.errors import RemoteProtocolError
from blazeio.limits import Limits
from blazeio.wire.fields import cached_directives, cached_sections
from blazeio.wire.headers import cached_lines
from blazeio.wire.private_lines import PRIVATE_MARKS
from blazeio.wire.request import (
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
    if head is None:
        return None
    names = set(head.__struct_fields__) - {"headers"}
    values = {name: getattr(head, name) for name in names}
    return values, head.headers.pairs


def check(octets: bytes, limits: Limits = LIMITS) -> None:
    """What the memos give is what reading gives."""
    found = outcome(octets, limits)
    forget()
    assert found == outcome(octets, limits)


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
def test_what_is_left_of_a_head_is_cached_though_none_comes_without_a_cookie(
    read: Callable[[bytes, Limits], object],
) -> None:
    for number in range(4):
        assert read(join([*SHARED, b"Cookie: n=%d" % number]), LIMITS)
    assert list(cached_heads.recent) == [join(SHARED)]


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
        found = {name: getattr(head, name) for name in head.__struct_fields__}
        pairs = found.pop("headers").pairs
        assert (found, pairs) == outcome(octets)


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


def test_other_limits_judge_around_a_line_too() -> None:
    octets = join([*SHARED, b"Cookie: a=b"])
    for _ in range(4):
        assert parse_whole(octets, LIMITS)
    for limits in (
        Limits(field_count=5),
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
    "value", [b"a\x00b", b"a\rb", b"a\nb", b"a\x7f", b"\xe4", b"\t"]
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
    long = join([*SHARED, b"Cookie: " + b"a" * 100], start)
    limits = Limits(field_bytes=108 - over)
    for _ in range(4):
        outcome(join(SHARED), limits)
    check(long, limits)


@pytest.mark.parametrize(
    "target", [b"http://other.example/page", b"*", b"/page", b"other.example:443"]
)
@pytest.mark.parametrize("method", [b"GET", b"OPTIONS", b"CONNECT"])
@pytest.mark.parametrize("version", [b"HTTP/1.1", b"HTTP/1.0"])
def test_targets_of_every_form(method: bytes, target: bytes, version: bytes) -> None:
    start = b" ".join([method, target, version])
    for lines in (SHARED, SHARED[1:]):
        for head in (join(lines, start), join([*lines, PRIVATE[0]], start)):
            for _ in range(4):
                outcome(head)
        check(join([lines[0], PRIVATE[0], *lines[1:]], start))


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
