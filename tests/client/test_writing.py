"""What a client sends: in one piece, in pieces, or not to its end; on real sockets."""

import asyncio
import select
import socket
import ssl
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import blazeio as io
from blazeio.errors import AnsweredEarly, LocalProtocolError
from blazeio.testing import TestServer
from tests.client.scripts import ANNOUNCED, CHUNKED, OK
from tests.support.clock import wait_until, within
from tests.support.peer import TIMEOUT_S
from tests.support.raw_server import RawServer, Visitor
from tests.support.tls_peer import NAME, Certificates


async def pieces(*octets: bytes) -> AsyncIterator[bytes]:
    for each in octets:
        yield each


async def endless() -> AsyncIterator[bytes]:
    while True:
        yield bytes(100_000)


async def test_a_stream_is_sent_in_chunks() -> None:
    async with (
        RawServer(OK) as server,
        io.Session(server.url, "put", body=pieces(b"ab", b"", b"c")) as resp,
    ):
        assert resp.status_code == 200
    assert server.requests[0].endswith(
        b"Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
    )


async def test_a_stream_of_known_length_is_sent_as_it_is() -> None:
    headers = {"Content-Length": "3"}
    async with RawServer(OK) as server:
        body = pieces(b"ab", b"c")
        async with io.Session(server.url, "put", headers=headers, body=body) as resp:
            assert resp.status_code == 200
    assert server.requests[0].endswith(b"Content-Length: 3\r\n\r\nabc")


async def test_a_stream_that_is_shorter_than_it_said_is_no_request() -> None:
    headers = {"Content-Length": "4"}
    async with RawServer(OK) as server:
        with pytest.raises(LocalProtocolError, match="1 octets short"):
            async with io.Session(
                server.url, "put", headers=headers, body=pieces(b"abc")
            ):
                pass
    assert server.requests == []


async def test_what_breaks_a_stream_off_is_seen() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"ab"
        raise ZeroDivisionError

    async with RawServer(OK) as server:
        with pytest.raises(ZeroDivisionError):
            async with io.Session(server.url, "put", body=broken()):
                pass


async def test_content_is_written_by_hand_and_the_response_read_meanwhile() -> None:
    async def serve(visitor: Visitor) -> None:
        await visitor.read_head()
        await visitor.send(CHUNKED + b"\r\n")
        while octets := await visitor.read_some():
            if octets == b"0\r\n\r\n":
                await visitor.send(octets)
            else:
                await visitor.send(octets.upper())

    async with RawServer(serve) as server, io.Session() as session:
        async with session.post(server.url, headers=ANNOUNCED) as resp:
            assert resp.status_code == 0
            await resp.prepare()
            arriving = resp.pull()
            for word in (b"one", b"two"):
                await resp.write(word)
                assert await anext(arriving) == word.upper()
            await resp.eof()
            assert [piece async for piece in arriving] == []
        assert "1 idle" in repr(session)


async def test_a_large_echo_does_not_deadlock() -> None:
    web = io.App()

    @web.route.post("/")
    async def echo(r: io.BlazeioServerProtocol) -> None:
        await r.prepare(status=200)
        async for piece in r.pull():
            await r.write(piece)

    size = 8 * 1024 * 1024
    async with (
        TestServer(web) as server,
        io.Session(f"{server.url}/", "post", body=bytes(size)) as resp,
    ):
        assert len(await within(resp.aread(), 10)) == size


async def test_content_waits_for_the_100_that_it_asks_for() -> None:
    order: list[str] = []

    async def serve(visitor: Visitor) -> None:
        head = await visitor.read_head()
        assert b"\r\nExpect: 100-continue\r\n" in head
        order.append("head")
        await visitor.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert await visitor.read_some() == b"octets"
        order.append("content")
        await visitor.send(OK)

    async with (
        RawServer(serve) as server,
        io.Session() as session,
        session.put(server.url, body=b"octets", expect_continue=True) as r,
    ):
        assert r.status_code == 200
    assert order == ["head", "content"]


