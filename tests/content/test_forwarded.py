import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from blazeio.content.forwarded import (
    MOST_HOPS,
    Client,
    parse_allow_list,
    resolve_client,
)
from blazeio.wire.headers import Headers

PEER = Client("10.0.0.1", 40000, "http", "inner.test")
UNIX = Client("", 0, "http", "inner.test")
INNER = parse_allow_list("10.0.0.0/8, 2001:db8:f::/48")

FOR, PROTO, HOST = "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host"


def resolve(
    *fields: tuple[str, str], peer: Client = PEER, allowed: str | None = None
) -> Client:
    headers = Headers([(name.lower(), value) for name, value in fields])
    return resolve_client(
        peer, headers, INNER if allowed is None else parse_allow_list(allowed)
    )


def host_of(*fields: tuple[str, str]) -> tuple[str, int]:
    return resolve(*fields)[:2]


# Who is believed


@pytest.mark.parametrize(
    ("host", "allowed", "is_believed"),
    [
        ("10.0.0.1", "10.0.0.0/8", True),
        ("10.0.0.1", "10.0.0.2", False),
        ("::ffff:10.0.0.1", "10.0.0.1", True),
        ("10.0.0.1", "*", True),
        ("10.0.0.1", "unix", False),
        ("10.0.0.1", "", False),
        ("", "unix", True),
        ("", "*", True),
        ("", "0.0.0.0/0, ::/0", False),
    ],
)
@pytest.mark.parametrize(
    "fields",
    [
        [(FOR, "192.0.2.1"), (PROTO, "https"), (HOST, "outer.test")],
        [("Forwarded", "for=192.0.2.1;proto=https;host=outer.test")],
    ],
)
def test_only_an_allowed_peer_is_believed(
    fields: list[tuple[str, str]], host: str, allowed: str, is_believed: bool
) -> None:
    peer = Client(host, 4, "http", "inner.test")
    told = Client("192.0.2.1", 0, "https", "outer.test")
    client = resolve(*fields, peer=peer, allowed=allowed)
    assert client == (told if is_believed else peer)


def test_without_a_field_the_peer_is_the_client() -> None:
    assert resolve(("Host", "a"), ("Accept", "*/*")) is PEER


# The chain


@pytest.mark.parametrize(
    ("entries", "client"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1, 10.0.0.2", "192.0.2.1"),
        ("192.0.2.1, 10.0.0.3, 10.0.0.2", "192.0.2.1"),
        ("1.1.1.1, 192.0.2.1", "192.0.2.1"),
        ("127.0.0.1, 192.0.2.1, 10.0.0.2", "192.0.2.1"),
        ("10.0.0.9, 192.0.2.1, 10.0.0.2", "192.0.2.1"),
        ("10.0.0.4, 10.0.0.3", "10.0.0.4"),
        ("192.0.2.1,10.0.0.2", "192.0.2.1"),
        ("192.0.2.1\t,  10.0.0.2 ", "192.0.2.1"),
        (",, 192.0.2.1, , 10.0.0.2,", "192.0.2.1"),
        ("192.0.2.1, 2001:db8:f::7", "192.0.2.1"),
        ("2001:DB8:0::1, 10.0.0.2", "2001:db8::1"),
        ("::ffff:192.0.2.1, ::ffff:10.0.0.2", "192.0.2.1"),
    ],
)
def test_the_right_most_host_that_is_not_trusted_is_the_client(
    entries: str, client: str
) -> None:
    assert host_of((FOR, entries)) == (client, 0)
    elements = ", ".join(
        f'for="[{entry.strip()}]"' if ":" in entry else f"for={entry.strip()}"
        for entry in entries.split(",")
        if entry.strip()
    )
    assert host_of(("Forwarded", elements)) == (client, 0)


def test_field_lines_are_one_list() -> None:
    assert host_of((FOR, "1.1.1.1"), (FOR, "192.0.2.1"), (FOR, "10.0.0.2")) == (
        "192.0.2.1",
        0,
    )


@pytest.mark.parametrize("allowed", ["*", "*, unix", "unix, *"])
def test_every_peer_does_not_mean_every_host(allowed: str) -> None:
    spoofed = (FOR, "127.0.0.1, 192.0.2.1")
    assert resolve(spoofed, allowed=allowed).host == "192.0.2.1"
    assert resolve(spoofed, peer=UNIX, allowed=allowed).host == "192.0.2.1"


