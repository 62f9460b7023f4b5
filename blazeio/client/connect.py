"""Opening a connection: name, TCP or unix socket, proxy, TLS.

The addresses of a name are tried by Happy Eyeballs (RFC 8305): families alternate, and
the next address is tried when 250 ms have brought no success. ``aiohappyeyeballs`` does
that; TLS is done by the event loop.

An HTTP proxy is asked by CONNECT (RFC 9110 section 9.3.6), a SOCKS proxy by SOCKS 5
(RFC 1928). Both are done on the socket, before there is a transport: what follows is
TLS or HTTP with the server, as if it had been connected to directly. A proxy that is
itself reached over TLS needs a transport before; TLS with the server then runs inside
it.
"""

import asyncio
import errno
import functools
import inspect
import os
import socket
import ssl
from asyncio.sslproto import SSLProtocol, _SSLProtocolTransport
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, cast

from aiohappyeyeballs import AddrInfoType, start_connection

from blazeio.client.connection import ClientConnection
from blazeio.client.exchange import MOST_INTERIMS
from blazeio.client.settings import ClientTls
from blazeio.client.url import Origin, Proxy, read_host, strip_final_dot, strip_zone
from blazeio.errors import (
    BlazeioError,
    ConfigurationError,
    ConnectError,
    ConnectTimeout,
    ProxyError,
    RemoteProtocolError,
    ResolveError,
    TlsError,
)
from blazeio.limits import Limits
from blazeio.wire.heads import ResponseHead, parse_response_head

if TYPE_CHECKING:
    from blazeio.client.context import ClientContext


# Tunnels


READ_BYTES = 4096


async def open_tunnel(
    loop: asyncio.AbstractEventLoop,
    sock: socket.socket,
    proxy: Proxy,
    authority: str,
    limits: Limits,
) -> None:
    """Ask an HTTP proxy to connect to a server.

    Args:
        loop: The running loop.
        sock: Connected to the proxy, not blocking.
        proxy: The proxy.
        authority: ``host:port`` of the server.
        limits: Bounds of the head of the proxy's response.

    Raises:
        ProxyError: The proxy refused; nothing was sent to the server.
    """
    await loop.sock_sendall(sock, _serialize_connect(proxy, authority))
    answer = _Answer(proxy, authority, limits)
    while not answer.feed(await loop.sock_recv(sock, READ_BYTES)):
        pass


class TunnelProtocol(asyncio.Protocol):
    """``open_tunnel`` over TLS, where there is a transport already.

    Args:
        loop: The running loop.
        proxy: The proxy.
        authority: ``host:port`` of the server.
        limits: Bounds of the head of the proxy's response.

    Attributes:
        transport: To the proxy, after the TLS handshake.
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
        """Ask for the tunnel: the TLS handshake is over."""
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(self._order)

    def data_received(self, data: bytes) -> None:
        """Read the response of the proxy, and what may follow it."""
        self._take(data)

    def eof_received(self) -> None:
        """Fail: the proxy has sent a FIN."""
        self._take(b"")

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail: the connection to the proxy is lost."""
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
    """The response of a proxy to CONNECT: interim heads and a final one."""

    def __init__(self, proxy: Proxy, authority: str, limits: Limits) -> None:
        self._proxy = proxy
        self._authority = authority
        self._limits = limits
        self._octets = b""
        self._interims = 0

    def feed(self, octets: bytes) -> bool:
        """Take octets; return whether the tunnel is open.

        Args:
            octets: What has come; empty: the proxy has ended.

        Raises:
            ProxyError: There will be no tunnel.
        """
        if not octets:
            raise ProxyError(f"proxy {self._proxy} closed and gave no answer")
        # The end of a head, CRLFCRLF, may have come in two pieces: at most three octets
        # of it were searched before.
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
        # A server does not speak first, in TLS and in HTTP alike. Octets behind the
        # proxy's answer are from the proxy, and would be taken for the server's.
        if self._octets:
            raise ProxyError(f"proxy {self._proxy} spoke in the server's place")


async def connect_by_socks(
    loop: asyncio.AbstractEventLoop, proxy: Proxy, host: str, port: int
) -> socket.socket:
    """Connect to a server through a SOCKS 5 proxy.

    Args:
        loop: The running loop.
        proxy: With ``socks5`` the name is resolved here, with ``socks5h`` by the proxy.
        host: The host of the server.
        port: The port of the server.

    Raises:
        ConfigurationError: The package python-socks is missing.
        ConnectError: The proxy cannot be reached.
        ProxyError: The proxy does not connect to the server.
    """
    try:
        import python_socks
        from python_socks.async_.asyncio import Proxy as SocksProxy
    except ImportError as error:
        message = "socks5 proxies need python-socks: pip install python-socks"
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


