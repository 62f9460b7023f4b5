"""ASGI TLS Extension 0.2."""

import asyncio
import ssl
from pathlib import Path
from typing import Any

import pytest

from blazeio.gateways.scope import write_name
from blazeio.server.tls import TlsSettings
from tests.gateways.apps import GET, Receive, Send, asgi, hello
from tests.support.tls_peer import Certificates


@pytest.mark.parametrize("shows_certificate", [True, False])
@pytest.mark.parametrize(
    ("version", "number"),
    [(ssl.TLSVersion.TLSv1_2, 0x0303), (ssl.TLSVersion.TLSv1_3, 0x0304)],
)
async def test_what_was_agreed_is_told_over_tls_alone(
    tmp_path: Path, shows_certificate: bool, version: ssl.TLSVersion, number: int
) -> None:
    certificates = Certificates(tmp_path)
    chain = certificates.issue("test.example")
    authority = str(tmp_path / "authority.pem")
    certificates.authority.cert_pem.write_to_path(authority)
    tls = TlsSettings(certfile=chain, client_ca=authority, client_cert="optional")
    scopes: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        scopes.append(scope)
        await hello(scope, receive, send)

    context = ssl.create_default_context(cafile=authority)
    context.minimum_version = context.maximum_version = version
    if shows_certificate:
        context.load_cert_chain(certificates.issue("client.example"))
    async with asgi(app, tls=tls) as site:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", site.port, ssl=context, server_hostname="test.example"
        )
        for _ in range(2):
            writer.write(GET)
            await reader.readuntil(b"hello")
        writer.close()
        await writer.wait_closed()
    told = scopes[0]["extensions"]["tls"]
    assert scopes[0]["scheme"] == "https"
    assert told["tls_version"] == number
    assert 0 < told["cipher_suite"] <= 0xFFFF
    assert told["server_cert"] is told["client_cert_error"] is None
    if shows_certificate:
        (pem,) = told["client_cert_chain"]
        assert pem.startswith("-----BEGIN CERTIFICATE-----")
        assert told["client_cert_name"]
    else:
        assert told["client_cert_chain"] == []
        assert told["client_cert_name"] is None
    assert told is not scopes[1]["extensions"]["tls"]  # each request has its own


async def test_without_tls_there_is_no_extension() -> None:
    seen: list[str] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        seen.extend(scope["extensions"])
        await hello(scope, receive, send)

    async with asgi(app) as site:
        await site.get("/")
    assert "tls" not in seen


@pytest.mark.parametrize(
    ("subject", "name"),
    [
        ((), ""),
        (
            ((("countryName", "DE"),), (("commonName", "a.example"),)),
            "CN=a.example,C=DE",
        ),
        (
            ((("commonName", "a"), ("userId", "b")),),
            "CN=a+UID=b",
        ),
        (((("commonName", 'a,b+"c"'),),), 'CN=a\\,b\\+\\"c\\"'),
        (((("commonName", "#a "),),), "CN=\\#a\\ "),
        (((("commonName", " a"),),), "CN=\\ a"),
        (((("emailAddress", "a@b"),),), "emailAddress=a@b"),
    ],
)
def test_a_name_is_written_as_rfc_4514_has_it(subject: Any, name: str) -> None:
    assert write_name({"subject": subject}) == name
