"""Proxies: raw ones that speak HTTP, and a small one that speaks SOCKS 5."""

import asyncio
import socket
import ssl
from pathlib import Path
from typing import Any

import pytest

import blazeio as io
from blazeio.errors import ConfigurationError, ConnectError, ProxyError, TlsError
from tests.client.scripts import OK, reply
from tests.support.clock import within
from tests.support.raw_server import RawServer, Script, Visitor
from tests.support.tls_peer import Certificates

ESTABLISHED = b"HTTP/1.1 200 Connection established\r\nX: y\r\n\r\n"


async def relay(visitor: Visitor, host: str, port: int) -> None:
    """Both ways, until the server ends."""
    reader, writer = await asyncio.open_connection(host, port)

    async def send() -> None:
        while octets := await visitor.read_some():
            writer.write(octets)

    sending = asyncio.create_task(send())
    try:
        while octets := await reader.read(65536):
            await visitor.send(octets)
    finally:
        writer.close()
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)


def connecting(answer: bytes = ESTABLISHED) -> Script:
    async def script(visitor: Visitor) -> None:
        request = await visitor.read_request()
        assert request is not None
        await visitor.send(answer)
        host, _, port = request.split()[1].decode().rpartition(":")
        await relay(visitor, host, int(port))

    return script


async def ask(proxy: str, url: str) -> str:
    async with io.Session(proxy=proxy) as session, session.get(url) as resp:
        return await resp.text()


async def test_a_tunnel_that_is_closed_at_once_is_told() -> None:
    async def script(visitor: Visitor) -> None:
        await visitor.read_request()
        await visitor.send(ESTABLISHED)

    async with RawServer(script) as proxy:
        with pytest.raises(ConnectError, match=r": [a-zA-Z ]+$"):
            await ask(proxy.url, "https://a.example/")


async def test_http_is_asked_for_by_absolute_urls_on_shared_connections() -> None:
    async with RawServer(OK) as proxy:
        url = f"http://me:x@127.0.0.1:{proxy.port}"
        async with io.Session(proxy=url) as session:
            for name in ("a", "b"):
                async with session.get(f"http://{name}.example/x?y") as resp:
                    assert await resp.text() == "ok"
    assert proxy.connections == 1
    assert proxy.requests[1].startswith(
        b"GET http://b.example/x?y HTTP/1.1\r\nHost: b.example\r\n"
    )
    assert b"\r\nProxy-Authorization: Basic bWU6eA==\r\n" in proxy.requests[0]


async def test_https_goes_through_a_tunnel(tmp_path: Path) -> None:
    certificates = Certificates(tmp_path)
    tls = io.ClientTls(ca_file=certificates.ca_file)
    context = certificates.server_context("localhost")
    async with (
        RawServer(OK, context, "localhost") as server,
        RawServer(connecting()) as proxy,
    ):
        url = f"http://me:x@127.0.0.1:{proxy.port}"
        async with io.Session(proxy=url, tls=tls) as session:
            for _ in range(2):
                async with session.get(server.url + "/x") as resp:
                    assert await resp.text() == "ok"
    place = f"localhost:{server.port}"
    assert proxy.requests == [
        f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n"
        "Proxy-Authorization: Basic bWU6eA==\r\n\r\n".encode()
    ]
    assert [each.split(b" ")[1] for each in server.requests] == [b"/x", b"/x"]
    assert b"Proxy-" not in server.requests[0]


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "does not connect to a.example:443: 403"),
        (b"HTTP/1.1 407\r\nContent-Length: 0\r\n\r\n", ": 407"),
        (ESTABLISHED + b"x", "spoke in the server's place"),
        (b"SSH-2.0\r\n", "SSH-2.0"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5000, ""),
        (b"", "closed and gave no answer"),
    ],
)
async def test_a_proxy_that_does_not_connect_is_named(
    answer: bytes, message: str
) -> None:
    async def script(visitor: Visitor) -> None:
        await visitor.read_request()
        await visitor.send(answer)

    async with RawServer(script) as proxy:
        with pytest.raises(ProxyError) as caught:
            await ask(proxy.url, "https://a.example/")
    assert message in str(caught.value)


async def test_an_interim_answer_of_a_proxy_is_read_past() -> None:
    answer = b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 502 No\r\n\r\n"
    async with RawServer(answer) as proxy:
        with pytest.raises(ProxyError, match="502 No"):
            await ask(proxy.url, "https://a.example/")


async def test_a_proxy_that_is_not_there_is_an_error() -> None:
    async with RawServer(OK) as gone:
        pass
    with pytest.raises(ConnectError):
        await ask(gone.url, "https://a.example/")


