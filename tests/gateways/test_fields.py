from collections.abc import Iterator
from typing import Any

import pytest

from blazeio.errors import LocalProtocolError
from blazeio.gateways import messages, scope
from blazeio.gateways.messages import write_fields
from blazeio.gateways.scope import encode_fields
from blazeio.wire.headers import Headers


def test_fields_of_a_request_are_octets_in_their_order() -> None:
    headers = Headers([("accept", "*/*"), ("x", "\xe9"), ("accept", "text/html")])
    assert encode_fields(headers) == [
        (b"accept", b"*/*"),
        (b"x", b"\xe9"),
        (b"accept", b"text/html"),
    ]


def test_each_request_has_a_list_of_its_own() -> None:
    headers = Headers([("accept", "*/*")])
    first = encode_fields(headers)
    first.append((b"x-added", b"by a middleware"))
    assert encode_fields(headers) == [(b"accept", b"*/*")]


def test_a_secret_is_not_kept_beyond_its_headers() -> None:
    headers = Headers([("cookie", "session=1"), ("authorization", "Bearer 1")])
    encode_fields(headers)
    kept = scope._cached_pairs
    assert not [name for name, _ in kept.recent if name in ("cookie", "authorization")]
    assert id(headers) not in scope._cached_lists.recent


def test_fields_that_are_shared_are_encoded_once() -> None:
    headers = Headers([("accept", "text/html"), ("host", "a.example")])
    first = encode_fields(headers)
    second = encode_fields(headers)
    assert first is not second
    assert [id(pair) for pair in first] == [id(pair) for pair in second]
    assert scope._cached_lists.recent[id(headers)][0] is headers


@pytest.mark.parametrize(
    "pairs",
    [[("accept", "a" * 257)], [("accept", f"{n}") for n in range(33)]],
    ids=["a long value", "many fields"],
)
def test_what_is_kept_for_later_requests_is_bounded(
    pairs: list[tuple[str, str]],
) -> None:
    headers = Headers(pairs)
    for _ in range(2):
        assert encode_fields(headers) == [(b"accept", v.encode()) for _, v in pairs]
    assert id(headers) not in scope._cached_lists.recent
    assert ("accept", "a" * 257) not in scope._cached_pairs.recent


def test_fields_of_a_response_are_written_as_the_app_has_them() -> None:
    written = write_fields([[b"X-One", b"1"], (b"set-cookie", b"a"), (b"x-ONE", b"2")])
    assert written.lines == b"X-One: 1\r\nset-cookie: a\r\nx-ONE: 2\r\n"
    assert written.content_length is None
    assert written.is_usual


def test_an_equal_list_gives_what_was_written_before() -> None:
    first = write_fields([(b"content-type", b"text/a"), (b"content-length", b"7")])
    again = write_fields([(b"content-type", b"text/a"), (b"content-length", b"7")])
    assert again is first
    other = write_fields([(b"content-type", b"text/a"), (b"content-length", b"8")])
    assert (other.lines, other.content_length) == (first.lines, 8)


@pytest.mark.parametrize(
    "pair",
    [
        (b"set-cookie", b"session=2"),
        (b"X-Token", b"2"),
        (b"Server", b"the app's"),
        (b"Connection", b"close"),
        (b"vary", b"2" * 600),
    ],
)
def test_a_response_that_is_not_like_others_is_not_kept(
    pair: tuple[bytes, bytes],
) -> None:
    pairs = [(b"content-type", b"text/b"), pair]
    written = write_fields(pairs)
    assert write_fields(pairs) == written
    assert tuple(pairs) not in messages._cached_fields.recent


def test_no_fields_are_no_lines() -> None:
    assert write_fields(()).lines == b""


def test_any_iterable_of_pairs_will_do() -> None:
    pairs = (iter(pair) for pair in [(b"a", b"1"), (b"b", b"2")])
    assert write_fields(pairs).lines == b"a: 1\r\nb: 2\r\n"


def test_a_list_of_any_iterables_will_do() -> None:
    pairs = [iter(pair) for pair in [(b"vary", b"a"), (b"content-type", b"b")]]
    assert write_fields(pairs).lines == b"vary: a\r\ncontent-type: b\r\n"


def test_what_an_apps_own_pair_has_given_is_not_kept() -> None:
    class Pair:
        value = b"text/c"

        def __iter__(self) -> Iterator[bytes]:
            return iter((b"content-type", self.value))

    pair = Pair()
    assert write_fields([pair]).lines == b"content-type: text/c\r\n"
    pair.value = b"text/d"
    assert write_fields([pair]).lines == b"content-type: text/d\r\n"


def test_connection_specific_fields_are_the_servers_own() -> None:
    written = write_fields(
        [
            (b"Transfer-Encoding", b"chunked"),
            (b"Keep-Alive", b"timeout=5"),
            (b"Connection", b"x, Close"),
            (b"Upgrade", b"h2c"),
            (b"Content-Length", b" 5 "),
            (b"a", b"1"),
        ]
    )
    assert written.lines == b"a: 1\r\n"
    assert written.wants_close
    assert written.content_length == 5


@pytest.mark.parametrize("name", [b"Date", b"server", b"SERVER"])
def test_what_the_server_says_as_well_is_told(name: bytes) -> None:
    written = write_fields([(name, b"x"), (b"a", b"1")])
    assert not written.is_usual
    assert written.to_block(needs_names=True).names == {name.decode().lower(), "a"}


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        ([(b"a", b"1\r\nb: 2")], "field 'a' holds a control"),
        ([(b"a", b"1\nb: 2")], "field 'a' holds a control"),
        ([(b"a", b"1\x00")], "field 'a' holds a control"),
        ([(b"ok", b"1"), (b"a", b"1\x7f")], "field 'a' holds a control"),
        ([(b"a b", b"1")], "'a b' is not a token"),
        ([(b"a:", b"1")], "is not a token"),
        ([(b"", b"1")], "is not a token"),
        ([(b"a\r\nb", b"1")], "is not a token"),
        ([("a", b"1")], "is a str, not bytes"),
        ([(b"a", "1")], "not pairs of bytes"),
        ([(b"a", None)], "not pairs of bytes"),
        ([(b"date", "1")], "not pairs of bytes"),
        ([(b"content-length", 3)], "not pairs of bytes"),
        ([(b"a",)], "not pairs of bytes"),
        ([b"a"], "not pairs of bytes"),
        (7, "not pairs of bytes"),
        ([(b"content-length", b"-1")], "is not a number"),
        ([(b"content-length", b"1"), (b"Content-Length", b"2")], "differing"),
    ],
)
def test_malformed_fields_are_refused(pairs: Any, words: str) -> None:
    with pytest.raises(LocalProtocolError, match=words) as caught:
        write_fields(pairs)
    assert "b: 2" not in str(caught.value)
