"""Who the client is behind proxies: X-Forwarded-* and Forwarded.

Each proxy adds, on the right, what it saw: the address that connected to it, and the
scheme and authority that were requested. So the right-most entry was written by our
peer, the one before it by whom that entry names, and so on::

    X-Forwarded-For: 203.0.113.9, 198.51.100.7, 10.0.0.2     our peer: 10.0.0.1
                     may be       written by    written by
                     invented     10.0.0.2      10.0.0.1

We walk from the right and believe an entry only when its writer is trusted. The first
address that is not trusted is the client; what stands to the left of it was sent by the
client itself. An entry that cannot be read ends the walk, and what was believed up to
there stands: nothing here raises.

**Both kinds of fields.** Where at least one of ``X-Forwarded-For``, ``-Proto`` and
``-Host`` is present, they decide, and ``Forwarded`` (RFC 7239) is not read; the two are
never mixed. A proxy that writes one kind passes the other one on as the client sent it,
and nearly all write ``X-Forwarded-For``. If ``Forwarded`` were preferred, or used where
it disagrees, a client could choose its own address behind each of them. So a proxy that
writes only ``Forwarded`` has to remove the other three.
"""

import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from itertools import zip_longest
from typing import Final, NamedTuple

from msgspec import Struct

from blazeio.errors import ConfigurationError
from blazeio.wire.grammar import TCHAR, is_host
from blazeio.wire.headers import Headers

# Which peers an operator trusts


EVERY_PEER = "*"
UNIX_PEERS = "unix"

_MAPPED_BITS = 96
"""The bits of ``::ffff:0:0/96`` before an IPv4 address; see ``read_address``."""


class AllowList(Struct, frozen=True):
    """Peers by their address. An empty list is false.

    Attributes:
        networks: Addresses within one of them are allowed.
        has_every_peer: Every peer is allowed. That says nothing about hosts that a peer
            only names: see ``names``.
        has_unix_peers: Peers on unix sockets are allowed.
    """

    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    has_every_peer: bool = False
    has_unix_peers: bool = False

    def allows(self, host: str) -> bool:
        """Tell whether the peer of a connection is allowed.

        Args:
            host: Its address; ``""`` over a unix socket.
        """
        if self.has_every_peer:
            return True
        return self.names(host) if host else self.has_unix_peers

    def names(self, host: str) -> bool:
        """Tell whether an address is within one of the networks."""
        if not self.networks:
            return False
        address = read_address(host)
        return address is not None and any(address in each for each in self.networks)

    def __bool__(self) -> bool:
        return bool(self.networks) or self.has_every_peer or self.has_unix_peers

    def __str__(self) -> str:
        words = [str(each) for each in self.networks]
        words += [EVERY_PEER] * self.has_every_peer + [UNIX_PEERS] * self.has_unix_peers
        return ",".join(words)


NOBODY = AllowList()


def parse_allow_list(words: str | Iterable[str]) -> AllowList:
    """Read an allow list as an operator writes it.

    Args:
        words: Separated by commas, or as a list: addresses, networks (``10.0.0.0/8``),
            ``*`` for every peer, ``unix`` for peers on unix sockets.

    Raises:
        ConfigurationError: A word is none of these; says which.
    """
    if not isinstance(words, str):
        words = ",".join(words)
    names = [word for each in words.split(",") if (word := each.strip())]
    return AllowList(
        tuple(_read_network(n) for n in names if n not in (EVERY_PEER, UNIX_PEERS)),
        has_every_peer=EVERY_PEER in names,
        has_unix_peers=UNIX_PEERS in names,
    )


def _read_network(word: str) -> IPv4Network | IPv6Network:
    try:
        network = ip_network(word)
    except ValueError as error:
        message = f"{error}; expected an address, a network, * or unix"
        raise ConfigurationError(message) from None
    mapped = getattr(network.network_address, "ipv4_mapped", None)
    if mapped is not None and network.prefixlen >= _MAPPED_BITS:
        return IPv4Network((mapped, network.prefixlen - _MAPPED_BITS))
    return network


# Proxies are few, and name the same clients again and again: 0.1 us instead of 1.4
# (IPv4) to 2.7 (IPv6) by ``ip_address``. Callers bound the text.
@lru_cache(maxsize=1024)
def read_address(text: str) -> IPv4Address | IPv6Address | None:
    """Read an address; None where it is none.

    An IPv4 address written as IPv6 (``::ffff:192.0.2.1``, as a listener for both
    families shows it) is that IPv4 address. A zone (``fe80::1%eth0``) is dropped: it
    has a meaning on one machine only.
    """
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


MOST_HOPS: Final = 32
"""How many entries are read: no real chain of proxies is that long, and a peer must not
make us read a head full of them."""
FORWARDED_CHARS: Final = 4096
"""How many characters of Forwarded are read, from the right; likewise."""

_SCHEMES: Final = {"http": "http", "https": "https", "ws": "http", "wss": "https"}
"""What a proxy writes, and what it means: some name the scheme of a WebSocket."""