def test_every_peer_and_a_network_walk_on() -> None:
    chain = (FOR, "1.1.1.1, 192.0.2.1, 10.0.0.2")
    assert resolve(chain, allowed="*").host == "10.0.0.2"
    assert resolve(chain, allowed="*, 10.0.0.0/8").host == "192.0.2.1"


# Entries of X-Forwarded-For


@pytest.mark.parametrize(
    ("entry", "host", "port"),
    [
        ("192.0.2.1:56324", "192.0.2.1", 56324),
        ("192.0.2.1:0", "192.0.2.1", 0),
        ("192.0.2.1:65535", "192.0.2.1", 65535),
        ("192.0.2.1:_hidden", "192.0.2.1", 0),
        ("192.0.2.1:_" + "a" * 53, "192.0.2.1", 0),
        ("2001:db8::1", "2001:db8::1", 0),
        ("[2001:db8::1]", "2001:db8::1", 0),
        ("[2001:db8::1]:443", "2001:db8::1", 443),
        ("[2001:db8::1]:_h-.1", "2001:db8::1", 0),
        ("::", "::", 0),
        ("2001:db8::1:443", "2001:db8::1:443", 0),
    ],
)
def test_an_entry_may_have_a_port_and_brackets(
    entry: str, host: str, port: int
) -> None:
    assert host_of((FOR, entry)) == (host, port)
    assert host_of(("Forwarded", f'for="{entry}"')) == (host, port)


GARBAGE = [
    "unknown",
    "_hidden",
    "_SEVKISEK",
    "-",
    "localhost",
    "192.0.2",
    "192.0.2.256",
    "192.0.2.01",
    "192.0.2.1.1",
    "192.0.2.1:",
    "192.0.2.1:65536",
    "192.0.2.1:99999999999",
    "192.0.2.1:http",
    "192.0.2.1:_" + "a" * 54,
    "\xa0192.0.2.1",
    "192.0.2.1\xa0",
    "X192.0.2.1X",
    "192.0.2.1/32",
    "192.0.2.1%eth0",
    "[192.0.2.1]",
    "[2001:db8::1",
    "2001:db8::1]",
    "[2001:db8::1]443",
    "[2001:db8::1%25eth0]",
    "2001:db8:::1",
    "3232235777",
    "0x7f.1",
    "\u0661.0.0.1",
    "192.0.2.1\x00",
    "192.0.2.1 192.0.2.2",
    "a" * 20_000,
    "1" * 20_000,
    ":" * 20_000,
]


@pytest.mark.parametrize("entry", GARBAGE)
def test_what_is_no_address_ends_the_walk(entry: str) -> None:
    assert host_of((FOR, entry)) == (PEER.host, PEER.port)
    assert host_of((FOR, f"192.0.2.1, {entry}, 10.0.0.2:7")) == ("10.0.0.2", 7)
    assert host_of((FOR, f"{entry}, 192.0.2.1")) == ("192.0.2.1", 0)
    assert host_of(("Forwarded", f"for=192.0.2.1, for={entry}, for=10.0.0.2:7")) == (
        "10.0.0.2",
        7,
    )


# Scheme and authority


@pytest.mark.parametrize(
    ("chain", "schemes", "scheme"),
    [
        ("192.0.2.1", "https", "https"),
        ("192.0.2.1", "HTTPS", "https"),
        ("192.0.2.1", "wss", "https"),
        ("192.0.2.1", "ws", "http"),
        ("192.0.2.1", "http, https", "https"),
        ("192.0.2.1", "https, http", "http"),
        ("192.0.2.1, 10.0.0.2", "https, http", "https"),
        ("192.0.2.1, 10.0.0.2", "https", "https"),
        ("1.1.1.1, 192.0.2.1, 10.0.0.2", "http, https, http", "https"),
        ("192.0.2.1, 10.0.0.2", "ftp, https", "https"),
        ("192.0.2.1", "javascript", "http"),
        ("192.0.2.1", "", "http"),
        ("", "https", "https"),
        ("unknown", "https", "https"),
        ("192.0.2.1, unknown", "https, http", "http"),
    ],
)
def test_the_scheme_is_what_the_outermost_trusted_proxy_saw(
    chain: str, schemes: str, scheme: str
) -> None:
    assert resolve((FOR, chain), (PROTO, schemes)).scheme == scheme


