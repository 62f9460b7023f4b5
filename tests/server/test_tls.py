"""From the settings of TLS to what clients meet."""

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from blazeio.errors import ConfigurationError
from blazeio.limits import Limits
from blazeio.protocol.tls import ServerSideTls
from blazeio.server.tls import (
    TlsSettings,
    find_by_name,
    make_ssl_contexts,
    make_tls_config,
)
from tests.protocol.serving import GET, R, Served, hello
from tests.support.clock import within
from tests.support.live import run_to_exit
from tests.support.programs import find_program
from tests.support.tls_peer import NAME, Certificates, TlsPeer

Serve = Callable[..., "TlsServerHarness"]


class TlsServerHarness:
    """A server, and how clients get there."""

    def __init__(self, served: Served, certificates: Certificates) -> None:
        self.served = served
        self.certificates = certificates

    async def connect(
        self,
        name: str | None = NAME,
        session: ssl.SSLSession | None = None,
        context: ssl.SSLContext | None = None,
    ) -> TlsPeer:
        """A client that asks for this name, and insists on it."""
        context = context or self.certificates.client_context()
        peer = await TlsPeer.connect(*self.served.address)
        self.served.peers.append(peer)
        return await peer.shake_hands(context, name, session)

    async def names_shown(self, name: str) -> set[str]:
        """Whose certificate a client gets that asks for a name."""
        context = self.certificates.client_context()
        context.check_hostname = False
        peer = await self.connect(name, context=context)
        certificate: Any = peer.tls.getpeercert()
        return {value for _, value in certificate["subjectAltName"]}


@pytest.fixture
def certificates(tmp_path: Path) -> Certificates:
    return Certificates(tmp_path)


@pytest.fixture
async def serve(certificates: Certificates) -> AsyncIterator[Serve]:
    """``serve(context, handler)`` or ``serve(**settings)``: on both loops."""
    all_served: list[Served] = []

    def start(settings: TlsSettings | None = None, **more: Any) -> TlsServerHarness:
        more.setdefault("certfile", certificates.issue(NAME))
        terms = make_tls_config(settings or TlsSettings(**more))
        served = Served.start(hello, Limits())
        served.server.stop_accepting()
        served.server.accept_from(served.sock, tls=terms)
        all_served.append(served)
        return TlsServerHarness(served, certificates)

    yield start
    for served in all_served:
        await served.end()


class TestSettings:
    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"client_cert": "yes"}, "TLS client_cert yes: expected none, optional,"),
            ({"tls_min": "1.1"}, "TLS tls_min 1.1: expected 1.2, 1.3"),
            ({"client_cert": "required"}, "TLS client_cert required: name who issues"),
            (
                {"client_ca": "ca"},
                "TLS client_ca ca: has no effect without client_cert",
            ),
            ({"tls_min": "1.3", "ciphers": "x"}, "TLS ciphers x: has no effect with"),
            ({"handshake_timeout_s": 0}, "TLS handshake_timeout_s 0: expected more"),
            ({"shutdown_timeout_s": "1"}, "TLS shutdown_timeout_s 1: expected more"),
        ],
    )
    def test_that_cannot_be_are_refused(
        self, settings: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(ConfigurationError) as raised:
            TlsSettings(certfile="c.pem", **settings)
        assert str(raised.value).startswith(message)

    def test_do_not_touch_files_before_they_are_used(self) -> None:
        settings = TlsSettings(certfile="/none.pem")
        with pytest.raises(ConfigurationError, match=r"/none\.pem: no such file"):
            make_ssl_contexts(settings)

    def test_of_ciphers_that_nobody_knows(self, certificates: Certificates) -> None:
        settings = TlsSettings(certfile=certificates.issue(NAME), ciphers="NONE-SUCH")
        with pytest.raises(ConfigurationError, match=r"ciphers NONE-SUCH: .*knows"):
            make_ssl_contexts(settings)

    @pytest.mark.parametrize("content", ["", "text", "-----BEGIN CERTIFICATE-----\nA"])
    def test_of_authorities_that_are_none(
        self, certificates: Certificates, tmp_path: Path, content: str
    ) -> None:
        path = tmp_path / "authorities.pem"
        path.write_text(content)
        settings = TlsSettings(
            certfile=certificates.issue(NAME), client_ca=path, client_cert="required"
        )
        message = f"TLS client_ca {path}: holds no PEM certificate"
        with pytest.raises(ConfigurationError, match=message):
            make_ssl_contexts(settings)

    def test_of_authorities_that_are_missing(self, certificates: Certificates) -> None:
        settings = TlsSettings(
            certfile=certificates.issue(NAME), client_ca="/none", client_cert="optional"
        )
        with pytest.raises(ConfigurationError, match="TLS client_ca /none: no such"):
            make_ssl_contexts(settings)

    def test_of_a_further_certificate_without_a_name(
        self, certificates: Certificates
    ) -> None:
        settings = TlsSettings(
            certfile=certificates.issue(NAME),
            other_certificates=((certificates.issue("192.0.2.1"), None),),
        )
        with pytest.raises(ConfigurationError, match="is for no DNS name"):
            make_ssl_contexts(settings)

    def test_of_a_name_with_two_certificates_are_a_warning(
        self, certificates: Certificates, caplog: pytest.LogCaptureFixture
    ) -> None:
        certfile = certificates.issue(NAME)
        make_ssl_contexts(
            TlsSettings(certfile=certfile, other_certificates=((certfile, None),))
        )
        (record,) = caplog.records
        assert record.levelno == logging.WARNING
        assert f"{NAME} has one already" in record.getMessage()

    def test_become_a_context_for_modern_clients(
        self, certificates: Certificates
    ) -> None:
        settings = TlsSettings(certfile=certificates.issue(NAME))
        (context,) = make_ssl_contexts(settings)
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2
        assert context.options & ssl.OP_NO_RENEGOTIATION
        assert context.verify_mode == ssl.CERT_NONE
        assert context.sslobject_class is ServerSideTls

    def test_become_terms(self, certificates: Certificates) -> None:
        settings = TlsSettings(
            certfile=certificates.issue(NAME),
            handshake_timeout_s=3,
            shutdown_timeout_s=4,
        )
        terms = make_tls_config(settings)
        assert (terms.handshake_timeout_s, terms.shutdown_timeout_s) == (3, 4)


@pytest.mark.parametrize(
    ("server_name", "certificate"),
    [
        ("a.example", "a.example"),
        ("x.a.example", "*.a.example"),
        ("www.a.example", "www.a.example"),  # exact before wildcard
        ("y.x.a.example", None),  # a wildcard is one label (RFC 9525 section 6.3)
        (".a.example", None),
        ("b.example", None),
        ("example", None),
        ("*.a.example", "*.a.example"),
        ("", None),
    ],
)
def test_names_find_their_certificate(
    server_name: str, certificate: str | None
) -> None:
    names = ("a.example", "*.a.example", "www.a.example")
    by_name = {name: ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) for name in names}
    expected = None if certificate is None else by_name[certificate]
    assert find_by_name(by_name, server_name) is expected


