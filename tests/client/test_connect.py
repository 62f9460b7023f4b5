"""Connecting: who is reached, and what it is called where nobody is."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

import blazeio as io
from blazeio.client.connect import connect_first, make_ssl_context
from blazeio.errors import ConnectTimeout, ResolveError, TlsError
from tests.client.scripts import OK
from tests.support.raw_server import RawServer, Visitor
from tests.support.tls_peer import NAME, Certificates


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


STREAM = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")


async def stay_silent(visitor: Visitor) -> None:
    await visitor.read_until_end()


async def ask(url: str, **options: Any) -> bytes:
    async with io.Session(url, **options) as resp:
        return await resp.aread()


async def test_nobody_listens() -> None:
    port = dead_port()
    url = f"http://127.0.0.1:{port}"
    with pytest.raises(io.ConnectError, match=f"^{url}: Connection refused$"):
        await ask(url)


async def test_a_name_without_an_address() -> None:
    with pytest.raises(ResolveError, match=r"http://no-such\.invalid:80: "):
        await ask("http://no-such.invalid/")


async def test_a_missing_unix_socket(tmp_path: Path) -> None:
    with pytest.raises(io.ConnectError, match="No such file or directory"):
        await ask("http://a/", unix=str(tmp_path / "none"))


async def test_a_handshake_that_takes_too_long() -> None:
    async with RawServer(stay_silent) as server:
        url = server.url.replace("http:", "https:")
        with pytest.raises(ConnectTimeout, match=r"no connection within 0.05 s"):
            await ask(url, timeouts=io.Timeouts(connect_s=0.05))


def dead_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


async def test_the_next_address_is_tried_where_one_refuses() -> None:
    async with RawServer(OK) as server:
        addresses = [("127.0.0.1", dead_port()), ("127.0.0.1", server.port)]
        loop = asyncio.get_running_loop()
        sock = await connect_first(loop, [(*STREAM, each) for each in addresses])
        with sock:
            assert sock.getpeername() == addresses[1]
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


async def test_where_all_refuse_it_is_an_error() -> None:
    loop = asyncio.get_running_loop()
    addresses = [(*STREAM, ("127.0.0.1", dead_port())) for _ in range(2)]
    with pytest.raises(OSError, match="Connect call failed"):
        await connect_first(loop, addresses)


# TLS


@pytest.fixture
async def secure(certificates: Certificates) -> AsyncIterator[str]:
    context = certificates.server_context(NAME)
    async with RawServer(OK, context, NAME) as server:
        yield server.url


async def test_an_authority_of_ones_own(
    secure: str, certificates: Certificates
) -> None:
    assert await ask(secure, tls=io.ClientTls(ca_file=certificates.ca_file)) == b"ok"


async def test_who_is_not_trusted_by_the_system_is_not_spoken_to(secure: str) -> None:
    with pytest.raises(TlsError, match="its certificate is not to be trusted: "):
        await ask(secure)


async def test_a_certificate_is_for_its_name(
    secure: str, certificates: Certificates
) -> None:
    tls = io.ClientTls(ca_file=certificates.ca_file)
    with pytest.raises(TlsError, match=r"not valid for '127\.0\.0\.1'"):
        await ask(secure.replace("localhost", "127.0.0.1"), tls=tls)
    tls = io.ClientTls(ca_file=certificates.ca_file, server_name="localhost")
    assert await ask(secure.replace("localhost", "127.0.0.1"), tls=tls) == b"ok"


async def test_verification_can_be_given_up(secure: str) -> None:
    assert await ask(secure, tls=io.ClientTls(is_verified=False)) == b"ok"


async def test_a_server_that_speaks_no_tls() -> None:
    async def script(visitor: Visitor) -> None:
        await visitor.read_some()
        await visitor.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with RawServer(script) as server:
        with pytest.raises(TlsError, match="wrong version number"):
            await ask(server.url.replace("http:", "https:"))


async def test_a_certificate_of_ours(certificates: Certificates) -> None:
    context = certificates.server_context(NAME)
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(certificates.ca_file)
    ours = certificates.issue("me.example")
    tls = io.ClientTls(ca_file=certificates.ca_file, certfile=ours)
    async with RawServer(OK, context, NAME) as server:
        assert await ask(server.url, tls=tls) == b"ok"
        with pytest.raises(io.RequestError):
            await ask(server.url, tls=io.ClientTls(ca_file=certificates.ca_file))


@pytest.mark.parametrize(
    ("name", "content"),
    [("ca_file", None), ("ca_file", "no PEM"), ("certfile", None), ("certfile", "no")],
)
def test_a_file_that_is_not_what_it_should_be(
    tmp_path: Path, name: str, content: str | None
) -> None:
    path = tmp_path / "file"
    if content is not None:
        path.write_text(content)
    settings: dict[str, Any] = {name: path}
    with pytest.raises(io.ConfigurationError, match=f"TLS {name} {path}: "):
        make_ssl_context(io.ClientTls(**settings))


def test_a_key_that_is_encrypted_is_not_asked_for_on_the_terminal(
    certificates: Certificates, tmp_path: Path
) -> None:
    pem = certificates.issue("me.example").read_bytes()
    key = serialization.load_pem_private_key(pem, None)
    secret = serialization.BestAvailableEncryption(b"the password")
    path = tmp_path / "key.pem"
    path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, secret
        )
    )
    cert = tmp_path / "cert.pem"
    cert.write_bytes(pem[pem.index(b"-----BEGIN CERTIFICATE") :])
    for password in (None, "", "another"):
        tls = io.ClientTls(certfile=cert, keyfile=path, keyfile_password=password)
        with pytest.raises(io.ConfigurationError, match="TLS certfile") as caught:
            make_ssl_context(tls)
        assert "another" not in str(caught.value)
    make_ssl_context(
        io.ClientTls(certfile=cert, keyfile=path, keyfile_password="the password")
    )


async def test_a_unix_socket_may_be_a_path(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    async with RawServer(OK, path=str(path)):
        assert await ask("http://a.example/", unix=path) == b"ok"
