"""Servers that send content with a response that has none: to HEAD, or with a 304."""

import pytest

import blazeio as io
from blazeio.client import connection
from blazeio.errors import InvalidResponse, ServerDisconnected
from tests.client.scripts import OK, ask
from tests.support.clock import within
from tests.support.raw_server import RawServer, Visitor

SURPLUS = b"<p>no</p>"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
UNCHANGED = b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n"
HEADS = pytest.mark.parametrize(
    ("method", "head"), [("HEAD", HEAD), ("HEAD", CHUNKED), ("GET", UNCHANGED)]
)


@HEADS
async def test_a_connection_with_surplus_content_is_not_used_again(
    monkeypatch: pytest.MonkeyPatch, method: str, head: bytes
) -> None:
    """However soon the next request is made."""
    monkeypatch.setattr(connection, "TRUSTED_S", 60.0)
    visitors: list[Visitor] = []

    async def script(visitor: Visitor) -> None:
        visitors.append(visitor)
        await visitor.read_request()
        await visitor.send(OK if visitor.number else head)
        await visitor.read_until_end()

    async with RawServer(script) as server, io.Session() as session:
        async with session.request(method, server.url) as resp:
            assert resp.headers.get_all("etag") == []
        visitors[0].send_now(OK)  # it could be taken for the next response
        assert await within(ask(session, server.url)) == "ok"
    assert len(visitors) == 2


async def test_a_connection_without_surplus_content_is_used_again() -> None:
    async def script(visitor: Visitor) -> None:
        while (request := await visitor.read_request()) is not None:
            await visitor.send(HEAD if request.startswith(b"HEAD") else OK)

    async with RawServer(script) as server, io.Session() as session:
        for _ in range(3):
            async with session.head(server.url) as resp:
                assert resp.content_length == 9
            assert await within(ask(session, server.url)) == "ok"
        assert server.connections == 1


def comes_late(then: bytes = OK) -> "RawServer":
    """Its content comes when the next request is there, before its response."""

    async def script(visitor: Visitor) -> None:
        if visitor.number:
            await visitor.read_request()
            await visitor.send(then)
            return
        await visitor.read_request()
        await visitor.send(HEAD)
        await visitor.read_request()
        await visitor.send(SURPLUS + OK)
        await visitor.read_until_end()

    return RawServer(script)


async def test_a_request_behind_surplus_content_is_sent_once_more() -> None:
    async with comes_late() as server, io.Session() as session:
        async with session.head(server.url):
            pass
        assert await within(ask(session, server.url)) == "ok"
        assert len(server.requests) == 3


async def test_a_post_behind_surplus_content_is_not() -> None:
    async with comes_late() as server, io.Session() as session:
        async with session.head(server.url):
            pass
        with pytest.raises(ServerDisconnected, match="content with a response that"):
            async with session.post(server.url, body=b"x"):
                pass
        assert len(server.requests) == 2


async def test_a_malformed_response_elsewhere_is_the_servers_fault() -> None:
    async def script(visitor: Visitor) -> None:
        await visitor.read_request()
        await visitor.send(OK)
        await visitor.read_request()
        await visitor.send(SURPLUS + OK)

    async with RawServer(script) as server, io.Session() as session:
        assert await within(ask(session, server.url)) == "ok"
        with pytest.raises(InvalidResponse):
            await within(ask(session, server.url))
        assert len(server.requests) == 2
