"""The hooks of a whole app on the usual loop, plain and over TLS."""

from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path

import pytest

from blazeio.app.app import App
from blazeio.app.deliver import Deliver
from blazeio.app.middleware import CookieSessions, Cors
from blazeio.protocol.request import BlazeioServerProtocol
from blazeio.server.tls import TlsSettings
from blazeio.testing import TestServer
from tests.support.clock import scaled
from tests.support.tls_peer import Certificates

R = BlazeioServerProtocol
ORIGIN = "https://app.example"


def make_app(tls: TlsSettings | None) -> App:
    web = App(tls=tls, headers={"X-Mine": "1"})
    sessions = CookieSessions("a-secret-of-chance")
    web.middleware(Cors(ORIGIN, credentials=True))
    web.middleware(sessions)

    @web.on_error(LookupError)
    async def missing(r: R, error: LookupError) -> None:
        await Deliver.text(r, f"missing {error}", 404)

    @web.route.get("/count")
    async def count(r: R) -> None:
        session = sessions.of(r)
        session["count"] = session.get("count", 0) + 1
        await Deliver.stream(r, [str(session["count"])])

    @web.route.get("/fail/{name}")
    async def fail(r: R, name: str) -> None:
        raise KeyError(name)

    return web


@pytest.mark.parametrize("is_tls", [False, True])
def test_fields_errors_and_sessions(tmp_path: Path, is_tls: bool) -> None:
    certificates = Certificates(tmp_path)
    settings = None
    if is_tls:
        settings = TlsSettings(certfile=str(certificates.issue("localhost")))
    with TestServer(make_app(settings)) as server:
        client = (
            HTTPSConnection(
                "localhost",
                server.port,
                timeout=scaled(10),
                context=certificates.client_context(),
            )
            if is_tls
            else HTTPConnection("127.0.0.1", server.port, timeout=scaled(10))
        )
        cookie = ""
        for method, path, status, text in (
            ("GET", "/count", 200, "1"),
            ("GET", "/count", 200, "2"),
            ("HEAD", "/count", 200, ""),
            ("GET", "/fail/x", 404, "missing 'x'"),
            ("GET", "/none", 404, "Not Found"),
            ("POST", "/count", 405, "Method Not Allowed"),
            ("GET", "/count", 200, "3"),
        ):
            headers = {"Origin": ORIGIN, "Cookie": cookie}
            client.request(method, path, headers=headers)
            answer = client.getresponse()
            assert (answer.status, answer.read().decode()) == (status, text)
            assert answer.headers["X-Mine"] == "1"
            assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
            set_cookie = answer.headers["Set-Cookie"]
            if method == "GET" and set_cookie is not None:
                cookie = set_cookie.partition(";")[0]
        client.close()