class TestServerNames:
    @pytest.mark.parametrize(
        ("name", "shown"),
        [
            ("localhost", {"localhost"}),
            ("A.EXAMPLE", {"a.example", "b.example"}),
            ("b.example", {"a.example", "b.example"}),
            ("any.c.example", {"*.c.example"}),
            ("unknown.example", {"localhost"}),
        ],
    )
    async def test_choose_the_certificate(
        self, serve: Serve, certificates: Certificates, name: str, shown: set[str]
    ) -> None:
        others = (("a.example", "b.example"), ("*.c.example",))
        tls_server = serve(
            other_certificates=tuple((certificates.issue(*o), None) for o in others)
        )
        assert await tls_server.names_shown(name) == shown

    async def test_are_told_to_the_handler_in_lower_case(
        self, serve: Serve, certificates: Certificates
    ) -> None:
        tls_server = serve(
            other_certificates=((certificates.issue("a.example"), None),)
        )
        peer = await tls_server.connect("A.example")
        await peer.exchange(GET)
        (r,) = tls_server.served.requests
        assert r.tls is not None
        assert r.tls.server_name == "a.example"

    async def test_may_be_missing(
        self, serve: Serve, certificates: Certificates
    ) -> None:
        context = certificates.client_context()
        context.check_hostname = False
        peer = await serve().connect(None, context=context)
        assert (await peer.exchange(GET)).endswith(b"hello")

    async def test_do_not_lift_the_demand_for_a_client_certificate(
        self, serve: Serve, certificates: Certificates
    ) -> None:
        tls_server = serve(
            other_certificates=((certificates.issue("a.example"), None),),
            client_cert="required",
            client_ca=certificates.ca_file,
        )
        context = certificates.client_context(certificates.issue("client.example"))
        peer = await tls_server.connect("a.example", context=context)
        await peer.exchange(GET)
        peer = await tls_server.connect("a.example")
        with pytest.raises(ssl.SSLError, match="certificate required"):
            await peer.read_until_end()


class TestSessions:
    async def test_are_resumed_by_every_server_of_one_context(
        self, serve: Serve, certificates: Certificates
    ) -> None:
        settings = TlsSettings(
            certfile=certificates.issue(NAME),
            client_cert="required",
            client_ca=certificates.ca_file,
        )
        tls_server = serve(settings)
        context = certificates.client_context(certificates.issue("client.example"))
        peer = await tls_server.connect(context=context)
        await peer.exchange(GET)
        assert not peer.tls.session_reused
        again = await tls_server.connect(session=peer.tls.session, context=context)
        assert again.tls.session_reused
        await again.exchange(GET)
        for r in tls_server.served.requests:
            assert r.tls is not None
            assert r.tls.peer_certificate is not None

    async def test_are_not_resumed_after_a_reload_but_served(
        self, serve: Serve, certificates: Certificates
    ) -> None:
        tls_server = serve(certfile=certificates.issue(NAME))
        context = certificates.client_context()
        peer = await tls_server.connect(context=context)
        await peer.exchange(GET)
        after = serve(certfile=certificates.issue(NAME))
        again = await after.connect(session=peer.tls.session, context=context)
        assert not again.tls.session_reused
        await again.exchange(GET)
        assert again.tls.getpeercert(True) != peer.tls.getpeercert(True)
        await peer.exchange(GET)  # it goes on

    @pytest.mark.slow
    @pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
    def test_are_resumed_by_every_child_of_a_fork(
        self, certificates: Certificates, version: str
    ) -> None:
        files = [certificates.issue(NAME), certificates.ca_file]
        done = run_to_exit(["python", "-c", FORK, *files, version])
        assert (done.stdout, done.stderr) == ("new 1\nresumed 2\n", "")


