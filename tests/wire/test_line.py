"""Further cases are in tests/conformance/test_rfc9112_5_fields.py."""

import pytest

from blazeio.errors import RemoteProtocolError
from blazeio.wire.grammar import cached_lines, parse_field_line, read_field_line


def is_kept(line: bytes) -> bool:
    read_field_line(line)
    return line in cached_lines.recent


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (b"NoColon", "field line without a colon: b'NoColon'"),
        (b"Host", "field line without a colon: b'Host'"),
        (b"", "field line without a colon: b''"),
        (b" A: b", "a line folded or begun by whitespace (obs-fold)"),
        (b"\tA: b", "a line folded or begun by whitespace (obs-fold)"),
        (b"A : b", "whitespace before the colon of field 'A '"),
        (b"Host\t: b", "whitespace before the colon of field 'Host\\t'"),
        (b": b", "malformed field name ''"),
        (b"A(: b", "malformed field name 'A('"),
        (b"A\xe9: b", "malformed field name 'A\xe9'"),
        (b"X" * 65 + b"(: b", f"malformed field name '{'X' * 64}'..."),
    ],
)
def test_the_error_says_what_is_wrong(line: bytes, message: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        parse_field_line(line)
    assert (str(caught.value), caught.value.status_hint) == (message, 400)


def test_a_value_may_have_colons() -> None:
    assert parse_field_line(b"Link: a:b: c") == ("link", "a:b: c")


def test_an_error_never_shows_a_value() -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        read_field_line(b"Authorization: Basic c2VjcmV0\x01")
    message = "control octet in the value of field 'Authorization'"
    assert str(caught.value) == message


def test_a_malformed_host_is_shown() -> None:
    with pytest.raises(RemoteProtocolError, match="malformed Host: 'a b'"):
        read_field_line(b"Host: a b")
    assert b"Host: a b" not in cached_lines.recent


@pytest.mark.parametrize("times", [1, 2])
def test_a_line_is_read_the_same_whether_kept_or_not(times: int) -> None:
    for _ in range(times):
        assert read_field_line(b"Accept: */*") == (("accept", "*/*"), False)
        assert read_field_line(b"Host: h") == (("host", "h"), True)
        assert read_field_line(b"Cookie: a=b") == (("cookie", "a=b"), False)


@pytest.mark.parametrize(
    "name",
    [
        "Authorization",
        "Proxy-Authorization",
        "Cookie",
        "Referer",
        "X-Api-Key",
        "X-Auth-Token",
        "X-CSRF-Token",
        "X-Forwarded-For",
        "X-Request-Id",
        "Sec-WebSocket-Key",
        "Sec-WebSocket-Protocol",
        "If-None-Match",
        "From",
        "Anything-Else",
    ],
)
def test_what_may_be_one_clients_secret_is_never_kept(name: str) -> None:
    for spelling in (name, name.lower(), name.upper()):
        assert not is_kept(spelling.encode() + b": c2VjcmV0")


@pytest.mark.parametrize("name", ["Host", "User-Agent", "ACCEPT", "sec-ch-ua"])
def test_what_many_requests_share_is_kept(name: str) -> None:
    assert is_kept(name.encode() + b": shared")


def test_a_long_line_is_not_kept() -> None:
    assert is_kept(b"Accept: " + b"a" * 248)
    assert not is_kept(b"Accept: " + b"a" * 249)


def test_endless_distinct_lines_do_not_grow_what_is_kept() -> None:
    for number in range(5_000):
        read_field_line(b"Accept: %d" % number)
    assert len(cached_lines) <= 2_048


def test_a_line_in_use_is_kept_among_endless_distinct_ones() -> None:
    for number in range(5_000):
        read_field_line(b"Accept-Language: %d" % number)
        if number % 500 == 0:
            read_field_line(b"Accept-Language: in-use")
    assert is_kept(b"Accept-Language: in-use")


def test_a_long_or_rare_name_is_read_like_any_other() -> None:
    for _ in range(2):
        assert parse_field_line(b"N" * 300 + b": v") == ("n" * 300, "v")
    for number in range(2_000):
        parse_field_line(b"N%d: v" % number)
    assert parse_field_line(b"N1: v") == ("n1", "v")


def test_a_name_comes_back_from_the_former_generation() -> None:
    parse_field_line(b"Comes-Back: v")
    for number in range(512):
        parse_field_line(b"Junk-%d: v" % number)
    assert parse_field_line(b"Comes-Back: w") == ("comes-back", "w")