async def test_content_that_is_refused_is_not_sent() -> None:
    seen: list[bytes] = []

    async def serve(visitor: Visitor) -> None:
        await visitor.read_head()
        await visitor.send(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")
        seen.append(await visitor.read_some())

    async with RawServer(serve) as server, io.Session() as session:
        async with session.put(server.url, body=b"octets", expect_continue=True) as r:
            assert r.status_code == 403
        await wait_until(lambda: seen)
    assert seen == [b""]


async def test_a_100_that_does_not_come_is_not_waited_for_for_ever() -> None:
    async with RawServer(OK) as server:
        timeouts = io.Timeouts(continue_s=0.01)
        async with io.Session(
            server.url, "put", body=b"x", expect_continue=True, timeouts=timeouts
        ) as resp:
            assert resp.status_code == 200


async def test_an_early_answer_stops_the_writer_and_can_be_read() -> None:
    async def serve(visitor: Visitor) -> None:
        await visitor.read_head()
        await visitor.send(b"HTTP/1.1 413 Large\r\nContent-Length: 3\r\n\r\ntoo")
        await visitor.read_until_end()

    async with RawServer(serve) as server, io.Session() as session:
        async with session.post(server.url, headers=ANNOUNCED) as resp:
            with pytest.raises(AnsweredEarly):
                await resp.write(endless())
            await resp.prepare()
            assert (resp.status_code, await resp.text()) == (413, "too")
        assert repr(session) == "<Session <Pool empty>>"


async def test_an_early_answer_to_a_given_body_is_the_response() -> None:
    async def serve(visitor: Visitor) -> None:
        await visitor.read_head()
        await visitor.send(b"HTTP/1.1 413 Large\r\nContent-Length: 3\r\n\r\ntoo")
        await visitor.read_until_end()

    async with RawServer(serve) as server, io.Session() as session:
        async with session.post(server.url, body=bytes(50_000_000)) as resp:
            assert (resp.status_code, await resp.text()) == (413, "too")
        assert repr(session) == "<Session <Pool empty>>"


async def test_a_writer_sleeps_while_the_server_does_not_read() -> None:
    go_on = asyncio.Event()

    async def serve(visitor: Visitor) -> None:
        await visitor.read_head()
        await go_on.wait()
        while not (await visitor.read_some()).endswith(b"0\r\n\r\n"):
            pass
        await visitor.send(OK)

    async with (
        RawServer(serve) as server,
        io.Session() as session,
        session.post(server.url, headers=ANNOUNCED) as resp,
    ):
        writing = asyncio.create_task(resp.write(bytes(30_000_000)))
        await wait_until(lambda: not resp._gate.is_open)
        assert resp.transport.get_write_buffer_size() < 200_000
        go_on.set()
        await within(writing, 5)
        await resp.eof()
        await resp.prepare()
        assert resp.status_code == 200


class Refusing(threading.Thread):
    """A server in a thread, that answers the head of one request, and closes.

    What it has not read of the content has the kernel send a reset.

    Attributes:
        has_content: The client has written some of it.
        has_closed: The answer is sent, and a reset.
    """

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        super().__init__(daemon=True)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._tls = tls
        self.has_content = threading.Event()
        self.has_closed = threading.Event()

    def run(self) -> None:
        with self._listener:
            sock, _ = self._listener.accept()
        if self._tls is not None:
            sock = self._tls.wrap_socket(sock, server_side=True)
        head = b""
        while b"\r\n\r\n" not in head:
            head += sock.recv(1024)
        assert self.has_content.wait(TIMEOUT_S)
        sock.sendall(
            b"HTTP/1.1 413 Too Large\r\nConnection: close\r\n"
            b"Content-Length: 5\r\n\r\nlarge"
        )
        sock.close()
        self.has_closed.set()


@pytest.mark.parametrize("is_tls", [False, True])
async def test_an_answer_that_a_reset_follows_is_read_before_more_is_written(
    tmp_path: Path, is_tls: bool
) -> None:
    certificates = Certificates(tmp_path)
    context = certificates.server_context(NAME)
    context.num_tickets = 0  # nothing but the answer is there to be read
    server = Refusing(context if is_tls else None)
    server.start()
    url = f"{'https' if is_tls else 'http'}://{NAME}:{server.port}/"

    async def body() -> AsyncIterator[bytes]:
        yield bytes(300_000)
        server.has_content.set()
        assert server.has_closed.wait(TIMEOUT_S)  # no turn of the loop in between
        sock = resp.transport.get_extra_info("socket")
        assert select.select([sock.fileno()], [], [], TIMEOUT_S)[0]
        yield bytes(300_000)

    tls = io.ClientTls(ca_file=certificates.ca_file)
    async with io.Session(tls=tls) as session:
        resp = session.post(url, body=body())
        async with resp:
            assert (resp.status_code, await resp.text()) == (413, "large")
    server.join()
