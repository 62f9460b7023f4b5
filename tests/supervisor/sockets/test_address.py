import re
import socket

import pytest

from blazeio_supervisor.sockets.address import (
    Address,
    TcpAddress,
    TcpEndpoint,
    UnixAddress,
    format_address,
    parse_address,
    resolve,
)


@pytest.mark.parametrize(
    ("text", "address", "shown"),
    [
        ("127.0.0.1:80", TcpAddress("127.0.0.1", 80), "http://127.0.0.1:80"),
        ("localhost:0", TcpAddress("localhost", 0), "http://localhost:0"),
        (":8000", TcpAddress("", 8000), "http://*:8000"),
        ("[::1]:65535", TcpAddress("::1", 65535), "http://[::1]:65535"),
        ("unix:/run/a.sock", UnixAddress("/run/a.sock"), "unix:/run/a.sock"),
        ("unix:a:b", UnixAddress("a:b"), "unix:a:b"),
        ("unix:/" + "a" * 106, UnixAddress("/" + "a" * 106), "unix:/" + "a" * 106),
    ],
)
def test_an_address_is_read_and_shown(text: str, address: Address, shown: str) -> None:
    assert parse_address(text) == address
    assert str(address) == shown


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("127.0.0.1", "write `127.0.0.1:8000` or `unix:/path`"),
        ("8000", "no host: write `127.0.0.1:8000`, or `:8000` for all"),
        ("::1:80", "write an IPv6 address in brackets, `[::1]:8000`"),
        ("[::1:80", "write an IPv6 address in brackets, `[::1]:8000`"),
        ("a:65536", "0 to 65535, not '65536'"),
        ("a:http", "0 to 65535, not 'http'"),
        ("a:", "0 to 65535, not ''"),
        ("a:-1", "not '-1'"),
        ("unix:", "no path"),
        ("unix:/" + "a" * 107, "107 octets"),
    ],
)
def test_what_is_no_address_is_refused_with_what_to_write(text: str, hint: str) -> None:
    with pytest.raises(ValueError, match=re.escape(hint)):
        parse_address(text)


def test_a_number_resolves_to_itself() -> None:
    assert resolve(TcpAddress("127.0.0.1", 80)) == [
        TcpEndpoint(socket.AF_INET, "127.0.0.1", 80)
    ]
    assert resolve(TcpAddress("::1", 80)) == [TcpEndpoint(socket.AF_INET6, "::1", 80)]


def test_no_host_is_every_interface_of_each_family() -> None:
    hosts = {endpoint.host for endpoint in resolve(TcpAddress("", 80))}
    assert hosts <= {"0.0.0.0", "::"}
    assert "0.0.0.0" in hosts


def test_an_unknown_host_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'no-such-host\.invalid'"):
        resolve(TcpAddress("no-such-host.invalid", 80))


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("https://127.0.0.1:443", TcpAddress("127.0.0.1", 443, "https")),
        ("http://:80", TcpAddress("", 80, "http")),
        ("https://[::1]:443", TcpAddress("::1", 443, "https")),
        ("http://unix:/run/s", UnixAddress("/run/s", "http")),
    ],
)
def test_what_is_spoken_may_stand_in_front(text: str, address: Address) -> None:
    assert parse_address(text) == address
    assert format_address(address) == text


def test_another_scheme_is_refused() -> None:
    for text in ("ftp://a:1", "http://ftp://a:1"):
        with pytest.raises(
            ValueError, match=r"^ftp:// is neither http:// nor https://"
        ):
            parse_address(text)


def test_a_slash_at_the_end_of_an_url_is_left_out() -> None:
    assert parse_address("http://a:80/") == TcpAddress("a", 80, "http")
    assert parse_address("http://unix:/X/") == UnixAddress("/X", "http")


def test_without_a_scheme_none_is_written() -> None:
    assert format_address(TcpAddress("::1", 80)) == "[::1]:80"
    assert format_address(UnixAddress("/run/s")) == "unix:/run/s"
