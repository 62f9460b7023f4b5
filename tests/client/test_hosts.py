import ipaddress
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blazeio.client.url import (
    LONGEST_NAME_OCTETS,
    bracketed,
    read_host,
    read_host_port,
    strip_zone,
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
    "1.2.3.4": "1.2.3.4",
    "10.0": "10.0.0.0",
    "0": "0.0.0.0",
    "0x": "0.0.0.0",
    "0X7F.1": "127.0.0.1",
    "1.2.3.4.example": "1.2.3.4.example",
    "x" * 63: "x" * 63,
    "x." * 126 + "x": "x." * 126 + "x",
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
        "a%2541",
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
        "1.2.3.4.0",
        "256.0.0.1",
        "1.256.1",
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


SHOWN = "1:" * 32


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it has no host"),
        (":80", "it has no host"),
        ("a:x", "its port is not a number from 0 to 65535"),
        ("a:65536", "Port out of range 0-65535"),
        ("a:123456", "Port out of range 0-65535"),
        ("a:000080", "Port out of range 0-65535"),
        ("a:1:2", "'a:1:2' is not a host"),
        ("a:[x", "'a:[x' is not a host"),
        ("a:x]", "'a:x]' is not a host"),
        (f"{SHOWN}1:2", f"{SHOWN!r} is not a host"),
    ],
)
def test_what_is_no_place(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        read_host_port(text)


def test_a_port_has_five_digits() -> None:
    assert read_host_port("a:00080") == ("a", 80)
    assert read_host_port("a:65535") == ("a", 65_535)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[", "'[' does not appear to be an IPv4 or IPv6 address"),
        ("a b" * 30, f"{('a b' * 30)[:64]!r} is not a host"),
        ("x" * 1025, f"{'x' * 64!r} is not a host"),
        ("x" * 1024, "a host of 1024 octets: at most 253"),
        ("x" * 70, f"{'x' * 64!r} is not a host: a label of more than 63 octets"),
        ("." * 70, f"{'.' * 64!r} is not a host: a label of it is empty"),
        (
            "1." * 60 + "1",
            f"{'1.' * 32!r} ends in a number, and is not an address of IPv4",
        ),
        ("fe80::1%" + "/" * 70, f"{'fe80::1%' + '/' * 56!r} has no zone that can be"),
        ("1:" * 40, f"{SHOWN!r} does not appear to be an IPv4 or IPv6 address"),
    ],
)
def test_it_is_said_why_and_no_more_than_64_characters_are_shown(
    text: str, said: str
) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(said)}$"):
        read_host(text)


def test_so_it_is_where_the_tables_of_names_refuse_it() -> None:
    with pytest.raises(ValueError, match=r"^'\u2603{64}' is not a host: "):
        read_host("\u2603" * 70)


def test_a_zone_is_for_this_machine_alone() -> None:
    assert strip_zone("fe80::1%eth0") == "fe80::1"
    assert bracketed("fe80::1%eth0") == "[fe80::1%25eth0]"
    assert bracketed("a.example") == "a.example"


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
