"""What a response gives, and what of it is an error; on real sockets."""

import asyncio

import pytest

import blazeio as io
from blazeio.errors import LocalProtocolError
from tests.client.scripts import CHUNKED, OK, answer, reply
from tests.support.clock import wait_until
from tests.support.raw_server import RawServer, Visitor

# Reading


async def test_trailers_come_after_the_content() -> None:
    octets = CHUNKED + b"\r\n2\r\nok\r\n0\r\nX-Sum: 7\r\n\r\n"
    async with RawServer(answer(octets)) as server, io.Session(server.url) as resp:
        assert await resp.aread() == b"ok"
        assert resp.trailers["x-sum"] == "7"


async def test_content_until_the_close_is_whole() -> None:
    octets = b"HTTP/1.1 200 OK\r\n\r\nall of it"
    async with RawServer(answer(octets)) as server, io.Session(server.url) as resp:
        assert await resp.aread() == b"all of it"


async def test_interim_responses_are_seen_and_do_not_count() -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    octets = b"HTTP/1.1 100 Continue\r\n\r\n" + hints + OK
    async with RawServer(answer(octets)) as server, io.Session(server.url) as resp:
        assert resp.status_code == 200
        assert [status for status, _ in resp.interims] == [100, 103]
        assert resp.interims[1][1]["link"] == "</a>"


async def test_interim_responses_without_end_are_refused() -> None:
    octets = b"HTTP/1.1 100 Continue\r\n\r\n" * 100
    async with RawServer(answer(octets)) as server:
        with pytest.raises(io.InvalidResponse, match="more than 16 interim"):
            async with io.Session(server.url):
                pass


# What is not whole, or not HTTP


@pytest.mark.parametrize(
    ("octets", "kind", "message"),
    [
        (b"", io.ServerDisconnected, "closed and gave no response"),
        (b"HTTP/1.1 200", io.ServerDisconnected, "closed within the head"),
        (reply(b"hello")[:-2], io.ServerDisconnected, "closed 2 octets before the end"),
        (CHUNKED + b"\r\n5\r\nhel", io.ServerDisconnected, "before its last chunk"),
        (CHUNKED + b"\r\n5\r\nhello\r\n", io.ServerDisconnected, "its last chunk"),
        (CHUNKED + b"\r\nx\r\n", io.InvalidResponse, "malformed chunk line"),
        (CHUNKED + b"Content-Length: 5\r\n\r\n", io.InvalidResponse, "both Content-L"),
        (reply(b"hello", "Content-Length: 5"), io.InvalidResponse, "more than one Con"),
        (b"SSH-2.0-x\r\n", io.InvalidResponse, "this is not HTTP"),
        (b"HTTP/1.1 101 Now\r\n\r\n", io.InvalidResponse, "no upgrade was asked for"),
    ],
)
async def test_nothing_is_silently_short(
    octets: bytes, kind: type[Exception], message: str
) -> None:
    async with RawServer(answer(octets)) as server:
        with pytest.raises(kind, match=message) as caught:
            async with io.Session(server.url) as resp:
                await resp.aread()
        assert isinstance(caught.value, io.RequestError)


async def test_what_had_arrived_can_still_be_taken() -> None:
    short = answer(reply(b"hello")[:-2])
    async with RawServer(short) as server, io.Session(server.url) as resp:
        arriving = resp.pull()
        assert await anext(arriving) == b"hello"[:3]
        with pytest.raises(io.ServerDisconnected):
            await anext(arriving)


async def test_a_reset_is_no_end_of_content() -> None:
    async def serve(visitor: Visitor) -> None:
        await visitor.read_request()
        await visitor.send(b"HTTP/1.1 200 OK\r\n\r\nsome")
        visitor.reset()

    async with RawServer(serve) as server:
        with pytest.raises(io.ServerDisconnected):
            async with io.Session(server.url) as resp:
                await resp.aread()


async def test_octets_behind_a_response_are_nobodys() -> None:
    async with RawServer(answer(OK + OK, OK)) as server, io.Session() as session:
        for _ in range(2):
            async with session.get(server.url) as resp:
                assert await resp.aread() == b"ok"
    assert server.connections == 2


# Reading slowly, and without HTTP


async def test_reading_pauses_while_nobody_pulls() -> None:
    size = 20_000_000

    async def serve(visitor: Visitor) -> None:
        await visitor.read_request()
        await visitor.send(reply(bytes(size)))

    async with RawServer(serve) as server, io.Session(server.url) as resp:
        await wait_until(lambda: resp.content.queued_bytes > 256 * 1024)
        await asyncio.sleep(0.01)
        assert resp.content.queued_bytes < 2_000_000
        assert len(await resp.aread(size)) == size


async def test_after_an_upgrade_octets_go_both_ways() -> None:
    async def serve(visitor: Visitor) -> None:
        head = await visitor.read_request()
        assert b"Connection: upgrade\r\nUpgrade: chat\r\n" in (head or b"")
        switch = b"HTTP/1.1 101 Now\r\nConnection: upgrade\r\nUpgrade: chat\r\n\r\n"
        await visitor.send(switch + b"he")
        await visitor.send(await visitor.read_some())

    async with (
        RawServer(serve) as server,
        io.Session(server.url, upgrade="chat") as resp,
    ):
        assert (resp.status_code, resp.headers["upgrade"]) == (101, "chat")
        await resp.writer(b"llo")
        assert b"".join([piece async for piece in resp.pull()]) == b"hello"


# Leaving


async def test_a_little_that_nobody_wants_is_read_past() -> None:
    async def serve(visitor: Visitor) -> None:
        await visitor.read_request()
        await visitor.send(reply(bytes(5000))[:-1])
        await left.wait()
        await visitor.send(b"\0")
        while await visitor.read_request() is not None:
            await visitor.send(OK)

    left = asyncio.Event()
    async with RawServer(serve) as server, io.Session() as session:
        async with session.get(server.url) as resp:
            assert resp.status_code == 200
        left.set()
        await wait_until(lambda: "1 idle" in repr(session))
        async with session.get(server.url) as resp:
            assert await resp.aread() == b"ok"
    assert server.connections == 1


async def test_much_that_nobody_wants_closes_the_connection() -> None:
    async def serve(visitor: Visitor) -> None:
        await visitor.read_request()
        await visitor.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        await visitor.read_until_end()

    async with RawServer(serve) as server, io.Session() as session:
        async with session.get(server.url):
            pass
        assert repr(session) == "<Session <Pool empty>>"


async def test_who_is_cancelled_leaves_nothing_behind() -> None:
    async def serve(visitor: Visitor) -> None:
        await visitor.read_request()
        await visitor.read_until_end()

    async with RawServer(serve) as server, io.Session() as session:
        task = asyncio.create_task(session.get(server.url).__aenter__())
        await wait_until(lambda: server.requests)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert repr(session) == "<Session <Pool empty>>"


async def test_a_response_that_was_not_asked_for_has_nothing_to_write_to() -> None:
    async with io.Session() as session:
        resp = session.get("http://127.0.0.1:1/")
        with pytest.raises(LocalProtocolError, match="enter its block"):
            await resp.write(b"x")
        assert repr(resp) == (
            "<ClientResponse GET http://127.0.0.1:1/: no response yet>"
        )
