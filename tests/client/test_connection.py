"""One connection: its deadlines, and when it is used again."""

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest

import blazeio as io
from blazeio.client.context import receive_view
from blazeio.errors import (
    HeadTimeout,
    ReadTimeout,
    RequestError,
    TotalTimeout,
    WriteTimeout,
)
from tests.client.scripts import OK, answer
from tests.support.clock import scaled, wait_until, within
from tests.support.raw_server import RawServer, Visitor
from tests.support.tls_peer import NAME, Certificates

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
SOON_S = 0.05


def silent_after(octets: bytes) -> Any:
    async def serve(visitor: Visitor) -> None:
        await visitor.read_head()
        await visitor.send(octets)
        await visitor.read_until_end()

    return serve


@pytest.mark.parametrize(
    ("octets", "timeouts", "kind"),
    [
        (b"", {"head_s": SOON_S}, HeadTimeout),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 2", {"head_s": SOON_S}, HeadTimeout),
        (HEAD + b"some", {"read_s": SOON_S}, ReadTimeout),
        (b"", {"total_s": SOON_S}, TotalTimeout),
        (HEAD + b"some", {"total_s": SOON_S}, TotalTimeout),
        (HEAD + b"some", {"total_s": SOON_S, "read_s": None}, TotalTimeout),
    ],
)
async def test_each_wait_has_its_bound(
    octets: bytes, timeouts: dict[str, float], kind: type[Exception]
) -> None:
    async with RawServer(silent_after(octets)) as server, io.Session() as session:
        with pytest.raises(kind) as caught:
            async with session.get(server.url, timeouts=io.Timeouts(**timeouts)) as r:
                await within(r.aread())
        assert isinstance(caught.value, TimeoutError)
        assert isinstance(caught.value, io.RequestTimeout)
        assert repr(session) == "<Session <Pool empty>>"


@pytest.mark.parametrize("bound", ["write_s", "total_s"])
async def test_a_server_that_does_not_read_is_left(bound: str) -> None:
    asked = asyncio.Event()

    async def serve(visitor: Visitor) -> None:
        await visitor.read_head()
        await asked.wait()

    timeouts = io.Timeouts(**{bound: SOON_S})
    async with RawServer(serve) as server, io.Session(timeouts=timeouts) as session:
        with pytest.raises(WriteTimeout if bound == "write_s" else TotalTimeout):
            async with session.put(server.url, body=bytes(50_000_000)):
                pass
        asked.set()


@pytest.mark.slow
async def test_a_reader_that_is_slow_is_not_the_servers_fault() -> None:
    async def serve(visitor: Visitor) -> None:
        await visitor.read_request()
        await visitor.send(HEAD + b"some")
        await go_on.wait()
        await visitor.send(b"thing!")

    go_on = asyncio.Event()
    read_s = scaled(0.2)
    async with (
        RawServer(serve) as server,
        io.Session(server.url, timeouts=io.Timeouts(read_s=read_s)) as resp,
    ):
        assert await anext(resp.pull()) == b"some"
        await asyncio.sleep(1.5 * read_s)  # nobody reads: nothing is due
        go_on.set()
        assert await resp.aread() == b"thing!"


@pytest.mark.slow
async def test_steps_are_bounded_each_for_itself() -> None:
    read_s = scaled(0.2)

    async def serve(visitor: Visitor) -> None:
        await visitor.read_request()
        await visitor.send(HEAD)
        for _ in range(10):
            await asyncio.sleep(read_s / 8)
            await visitor.send(b"x")

    timeouts = io.Timeouts(read_s=read_s)
    async with (
        RawServer(serve) as server,
        io.Session(server.url, timeouts=timeouts) as resp,
    ):
        assert await resp.aread() == b"x" * 10


# When it is used again


@pytest.mark.parametrize(
    "octets",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\nmore",
    ],
)
async def test_what_says_that_it_will_close_is_not_used_again(octets: bytes) -> None:
    async def serve(visitor: Visitor) -> None:
        await visitor.read_request()
        await visitor.send(octets)
        await visitor.read_until_end()

    async with RawServer(serve) as server, io.Session() as session:
        for _ in range(2):
            async with session.get(server.url) as resp:
                assert resp.status_code in (200, 204)
    assert server.connections == 2


async def test_one_that_the_server_has_closed_is_not_used() -> None:
    async with RawServer(answer(OK)) as server, io.Session() as session:
        async with session.post(server.url):
            pass
        await wait_until(lambda: "empty" in repr(session))
        async with session.post(server.url) as resp:
            assert resp.status_code == 200
    assert server.connections == 2


