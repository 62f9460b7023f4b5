import base64

import pytest

from blazeio.client.context import join_base
from blazeio.client.url import Origin, parse_proxy, parse_url, show_url
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
        ("http://a\\b/", "a backslash in its authority"),
        ("http://a@b:x/", "it has no host that can be"),
        ("http://b:x/", "its port is not a number from 0 to 65535"),
    ],
)
def test_what_nobody_can_be_asked_by(text: str, message: str) -> None:
    with pytest.raises(InvalidUrl) as caught:
        parse_url(text)
    assert str(caught.value).endswith(f": {message}")


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


def test_a_password_may_hold_a_colon() -> None:
    assert parse_url("http://a:b:c@d/").authorization == (
        "Basic " + base64.b64encode(b"a:b:c").decode()
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ftp://a", "ftp://a"),
        ("ftp://a:80/x", "ftp://a:80/x"),
        ("ftp://a/b:c", "ftp://a/b:c"),
        ("ftp://[::x", "ftp://[::x"),
        ("http://me:pass:word", "http://me:..."),
        ("http://me:pass/word", "http://me:..."),
        ("http://me:p@ss@a/", "http://...@a/"),
        ("me:p@a", "...@a"),
        ("x" * 300, "x" * 200),
    ],
)
def test_no_part_of_a_password_is_shown(text: str, shown: str) -> None:
    assert show_url(text) == shown


def test_nothing_before_the_at_is_no_credential() -> None:
    assert parse_url("http://@a/").authorization is None


def test_equal_urls_are_parsed_once() -> None:
    assert parse_url("http://kept.example/") is parse_url("http://kept.example/")
    longest = "http://kept.example/".ljust(1024, "x")
    assert parse_url(longest) is parse_url(longest)
    assert parse_url(f"{longest}x") is not parse_url(f"{longest}x")


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


def test_a_query_takes_no_credentials_away() -> None:
    url = parse_url("http://me:secret@a/").with_query("b=1")
    assert url.authorization == parse_url("http://me:secret@a/").authorization


@pytest.mark.parametrize(
    ("text", "joined"),
    [
        ("users", "https://a/v1/users"),
        ("X", "https://a/v1/X"),
        ("/users/", "https://a/v1/users/"),
        ("", "https://a/v1/"),
        ("?x", "https://a/v1/?x"),
        ("#x", "https://a/v1/#x"),
        ("http://b/", "http://b/"),
        (" HTTP://b/", " HTTP://b/"),
    ],
)
def test_a_reference_follows_the_base(text: str, joined: str) -> None:
    assert join_base("https://a/v1/", text) == joined
    url = parse_url("http://b/")
    assert join_base("https://a/v1/", url) is url


def test_the_slash_of_the_base_may_be_missing() -> None:
    assert join_base("https://a/v1", "/users") == "https://a/v1/users"
    assert join_base("https://a/v1", "?x") == "https://a/v1?x"
    assert join_base("https://a/v1", "X") == "https://a/v1/X"


def test_two_slashes_are_a_path_or_a_host() -> None:
    said = r"^URL '//b/x': write its scheme, or one slash$"
    with pytest.raises(InvalidUrl, match=said):
        join_base("https://a/v1", "//b/x")


def test_a_proxy_is_asked_by_absolute_urls() -> None:
    url = parse_url("http://a:81/x?y")
    assert url.absolute_start == b" http://a:81/x?y HTTP/1.1\r\nHost: a:81\r\n"


@pytest.mark.parametrize(
    ("scheme", "proxy", "is_forwarding"),
    [
        ("http", None, False),
        ("http", "http://p", True),
        ("http", "https://p", True),
        ("http", "socks5://p", False),
        ("https", "http://p", False),
    ],
)
def test_a_proxy_of_http_forwards_requests_of_http(
    scheme: str, proxy: str | None, is_forwarding: bool
) -> None:
    found = None if proxy is None else parse_proxy(proxy)
    assert Origin(scheme, "a", 80, proxy=found).is_forwarding is is_forwarding


def test_the_proxy_alone_is_told_its_credentials() -> None:
    origin = Origin("http", "a", 80, proxy=parse_proxy("http://Aladdin:x@p"))
    assert origin.proxy_lines == b"Proxy-Authorization: Basic QWxhZGRpbjp4\r\n"
    assert Origin("http", "a", 80, proxy=parse_proxy("http://p")).proxy_lines == b""
    assert Origin("http", "a", 80).proxy_lines == b""


def test_an_origin_says_where_it_is() -> None:
    assert str(Origin("http", "::1", 80)) == "http://[::1]:80"
    assert str(Origin("http", "a", 80, "/run/x")) == "http://a:80 by /run/x"
