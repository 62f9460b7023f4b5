"""Who is served by HTTP/2: by prior knowledge, or as TLS has agreed."""

import asyncio
import ssl
from pathlib import Path
from typing import Any

import pytest
import trustme

import blazeio as io
from blazeio.protocol.request import BlazeioServerProtocol as R
from tests.protocol.serving import bind_unix
from tests.support.clock import wait_until
from tests.support.http2 import (
    GET,
    GOAWAY,
    OPENING,
    PREFACE,
    PROTOCOL_ERROR,
    SETTINGS,
    SETTINGS_ACK,
    headers,
    settings,
)
from tests.support.http2_peer import Http2Peer
from tests.support.peer import RawPeer
from tests.support.served import served


def make_app(**options: Any) -> io.App[Any]:
    web: io.App[Any] = io.App(**options)

    @web.route.get("/")
    async def version(r: R) -> None:
        await io.Deliver.text(r, f"{r.http_version} {r.client.host} {r.scheme}")

    return web


async def test_by_prior_knowledge() -> None:
    async with served(make_app()) as site, await Http2Peer.connect(site.port) as peer:
        assert (await peer.get()).body.startswith(b"2 127.0.0.1")
        assert peer.frames[0].kind == SETTINGS


async def test_the_preface_in_single_octets() -> None:
    async with (
        served(make_app()) as site,
        await Http2Peer.connect(site.port, opening=b"") as peer,
    ):
        octets = OPENING + headers(1)
        for at in range(len(octets)):
            peer.send(octets[at : at + 1])
            if at < 60:
                await peer.writer.drain()
                await asyncio.sleep(0.001)
        assert (await peer.answer(1)).status == 200


async def test_a_refusal_in_the_first_read_closes_nothing() -> None:
    head = headers(1, GET, more=[("host", "another")])
    async with (
        served(make_app()) as site,
        await Http2Peer.connect(site.port, opening=OPENING + head) as peer,
    ):
        assert (await peer.answer(1)).status == 400
        assert (await peer.get(stream_id=3)).status == 200