async def test_the_environment_says_who_is_reached_through_which(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with RawServer(OK) as proxy, RawServer(OK) as server:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        async with io.Session(trust_env=True) as session:
            for url in ("http://a.example/", server.url):
                async with session.get(url) as resp:
                    assert resp.status_code == 200
        async with io.Session() as session, session.get(server.url):
            pass
    assert (len(proxy.requests), len(server.requests)) == (1, 2)


def test_a_proxy_that_is_none_is_told_when_the_session_is_made() -> None:
    with pytest.raises(ConfigurationError, match="a proxy is scheme://"):
        io.Session(proxy="gopher://a")


NAMES: list[bytes] = []
"""What the SOCKS proxy was asked for."""


def socks(*, password: bytes = b"", refuses: bool = False) -> Script:
    """RFC 1928 and RFC 1929, as little as a test needs; names are all localhost."""

    async def script(visitor: Visitor) -> None:
        await visitor.read_some()
        await visitor.send(b"\x05\x02" if password else b"\x05\x00")
        if password:
            is_right = password in await visitor.read_some()
            await visitor.send(b"\x01\x00" if is_right else b"\x01\x01")
        order = await visitor.read_some()
        NAMES.append(order[3:-2])
        await visitor.send(b"\x05%c\x00\x01\0\0\0\0\0\0" % (5 if refuses else 0))
        if not refuses:
            await relay(visitor, "127.0.0.1", int.from_bytes(order[-2:], "big"))

    return script


@pytest.mark.parametrize(
    ("scheme", "address"),
    [
        ("socks5", b"\x01" + socket.inet_aton("127.0.0.1")),
        ("socks5h", b"\x03\x09localhost"),
    ],
)
async def test_socks_resolves_names_here_or_there(scheme: str, address: bytes) -> None:
    NAMES.clear()
    async with (
        RawServer(OK, name="localhost") as server,
        RawServer(socks(password=b"secret")) as proxy,
        io.Session(proxy=f"{scheme}://me:secret@127.0.0.1:{proxy.port}") as session,
        session.get(server.url) as resp,
    ):
        assert await resp.text() == "ok"
    assert [address] == NAMES


async def test_a_socks_proxy_that_refuses_is_named() -> None:
    async with RawServer(socks(refuses=True)) as proxy:
        with pytest.raises(ProxyError, match=r"does not connect to a\.example:80"):
            await ask(f"socks5h://127.0.0.1:{proxy.port}", "http://a.example/")


async def test_a_socks_proxy_that_is_not_there_is_an_error() -> None:
    async with RawServer(OK) as gone:
        pass
    with pytest.raises(ConnectError, match="proxy socks5h://"):
        await ask(f"socks5h://127.0.0.1:{gone.port}", "http://a.example/")


# Proxies that are spoken to over TLS


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


def trusting(certificates: Certificates, **options: Any) -> io.ClientTls:
    return io.ClientTls(ca_file=certificates.ca_file, **options)


async def test_http_is_asked_for_over_tls(certificates: Certificates) -> None:
    context = certificates.server_context("localhost")
    async with RawServer(OK, context, "localhost") as proxy:
        url = proxy.url.replace("//", "//me:x@")
        async with io.Session(proxy=url, tls=trusting(certificates)) as session:
            for name in ("a", "b"):
                async with session.get(f"http://{name}.example/x") as resp:
                    assert await resp.text() == "ok"
    assert proxy.connections == 1
    assert proxy.requests[0].startswith(b"GET http://a.example/x HTTP/1.1\r\n")
    assert b"\r\nProxy-Authorization: Basic bWU6eA==\r\n" in proxy.requests[0]


@pytest.mark.parametrize("size", [2, 3_000_000])
async def test_https_goes_within_tls_with_the_proxy(
    certificates: Certificates, size: int
) -> None:
    context = certificates.server_context("localhost")
    names: list[str | None] = []
    context.sni_callback = lambda _, name, __: names.append(name)
    async with (
        RawServer(reply(bytes(size)), context, "localhost") as server,
        RawServer(connecting(), context, "localhost") as proxy,
    ):
        url = proxy.url.replace("//", "//me:x@")
        async with io.Session(proxy=url, tls=trusting(certificates)) as session:
            for _ in range(2):
                async with session.post(server.url, body=bytes(size)) as resp:
                    assert len(await resp.aread()) == size
        assert server.connections == proxy.connections == 1
    assert len(proxy.requests) == 1
    place = f"localhost:{server.port}"
    assert proxy.requests[0].startswith(f"CONNECT {place} HTTP/1.1\r\n".encode())
    assert proxy.requests[0].count(b"Proxy-Authorization: Basic bWU6eA==\r\n") == 1
    assert b"Proxy-" not in server.requests[0]
    assert names == ["localhost", "localhost"]


async def test_who_does_not_trust_the_proxy_tells_it_nothing(
    certificates: Certificates,
) -> None:
    context = certificates.server_context("localhost")
    async with RawServer(OK, context, "localhost") as proxy:
        for url in ("http://a.example/", "https://a.example/"):
            with pytest.raises(TlsError, match=r"^proxy https://localhost:.* trusted"):
                await ask(proxy.url, url)
    assert not proxy.requests


async def test_what_is_for_the_server_is_not_for_the_proxy(
    certificates: Certificates,
) -> None:
    """``server_name`` and our certificate."""
    ours = certificates.issue("me.example")
    context = certificates.server_context("localhost")
    strict = certificates.server_context("a.example")
    strict.verify_mode = ssl.CERT_REQUIRED
    strict.load_verify_locations(certificates.ca_file)
    tls = trusting(certificates, certfile=ours, server_name="a.example")
    async with (
        RawServer(OK, strict, "localhost") as server,
        RawServer(connecting(), context, "localhost") as proxy,
        io.Session(proxy=proxy.url, tls=tls) as session,
        session.get(server.url) as resp,
    ):
        assert await resp.text() == "ok"


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "does not connect to a.example:443: 403"),
        (ESTABLISHED + b"x", "spoke in the server's place"),
        (b"SSH-2.0\r\n", "SSH-2.0"),
        (b"HTTP/1.1 100 C\r\n\r\n" * 20, "more than 16 interim responses"),
        (b"", "closed and gave no answer"),
    ],
)
@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_that_does_not_connect_is_named_over_tls_too(
    certificates: Certificates, answer: bytes, message: str, scheme: str
) -> None:
    async def script(visitor: Visitor) -> None:
        await visitor.read_head()
        await visitor.send(answer)

    context = certificates.server_context("localhost") if scheme == "https" else None
    async with (
        RawServer(script, context, "localhost") as proxy,
        io.Session(proxy=proxy.url, tls=trusting(certificates)) as session,
    ):
        with pytest.raises(ProxyError, match=message):
            async with session.get("https://a.example/"):
                pass
        assert repr(session) == "<Session <Pool empty>>"


