"""A server under test over TLS: `TlsServed`, used as `Served` is."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from blazeio.limits import Limits
from blazeio.protocol.context import Handler
from blazeio.server.acceptor import bind
from blazeio.server.server import Server
from blazeio.server.tls import TlsSettings, make_tls_config
from tests.protocol.serving import GET, Served
from tests.support.peer import RawPeer
from tests.support.tls_peer import NAME, Certificates, TlsPeer


class TlsServed(Served):
    """A server with an acceptor on 127.0.0.1 that speaks TLS.

    Attributes:
        certificates: Of the authority that its own comes from.
    """

    certificates: Certificates

    @classmethod
    def start_tls(
        cls,
        handler: Handler,
        limits: Limits,
        folder: Path,
        *,
        raw_handler: Handler | None = None,
        **settings: Any,
    ) -> Self:
        """Serve on the running loop; a close waits as long as over plain TCP."""
        certificates = Certificates(folder)
        settings = {"shutdown_timeout_s": limits.linger_timeout_s, **settings}
        if settings.get("client_cert", "none") != "none":
            settings["client_ca"] = certificates.ca_file
        tls = TlsSettings(certfile=certificates.issue(NAME), **settings)
        sock = bind("127.0.0.1", 0)
        loop = asyncio.get_running_loop()
        server = Server(handler, limits, loop, raw_handler)
        server.accept_from(sock, tls=make_tls_config(tls))
        served = cls(server, sock)
        served.certificates = certificates
        return served

    async def connect(self, *, receive_buffer_bytes: int = 0) -> TlsPeer:
        """A client whose handshake is done."""
        peer = await self.connect_only(receive_buffer_bytes=receive_buffer_bytes)
        return await peer.shake_hands(self.certificates.client_context())

    async def connect_only(self, *, receive_buffer_bytes: int = 0) -> TlsPeer:
        """A client that has said nothing yet."""
        peer = await TlsPeer.connect(
            *self.address, receive_buffer_bytes=receive_buffer_bytes
        )
        self.peers.append(peer)
        return peer

    async def connect_plain(self) -> RawPeer:
        """A client that will not speak TLS."""
        peer = await RawPeer.connect(*self.address)
        self.peers.append(peer)
        return peer


Serve = Callable[..., TlsServed]


async def facts_of(served: TlsServed, peer: TlsPeer) -> Any:
    """What ``r.tls`` is on this client's connection."""
    await peer.exchange(GET)
    (r,) = served.requests
    return r.tls


async def assert_ended_in_peace(peer: TlsPeer) -> None:
    """The server sends its closure alert, then FIN, and no RST."""
    await peer.read_until_end()
    assert peer.has_closure_alert


async def send_for_ever(peer: TlsPeer) -> None:
    """Octets that are no TLS: nobody deciphers them any more."""
    while True:
        await RawPeer.send(peer, bytes(10_000))
