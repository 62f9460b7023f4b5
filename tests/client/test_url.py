import base64

import pytest

from blazeio.client.url import Origin, parse_url
from blazeio.errors import InvalidUrl


@pytest.mark.parametrize(
    ("text", "origin", "authority", "target"),
    [
        ("http://a", ("http", "a", 80), "a", "/"),
        (
            "HTTPS://A.example/x?y=1#z",
            ("https", "a.example", 443),
            "a.example",
            "/x?y=1",
        ),
        ("http://a:8080/", ("http", "a", 8080), "a:8080", "/"),
        ("http://a:80/", ("http", "a", 80), "a", "/"),
        ("https://[::1]:8443/a", ("https", "::1", 8443), "[::1]:8443", "/a"),
        ("http://a?b", ("http", "a", 80), "a", "/?b"),
        ("http://a/b c?d e", ("http", "a", 80), "a", "/b%20c?d%20e"),
        ("http://a/%2F%zz", ("http", "a", 80), "a", "/%2F%zz"),
        ("http://a/ü?ü", ("http", "a", 80), "a", "/%C3%BC?%C3%BC"),
        ("http://bücher.example/", ("http", "xn--bcher-kva.example", 80), None, "/"),
        ('http://a/"<>`{}', ("http", "a", 80), "a", "/%22%3C%3E%60%7B%7D"),
        (" http://a/ ", ("http", "a", 80), "a", "/"),
    ],
)
def test_a_url_is_taken_apart(
    text: str, origin: tuple[str, str, int], authority: str | None, target: str
) -> None:
    url = parse_url(text)
    assert url.origin == Origin(*origin)
    assert url.authority == (authority or origin[1])
    assert url.target == target
    start = f" {target} HTTP/1.1\r\nHost: {url.authority}\r\n"
    assert url.request_start == start.encode()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected http://host/... or https://host/..."),
        ("/x", "expected http://host/... or https://host/..."),
        ("ftp://a/", "expected http://host/... or https://host/..."),
        ("http://", "it has no host"),
        ("http:///x", "it has no host"),
        ("http://a b/", "'a b' is not a host"),
        ("http://a:99999/", "Port out of range 0-65535"),
        ("http://[::g]/", "'::g' does not appear to be an IPv4 or IPv6 address"),
        ("http://a/\r\nX: y", "it holds a control character"),
    ],
)
def test_what_nobody_can_be_asked_by(text: str, message: str) -> None:
    with pytest.raises(InvalidUrl) as caught:
        parse_url(text)
    assert message in str(caught.value)


def test_what_is_no_str_is_named() -> None:
    with pytest.raises(InvalidUrl, match="a URL is a str, not bytes"):
        parse_url(b"http://a/")  # type: ignore[arg-type]


def test_a_password_is_shown_nowhere() -> None:
    url = parse_url("http://me:sec%20ret@a/")
    assert url.authorization == "Basic " + base64.b64encode(b"me:sec ret").decode()
    assert "sec" not in f"{url} {url!r}"
    with pytest.raises(InvalidUrl) as caught:
        parse_url("ftp://me:secret@a/")
    assert "secret" not in str(caught.value)


def test_nothing_before_the_at_is_no_credential() -> None:
    assert parse_url("http://@a/").authorization is None


def test_equal_urls_are_parsed_once() -> None:
    assert parse_url("http://kept.example/") is parse_url("http://kept.example/")


@pytest.mark.parametrize(
    ("text", "query", "target"),
    [
        ("http://a/x", "b=1", "/x?b=1"),
        ("http://a/x?a=0", "b=1", "/x?a=0&b=1"),
        ("http://a/x", "", "/x"),
    ],
)
def test_a_query_is_added(text: str, query: str, target: str) -> None:
    assert parse_url(text).with_query(query).target == target


def test_an_origin_says_where_it_is() -> None:
    assert str(Origin("http", "::1", 80)) == "http://[::1]:80"
    assert str(Origin("http", "a", 80, "/run/x")) == "http://a:80 by /run/x"
