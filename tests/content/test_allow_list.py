from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blazeio.content.forwarded import AllowList, parse_allow_list, read_address
from blazeio.errors import ConfigurationError


@pytest.mark.parametrize(
    ("words", "host", "is_allowed"),
    [
        ("10.0.0.0/8", "10.255.0.1", True),
        ("10.0.0.0/8", "11.0.0.1", False),
        ("10.0.0.0/8", "::ffff:10.0.0.1", True),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("::ffff:10.0.0.0/104", "10.0.0.1", True),
        ("::ffff:10.0.0.0/104", "11.0.0.1", False),
        ("::ffff:0:0/96", "10.0.0.1", True),
        ("::/0", "10.0.0.1", False),
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.1", "127.0.0.2", False),
        ("127.0.0.1", "::1", False),
        ("::1, 127.0.0.1", "::1", True),
        ("2001:db8::/32", "2001:DB8:0:0::1", True),
        ("fe80::/10", "fe80::1%eth0", True),
        ("10.0.0.0/8", "", False),
        ("10.0.0.0/8", "nonsense", False),
        ("0.0.0.0/0", "2001:db8::1", False),
        ("unix", "", True),
        ("unix", "127.0.0.1", False),
        ("*", "192.0.2.1", True),
        ("*", "", True),
        ("", "127.0.0.1", False),
        ("", "", False),
    ],
)
def test_a_peer_is_allowed_by_its_address(
    words: str, host: str, is_allowed: bool
) -> None:
    assert parse_allow_list(words).allows(host) is is_allowed


def test_a_zone_means_something_on_one_machine_only() -> None:
    assert read_address("fe80::7%eth0") == IPv6Address("fe80::7")


@pytest.mark.parametrize("words", ["*", "unix", "*, unix", ""])
def test_only_a_network_names_a_host(words: str) -> None:
    assert not parse_allow_list(words).names("192.0.2.1")
    assert parse_allow_list(f"{words},192.0.2.0/24").names("192.0.2.1")


@pytest.mark.parametrize("words", ["", " ", ",, ,", ()])
def test_a_list_of_nobody_is_false(words: str) -> None:
    assert not parse_allow_list(words)
    assert parse_allow_list(words) == AllowList()


@pytest.mark.parametrize("words", ["*", "unix", "::1"])
def test_any_other_is_true(words: str) -> None:
    assert parse_allow_list(words)


def test_words_may_come_one_by_one() -> None:
    words = ["10.0.0.0/8", " unix", "::1,*"]
    assert parse_allow_list(words) == parse_allow_list("10.0.0.0/8,::1,*,unix")


def test_it_is_shown_as_it_is_written() -> None:
    assert str(parse_allow_list("*, ::1 ,10.0.0.0/8,unix")) == (
        "::1/128,10.0.0.0/8,*,unix"
    )


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("localhost", "'localhost' does not appear to be an IPv4 or IPv6 network"),
        ("10.0.0.1/8", "10.0.0.1/8 has host bits set"),
        ("10.0.0.0/33", "'10.0.0.0/33' does not appear to be"),
        ("::1,UNIX", "'UNIX' does not appear to be"),
        ("10.*", "'10.*' does not appear to be"),
    ],
)
def test_what_is_no_address_is_refused(words: str, reason: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_allow_list(words)
    assert str(caught.value).startswith(reason)
    assert str(caught.value).endswith("expected an address, a network, * or unix")


@given(st.ip_addresses())
def test_a_written_address_names_itself(address: IPv4Address | IPv6Address) -> None:
    for text in (str(address), address.exploded):
        assert parse_allow_list(text).names(str(address))


@pytest.mark.parametrize("text", ["", "a", "1.2.3", "1.2.3.04", ":::", "[::1]", "1"])
def test_what_is_no_address_is_none(text: str) -> None:
    assert read_address(text) is None
