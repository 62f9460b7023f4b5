import pytest

from blazeio.client.url import (
    Proxy,
    basic_credentials,
    parse_proxy,
    read_proxy_rules,
)
from blazeio.errors import ConfigurationError, LocalProtocolError

PROXY = "http://proxy.example:3128"
SAID = r":port, scheme of http, https, socks5, socks5h$"


@pytest.mark.parametrize(
    ("url", "proxy"),
    [
        (PROXY, Proxy("http", "proxy.example", 3128)),
        (" proxy.example:3128 ", Proxy("http", "proxy.example", 3128)),
        ("proxy.example", Proxy("http", "proxy.example", 80)),
        ("https://a.example", Proxy("https", "a.example", 443)),
        ("HTTPS://stra\xdfe.de.:8443/", Proxy("https", "xn--strae-oqa.de.", 8443)),
        ("http://[fe80::1%25eth0]:1", Proxy("http", "fe80::1%eth0", 1)),
        ("socks5://[::1]", Proxy("socks5", "::1", 1080)),
        ("SOCKS5H://a.example:9", Proxy("socks5h", "a.example", 9)),
        ("http://me:a%40b%3A@a.example/", Proxy("http", "a.example", 80, "me", "a@b:")),
        ("me@a.example:1", Proxy("http", "a.example", 1, "me")),
    ],
)
def test_a_proxy_is_read_as_people_write_it(url: str, proxy: Proxy) -> None:
    assert parse_proxy(url) == proxy


@pytest.mark.parametrize(
    "url",
    [
        "",
        "http://",
        "ftp://a.example",
        "socks4://a.example",
        "http://a.example:x",
        "http://a.example/?x",
        "http://a.example#x",
        "http://u:1234#secret@a.example",
        "http://.a.example",
        "http://a.example:99999",
        "http://a b",
        "http://u:secret@",
        "http://u:secret@a/b:1@c",
        "http://u:sec/secret@a:1",
    ],
)
def test_what_is_no_proxy_is_an_error_that_tells_no_password(url: str) -> None:
    with pytest.raises(ConfigurationError, match=SAID) as caught:
        parse_proxy(url)
    assert "secret" not in str(caught.value)


def test_credentials_are_basic_and_never_shown() -> None:
    proxy = parse_proxy("http://Aladdin:open%20sesame@a.example")
    assert proxy.authorization == "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="
    assert "sesame" not in repr(proxy)
    assert parse_proxy("http://a.example").authorization is None


@pytest.mark.parametrize(
    ("name", "password", "said"),
    [
        ("a:b", "", "^the name before a password cannot hold a colon .RFC 7617.$"),
        ("a", "\ud800", "^a name or password that UTF-8 cannot say$"),
    ],
)
def test_what_no_header_can_say_is_an_error(
    name: str, password: str, said: str
) -> None:
    with pytest.raises(LocalProtocolError, match=said):
        basic_credentials(name, password)


@pytest.mark.parametrize(
    ("url", "is_http", "is_tls"),
    [
        ("http://a:1", True, False),
        ("https://a:1", True, True),
        ("socks5://a:1", False, False),
        ("socks5h://[::1]:1", False, False),
    ],
)
def test_what_is_spoken_to_a_proxy(url: str, is_http: bool, is_tls: bool) -> None:
    proxy = parse_proxy(url)
    assert (proxy.is_http, proxy.is_tls, str(proxy)) == (is_http, is_tls, url)


def choose(environment: dict[str, str], url: str) -> str | None:
    scheme, _, place = url.partition("://")
    host, _, port = place.rpartition(":")
    proxy = read_proxy_rules(environment).choose(scheme, host, int(port))
    return None if proxy is None else proxy.host


