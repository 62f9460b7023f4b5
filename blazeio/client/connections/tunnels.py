"""Through a proxy: CONNECT (RFC 9110 section 9.3.6) and SOCKS 5 (RFC 1928).

Over the socket itself, before there is a transport: what follows is TLS or HTTP
with the server, as if it had been connected to directly. A proxy that is spoken to
over TLS has a transport before; TLS with the server then goes within it.
"""

import asyncio
import socket
from typing import cast

from blazeio.client.connections.exchange import MOST_INTERIMS
from blazeio.client.rules.proxies import Proxy
from blazeio.errors import (
    ConfigurationError,
    ConnectError,
    ProxyError,
    RemoteProtocolError,
)
from blazeio.limits import Limits
from blazeio.wire.responses.message import ResponseHead
from blazeio.wire.responses.parser import parse_response_head

READ_BYTES = 4096


async def open_tunnel(
    loop: asyncio.AbstractEventLoop,
    sock: socket.socket,
    proxy: Proxy,
    authority: str,
    limits: Limits,
) -> None:
    """Have an HTTP proxy connect to a server.

    Args:
        loop: The running one.
        sock: Connected to the proxy, not blocking.
        proxy: It.
        authority: ``host:port`` of the server.
        limits: Of the head that the proxy answers with.

    Raises:
        ProxyError: It did not; nothing was sent to the server.
    """
    await loop.sock_sendall(sock, _serialize_connect(proxy, authority))
    answer = _Answer(proxy, authority, limits)
    while not answer.feed(await loop.sock_recv(sock, READ_BYTES)):
        pass


class TunnelProtocol(asyncio.Protocol):
    """The same over TLS, where there is a transport already.

    Args:
        loop: The running one.
        proxy: It.
        authority: ``host:port`` of the server.
        limits: Of the head that the proxy answers with.

    Attributes:
        transport: To the proxy, once TLS is spoken.
        opened: Done when the proxy has connected; else it has a ProxyError.
    """

    transport: asyncio.Transport

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        proxy: Proxy,
        authority: str,
        limits: Limits,
    ) -> None:
        self.opened: asyncio.Future[None] = loop.create_future()
        self._order = _serialize_connect(proxy, authority)
        self._answer = _Answer(proxy, authority, limits)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """TLS is spoken: order the tunnel."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(self._order)

    def data_received(self, data: bytes) -> None:
        """Some of the answer has come, or more than that."""
        self._take(data)

    def eof_received(self) -> None:
        """The proxy has ended."""
        self._take(b"")

    def connection_lost(self, exc: Exception | None) -> None:
        """So it has."""
        self._take(b"")

    def _take(self, octets: bytes) -> None:
        if self.opened.done():
            return
        try:
            if self._answer.feed(octets):
                self.opened.set_result(None)
        except ProxyError as error:
            self.opened.set_exception(error)


def _serialize_connect(proxy: Proxy, authority: str) -> bytes:
    lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}"]
    if proxy.authorization is not None:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    return "\r\n".join([*lines, "", ""]).encode("ascii")


class _Answer:
    """What a proxy answers to CONNECT: heads, of which the last one counts."""

    def __init__(self, proxy: Proxy, authority: str, limits: Limits) -> None:
        self._proxy = proxy
        self._authority = authority
        self._limits = limits
        self._octets = b""
        self._interims = 0

    def feed(self, octets: bytes) -> bool:
        """Take what has come; whether the tunnel is open.

        Args:
            octets: Empty: the proxy has ended.

        Raises:
            ProxyError: It will not be.
        """
        if not octets:
            raise ProxyError(f"proxy {self._proxy} closed and gave no answer")
        scanned = max(len(self._octets) - 3, 0)
        self._octets += octets
        while self._octets:
            try:
                head = parse_response_head(self._octets, self._limits, scanned)
            except RemoteProtocolError as error:
                raise ProxyError(f"proxy {self._proxy}: {error}") from error
            if head is None:
                return False
            self._octets, scanned = self._octets[head.size :], 0
            if head.status >= 200:
                self._judge(head)
                return True
            self._interims += 1
            if self._interims > MOST_INTERIMS:
                message = f"more than {MOST_INTERIMS} interim responses"
                raise ProxyError(f"proxy {self._proxy}: {message}")
        return False

    def _judge(self, head: ResponseHead) -> None:
        if head.status >= 300:
            answer = f"{head.status} {head.reason:.100}".rstrip()
            message = f"does not connect to {self._authority}: {answer}"
            raise ProxyError(f"proxy {self._proxy} {message}")
        if self._octets:
            raise ProxyError(f"proxy {self._proxy} spoke in the server's place")


async def connect_by_socks(
    loop: asyncio.AbstractEventLoop, proxy: Proxy, host: str, port: int
) -> socket.socket:
    """Connect to a server through a SOCKS 5 proxy.

    Args:
        loop: The running one.
        proxy: ``socks5`` resolves the name here, ``socks5h`` lets the proxy do it.
        host: Of the server.
        port: Of it.

    Raises:
        ConfigurationError: The package python-socks is missing.
        ConnectError: There is no way to the proxy.
        ProxyError: It does not connect to the server.
    """
    try:
        import python_socks
        from python_socks.async_.asyncio import Proxy as SocksProxy
    except ImportError as error:
        message = "socks5 proxies need python-socks: pip install 'blazeio[socks]'"
        raise ConfigurationError(message) from error
    by_socks = SocksProxy(
        python_socks.ProxyType.SOCKS5,
        proxy.host,
        proxy.port,
        proxy.username or None,
        proxy.password or None,
        rdns=proxy.scheme == "socks5h",
        loop=loop,
    )
    try:
        return await by_socks.connect(host, port)
    except python_socks.ProxyConnectionError as error:
        raise ConnectError(f"proxy {proxy}: {error.strerror}") from error
    except python_socks.ProxyError as error:
        message = f"proxy {proxy} does not connect to {host}:{port}: {error}"
        raise ProxyError(message) from error
