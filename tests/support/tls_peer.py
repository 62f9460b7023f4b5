"""`TlsPeer`: a `RawPeer` over TLS, and certificates to meet it with.

The certificates are made when the tests run: none in the repository can expire.
"""

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Self

import trustme

from tests.support.clock import within
from tests.support.peer import READ_BYTES, TIMEOUT_S, RawPeer

NAME = "localhost"


class Certificates:
    """A certificate authority of the tests, and files that it has issued.

    Args:
        folder: Where the files are.
        authority: Another one than a new one.
    """

    def __init__(self, folder: Path, authority: trustme.CA | None = None) -> None:
        self.folder = folder
        self.authority = authority or trustme.CA(key_type=trustme.KeyType.ECDSA)
        self.ca_file = folder / "ca.pem"
        self.authority.cert_pem.write_to_path(self.ca_file)

    def issue(self, *names: str) -> Path:
        """One file with a certificate for these names, its chain and its key."""
        cert = self.authority.issue_cert(*names, key_type=trustme.KeyType.ECDSA)
        path = self.folder / f"{names[0].replace('*', 'any')}.pem"
        cert.private_key_and_cert_chain_pem.write_to_path(path)
        return path

    def server_context(self, *names: str) -> ssl.SSLContext:
        """A server with a certificate for these names."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.issue(*names))
        return context

    def client_context(self, certfile: Path | None = None) -> ssl.SSLContext:
        """A client that trusts the authority.

        Args:
            certfile: The client's own certificate, with its key.
        """
        context = ssl.create_default_context(cafile=self.ca_file)
        context.set_alpn_protocols(["acme", "http/1.1"])
        if certfile is not None:
            context.load_cert_chain(certfile)
        return context


class TlsPeer(RawPeer):
    """A client that speaks TLS: ``await peer.shake_hands(context)`` first.

    Attributes:
        tls: Its side of TLS.
        step_bytes: What it sends leaves in pieces of this size; 0: whole.
        has_closure_alert: The server has sent its closure alert.
    """

    tls: ssl.SSLObject
    step_bytes = 0
    has_closure_alert = False

    async def shake_hands(
        self,
        context: ssl.SSLContext,
        name: str | None = NAME,
        session: ssl.SSLSession | None = None,
    ) -> Self:
        """Do the handshake.

        Raises:
            ssl.SSLError: It failed, on either side.
            ConnectionError: The server hung up.
        """
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(
            self._incoming, self._outgoing, server_hostname=name, session=session
        )
        while not await self._try(self.tls.do_handshake):
            await self._take_in()
        return self

    async def _try(self, step: Callable[[], object]) -> bool:
        """Whether it is done, or waits for the server; what it says is sent."""
        try:
            step()
        except ssl.SSLWantReadError:
            return False
        else:
            return True
        finally:
            if self._outgoing.pending:
                await self._send_enciphered(self._outgoing.read())

    async def _send_enciphered(self, octets: bytes) -> None:
        step = self.step_bytes or max(len(octets), 1)
        for start in range(0, len(octets), step):
            await super().send(octets[start : start + step])
            await asyncio.sleep(0)

    async def _take_in(self) -> None:
        loop = asyncio.get_running_loop()
        octets = await within(loop.sock_recv(self._sock, READ_BYTES), TIMEOUT_S)
        if not octets:
            raise ConnectionAbortedError("the server closed during the handshake")
        self._incoming.write(octets)

    async def send(self, octets: bytes) -> None:
        """Encipher and send."""
        self.tls.write(octets)
        await self._send_enciphered(self._outgoing.read())

    async def send_closure_alert(self) -> None:
        """End this side of TLS; the other side can still be read."""
        await self._try(self.tls.unwrap)

    async def _receive(self) -> None:
        """Until there is more to read: session tickets come unasked."""
        loop = asyncio.get_running_loop()
        before = len(self.octets)
        while len(self.octets) == before and not self.is_ended:
            octets = await loop.sock_recv(self._sock, READ_BYTES)
            self._incoming.write(octets)
            self._decipher()
            if not octets:
                self._inbox.feed(b"")

    def _decipher(self) -> None:
        try:
            while self._incoming.pending or self.tls.pending():
                octets = self.tls.read(READ_BYTES)
                self._inbox.feed(octets)
                if not octets:
                    raise ssl.SSLZeroReturnError
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:  # its closure alert; FIN may still follow
            self.has_closure_alert = True