NEXT_ADDRESS_S = 0.25
"""RFC 8305 section 5: the recommended Connection Attempt Delay."""


async def connect(
    context: "ClientContext", origin: Origin, connect_s: float | None
) -> ClientConnection:
    """Open a connection to an origin.

    Args:
        context: The context of the session.
        origin: Who is connected to.
        connect_s: How long it may take, seconds; None: for ever.

    Raises:
        ConnectTimeout: It took longer.
        ResolveError: The name has no address.
        TlsError: The certificate is not trusted, or the server does not speak TLS.
        ConnectError: Refused, unreachable, out of descriptors; and any other exception,
            so that no request waits for ever for an attempt that has failed.
        ConfigurationError: A file of ``ClientTls`` cannot be used, or a package is
            missing.
    """
    try:
        async with asyncio.timeout(connect_s):
            return await _connect_origin(context, origin)
    except TimeoutError as error:
        if isinstance(error, OSError) and error.errno is not None:  # ETIMEDOUT
            raise ConnectError(f"{origin}: {_name_fault(error)}") from error
        message = f"{origin}: no connection within {connect_s} s"
        raise ConnectTimeout(message) from error
    except socket.gaierror as error:
        message = f"{origin}: {error.strerror or error}"
        raise ResolveError(message) from error
    except ssl.SSLError as error:
        raise TlsError(f"{origin}: {_explain(error)}") from error
    except OSError as error:
        raise ConnectError(f"{origin}: {_name_fault(error)}") from error
    except BlazeioError:
        raise
    except Exception as error:
        # Python 3.11.2, that of Debian 12, fails while it handles that of TLS in TLS.
        if isinstance(error.__context__, ssl.SSLError):
            raise TlsError(f"{origin}: {_explain(error.__context__)}") from error
        message = f"{origin}: no connection: {type(error).__name__}: {error}"
        raise ConnectError(message) from error


async def _connect_origin(context: "ClientContext", origin: Origin) -> ClientConnection:
    connection = ClientConnection(context, origin)
    loop = context.loop
    options = _tls_with_server(context.tls, origin)
    if origin.unix is not None:
        await loop.create_unix_connection(lambda: connection, origin.unix, **options)
        return connection
    if origin.proxy is not None and origin.proxy.is_tls:
        return await _connect_by_tls_proxy(context, origin, origin.proxy, options)
    sock = await _open_socket(context, origin)
    try:
        await loop.create_connection(lambda: connection, sock=sock, **options)
    except BaseException:
        _give_up(loop, sock, connection)
        raise
    return connection


def _give_up(
    loop: asyncio.AbstractEventLoop, sock: socket.socket, protocol: asyncio.BaseProtocol
) -> None:
    """Close the socket of a ``create_connection`` that has failed.

    Where it has failed late there is a transport, which closes the socket in the next
    turn of the loop. If we closed the socket before that, its number could already
    belong to another socket, and the transport would remove that one from the loop. A
    transport whose handshake has just ended would even wait for the closure alert of
    the server; so it is aborted.
    """
    transport = getattr(protocol, "transport", None)
    if transport is not None:
        transport.abort()
    loop.call_soon(loop.call_soon, sock.close)


def _tls_with_server(tls: ClientTls, origin: Origin) -> dict[str, Any]:
    """Return the TLS options of ``create_connection``; empty for plain http."""
    if origin.scheme != "https":
        return {}
    host = origin.host if tls.server_name is None else read_host(tls.server_name)
    return {"ssl": make_ssl_context(tls), "server_hostname": certified_name(host)}


async def _connect_by_tls_proxy(
    context: "ClientContext", origin: Origin, proxy: Proxy, options: dict[str, Any]
) -> ClientConnection:
    """Connect through a proxy that is itself reached over TLS.

    The proxy's certificate is verified as a server's is. The client certificate and the
    server name of ``ClientTls`` are for the server, not for the proxy.

    Args:
        context: The context of the session.
        origin: The server; or the proxy, which is asked by absolute URLs.
        proxy: The proxy.
        options: The options of TLS with the server, inside the tunnel.
    """
    loop = context.loop
    connection = ClientConnection(context, origin)
    tunnel = TunnelProtocol(loop, proxy, origin.authority, context.limits)
    protocol = connection if origin.is_forwarding else tunnel
    tls = replace(
        context.tls,
        certfile=None,
        keyfile=None,
        keyfile_password=None,
        server_name=None,
    )
    sock = await _connect_tcp(loop, proxy.host, proxy.port)
    try:
        transport, _ = await loop.create_connection(
            lambda: protocol,
            sock=sock,
            ssl=make_ssl_context(tls),
            server_hostname=certified_name(proxy.host),
        )
    except BaseException as error:
        _give_up(loop, sock, protocol)
        if isinstance(error, ssl.SSLError):
            raise TlsError(f"proxy {proxy}: {_explain(error)}") from error
        raise
    if origin.is_forwarding:
        return connection
    _let_nested_tls_fail(transport)
    try:
        await tunnel.opened
        within = await loop.start_tls(
            transport,
            connection,
            options["ssl"],
            server_hostname=options["server_hostname"],
        )
        if within is None:
            raise ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
    except BaseException:
        transport.abort()
        raise
    connection.connection_made(within)
    return connection