def test_a_proxy_may_say_http_of_a_connection_over_tls() -> None:
    peer = PEER._replace(scheme="https")
    assert resolve((PROTO, "http"), peer=peer).scheme == "http"
    assert resolve((PROTO, "gopher"), peer=peer).scheme == "https"


@pytest.mark.parametrize(
    ("hosts", "authority"),
    [
        ("outer.test", "outer.test"),
        ("outer.test:8443", "outer.test:8443"),
        ("[2001:db8::1]:8443", "[2001:db8::1]:8443"),
        ("evil.test, outer.test", "outer.test"),
        ("outer.test/path", "inner.test"),
        ("user@outer.test", "inner.test"),
        ("outer.test:99999", "inner.test"),
        ("out er.test", "inner.test"),
        ('outer.test"><script>', "inner.test"),
        ("", "inner.test"),
    ],
)
def test_the_authority_is_told_like_the_scheme(hosts: str, authority: str) -> None:
    assert resolve((FOR, "192.0.2.1"), (HOST, hosts)).authority == authority


def test_what_an_untrusted_host_said_is_not_taken() -> None:
    client = resolve(
        (FOR, "1.1.1.1, 192.0.2.1"), (PROTO, "https, http"), (HOST, "evil.test, a.test")
    )
    assert client == Client("192.0.2.1", 0, "http", "a.test")


# Forwarded


@pytest.mark.parametrize(
    ("value", "client"),
    [
        ("for=192.0.2.43", ("192.0.2.43", 0, "http", "inner.test")),
        # the examples of RFC 7239 sections 4, 6 and 7
        (
            'For="[2001:db8:cafe::17]:4711"',
            ("2001:db8:cafe::17", 4711, "http", "inner.test"),
        ),
        (
            "for=192.0.2.60; proto=http; by=203.0.113.43",
            ("192.0.2.60", 0, "http", "inner.test"),
        ),
        (
            "for=192.0.2.43, for=198.51.100.17",
            ("198.51.100.17", 0, "http", "inner.test"),
        ),
        ("for=_hidden, for=_SEVKISEK", ("10.0.0.1", 40000, "http", "inner.test")),
        (
            "proto=https;by=203.0.113.60;host=outer.test:8443;for=192.0.2.1",
            ("192.0.2.1", 0, "https", "outer.test:8443"),
        ),
        (
            'FOR="192.0.2.1:80";Proto="https";HOST="outer.test"',
            ("192.0.2.1", 80, "https", "outer.test"),
        ),
        ("for=192.0.2.1:80", ("192.0.2.1", 80, "http", "inner.test")),
        ("for=[2001:db8::1]:80", ("2001:db8::1", 80, "http", "inner.test")),
        (";;for=192.0.2.1; ;proto=https;", ("192.0.2.1", 0, "https", "inner.test")),
        (
            r'for="192.0.2.\1";ext="a\"b, for=1.1.1.1;\\"',
            ("192.0.2.1", 0, "http", "inner.test"),
        ),
        ("proto=https", ("10.0.0.1", 40000, "https", "inner.test")),
        ("for=unknown;proto=https", ("10.0.0.1", 40000, "https", "inner.test")),
    ],
)
def test_an_element_tells_all_of_one_hop(
    value: str, client: tuple[object, ...]
) -> None:
    assert resolve(("Forwarded", value)) == client


@pytest.mark.parametrize(
    "element",
    [
        "192.0.2.1",
        "for 192.0.2.1",
        "for = 192.0.2.1",
        "for=192.0.2.1;for=192.0.2.2",
        "for=192.0.2.1;FOR=192.0.2.1",
        "for=192.0.2.1 proto=https",
        'for="192.0.2.1"x',
        'for=192.0.2.1"',
        '"for=192.0.2.1',
        r'for="192.0.2.1\"',
        "=192.0.2.1",
        "for=192.0.2.1;=",
        "(for=192.0.2.1",
        "\xa0for=192.0.2.1",
        "for=192.0.2.1\xa0",
        "Xfor=192.0.2.1",
        "for=192.0.2.1X",
    ],
)
def test_a_malformed_element_says_nothing(element: str) -> None:
    assert resolve(("Forwarded", element)) == PEER
    assert host_of(("Forwarded", f"{element}, for=10.0.0.2:7")) == ("10.0.0.2", 7)