@pytest.mark.parametrize(
    ("environment", "http", "https"),
    [
        ({}, None, None),
        ({"http_proxy": "p"}, "p", None),
        ({"HTTP_PROXY": "p"}, None, None),
        ({"https_proxy": "p"}, None, "p"),
        ({"HTTPS_PROXY": "p"}, None, "p"),
        ({"https_proxy": "p", "HTTPS_PROXY": "q"}, None, "p"),
        ({"all_proxy": "p"}, "p", "p"),
        ({"ALL_PROXY": "p", "http_proxy": "q"}, "q", "p"),
        ({"https_proxy": "", "all_proxy": "p"}, "p", "p"),
        ({"all_proxy": "p", "no_proxy": "*"}, None, None),
        ({"all_proxy": "p", "NO_PROXY": "a, *"}, None, None),
    ],
)
def test_the_variables_that_count(
    environment: dict[str, str], http: str | None, https: str | None
) -> None:
    assert choose(environment, "http://a.example:80") == http
    assert choose(environment, "https://a.example:443") == https


@pytest.mark.parametrize(
    ("no_proxy", "direct", "proxied"),
    [
        ("a.example", ["a.example:80", "b.a.example:80"], ["ba.example:80", "a:80"]),
        (".a.example", ["a.example:80", "b.a.example:80"], ["ba.example:80"]),
        ("*.a.example", ["b.a.example:80"], ["ba.example:80"]),
        ("A.Example.", ["a.example:80", "a.EXAMPLE.:80"], ["b.example:80"]),
        ("a.example:81", ["a.example:81", "b.a.example:81"], ["a.example:80"]),
        ("a b,c ,, d", ["a:80", "b:80", "c:80", "d:80"], ["e:80"]),
        ("192.0.2.1", ["192.0.2.1:80", "::ffff:192.0.2.1:80"], ["192.0.2.2:80"]),
        ("192.0.2.1:81", ["192.0.2.1:81"], ["192.0.2.1:80"]),
        ("10.0.0.0/8", ["10.1.2.3:80"], ["11.0.0.1:80", "10.example:80"]),
        ("10.1.2.3/8", ["10.9.9.9:80"], []),
        ("2001:db8::/32", ["2001:db8::1:80"], ["2001:db9::1:80"]),
        ("::1", ["::1:80"], ["::2:80"]),
        ("[::1]:81", ["::1:81"], ["::1:80"]),
        ("unix", ["unix:80"], ["a:80"]),
        ("localhost", ["localhost:80"], ["127.0.0.1:80"]),
        ("stra\xdfe.de", ["xn--strae-oqa.de:80", "a.Stra\xdfe.de:80"], ["de:80"]),
        ("*.XN--strae-oqa.de", ["www.stra\xdfe.de:80"], ["strasse.de:80"]),
        ("127.0.0.1", ["127.1:80", "0x7f.0.0.1:80"], ["127.0.0.2:80"]),
        ("10.0.0.0/8", ["10.1:80"], ["11.1:80"]),
        ("10.0.0.0/99,:,[,a:b:c,.", [], ["10.0.0.1:80", "a:80"]),
    ],
)
def test_hosts_that_are_reached_directly(
    no_proxy: str, direct: list[str], proxied: list[str]
) -> None:
    environment = {"http_proxy": PROXY, "no_proxy": no_proxy}
    assert [choose(environment, f"http://{each}") for each in direct] == [
        None for _ in direct
    ]
    assert [choose(environment, f"http://{each}") for each in proxied] == [
        "proxy.example" for _ in proxied
    ]


@pytest.mark.parametrize("words", [None, "", ",", ".", "*.", "a:b:c"])
def test_nobody_is_reached_directly_who_is_not_named(words: str | None) -> None:
    variables = {} if words is None else {"no_proxy": words}
    assert read_proxy_rules(variables).direct_names == ()


def test_a_bad_variable_is_named() -> None:
    with pytest.raises(ConfigurationError, match="HTTPS_PROXY: a proxy is scheme://"):
        read_proxy_rules({"HTTPS_PROXY": "gopher://a"})
