"""The header of the PROXY protocol, read before its connection has a protocol.

It stands before TLS, too: so it is read from the bare socket, and not one octet
more than it has is taken. Peers that may not send it are not asked for it; what
they send goes to the parser of HTTP, which refuses it.
"""

import asyncio
import socket
from typing import Any

from blazeio.content.allow_list import AllowList
from blazeio.errors import RemoteProtocolError
from blazeio.loggers import get_logger
from blazeio.protocol.context import ServerContext
from blazeio.wire.proxy_protocol import V2_BYTES, ProxyHeader, parse_proxy_header

log = get_logger("blazeio.server")

LOG_EVERY_S = 60.0
"""A proxy that is set up wrongly is reported at most this often."""


class Greeter:
    """Reads the PROXY headers of the connections of one loop.

    Args:
        context: Its ``Limits.head_timeout_s`` bounds the wait for each header.
        allowed: The peers that have to send one.
    """

    def __init__(self, context: ServerContext, allowed: AllowList) -> None:
        self._context = context
        self._allowed = allowed
        self._waits: set[asyncio.Timeout] = set()
        self._logged_at = -LOG_EVERY_S

    def expects(self, address: Any) -> bool:
        """Tell whether a peer has to send a header.

        Args:
            address: As ``accept`` gave it.
        """
        host = address[0] if isinstance(address, tuple) else ""
        return self._allowed.allows(host)

    async def read(self, connection: socket.socket, address: Any) -> ProxyHeader | None:
        """Read the header of a new connection.

        Returns:
            None: there was none, and the connection is closed.
        """
        limits = self._context.limits
        span_s = min(limits.head_timeout_s, self._context.idle_timeout_s)
        try:
            async with asyncio.timeout(span_s) as wait:
                self._waits.add(wait)
                try:
                    return await self._read(connection)
                finally:
                    self._waits.discard(wait)
        except TimeoutError:
            self._report(address, "none came in time")
        except RemoteProtocolError as error:
            self._report(address, str(error))
        except OSError as error:
            log.debug("%s went away before its PROXY header: %s", address, error)
        connection.close()
        return None

    async def _read(self, connection: socket.socket) -> ProxyHeader:
        octets = b""
        while True:
            try:
                seen = connection.recv(V2_BYTES, socket.MSG_PEEK)
            except BlockingIOError:
                await self._readable(connection)
                continue
            if not seen:
                raise RemoteProtocolError("the connection was closed without one")
            header = parse_proxy_header(octets + seen)
            if header is not None:
                connection.recv(header.end - len(octets))
                return header
            octets += connection.recv(len(seen))  # not whole: all of it is header

    async def _readable(self, connection: socket.socket) -> None:
        loop = self._context.loop
        arrival = loop.create_future()
        fd = connection.fileno()
        loop.add_reader(fd, _wake, arrival)
        try:
            await arrival
        finally:
            loop.remove_reader(fd)

    def hasten(self, span_s: float) -> None:
        """Wait at most this much longer for those that are being waited for."""
        by = self._context.loop.time() + span_s
        for wait in self._waits:
            when = wait.when()
            if not wait.expired() and (when is None or by < when):
                wait.reschedule(by)

    def _report(self, address: Any, reason: str) -> None:
        now = self._context.loop.time()
        if now - self._logged_at >= LOG_EVERY_S:
            self._logged_at = now
            message = "closed %s, which must send a PROXY header first: %s"
            log.warning(message, address, reason)


def _wake(arrival: asyncio.Future[None]) -> None:
    if not arrival.done():
        arrival.set_result(None)