async def test_what_must_not_be_sent_twice_is_not_sent_to_who_has_hung_up() -> None:
    visitors: list[Visitor] = []

    async def script(visitor: Visitor) -> None:
        visitors.append(visitor)
        while await visitor.read_request() is not None:
            await visitor.send(OK)

    async with RawServer(script) as server, io.Session() as session:
        async with session.post(server.url):
            pass
        visitors[0].cut_off()  # the loop has no chance to see it
        async with session.post(server.url) as resp:
            assert resp.status_code == 200
    assert server.connections == 2


async def test_octets_that_nobody_asked_for_close_it() -> None:
    async def serve(visitor: Visitor) -> None:
        await visitor.read_request()
        await visitor.send(OK)
        await done.wait()
        await visitor.send(OK)
        await visitor.read_until_end()

    done = asyncio.Event()
    async with RawServer(serve) as server, io.Session() as session:
        async with session.get(server.url) as resp:
            assert await resp.aread() == b"ok"
        done.set()
        await wait_until(lambda: "empty" in repr(session))


async def test_idle_ones_are_closed_in_time() -> None:
    pool = io.PoolLimits(idle_s=SOON_S)
    async with RawServer(OK) as server, io.Session(pool=pool) as session:
        async with session.get(server.url):
            pass
        assert "1 idle" in repr(session)
        await wait_until(lambda: "empty" in repr(session))


async def test_how_long_it_may_be_idle_is_not_how_long_a_request_may_take() -> None:
    pool = io.PoolLimits(idle_s=SOON_S)
    async with RawServer(OK) as server, io.Session(pool=pool) as session:
        async with session.get(server.url):
            pass
        announced = {"Content-Length": "1"}
        async with session.post(server.url, headers=announced) as resp:
            await asyncio.sleep(3 * SOON_S)  # the wheel looks meanwhile
            await resp.eof(b"x")
            await resp.prepare()
            assert resp.status_code == 200
    assert server.connections == 1


async def test_the_server_can_say_how_long_it_is_kept() -> None:
    octets = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nKeep-Alive: timeout=1\r\n\r\n"

    async def serve(visitor: Visitor) -> None:
        await visitor.read_request()
        await visitor.send(octets)
        await visitor.read_until_end()

    async with RawServer(serve) as server, io.Session() as session:
        for _ in range(2):
            async with session.get(server.url):
                pass
    assert server.connections == 2


async def test_what_is_closed_under_a_request_is_asked_once_more() -> None:
    async def serve(visitor: Visitor) -> None:
        await visitor.read_request()
        await visitor.send(OK)
        if visitor.number == 0:
            await visitor.read_request()  # and closes without an answer

    async with RawServer(serve) as server, io.Session() as session:
        for _ in range(2):
            async with session.get(server.url) as resp:
                assert await resp.aread() == b"ok"
    assert (server.connections, len(server.requests)) == (2, 3)


async def test_what_may_have_been_done_is_not_asked_again() -> None:
    async def serve(visitor: Visitor) -> None:
        await visitor.read_request()
        await visitor.send(OK)
        await visitor.read_request()

    async with RawServer(serve) as server, io.Session() as session:
        async with session.post(server.url):
            pass
        with pytest.raises(io.ServerDisconnected):
            async with session.post(server.url):
                pass
    assert server.connections == 1


async def test_it_says_what_it_does() -> None:
    async with (
        RawServer(silent_after(HEAD)) as server,
        io.Session() as session,
        session.get(server.url) as resp,
    ):
        connection = resp._connection
        where = f"http://127.0.0.1:{server.port}"
        assert repr(connection) == f"<ClientConnection CONTENT {where}>"
        reading = asyncio.create_task(resp.aread())
        await asyncio.sleep(0)
        await resp.close()
        with pytest.raises(RequestError, match="the response was closed"):
            await reading


@pytest.mark.parametrize("is_cut", [False, True])
async def test_over_tls_only_the_server_itself_ends_content(
    tmp_path: Path, is_cut: bool
) -> None:
    async def script(visitor: Visitor) -> None:
        await visitor.read_request()
        await visitor.send(b"HTTP/1.1 200 OK\r\n\r\nall of it")
        if is_cut:
            visitor.cut_off()
            await visitor.read_until_end()

    certificates = Certificates(tmp_path)
    context = certificates.server_context(NAME)
    tls = io.ClientTls(ca_file=certificates.ca_file)
    async with (
        RawServer(script, context, NAME) as server,
        io.Session(server.url, tls=tls) as resp,
    ):
        if not is_cut:
            assert await resp.aread() == b"all of it"
            return
        with pytest.raises(io.ServerDisconnected, match="cut off within its response"):
            await resp.aread()


def test_a_thread_has_one_receive_buffer() -> None:
    views = [receive_view()]
    thread = threading.Thread(target=lambda: views.append(receive_view()))
    thread.start()
    thread.join()
    assert receive_view() is views[0]
    assert views[1] is not views[0]
