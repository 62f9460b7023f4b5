"""Further cases are in tests/conformance/test_rfc9112_3_request_line.py."""

import pytest

from blazeio.errors import RemoteProtocolError
from blazeio.wire.grammar import Target, decode_path, is_host, parse_target


@pytest.mark.parametrize(
    ("method", "target", "expected"),
    [
        ("GET", "/a?b", Target("/a", "b", None)),
        ("GET", "/a%2Fb", Target("/a/b", "", None)),
        ("OPTIONS", "/", Target("/", "", None)),
        ("OPTIONS", "*", Target("*", "", None)),
        ("OPTIONS", "http://h", Target("/", "", "h")),
        ("GET", "http://h:1/a?b", Target("/a", "b", "h:1")),
        ("GET", "HTTPS://h?b/c", Target("/", "b/c", "h")),
        ("GET", "http://h/a?b://c", Target("/a", "b://c", "h")),
        ("CONNECT", "h:443", Target("", "", "h:443")),
        ("connect", "/", Target("/", "", None)),
    ],
)
def test_the_four_forms(method: str, target: str, expected: Target) -> None:
    assert parse_target(method, target) == expected


@pytest.mark.parametrize(
    ("method", "target", "message"),
    [
        ("GET", "*", "target '*' is only for OPTIONS, not for GET"),
        ("CONNECT", "/", "CONNECT needs host:port as its target, got '/'"),
        ("CONNECT", "h", "CONNECT needs host:port as its target, got 'h'"),
        ("CONNECT", "h1", "CONNECT needs host:port as its target, got 'h1'"),
        ("CONNECT", "h:", "CONNECT needs host:port as its target, got 'h:'"),
        ("CONNECT", "u@h:1", "CONNECT needs host:port as its target, got 'u@h:1'"),
        ("GET", "http:/h", "target is neither a path nor an http URI: 'http:/h'"),
        ("GET", "a://h/", "target is neither a path nor an http URI: 'a://h/'"),
        ("GET", "h:80", "target is neither a path nor an http URI: 'h:80'"),
        ("GET", "", "target is neither a path nor an http URI: ''"),
        ("GET", "http://u@h/", "bad authority in the target: 'u@h'"),
    ],
)
def test_the_error_says_what_is_wrong(method: str, target: str, message: str) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        parse_target(method, target)
    assert str(caught.value) == message
    assert caught.value.status_hint == 400


@pytest.mark.parametrize(
    ("raw", "path"),
    [("/a", "/a"), ("/%41", "/A"), ("/%", "/%"), ("/%e2%82", "/\ufffd"), ("", "")],
)
def test_paths_are_decoded_leniently(raw: str, path: str) -> None:
    assert decode_path(raw) == path


@pytest.mark.parametrize("value", ["h", "h:65535", "h:", "h:00080", "[::1]:0"])
def test_good_hosts(value: str) -> None:
    assert is_host(value)


@pytest.mark.parametrize(
    "value", ["", ":1", "h:65536", "h:123456", "h:000080", "a,b", "u@h"]
)
def test_bad_hosts(value: str) -> None:
    assert not is_host(value)
