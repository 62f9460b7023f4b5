import asyncio
from pathlib import Path
from typing import Any

import pytest
import trustme

from blazeio.app.app import App
from blazeio.app.deliver import Deliver
from blazeio.app.mounting import list_foreign
from blazeio.content.forwarded import parse_allow_list
from blazeio.gateways.wsgi import WsgiGateway
from blazeio.protocol.context import ServerContext
from blazeio.protocol.request import BlazeioServerProtocol
from blazeio.server.acceptor import bind
from blazeio.server.tls import TlsSettings
from blazeio_supervisor.errors import ExitCode
from blazeio_supervisor.ipc.messages import (
    GatewayConfig,
    Overrides,
)
from blazeio_supervisor.version import find_version
from blazeio_supervisor.worker.import_app import LoadError
from blazeio_supervisor.worker.overrides import (
    configure_foreign,
    make_access_log,
    make_server,
    read_certificates,
)


@pytest.fixture
def pair(tmp_path: Path) -> str:
    path = tmp_path / "site.pem"
    made = trustme.CA().issue_cert("localhost")
    made.private_key_and_cert_chain_pem.write_to_path(str(path))
    return str(path)


def serve(app: App, **overrides: Any) -> ServerContext:
    loop = asyncio.get_running_loop()
    server = make_server(app, Overrides(**overrides), loop, tls=None, access_log=None)
    server.close()
    return server.context


async def test_nothing_said_is_the_app_as_it_is() -> None:
    app = App(in_flight=3, forwarded_allow_ips="10.0.0.1")
    context = serve(app)
    assert context.limits == app.limits
    assert context.trust is app.trust


async def test_a_limit_wins_and_the_others_stay() -> None:
    limits = serve(
        App(in_flight=3, field_count=50), limits={"in_flight": None, "head_bytes": 9}
    ).limits
    assert (limits.in_flight, limits.head_bytes, limits.field_count) == (None, 9, 50)


async def test_a_list_wins_and_the_other_stays() -> None:
    app = App(forwarded_allow_ips="10.0.0.1", proxy_protocol_allow_ips="10.0.0.2")
    trust = serve(app, forwarded_allow_ips="unix").trust
    assert trust is not None
    assert trust.forwarded_allow_ips == parse_allow_list("unix")
    assert trust.proxy_protocol_allow_ips == parse_allow_list("10.0.0.2")


async def test_an_empty_list_trusts_nobody() -> None:
    trust = serve(App(forwarded_allow_ips="10.0.0.1"), forwarded_allow_ips="").trust
    assert trust is not None
    assert not trust.forwarded_allow_ips


async def test_the_log_of_the_command_line_wins(tmp_path: Path) -> None:
    app = App(access_log=str(tmp_path / "own"))
    loop = asyncio.get_running_loop()
    said = Overrides(access_log=str(tmp_path / "said"))
    for overrides in (said, Overrides()):
        log = make_access_log(app, overrides, loop, "0")
        assert log is not None
        log.close()
        assert (tmp_path / "said").exists()
        assert (tmp_path / "own").exists() is (overrides is not said)
    assert make_access_log(App(), Overrides(), loop, "0") is None


def test_no_certificate_is_read_where_none_was_named() -> None:
    assert read_certificates(Overrides()) is None


def test_certificates_come_with_their_timeouts(pair: str) -> None:
    others = [[pair, None]]  # as a message has it
    tls = {"certfile": pair, "handshake_timeout_s": 3.0, "other_certificates": others}
    terms = read_certificates(Overrides(tls=tls))
    assert terms is not None
    assert terms.handshake_timeout_s == 3.0


