"""`TlsPeer` against the standard library's own TLS."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.tls_peer import NAME, Certificates, TlsPeer


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


@pytest.fixture
async def port(certificates: Certificates) -> AsyncIterator[int]:
    """A server that sends each line back and closes after "bye"."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line = b""
        while line != b"bye\n" and (line := await reader.readline()):
            writer.write(line)
        writer.close()

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.issue(NAME))
    server = await asyncio.start_server(serve, "127.0.0.1", ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


async def test_octets_are_exchanged_until_the_closure_alert(
    certificates: Certificates, port: int
) -> None:
    async with await TlsPeer.connect("127.0.0.1", port) as peer:
        await peer.shake_hands(certificates.client_context())
        await peer.send(b"one\n")
        assert await peer.read_some() == b"one\n"
        assert not peer.has_closure_alert
        await peer.send(b"bye\n")
        assert await peer.read_until_end() == b"bye\n"
        assert peer.has_closure_alert


async def test_a_step_cuts_what_is_sent(certificates: Certificates, port: int) -> None:
    async with await TlsPeer.connect("127.0.0.1", port) as peer:
        peer.step_bytes = 1
        await peer.shake_hands(certificates.client_context())
        await peer.send(b"bye\n")
        assert await peer.read_until_end() == b"bye\n"


async def test_a_stranger_is_not_believed(
    port: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    others = Certificates(tmp_path_factory.mktemp("others"))
    async with await TlsPeer.connect("127.0.0.1", port) as peer:
        with pytest.raises(ssl.SSLCertVerificationError):
            await peer.shake_hands(others.client_context())
