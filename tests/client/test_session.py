import asyncio
from pathlib import Path
from typing import Any

import pytest

import blazeio as io
from blazeio.errors import InvalidUrl, LocalProtocolError, SessionClosed
from tests.client.scripts import OK
from tests.support.clock import wait_until
from tests.support.raw_server import RawServer, Visitor


async def test_a_url_is_one_request_on_a_connection_of_its_own() -> None:
    async with RawServer(OK) as server:
        async with io.Session(server.url) as resp:
            assert (resp.status_code, await resp.aread()) == (200, b"ok")
        assert server.requests[0].startswith(b"GET / HTTP/1.1\r\nHost: 127.0.0.1:")


async def test_what_the_request_is_can_be_said_with_its_url() -> None:
    async with RawServer(OK) as server:
        headers = {"X-A": "b"}
        url = f"{server.url}/x"
        async with io.Session(url, "post", headers=headers, json={"a": 1}) as resp:
            assert resp.status_code == 200
        async with io.Session(url, method="head", params={"a": "ü"}) as resp:
            assert await resp.aread() == b""
    post, head = server.requests
    assert post.startswith(b"POST /x HTTP/1.1\r\n")
    assert b"\r\nX-A: b\r\n" in post
    assert b"\r\nContent-Type: application/json\r\n" in post
    assert post.endswith(b'\r\nContent-Length: 7\r\n\r\n{"a":1}')
    assert head.startswith(b"HEAD /x?a=%C3%BC HTTP/1.1\r\n")


async def test_a_pool_uses_its_connections_again() -> None:
    async with RawServer(OK) as server, io.Session() as session:
        for _ in range(3):
            async with session.get(server.url) as resp:
                assert await resp.text() == "ok"
        assert server.connections == 1
        assert repr(session) == (
            f"<Session <Pool http://127.0.0.1:{server.port}: 1 idle>>"
        )


@pytest.mark.parametrize(
    "method", ["get", "head", "post", "put", "patch", "delete", "options"]
)
async def test_each_method_has_its_name(method: str) -> None:
    octets = OK[:-2] if method == "head" else OK
    async with RawServer(octets) as server, io.Session() as session:
        async with getattr(session, method)(server.url) as resp:
            assert resp.status_code == 200
        assert server.requests[0].startswith(method.upper().encode() + b" / ")


async def test_fields_of_the_session_are_sent_with_each_request() -> None:
    fields = {"User-Agent": "me", "X-A": "1"}
    async with (
        RawServer(OK) as server,
        io.Session(headers=fields) as session,
        session.get(server.url, headers={"x-a": "2"}),
    ):
        pass
    assert b"User-Agent: me\r\nx-a: 2\r\n" in server.requests[0]


async def test_a_unix_socket_is_connected_to(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    async with (
        RawServer(OK, path=path) as server,
        io.Session("http://any.example/x", unix=path) as resp,
    ):
        assert await resp.aread() == b"ok"
    assert b"\r\nHost: any.example\r\n" in server.requests[0]


async def test_when_it_is_closed_its_connections_are() -> None:
    ended: list[int] = []

    async def serve(visitor: Visitor) -> None:
        await visitor.read_request()
        await visitor.send(OK)
        await visitor.read_until_end()
        ended.append(visitor.number)

    async with RawServer(serve) as server:
        async with io.Session() as session, session.get(server.url):
            pass
        await wait_until(lambda: ended)


async def test_what_is_under_way_when_it_is_closed_is_told() -> None:
    async def serve(visitor: Visitor) -> None:
        await visitor.read_request()
        await visitor.read_until_end()

    async with RawServer(serve) as server:
        async with io.Session() as session:
            task = asyncio.create_task(session.get(server.url).__aenter__())
            await wait_until(lambda: server.requests)
        with pytest.raises(SessionClosed, match="the session was closed"):
            await task


async def test_nobody_asks_after_the_block() -> None:
    session = io.Session()
    async with session:
        pass
    with pytest.raises(SessionClosed, match="the session was closed"):
        async with session.get("http://127.0.0.1:1/"):
            pass
    with pytest.raises(SessionClosed, match="entered once"):
        async with session:
            pass


def test_what_is_of_a_request_needs_a_url() -> None:
    with pytest.raises(io.ConfigurationError, match="json is of a request"):
        io.Session(json={})  # type: ignore[call-overload]


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"url": "ftp://a/"}, InvalidUrl),
        ({"url": "http://127.0.0.1:1/", "method": "a b"}, LocalProtocolError),
        ({"url": "http://127.0.0.1:1/", "headers": {"A": "b\n"}}, LocalProtocolError),
    ],
)
async def test_a_fault_of_the_caller_is_seen_before_anything_is_sent(
    given: dict[str, Any], kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        async with io.Session(**given):
            pass
