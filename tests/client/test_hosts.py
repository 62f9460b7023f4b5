import ipaddress
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blazeio.client.proxy import (
    LONGEST_NAME_OCTETS,
    bracketed,
    read_host,
    read_host_port,
)

HOSTS = {
    "Example.COM": "example.com",
    "example.com.": "example.com.",
    "my_service": "my_service",
    "r3---sn-a.example": "r3---sn-a.example",
    "-a-": "-a-",
    # IDNA 2008, not 2003: what was "strasse" and "fass"
    "stra\xdfe.de": "xn--strae-oqa.de",
    "STRA\u1e9eE.de": "xn--strae-oqa.de",
    "fa\xdf.de": "xn--fa-hia.de",
    "b\xfccher.example": "xn--bcher-kva.example",
    "B\xdcCHER.example": "xn--bcher-kva.example",
    "b\x75\u0308cher.example": "xn--bcher-kva.example",
    "stra%C3%9Fe.de": "xn--strae-oqa.de",
    "XN--STRAE-OQA.de": "xn--strae-oqa.de",
    "\u03b5\u03bb\u03bb\u03ac\u03c2.gr": "xn--hxarsa0b.gr",
    "\uff45xample\u3002com": "example.com",
    "my_svc.stra\xdfe.de": "my_svc.xn--strae-oqa.de",
    "%65xample.com": "example.com",
    # addresses
    "127.0.0.1": "127.0.0.1",
    "127.0.0.1.": "127.0.0.1",
    "127.1": "127.0.0.1",
    "2130706433": "127.0.0.1",
    "0x7f.1": "127.0.0.1",
    "0177.0.0.1": "127.0.0.1",
    "\uff11\uff12\uff17.0.0.1": "127.0.0.1",
    "1.2.3.4.example": "1.2.3.4.example",
    "::1": "::1",
    "[::1]": "::1",
    "[0:0::0:1]": "::1",
    "[2001:DB8::A]": "2001:db8::a",
    "[::ffff:192.0.2.1]": "::ffff:192.0.2.1",
    "[fe80::1%25eth0]": "fe80::1%eth0",
    "[FE80::1%Eth0]": "fe80::1%Eth0",
}


@pytest.mark.parametrize(("text", "host"), HOSTS.items())
def test_a_host_has_one_form(text: str, host: str) -> None:
    told = read_host(text)
    if "ffff" in text:  # before 3.13 its end is written in hex
        assert ipaddress.ip_address(told) == ipaddress.ip_address(host)
        return
    assert told == host
    assert read_host(told) == told
    assert read_host_port(bracketed(host) + ":1") == (told, 1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        ".a",
        "a..b",
        "a b",
        "a/b",
        "a@b",
        "a,b",
        "a%2fb",
        "a%40b",
        "a%3a1",
        "a%00",
        "%ff",
        "%zz",
        "a\\b",
        "x" * 64,
        "x." * 127 + "x",
        "x" * 2000,
        "\xfc" * 2000,
        "\xad",
        "\u2603.example",
        "a\u200db.example",
        "\u0627a.example",
        "1.2.3.256",
        "1.2.3.4.5",
        "1.2.3.08",
        "a.1",
        "4294967296",
        "0x100000000",
        "1..2",
        "[",
        "[]",
        "[::1",
        "[::g]",
        "[::1%]",
        "[::1%25]",
        "[::1%a/b]",
        "[fe80::1%25a b]",
        ":",
        "a:b",
    ],
)
def test_what_is_no_host(text: str) -> None:
    with pytest.raises(ValueError, match=r"is not a host|octets|ends in a|zone|addr"):
        read_host(text)


@pytest.mark.parametrize("text", ["", ":80", "a:x", "a:65536", "a:123456", "a:1:2"])
def test_what_is_no_place(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_host_port(text)


@given(st.text(max_size=20) | st.text("a.0x%[]:\xdf\u3002", max_size=20))
def test_every_host_is_read_or_refused(text: str) -> None:
    try:
        host = read_host(text)
    except ValueError:
        return
    assert host.isascii()
    assert host == host.lower() or "%" in host
    assert len(host.removesuffix(".")) <= LONGEST_NAME_OCTETS
    assert not re.search(r"[\s/?#@\\\[\]]", host)


def test_the_tables_of_idna_are_not_imported_where_nobody_needs_them() -> None:
    code = (
        "import sys, blazeio; blazeio.Session('http://a.example/')\n"
        "from blazeio.client.url import parse_url\n"
        "parse_url('http://a.example/'); sys.exit('idna' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