FORK = """
import asyncio, os, socket, ssl, sys
from blazeio.limits import Limits
from blazeio.server.server import Server
from blazeio.server.acceptor import bind
from blazeio.server.tls import TlsSettings, make_tls_config

certfile, ca_file, version = sys.argv[1:]
terms = make_tls_config(TlsSettings(certfile=certfile))
listeners = [bind("127.0.0.1", 0), bind("127.0.0.1", 0)]

async def work(number):
    async def handler(r):
        r.reply(str(number).encode(), headers={"Connection": "close"})
        asyncio.get_running_loop().call_later(0.1, done.set)
    done = asyncio.Event()
    server = Server(handler, Limits(), asyncio.get_running_loop())
    server.accept_from(listeners[number - 1], tls=terms)
    await done.wait()
    server.close()

for number in (1, 2):
    if os.fork() == 0:
        asyncio.run(work(number))
        os._exit(0)

context = ssl.create_default_context(cafile=ca_file)
context.maximum_version = context.minimum_version = ssl.TLSVersion[version]
session = None
for listener in listeners:
    with socket.create_connection(listener.getsockname(), 5) as sock:
        tls = context.wrap_socket(sock, server_hostname="localhost", session=session)
        tls.sendall(b"GET / HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n")
        answer = b""
        while octets := tls.recv(4096):
            answer += octets
        session = tls.session
        print("resumed" if tls.session_reused else "new", answer[-1:].decode())
        tls.close()
for listener in listeners:
    os.wait()
    listener.close()
"""


class TestForeignClients:
    async def test_httpx(self, serve: Serve) -> None:
        tls_server = serve()
        context = tls_server.certificates.client_context()
        url = f"https://{NAME}:{tls_server.served.address[1]}/"
        async with httpx.AsyncClient(verify=context, trust_env=False) as client:
            for _ in range(2):
                answer = await client.get(url)
                assert (answer.status_code, answer.text) == (200, "hello")
        assert tls_server.served.server.request_count == 2

    async def test_a_blocking_socket_that_insists_on_a_clean_end(
        self, serve: Serve
    ) -> None:
        tls_server = serve()
        context = tls_server.certificates.client_context()

        def ask() -> bytes:
            with (
                socket.create_connection(tls_server.served.address, 5) as sock,
                context.wrap_socket(
                    sock, server_hostname=NAME, suppress_ragged_eofs=False
                ) as tls,
            ):
                tls.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                octets = b""
                while piece := tls.recv(4096):
                    octets += piece
                tls.unwrap()
                return octets

        assert (await within(asyncio.to_thread(ask), 5)).endswith(b"hello")

    @pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
    async def test_openssl(self, serve: Serve, version: str) -> None:
        tls_server = serve()
        host, port = tls_server.served.address
        client = await asyncio.create_subprocess_exec(
            *(
                find_program("openssl"),
                "s_client",
                "-connect",
                f"{host}:{port}",
                version,
            ),
            *("-servername", NAME, "-verify_hostname", NAME, "-alpn", "http/1.1"),
            *("-CAfile", str(tls_server.certificates.ca_file), "-ign_eof"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        asked = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        said, _ = await within(client.communicate(asked), 5)
        assert b"Verify return code: 0 (ok)" in said
        assert b"ALPN protocol: http/1.1" in said
        assert b"\r\n\r\nhello" in said
        assert client.returncode == 0

    async def test_one_that_speaks_no_http_1_1_is_still_served(
        self, serve: Serve
    ) -> None:
        tls_server = serve()
        context = tls_server.certificates.client_context()
        context.set_alpn_protocols(["acme"])
        peer = await tls_server.connect(context=context)
        assert peer.tls.selected_alpn_protocol() is None
        assert (await peer.exchange(GET)).endswith(b"hello")


async def test_r_tells_of_a_plain_connection_that_it_is_none() -> None:
    seen: list[object] = []

    async def handler(r: R) -> None:
        seen.extend([r.tls, r.is_secure])
        r.reply(b"")

    served = Served.start(handler, Limits())
    try:
        await served.exchange(GET)
    finally:
        await served.end()
    assert seen == [None, False]