async def test_a_server_that_is_not_trusted_behind_a_proxy_that_is(
    certificates: Certificates,
) -> None:
    context = certificates.server_context("localhost")
    other = certificates.server_context("b.example")
    async with (
        RawServer(OK, other, "localhost") as server,
        RawServer(connecting(), context, "localhost") as proxy,
        io.Session(proxy=proxy.url, tls=trusting(certificates)) as session,
    ):
        with pytest.raises(TlsError, match=r"^https://localhost:.* not to be trusted"):
            async with session.get(server.url):
                pass


# A tunnel that is used again


class Tunnels:
    """A proxy that opens tunnels, and can end those that it has opened.

    Attributes:
        visitors: Of each tunnel.
    """

    def __init__(self) -> None:
        self.visitors: list[Visitor] = []

    async def serve(self, visitor: Visitor) -> None:
        self.visitors.append(visitor)
        await connecting()(visitor)

    async def end(self, how: str) -> None:
        """End all of them; the loop has hardly a chance to tell the client."""
        for visitor in self.visitors:
            getattr(visitor, how)()
            if how != "cut_off":  # a transport closes its socket some turns later
                await visitor.wait_closed()
                await asyncio.sleep(0)
        self.visitors.clear()


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("is_tls", [False, True])
@pytest.mark.parametrize("how", ["close", "reset", "cut_off"])
async def test_a_tunnel_that_has_ended_serves_nobody(
    certificates: Certificates, how: str, is_tls: bool, method: str
) -> None:
    """A POST is never sent into it; there is one of its own for what comes next."""
    context = certificates.server_context("localhost")
    tunnels = Tunnels()
    async with (
        RawServer(OK, context, "localhost") as server,
        RawServer(tunnels.serve, context if is_tls else None, "localhost") as proxy,
        io.Session(proxy=proxy.url, tls=trusting(certificates)) as session,
    ):
        for _ in range(3):
            async with session.request(method, server.url) as resp:
                assert await resp.text() == "ok"
            assert repr(session).count("1 idle") == 1
            await tunnels.end(how)
    assert (proxy.connections, len(proxy.requests)) == (3, 3)
    # A GET may be repeated, and so it trusts its connection for some milliseconds.
    assert len(server.requests) == 3 or method == "GET"


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("is_tls", [False, True])
async def test_so_does_one_whose_server_has_ended(
    certificates: Certificates, is_tls: bool, method: str
) -> None:
    """The alert of the server comes through the tunnel, which itself is open."""
    context = certificates.server_context("localhost")
    is_relayed = asyncio.Event()
    visitors: list[Visitor] = []

    async def script(visitor: Visitor) -> None:
        visitors.append(visitor)
        while await visitor.read_request() is not None:
            await visitor.send(OK)

    async def relay_and_tell(visitor: Visitor) -> None:
        request = await visitor.read_request()
        assert request is not None
        await visitor.send(ESTABLISHED)
        await relay(visitor, "127.0.0.1", server.port)
        is_relayed.set()
        await visitor.read_until_end()

    async with (
        RawServer(script, context, "localhost") as server,
        RawServer(relay_and_tell, context if is_tls else None, "localhost") as proxy,
        io.Session(proxy=proxy.url, tls=trusting(certificates)) as session,
    ):
        for number in range(2):
            async with session.request(method, server.url) as resp:
                assert await resp.text() == "ok"
            visitors[number].close()
            await within(is_relayed.wait(), 10)
            is_relayed.clear()
    assert (proxy.connections, len(server.requests)) == (2, 2)
