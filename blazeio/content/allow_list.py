"""Which peers an operator believes, as a value.

May import: blazeio.errors.
"""

from collections.abc import Iterable
from functools import lru_cache
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

from msgspec import Struct

from blazeio.errors import ConfigurationError

EVERY_PEER = "*"
UNIX_PEERS = "unix"

_MAPPED_BITS = 96
"""Those of ``::ffff:0:0/96``, before an IPv4 address; see ``read_address``."""


class AllowList(Struct, frozen=True):
    """Peers by their address. An empty one is false.

    Attributes:
        networks: Addresses within one of them are named.
        has_every_peer: Whoever connects is allowed. That says nothing of hosts
            that a peer only tells of: see ``names``.
        has_unix_peers: So is whoever connects over a unix socket.
    """

    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    has_every_peer: bool = False
    has_unix_peers: bool = False

    def allows(self, host: str) -> bool:
        """Tell whether the peer of a connection is meant.

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
        words: Separated by commas, or one by one: addresses, networks
            (``10.0.0.0/8``), ``*`` for every peer, ``unix`` for peers on unix
            sockets.

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


# Proxies are few and speak for the same clients again and again: 0.1 us where
# ``ip_address`` takes 1.4 (IPv4) to 2.7 (IPv6). Callers bound the text.
@lru_cache(maxsize=1024)
def read_address(text: str) -> IPv4Address | IPv6Address | None:
    """Read an address; None where it is none.

    An IPv4 address written as IPv6 (``::ffff:192.0.2.1``, as a listener for
    both families shows it) is the IPv4 address that it means. A zone
    (``fe80::1%eth0``) is dropped: it has a meaning on one machine only.
    """
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
