"""Through a proxy: CONNECT (RFC 9110 section 9.3.6) and SOCKS 5 (RFC 1928).

Over the socket itself, before there is a transport: what follows is TLS or HTTP
with the server, as if it had been connected to directly.

May import: blazeio.client.rules, blazeio.errors, blazeio.limits, blazeio.wire.
"""

import asyncio
import socket

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
    lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}"]
    if proxy.authorization is not None:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    await loop.sock_sendall(sock, "\r\n".join([*lines, "", ""]).encode("ascii"))
    try:
        head = await _read_head(loop, sock, proxy, limits)
    except RemoteProtocolError as error:
        raise ProxyError(f"proxy {proxy}: {error}") from error
    if head.status >= 300:
        answer = f"{head.status} {head.reason}".rstrip()
        raise ProxyError(f"proxy {proxy} does not connect to {authority}: {answer}")


async def _read_head(
    loop: asyncio.AbstractEventLoop, sock: socket.socket, proxy: Proxy, limits: Limits
) -> ResponseHead:
    octets, scanned = b"", 0
    while True:
        head = parse_response_head(octets, limits, scanned) if octets else None
        if head is None:
            scanned = max(len(octets) - 3, 0)
            more = await loop.sock_recv(sock, READ_BYTES)
            if not more:
                raise ProxyError(f"proxy {proxy} closed and gave no answer")
            octets += more
            continue
        octets, scanned = octets[head.size :], 0
        if head.status >= 200:
            if octets and head.status < 300:
                raise ProxyError(f"proxy {proxy} spoke in the server's place")
            return head


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