# RFC 7239 section 6: node = nodename [ ":" node-port ]. "unknown" and obfuscated names
# ("_hidden") are no addresses and do not match; an obfuscated port is no number. IPv6
# without brackets is how X-Forwarded-For has it.
_NODE_PORT: Final = r"(?::(?:([0-9]{1,5}+)|_[A-Za-z0-9._\-]++))?"
_IPV6: Final = r"([0-9A-Fa-f]*+:[0-9A-Fa-f:.]++)"
_NODE: Final = re.compile(rf"\[{_IPV6}\]{_NODE_PORT}|([0-9.]++){_NODE_PORT}|{_IPV6}")
_NODE_CHARS: Final = 64

# Elements of Forwarded are found from the right, like everything here: a quote that the
# client never closed must not hide what a proxy has added. Read backwards, a
# quoted-string ends at a quote that no odd number of backslashes precedes.
_BACKWARDS_ELEMENT: Final = re.compile(
    r'(?>(?:[^",]|"(?>(?:[^"]|"(?=\\(?>(?:\\\\)*)(?!\\)))*)")*)'
)
# RFC 7239 section 4, but colons and brackets need no quotes: many proxies forget them.
_PAIR: Final = re.compile(
    rf'[ \t;]*+([{TCHAR}]++)=(?:"((?>(?:[^"\\]|\\.)*))"|([^\s;,"]*+))[ \t]*+(?:;|\Z)'
)
_QUOTED_PAIR: Final = re.compile(r"\\(.)")


class Client(NamedTuple):
    """The client of a request.

    Attributes:
        host: An address; ``""`` for a unix socket.
        port: 0 where it is not known.
        scheme: ``http`` or ``https``.
        authority: ``host[:port]`` as the client named us; ``""`` if it did not.
    """

    host: str
    port: int
    scheme: str
    authority: str


class _Hop(NamedTuple):
    """What one proxy has written; ``""`` where it wrote nothing."""

    node: str
    scheme: str
    authority: str


_GARBAGE: Final = _Hop("", "", "")


def resolve_client(peer: Client, headers: Headers, allowed: AllowList) -> Client:
    """Find the client of a request.

    Args:
        peer: Who has connected, with the scheme and authority seen here.
        headers: The fields of the request.
        allowed: The peers that are trusted. ``*`` and ``unix`` mean peers only: a host
            that is only named must be within a network to be trusted in turn.

    Returns:
        ``peer`` itself where it is not allowed, or writes nothing. The port is 0 where
        the proxy did not write it.

    Cost: linear in the entries up to the client, at most ``MOST_HOPS``.
    """
    if not allowed.allows(peer.host):
        return peer
    fields = [
        headers.get(name, "")
        for name in ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host")
    ]
    if any(fields):
        return _walk(peer, _read_x_forwarded(fields), allowed)
    forwarded = headers.get("forwarded")
    if forwarded:
        return _walk(peer, _read_forwarded(forwarded), allowed)
    return peer


def _walk(peer: Client, hops: Iterable[_Hop], allowed: AllowList) -> Client:
    """Believe hop by hop, the nearest first."""
    host, port, scheme, authority = peer
    for hop in hops:
        scheme = _SCHEMES.get(hop.scheme.lower(), scheme)
        if is_host(hop.authority):
            authority = hop.authority
        node = _read_node(hop.node)
        if node is None:
            break
        host, port = node
        if not allowed.names(host):
            break
    return Client(host, port, scheme, authority)


def _read_node(node: str) -> tuple[str, int] | None:
    """Read an address and its port; None where there is no address."""
    match = _NODE.fullmatch(node) if len(node) <= _NODE_CHARS else None
    if match is None:
        return None
    address = read_address(match[1] or match[3] or match[5])
    port = int(match[2] or match[4] or 0)
    if address is None or port > 65_535:
        return None
    return str(address), port


def _read_x_forwarded(fields: list[str]) -> Iterator[_Hop]:
    """Join what each proxy has added to the three fields.

    Entries belong together by their place from the right. A shorter field was set by
    the nearer proxies only; its left-most value stays in force.
    """
    for hop in zip_longest(*map(_split_backwards, fields), fillvalue=""):
        yield _Hop(*hop)


def _split_backwards(value: str) -> list[str]:
    entries = value.rsplit(",", MOST_HOPS)[-MOST_HOPS:]
    return [entry for each in reversed(entries) if (entry := each.strip(" \t"))]


def _read_forwarded(value: str) -> Iterator[_Hop]:
    """Read the elements of a Forwarded field, the right-most first."""
    backwards = value[-FORWARDED_CHARS:][::-1]
    at = 0
    for _ in range(MOST_HOPS):
        match = _BACKWARDS_ELEMENT.match(backwards, at)
        assert match is not None  # it matches the empty string
        at = match.end() + 1
        if at <= len(backwards) and backwards[at - 1] != ",":
            return  # a quote without its partner
        element = match[0][::-1].strip(" \t")
        if element:
            yield _read_element(element)
        if at > len(backwards):
            return


def _read_element(element: str) -> _Hop:
    """Read ``for=...;proto=...``; RFC 7239 section 4: each at most once."""
    values: dict[str, str] = {}
    at = 0
    while at < len(element):
        pair = _PAIR.match(element, at)
        if pair is None:
            return _GARBAGE
        name = pair[1].lower()
        if name in values:
            return _GARBAGE
        quoted = pair[2]
        values[name] = pair[3] if quoted is None else _QUOTED_PAIR.sub(r"\1", quoted)
        at = pair.end()
    return _Hop(*(values.get(name, "") for name in ("for", "proto", "host")))
