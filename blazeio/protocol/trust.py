"""Who the client is, where trusted proxies say so.

They say it in two ways: in fields of a request (X-Forwarded-*, Forwarded), and in a
header before everything else on the connection (the PROXY protocol). Each is believed
from its own list of peers, and from nobody by default.
"""

import asyncio
from collections.abc import Iterable

from msgspec import Struct

from blazeio.content.forwarded import (
    NOBODY,
    AllowList,
    Client,
    parse_allow_list,
    resolve_client,
)
from blazeio.wire.grammar import parse_target
from blazeio.wire.headers import Headers
from blazeio.wire.proxy_protocol import Endpoint, ProxyHeader


class Trust(Struct, frozen=True):
    """Which peers are proxies; see ``AllowList`` for how they are named.

    Attributes:
        forwarded_allow_ips: Their X-Forwarded-For, -Proto and -Host, or their
            Forwarded, say who the client is.
        proxy_protocol_allow_ips: Their connections begin with a header of the
            PROXY protocol; one without it is closed.
    """

    forwarded_allow_ips: AllowList = NOBODY
    proxy_protocol_allow_ips: AllowList = NOBODY


def make_trust(
    *,
    forwarded_allow_ips: str | Iterable[str] = "",
    proxy_protocol_allow_ips: str | Iterable[str] = "",
) -> Trust | None:
    """Read both lists as an operator writes them; None when both are empty.

    Raises:
        ConfigurationError: A word is no address, network, ``*`` or ``unix``.
    """
    lists = map(parse_allow_list, (forwarded_allow_ips, proxy_protocol_allow_ips))
    trust = Trust(*lists)
    return None if trust == Trust() else trust


class ConnectionOrigin:
    """Where the requests of one connection come from.

    It exists only where a proxy may be trusted. Else the transport knows the client.

    Args:
        trust: Which peers are believed.
        header: Of the PROXY protocol, if the peer has sent one.
    """

    __slots__ = ("_allowed", "_client", "_header", "_headers", "_peer")

    _peer: Client

    def __init__(self, trust: Trust, header: ProxyHeader | None) -> None:
        self._allowed: AllowList | None = trust.forwarded_allow_ips
        self._header = header
        self._headers: Headers | None = None
        self._client: Client | None = None

    def connect(self, transport: asyncio.BaseTransport) -> None:
        """Find out who has connected.

        The fields of a request are judged by the address that the PROXY
        protocol told, if it did: it is that of whoever wrote them.
        """
        host, port = find_peer(transport)
        header = self._header
        if header is not None and header.source is not None:
            host, port = ("", 0) if header.is_unix else header.source
        self._peer = Client(host, port, find_scheme(transport), "")
        if self._allowed is not None and not self._allowed.allows(host):
            self._allowed = None

    @property
    def is_told(self) -> bool:
        """Whether the PROXY protocol has told who the peer is."""
        return self._header is not None

    @property
    def is_trusted(self) -> bool:
        """Whether the peer's fields about a request are believed."""
        return self._allowed is not None

    def find_client(self, headers: Headers) -> Client:
        """Find the client of a request; ``authority`` is "" if no proxy told it."""
        if self._allowed is None:
            return self._peer
        client = self._client
        # One head is asked about again and again. Equal fields may share one
        # object, also between requests: what they tell is the same.
        if client is None or headers is not self._headers:
            client = resolve_client(self._peer, headers, self._allowed)
            self._client, self._headers = client, headers
        return client


def find_peer(transport: asyncio.BaseTransport) -> Endpoint:
    """Return the other end of a connection; ``("", 0)`` over a unix socket."""
    peer = transport.get_extra_info("peername")
    return Endpoint(peer[0], peer[1]) if isinstance(peer, tuple) else Endpoint("", 0)


def find_scheme(transport: asyncio.BaseTransport) -> str:
    """Return the scheme that a connection is for."""
    return "http" if transport.get_extra_info("ssl_object") is None else "https"


def find_authority(method: str, target: str, headers: Headers) -> str:
    """Return ``host[:port]`` as the request names it; "" where it does not.

    RFC 9112 section 3.3: that of the target, where it has one, overrides Host.
    """
    if target.startswith("/") or target in ("*", ""):
        return headers.get("host", "")
    return parse_target(method, target).authority or ""
