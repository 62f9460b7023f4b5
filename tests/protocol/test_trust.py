"""Who the client is, for those who are told by proxies."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from blazeio.content.forwarded import Client, parse_allow_list
from blazeio.errors import ConfigurationError
from blazeio.limits import Limits
from blazeio.protocol.carrier import (
    ConnectionOrigin,
    Trust,
    find_authority,
    find_peer,
    find_scheme,
    make_trust,
)
from blazeio.wire.headers import Headers
from blazeio.wire.proxy_protocol import Endpoint, ProxyHeader
from tests.protocol.serving import GET, R, Served, request
from tests.support.transport import FakeTransport

NO_HEADERS = Headers([])
FORWARDED = Headers([("x-forwarded-for", "192.0.2.1"), ("x-forwarded-proto", "https")])
TOLD = Client("192.0.2.1", 0, "https", "")


def header(host: str, port: int = 1, *, is_unix: bool = False) -> ProxyHeader:
    end = Endpoint(host, port)
    return ProxyHeader(end, end, is_unix=is_unix, end=0)


def new_origin(
    forwarded_allow_ips: str,
    peername: object = ("10.0.0.1", 5),
    told: ProxyHeader | None = None,
    **extra: Any,
) -> ConnectionOrigin:
    origin = ConnectionOrigin(Trust(parse_allow_list(forwarded_allow_ips)), told)
    origin.connect(FakeTransport(peername=peername, extra=extra))
    return origin


# Settings


def test_nobody_is_trusted_when_both_lists_are_empty() -> None:
    assert make_trust() is None
    assert make_trust(forwarded_allow_ips=" ", proxy_protocol_allow_ips=[]) is None


def test_each_list_is_its_own() -> None:
    trust = make_trust(forwarded_allow_ips="::1", proxy_protocol_allow_ips=["unix"])
    assert trust == Trust(parse_allow_list("::1"), parse_allow_list("unix"))
    only = make_trust(proxy_protocol_allow_ips="*")
    assert only is not None
    assert not only.forwarded_allow_ips


@pytest.mark.parametrize("name", ["forwarded_allow_ips", "proxy_protocol_allow_ips"])
def test_a_word_that_is_no_address_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="'localhost' does not appear"):
        make_trust(**{name: "localhost"})


# Origins


@pytest.mark.parametrize("forwarded_allow_ips", ["", "10.0.0.2", "unix"])
def test_who_is_not_trusted_is_the_client(forwarded_allow_ips: str) -> None:
    origin = new_origin(forwarded_allow_ips)
    assert origin.find_client(FORWARDED) == ("10.0.0.1", 5, "http", "")


def test_who_is_trusted_tells_of_the_client() -> None:
    assert new_origin("10.0.0.0/8").find_client(FORWARDED) == TOLD


def test_each_head_has_its_own_client() -> None:
    origin = new_origin("10.0.0.1")
    other = Headers([("x-forwarded-for", "192.0.2.2")])
    assert origin.find_client(FORWARDED) == TOLD
    assert origin.find_client(FORWARDED) is origin.find_client(FORWARDED)
    assert origin.find_client(other).host == "192.0.2.2"
    assert origin.find_client(NO_HEADERS).host == "10.0.0.1"
    assert origin.find_client(FORWARDED) == TOLD


def test_a_unix_peer_has_no_address() -> None:
    assert new_origin("", "").find_client(NO_HEADERS) == ("", 0, "http", "")
    assert new_origin("unix", "/run/s").find_client(FORWARDED) == TOLD


def test_tls_makes_https() -> None:
    origin = new_origin("", ssl_object=object())
    assert origin.find_client(NO_HEADERS).scheme == "https"


def test_the_proxy_protocol_tells_who_has_connected() -> None:
    origin = new_origin("", told=header("192.0.2.7", 7))
    assert origin.find_client(FORWARDED)[:2] == ("192.0.2.7", 7)


def test_a_header_without_an_address_leaves_the_peer() -> None:
    told = ProxyHeader(None, None, is_unix=False, end=16)
    assert new_origin("", told=told).find_client(NO_HEADERS)[:2] == ("10.0.0.1", 5)


def test_a_unix_client_of_a_proxy_has_no_address() -> None:
    origin = new_origin("unix", told=header("/run/s", is_unix=True))
    assert origin.find_client(NO_HEADERS)[:2] == ("", 0)
    assert origin.find_client(FORWARDED) == TOLD


def test_fields_are_judged_by_the_address_that_was_told() -> None:
    """The balancer is trusted; whoever connected to it is not, and wrote them."""
    origin = new_origin("10.0.0.0/8", told=header("192.0.2.7", 7))
    assert origin.find_client(FORWARDED).host == "192.0.2.7"
    origin = new_origin("203.0.113.0/24", told=header("203.0.113.5", 7))
    assert origin.find_client(FORWARDED) == TOLD


# What the transport and the request say


@pytest.mark.parametrize(
    ("peername", "peer"),
    [
        (("192.0.2.1", 7), ("192.0.2.1", 7)),
        (("::1", 7, 0, 0), ("::1", 7)),
        ("", ("", 0)),
        ("/run/s", ("", 0)),
        (None, ("", 0)),
    ],
)
def test_a_peer_is_an_address_or_nothing(
    peername: object, peer: tuple[str, int]
) -> None:
    assert find_peer(FakeTransport(peername=peername)) == peer


def test_the_scheme_is_that_of_the_connection() -> None:
    assert find_scheme(FakeTransport()) == "http"
    assert find_scheme(FakeTransport(extra={"ssl_object": object()})) == "https"


@pytest.mark.parametrize(
    ("method", "target", "authority"),
    [
        ("GET", "/", "a.test"),
        ("OPTIONS", "*", "a.test"),
        ("GET", "http://b.test:81/", "b.test:81"),
        ("CONNECT", "c.test:443", "c.test:443"),
        ("", "", "a.test"),
    ],
)
def test_a_target_with_an_authority_overrides_host(
    method: str, target: str, authority: str
) -> None:
    headers = Headers([("host", "a.test")])
    assert find_authority(method, target, headers) == authority


def test_without_host_there_is_no_authority() -> None:
    assert find_authority("GET", "/", NO_HEADERS) == ""


# On r


def describe(r: R) -> str:
    host, port = r.client
    assert (r.ip_host, r.ip_port) == (host, port)
    return f"{host} {port} {r.scheme} {r.authority}"


async def tell(r: R) -> None:
    r.reply(describe(r).encode())


Start = Callable[..., Served]


@pytest.fixture
async def start(serve: object) -> Any:
    """``start(**trust)``: a server that says who asks; ``serve`` asks for loops."""
    all_served: list[Served] = []

    def serve_trusting(path: str = "", handler: Any = tell, **lists: str) -> Served:
        served = Served.start(handler, Limits(), path, trust=make_trust(**lists))
        all_served.append(served)
        return served

    yield serve_trusting
    for served in all_served:
        await served.end()
    await asyncio.sleep(0)


FIELDS = (
    "X-Forwarded-For: 192.0.2.1:7, 127.0.0.1",
    "X-Forwarded-Proto: https",
    "X-Forwarded-Host: www.test",
)


async def test_r_tells_the_client_of_a_trusted_proxy(start: Start) -> None:
    served = start(forwarded_allow_ips="127.0.0.1")
    response = await served.exchange(request("GET", "/", *FIELDS))
    assert response.body == b"192.0.2.1 7 https www.test"


async def test_r_tells_the_peer_when_nobody_is_trusted(start: Start) -> None:
    served = start()
    peer = await served.connect()
    answer = await peer.exchange(request("GET", "/", *FIELDS))
    assert answer.endswith(b"127.0.0.1 %d http a" % peer.local_port)


async def test_each_request_of_a_connection_has_its_own(start: Start) -> None:
    served = start(forwarded_allow_ips="127.0.0.0/8")
    peer = await served.connect()
    for number in (1, 2, 1):
        field = f"Forwarded: for=192.0.2.{number};host=h{number}"
        answer = await peer.exchange(request("GET", "/", field))
        assert answer.endswith(b"192.0.2.%d 0 http h%d" % (number, number))
    answer = await peer.exchange(GET)
    assert answer.endswith(b"127.0.0.1 %d http a" % peer.local_port)


@pytest.mark.parametrize("forwarded_allow_ips", ["unix", "*"])
async def test_a_proxy_may_be_on_a_unix_socket(
    start: Start, tmp_path: Path, forwarded_allow_ips: str
) -> None:
    served = start(str(tmp_path / "s"), forwarded_allow_ips=forwarded_allow_ips)
    response = await served.exchange(request("GET", "/", *FIELDS[1:]))
    assert response.body == b" 0 https www.test"
    response = await served.exchange(request("GET", "/", *FIELDS))
    assert response.body == b"127.0.0.1 0 https www.test"


async def test_a_client_on_a_unix_socket_has_no_address(
    start: Start, tmp_path: Path
) -> None:
    served = start(str(tmp_path / "s"), forwarded_allow_ips="127.0.0.1")
    response = await served.exchange(request("GET", "/", *FIELDS))
    assert response.body == b" 0 http a"


async def test_it_is_known_after_the_client_has_gone(start: Start) -> None:
    seen: list[str] = []

    async def handler(r: R) -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            seen.append(describe(r))

    served = start(handler=handler, forwarded_allow_ips="127.0.0.1")
    peer = await served.connect()
    await peer.send(request("GET", "/", *FIELDS))
    await asyncio.sleep(0.02)
    await served.end()
    assert seen == ["192.0.2.1 7 https www.test"]