def test_a_file_that_cannot_be_used_is_wrong_usage() -> None:
    with pytest.raises(LoadError, match="TLS certfile /none: no such file") as caught:
        read_certificates(Overrides(tls={"certfile": "/none"}))
    assert caught.value.code is ExitCode.USAGE


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        (
            Overrides(limits={"later_bytes": 1, "head_bytes": 2}),
            "limit later_bytes",
        ),
        (Overrides(tls={"later": True}), "TLS setting later"),
    ],
)
def test_what_only_the_code_of_the_master_knows_is_one_line(
    overrides: Overrides, named: str
) -> None:
    with pytest.raises(LoadError) as caught:
        read_certificates(overrides)
    assert caught.value.reason == (
        f"the installed blazeio ({find_version()}) knows no {named}, "
        "which the running master sets: restart the service to use it"
    )


async def test_certificates_of_clients_are_not_dropped_in_silence(pair: str) -> None:
    own = TlsSettings(certfile=pair, client_ca=pair, client_cert="required")
    app = App(tls=own)
    loop = asyncio.get_running_loop()
    said: dict[str, Any] = {"certfile": pair}
    terms = read_certificates(Overrides(tls=said))
    with pytest.raises(LoadError, match="say --client-cert none, optional"):
        make_server(app, Overrides(tls=said), loop, tls=terms, access_log=None)
    said["client_cert"] = "none"
    make_server(app, Overrides(tls=said), loop, tls=terms, access_log=None).close()


async def ask(app: App, octets: bytes, **overrides: Any) -> bytes:
    """The whole answer to one connection that closes."""
    loop = asyncio.get_running_loop()
    server = make_server(app, Overrides(**overrides), loop, tls=None, access_log=None)
    with bind("127.0.0.1", 0) as listener:
        server.accept_from(listener)
        reader, writer = await asyncio.open_connection(*listener.getsockname())
        writer.write(octets)
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
    server.close()
    return answer


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode()


def make_site() -> App:
    web = App(strict_slashes=False, root_path="/own")

    @web.add_route
    async def plain(r: BlazeioServerProtocol, route: str = "/plain") -> None:
        await Deliver.text(r, r.root_path)

    @web.add_route
    async def fields(r: BlazeioServerProtocol, route: str = "/fields") -> None:
        await Deliver.text(r, "", headers={"X-A": "of the app"})

    return web


async def test_fields_are_in_each_response_but_where_the_app_has_its_own() -> None:
    headers = (("X-A", "1"), ("X-B", "2"))
    plain = await ask(make_site(), get("/plain"), headers=headers)
    assert b"\r\nX-A: 1\r\nX-B: 2\r\n" in plain
    missing = await ask(make_site(), get("/none"), headers=headers)
    assert b"\r\nX-A: 1\r\nX-B: 2\r\n" in missing
    own = await ask(make_site(), get("/fields"), headers=headers)
    assert b"X-A: of the app" in own
    assert own.count(b"X-A") == own.count(b"X-B") == 1


async def test_date_and_server_may_be_left_away() -> None:
    app, silent = make_site(), {"has_date_header": False, "has_server_header": False}
    for octets in (get("/plain"), get("/fields"), b"no request\r\n\r\n"):
        answer = await ask(app, octets, **silent)
        assert answer.startswith(b"HTTP/1.1 ")
        assert b"\r\nDate:" not in answer
        assert b"\r\nServer:" not in answer


async def test_a_root_path_is_told_and_redirects_lead_below_it() -> None:
    assert (await ask(make_site(), get("/plain"))).endswith(b"/own")
    answer = await ask(make_site(), get("/plain"), root_path="/api")
    assert answer.endswith(b"/api")
    answer = await ask(make_site(), get("/plain/"), root_path="/api")
    assert b"\r\nLocation: /api/plain\r\n" in answer


def wsgi(environ: Any, start_response: Any) -> list[bytes]:
    return []


def test_apps_that_are_mounted_are_as_the_operator_says() -> None:
    outer, inner = App(), App()
    outer.mount("/in", inner)
    inner.mount("/wsgi", wsgi)
    configure_foreign(outer, GatewayConfig(threads=9))
    (part,) = list_foreign(outer)
    gateway = part.gateway
    assert isinstance(gateway, WsgiGateway)
    assert (gateway.threads, gateway.is_multiprocess) == (9, True)