def test_a_comma_within_quotes_is_no_end() -> None:
    value = 'for=192.0.2.1, for="10.0.0.2";ext="a, for=1.1.1.1"'
    assert host_of(("Forwarded", value)) == ("192.0.2.1", 0)


@pytest.mark.parametrize(
    "invention",
    [
        'for="',
        'for="\\',
        '"',
        '\\"',
        'x="a\\\\',
        "for=1.1.1.1,",
        '"' * 9000,
        "\\" * 9000,
    ],
)
def test_what_a_client_sends_cannot_hide_what_a_proxy_adds(invention: str) -> None:
    assert host_of(("Forwarded", f"{invention}, for=192.0.2.1")) == ("192.0.2.1", 0)
    added = 'for="192.0.2.1";proto="https"'
    assert resolve(("Forwarded", invention), ("Forwarded", added))[:3] == (
        "192.0.2.1",
        0,
        "https",
    )


# Both


@pytest.mark.parametrize("field", [(FOR, "192.0.2.1"), (PROTO, "http"), (HOST, "a")])
def test_x_forwarded_fields_decide_where_there_is_one(field: tuple[str, str]) -> None:
    forwarded = ("Forwarded", "for=1.1.1.1;proto=https;host=evil.test")
    assert resolve(field, forwarded) == resolve(field) == resolve(forwarded, field)


def test_an_empty_field_is_none() -> None:
    assert host_of((FOR, ""), ("Forwarded", "for=192.0.2.1")) == ("192.0.2.1", 0)


# Bounds and laws

ADDRESSES = (
    st.ip_addresses(v=4).map(str).filter(lambda host: not host.startswith("10."))
)
PROXIES = st.integers(0, 2**24 - 1).map(
    lambda n: f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}"
)
INVENTIONS = st.text(st.sampled_from('for=",;\\ 10.:[]ab_-\t\xe9'), max_size=60)


def test_a_chain_of_trusted_hosts_is_bounded() -> None:
    chain = [f"10.0.1.{n}" for n in range(MOST_HOPS + 10)]
    assert host_of((FOR, ",".join(chain))) == ("10.0.1.10", 0)
    elements = ",".join(f"for={host}" for host in chain)
    assert host_of(("Forwarded", elements)) == ("10.0.1.10", 0)


@pytest.mark.parametrize(
    "field",
    [
        (FOR, "10.0.0.2," * 7000),
        (FOR, "," * 60_000),
        (PROTO, "https," * 9000),
        ("Forwarded", "for=10.0.0.2," * 5000),
        ("Forwarded", "," * 60_000),
        ("Forwarded", '"' * 60_000),
        ("Forwarded", '\\"' * 30_000),
        ("Forwarded", ";" * 60_000),
        ("Forwarded", "a=b;" * 15_000),
    ],
)
def test_a_head_full_of_entries_costs_little(field: tuple[str, str]) -> None:
    headers = Headers([(field[0].lower(), field[1])])
    spans = []
    for _ in range(3):
        start = time.perf_counter()
        resolve_client(PEER, headers, INNER)
        spans.append(time.perf_counter() - start)
    assert min(spans) < 0.01


@given(INVENTIONS, ADDRESSES, st.lists(PROXIES, max_size=5))
def test_no_invention_of_a_client_moves_its_address(
    invention: str, client: str, proxies: list[str]
) -> None:
    chain = [client, *proxies]
    assert host_of((FOR, ", ".join([invention, *chain]))) == (client, 0)
    elements = [f'for="{host}"' for host in chain]
    assert host_of(("Forwarded", ", ".join([invention, *elements]))) == (client, 0)


@given(
    st.lists(
        st.tuples(
            st.sampled_from([FOR, PROTO, HOST, "Forwarded"]),
            st.text(st.characters(max_codepoint=255)) | INVENTIONS,
        )
    )
)
def test_nothing_raises_and_an_unbelieved_peer_stands(
    fields: list[tuple[str, str]],
) -> None:
    client = resolve(*fields)
    assert client.scheme in ("http", "https")
    assert 0 <= client.port <= 65_535
    assert resolve(*fields, allowed="192.0.2.0/24") is PEER