def _let_nested_tls_fail(transport: asyncio.Transport) -> None:
    """Work around a fault of TLS in TLS in asyncio of Python 3.11 and early 3.12.

    The outer transport raises TypeError where the inner handshake or a record fails
    (``_force_close`` passes ``_abort`` an argument that it does not take): the real
    error would be lost and the connection would stay open. Later versions and uvloop do
    not have the fault.
    """
    takes_reason = "exc" in inspect.signature(SSLProtocol._abort).parameters
    if isinstance(transport, _SSLProtocolTransport) and not takes_reason:
        transport.__dict__["_force_close"] = lambda _: transport.abort()


def certified_name(host: str) -> str:
    """Return a host as certificates name it and as SNI sends it."""
    return strip_zone(strip_final_dot(host))


async def _open_socket(context: "ClientContext", origin: Origin) -> socket.socket:
    """Return a socket that is connected to the server, or to its proxy."""
    loop, proxy = context.loop, origin.proxy
    if proxy is None or origin.is_forwarding:
        return await _connect_tcp(loop, origin.host, origin.port)
    if not proxy.is_http:
        return await connect_by_socks(loop, proxy, strip_zone(origin.host), origin.port)
    sock = await _connect_tcp(loop, proxy.host, proxy.port)
    try:
        await open_tunnel(loop, sock, proxy, origin.authority, context.limits)
    except BaseException:
        sock.close()
        raise
    return sock


async def _connect_tcp(
    loop: asyncio.AbstractEventLoop, host: str, port: int
) -> socket.socket:
    addresses = await loop.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
    )
    if not addresses:
        raise socket.gaierror(socket.EAI_NODATA, f"{host} has no address")
    return await connect_first(loop, addresses)


async def connect_first(
    loop: asyncio.AbstractEventLoop, addresses: Sequence[AddrInfoType]
) -> socket.socket:
    """Connect to the address that answers first.

    Args:
        loop: The running loop.
        addresses: As ``getaddrinfo`` returns them, best first.

    Raises:
        OSError: None of them answered.
    """
    sock = await start_connection(
        addresses, happy_eyeballs_delay=NEXT_ADDRESS_S, interleave=1, loop=loop
    )
    # Nagle's algorithm (RFC 896) would hold the content of a small POST back until the
    # server has acknowledged the head, which it may delay by 40 ms or more.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


@functools.lru_cache(maxsize=16)
def make_ssl_context(tls: ClientTls) -> ssl.SSLContext:
    """Make the context that verifies servers; cached, since it takes 20 ms.

    Raises:
        ConfigurationError: A file is missing, or is not what it should be.
    """
    try:
        context = ssl.create_default_context(cafile=tls.ca_file)
    except (OSError, ssl.SSLError) as error:
        message = f"TLS ca_file {tls.ca_file}: {error}"
        raise ConfigurationError(message) from error
    if not tls.is_verified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.tls_min == "1.3":
        context.minimum_version = ssl.TLSVersion.TLSv1_3
    # Said by ALPN (RFC 7301), since some servers choose HTTP/2 where nothing is said.
    context.set_alpn_protocols(["http/1.1"])
    if tls.certfile is not None:
        try:
            # Never None: OpenSSL would ask on the terminal, and block the loop.
            password = tls.keyfile_password or ""
            context.load_cert_chain(tls.certfile, tls.keyfile, password)
        except (OSError, ssl.SSLError) as error:
            message = f"TLS certfile {tls.certfile}: {error}"
            raise ConfigurationError(message) from error
    return context


def _name_fault(error: OSError) -> str:
    """Return the kernel's text for an error: asyncio's own only repeats the address.

    Of a connection that ends during its TLS handshake asyncio says nothing at all.
    """
    if error.errno is not None:
        return os.strerror(error.errno)
    return str(error) or "the connection was closed"


def _explain(error: ssl.SSLError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not to be trusted: {error.verify_message}"
    return (error.reason or str(error)).lower().replace("_", " ")