async def test_http_1_is_served_beside_it() -> None:
    async with served(make_app()) as site:
        assert (await site.get("/")).body.startswith(b"1.1 ")
        async with await RawPeer.connect("127.0.0.1", site.port) as peer:
            await peer.send(b"PRI / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert (await peer.read_response()).status == 405
            await peer.send(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            assert (await peer.read_response()).status in (400, 505)  # it is too late


async def test_a_preface_that_goes_on_wrongly() -> None:
    async with (
        served(make_app()) as site,
        await Http2Peer.connect(site.port, opening=PREFACE[:-4] + b"nono") as peer,
    ):
        assert (await peer.goaway()).code == PROTOCOL_ERROR


async def test_an_app_may_do_without() -> None:
    async with (
        served(make_app(http2=False)) as site,
        await RawPeer.connect("127.0.0.1", site.port) as peer,
    ):
        await peer.send(OPENING)
        assert (await peer.read_response()).status == 505


async def test_a_raw_handler_gets_the_octets() -> None:
    web = io.App()

    @web.main_handler
    async def raw(r: R) -> None:
        await r.writer(await anext(r.request()))

    async with (
        served(web) as site,
        await RawPeer.connect("127.0.0.1", site.port) as peer,
    ):
        await peer.send(PREFACE)
        assert await peer.read_some() == PREFACE


async def test_over_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    async with served(make_app()) as site:
        with bind_unix(path) as sock:
            acceptor = site.server.accept_from(sock)
        async with await Http2Peer.connect(path=path) as peer:
            assert (await peer.get()).body.startswith(b"2 ")
        acceptor.close()


async def test_behind_the_proxy_protocol_and_fields_of_a_proxy() -> None:
    web = make_app(
        proxy_protocol_allow_ips="127.0.0.1", forwarded_allow_ips="192.0.2.1"
    )
    greeting = b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n"
    async with (
        served(web) as site,
        await Http2Peer.connect(site.port, opening=greeting + OPENING) as peer,
    ):
        assert (await peer.get()).body.startswith(b"2 192.0.2.1")
        peer.ask(3, GET, more=[("x-forwarded-for", "198.51.100.7")])
        assert (await peer.answer(3)).body.startswith(b"2 198.51.100.7")


async def test_settings_come_within_the_time_of_a_head() -> None:
    async with served(make_app(head_timeout_s=0.2)) as site:
        async with await Http2Peer.connect(site.port, opening=PREFACE) as peer:
            assert (await peer.goaway()).code == PROTOCOL_ERROR
        async with await Http2Peer.connect(site.port, opening=PREFACE[:20]) as peer:
            assert (await peer.goaway()).code == PROTOCOL_ERROR
        await wait_until(lambda: not site.server.connection_count)


# Over TLS


@pytest.fixture
def certificates(tmp_path: Path) -> tuple[io.TlsSettings, ssl.SSLContext]:
    authority = trustme.CA()
    leaf = authority.issue_cert("a.example", "127.0.0.1")
    other = authority.issue_cert("b.example")
    for name, cert in (("a", leaf), ("b", other)):
        cert.private_key_and_cert_chain_pem.write_to_path(str(tmp_path / name))
    client = ssl.create_default_context()
    authority.configure_trust(client)
    terms = io.TlsSettings(
        certfile=tmp_path / "a", other_certificates=((tmp_path / "b", None),)
    )
    return terms, client


async def speak(port: int, client: ssl.SSLContext, name: str) -> str | None:
    _, writer = await asyncio.open_connection(
        "127.0.0.1", port, ssl=client, server_hostname=name
    )
    agreed: str | None = writer.get_extra_info("ssl_object").selected_alpn_protocol()
    writer.close()
    return agreed


@pytest.mark.parametrize("name", ["a.example", "b.example"])
async def test_alpn_prefers_it(
    certificates: tuple[io.TlsSettings, ssl.SSLContext], name: str
) -> None:
    terms, client = certificates
    async with served(make_app(tls=terms)) as site:
        client.set_alpn_protocols(["http/1.1", "h2"])
        assert await speak(site.port, client, name) == "h2"
        client.set_alpn_protocols(["http/1.1"])
        assert await speak(site.port, client, name) == "http/1.1"
    async with served(make_app(tls=terms, http2=False)) as site:
        client.set_alpn_protocols(["h2", "http/1.1"])
        assert await speak(site.port, client, name) == "http/1.1"


async def test_requests_over_tls(
    certificates: tuple[io.TlsSettings, ssl.SSLContext],
) -> None:
    terms, client = certificates
    client.set_alpn_protocols(["h2"])
    async with served(make_app(tls=terms)) as site:
        async with await Http2Peer.connect(site.port, tls=client) as peer:
            assert (await peer.get()).body == b"2 127.0.0.1 https"
            for number in range(2, 30):
                peer.ask(number * 2 + 1)
            for number in range(2, 30):
                assert (await peer.answer(number * 2 + 1)).status == 200
        await wait_until(lambda: not site.server.connection_count)


async def test_who_agrees_to_nothing_speaks_http_1(
    certificates: tuple[io.TlsSettings, ssl.SSLContext],
) -> None:
    terms, client = certificates
    async with served(make_app(tls=terms)) as site:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", site.port, ssl=client
        )
        writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert (await reader.readline()) == b"HTTP/1.1 200 OK\r\n"
        writer.close()


async def test_its_settings_may_come_late() -> None:
    async with (
        served(make_app()) as site,
        await Http2Peer.connect(site.port, opening=PREFACE) as peer,
    ):
        await peer.until(lambda: peer.frames)
        peer.send(settings((4, 70_000)), SETTINGS_ACK)
        assert (await peer.get()).status == 200
        assert not peer.of(GOAWAY)
