"""Whatever fails while a connection is made ends the request that waits for it."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

import blazeio as io
from blazeio.errors import InvalidUrl, ResolveError, SessionClosed, TlsError
from tests.client.scripts import OK
from tests.support.clock import wait_until, within
from tests.support.raw_server import RawServer, Visitor
from tests.support.tls_peer import NAME, Certificates

NO_HOSTS = [
    ".example.com",
    "a..b",
    ".",
    "a" * 64,
    "a" * 64 + ".example.com",
    ".".join(["a" * 60] * 5),
    "1.2.3.4.5",
    "256.0.0.1",
    "stra\xdfe..de",
    "\xfc" * 80 + ".de",
    "\U0001f4a9.la",
    "%00.example",
    "a%2eb%2f",
]


async def ask(url: str, **options: Any) -> int:
    async with io.Session(url, **options) as resp:
        return resp.status_code


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("host", NO_HOSTS)
async def test_a_host_that_cannot_be(host: str, scheme: str) -> None:
    with pytest.raises(InvalidUrl):
        await within(ask(f"{scheme}://{host}/"))


@pytest.mark.parametrize("host", NO_HOSTS)
async def test_a_redirect_to_a_host_that_cannot_be(host: str) -> None:
    location = f"Location: http://{host}/".encode()
    octets = b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n" + location + b"\r\n\r\n"
    async with RawServer(octets) as server:
        with pytest.raises(io.RedirectError):
            await within(ask(server.url, follow_redirects=True))


@pytest.mark.parametrize("host", NO_HOSTS)
async def test_a_proxy_that_cannot_be(host: str) -> None:
    with pytest.raises(io.ConfigurationError, match="a proxy is "):
        await within(ask("http://a.example/", proxy=f"http://{host}:3128"))


@pytest.mark.parametrize("host", NO_HOSTS)
async def test_no_proxy_may_hold_what_is_no_host(
    host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "\0" in host:
        return
    monkeypatch.setenv("http_proxy", "http://proxy.example:1")
    monkeypatch.setenv("no_proxy", f"{host},127.0.0.1")
    async with RawServer(OK) as server:
        assert await within(ask(server.url, trust_env=True)) == 200


@pytest.mark.parametrize("name", ["ca_file", "certfile"])
async def test_a_missing_file_of_tls(name: str, tmp_path: Path) -> None:
    settings: dict[str, Any] = {name: tmp_path / "none"}
    async with io.Session(
        tls=io.ClientTls(**settings), pool=io.PoolLimits(connections=1)
    ) as session:
        for _ in range(2):  # the place in the pool is free again
            with pytest.raises(io.ConfigurationError, match=f"TLS {name}"):
                await within(session.get("https://127.0.0.1:1/").__aenter__())
        assert repr(session) == "<Session <Pool empty>>"


async def test_an_address_family_without_an_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def nothing(*_: object, **__: object) -> list[object]:
        return []

    loop = asyncio.get_running_loop()
    try:
        monkeypatch.setattr(loop, "getaddrinfo", nothing)
    except AttributeError:
        pytest.skip("uvloop's cannot be replaced")
    with pytest.raises(ResolveError, match="has no address"):
        await within(ask("http://a.example/"))


@pytest.mark.parametrize(
    "unforeseen", [ValueError("odd"), KeyError("odd"), RuntimeError("odd")]
)
async def test_what_nobody_has_foreseen(
    unforeseen: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def connect(*_: object, **__: object) -> None:
        raise unforeseen

    monkeypatch.setattr("blazeio.client.connect.start_connection", connect)
    pool = io.PoolLimits(connections=1)
    async with io.Session(pool=pool) as session:
        for _ in range(2):
            with pytest.raises(io.ConnectError, match="odd") as caught:
                await within(session.get("http://127.0.0.1:1/").__aenter__())
            assert caught.value.__cause__ is unforeseen
        assert repr(session) == "<Session <Pool empty>>"


async def test_an_attempt_that_somebody_cancels_fails_who_waits() -> None:
    async def silent(visitor: Visitor) -> None:
        await visitor.read_until_end()

    async with RawServer(silent) as server, io.Session() as session:
        url = server.url.replace("http:", "https:")
        for _ in range(2):  # before its first turn, and within
            before = asyncio.all_tasks()
            asking = asyncio.create_task(session.get(url).__aenter__())
            await wait_until(lambda: "1 waiting" in repr(session))
            for task in asyncio.all_tasks() - before - {asking}:
                task.cancel()
            with pytest.raises(io.ConnectError, match="was cancelled"):
                await within(asking)
            assert repr(session) == "<Session <Pool empty>>"


async def test_who_is_cancelled_while_it_connects_sees_that() -> None:
    async def silent(visitor: Visitor) -> None:
        await visitor.read_until_end()

    async with RawServer(silent) as server, io.Session() as session:
        url = server.url.replace("http:", "https:")
        asking = asyncio.create_task(session.get(url).__aenter__())
        await wait_until(lambda: server.connections)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await within(asking)
        assert repr(session) == "<Session <Pool empty>>"


async def test_closing_the_session_tells_who_waits() -> None:
    async def silent(visitor: Visitor) -> None:
        await visitor.read_until_end()

    async with RawServer(silent) as server, io.Session() as session:
        url = server.url.replace("http:", "https:")
        asking = asyncio.create_task(session.get(url).__aenter__())
        await wait_until(lambda: server.connections)
        await session.close()
        with pytest.raises(SessionClosed):
            await within(asking)


# Names of certificates


async def test_a_final_dot_is_no_part_of_the_name_that_is_certified(
    tmp_path: Path,
) -> None:
    certificates = Certificates(tmp_path)
    tls = io.ClientTls(ca_file=certificates.ca_file)
    context = certificates.server_context(NAME)
    names: list[str | None] = []
    context.sni_callback = lambda _, name, __: names.append(name)
    path = str(tmp_path / "socket")  # no resolver knows "localhost."
    async with RawServer(OK, context, path=path) as server:
        url = f"https://{NAME}./"
        assert await within(ask(url, tls=tls, unix=path)) == 200
        assert names == [NAME]
        assert f"\r\nHost: {NAME}.\r\n".encode() in server.requests[0]
        other = io.ClientTls(ca_file=certificates.ca_file, server_name="b.example")
        with pytest.raises(TlsError):
            await within(ask(url, tls=other, unix=path))


@pytest.mark.parametrize("name", ["", ".", ".a", "a b", "x" * 64])
def test_a_server_name_that_cannot_be(name: str) -> None:
    with pytest.raises(io.ConfigurationError, match="TLS server_name: "):
        io.ClientTls(server_name=name)


async def test_a_zone_is_for_the_socket_and_not_for_the_server(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    async with RawServer(OK, path=path) as server:
        for text in ("[fe80::1%25lo]", "[fe80::1%lo]"):
            async with io.Session(f"http://{text}:81/", unix=path) as resp:
                assert str(resp.url) == "http://[fe80::1%25lo]:81/"
        for request in server.requests:
            assert b"\r\nHost: [fe80::1]:81\r\n" in request


async def test_a_zone_is_resolved() -> None:
    with pytest.raises(io.ConnectError) as caught:
        await within(ask("http://[fe80::1%25lo]:1/"))
    assert not isinstance(caught.value, ResolveError)
    with pytest.raises(io.ConnectError):
        await within(ask("http://[fe80::1%25no-such-zone]:1/"))
