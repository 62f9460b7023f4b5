"""What was agreed with a client, and what is demanded of it."""

import ssl

import pytest

from tests.protocol.serving import (
    GET,
    R,
    hello,
    post,
)
from tests.protocol.tls_serving import (
    Serve,
    facts_of,
)
from tests.support.clock import scaled

SOON_S = scaled(0.1)


async def test_r_tells_what_was_agreed(serve: Serve) -> None:
    async def handler(r: R) -> None:
        assert r.tls is r.tls
        r.reply(f"{r.tls} {r.is_secure} {r.scheme}".encode())

    peer = await serve(handler).connect()
    answer = (await peer.exchange(GET)).decode()
    assert "version='TLSv1.3', cipher='TLS_" in answer
    assert "server_name='localhost', peer_certificate=None) True https" in answer
    assert peer.tls.selected_alpn_protocol() == "http/1.1"


class TestClientCertificates:
    async def test_a_required_one_is_told_to_the_handler(self, serve: Serve) -> None:
        served = serve(hello, tls={"client_cert": "required"})
        certfile = served.certificates.issue("client.example")
        context = served.certificates.client_context(certfile)
        peer = await (await served.connect_only()).shake_hands(context)
        facts = await facts_of(served, peer)
        assert facts.peer_certificate["subjectAltName"] == (("DNS", "client.example"),)

    async def test_a_required_one_that_is_missing_is_an_alert_and_no_reset(
        self, serve: Serve
    ) -> None:
        served = serve(hello, tls={"client_cert": "required"})
        peer = await served.connect()  # TLS 1.3: it learns of the refusal later
        await peer.send(post(b"x" * 100_000))
        with pytest.raises(ssl.SSLError, match="certificate required"):
            await peer.read_until_end()

    async def test_one_of_a_stranger_is_an_alert(
        self, serve: Serve, tmp_path_factory: pytest.TempPathFactory
    ) -> None:
        served = serve(hello, tls={"client_cert": "optional"})
        others = type(served.certificates)(tmp_path_factory.mktemp("others"))
        context = served.certificates.client_context(others.issue("client.example"))
        peer = await (await served.connect_only()).shake_hands(context)
        with pytest.raises(ssl.SSLError, match="unknown ca"):
            await peer.read_until_end()

    async def test_an_optional_one_may_be_missing(self, serve: Serve) -> None:
        served = serve(hello, tls={"client_cert": "optional"})
        facts = await facts_of(served, await served.connect())
        assert facts.peer_certificate is None
