"""Who waits for a connection, and how that ends."""

import asyncio
import socket

import pytest

import blazeio as io
from blazeio.errors import ConnectTimeout, PoolTimeout, TotalTimeout
from tests.client.scripts import CHUNKED, OK
from tests.support.clock import wait_until, within
from tests.support.raw_server import RawServer, Visitor

ONE = io.PoolLimits(connections=1)


async def test_requests_share_what_the_bound_allows() -> None:
    async with RawServer(OK) as server:
        pool = io.PoolLimits(connections_per_origin=2)
        async with io.Session(pool=pool) as session:

            async def ask() -> bytes:
                async with session.get(server.url) as resp:
                    return await resp.aread()

            assert await asyncio.gather(*(ask() for _ in range(20))) == [b"ok"] * 20
        assert server.connections <= 2


@pytest.mark.parametrize(
    ("timeouts", "kind"),
    [
        (io.Timeouts(pool_s=0.03), PoolTimeout),
        (io.Timeouts(total_s=0.03), TotalTimeout),
    ],
)
async def test_who_waits_too_long_is_told(
    timeouts: io.Timeouts, kind: type[Exception]
) -> None:
    held = asyncio.Event()

    async def serve(visitor: Visitor) -> None:
        await visitor.read_request()
        await held.wait()
        await visitor.send(OK)

    async with RawServer(serve) as server, io.Session(pool=ONE) as session:
        first = asyncio.create_task(session.get(server.url).__aenter__())
        await wait_until(lambda: server.requests)
        with pytest.raises(kind):
            async with session.get(server.url, timeouts=timeouts):
                pass
        assert repr(session).endswith(": 1 busy>>")
        held.set()
        assert (await within(first)).status_code == 200


async def test_who_is_cancelled_while_waiting_leaves_the_queue() -> None:
    held = asyncio.Event()

    async def serve(visitor: Visitor) -> None:
        while True:
            await visitor.read_request()
            await held.wait()
            await visitor.send(OK)

    async with RawServer(serve) as server, io.Session(pool=ONE) as session:
        tasks = [
            asyncio.create_task(session.get(server.url).__aenter__()) for _ in range(3)
        ]
        await wait_until(lambda: server.requests and "2 waiting" in repr(session))
        tasks[1].cancel()
        await wait_until(lambda: "1 waiting" in repr(session))
        held.set()
        assert (await within(tasks[2])).status_code == 200


async def test_one_that_is_given_to_who_is_cancelled_at_once_is_not_lost() -> None:
    async with RawServer(OK) as server, io.Session(pool=ONE) as session:
        async with session.get(server.url) as resp:
            pool = session._context.pool  # type: ignore[union-attr]
            waiting = asyncio.create_task(session.get(server.url).__aenter__())
            await wait_until(lambda: "idle" in repr(session) or waiting.done())
            await resp.aread()
        await within(waiting)
        connection = pool.take(next(iter(pool.pool._by_origin)), 0.0)
        assert connection is not None
        blocked = asyncio.create_task(session.get(server.url).__aenter__())
        await wait_until(lambda: "1 waiting" in repr(session))
        pool.release(connection, connection.idle_until)
        blocked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await blocked
        assert repr(session).endswith(": 1 idle>>")


async def test_a_failed_attempt_is_told_to_one_and_the_next_is_tried() -> None:
    async with RawServer(OK) as server:
        url = server.url
    async with io.Session(pool=ONE) as session:
        results = await asyncio.gather(
            *(session.get(url).__aenter__() for _ in range(3)), return_exceptions=True
        )
        assert [type(each) for each in results] == [io.ConnectError] * 3
        assert repr(session) == "<Session <Pool empty>>"


@pytest.mark.parametrize("is_asked_before", [True, False])
@pytest.mark.parametrize("is_same_origin", [True, False])
async def test_who_leaves_a_stream_early_makes_room_for_who_waits(
    is_asked_before: bool, is_same_origin: bool
) -> None:
    """Its rest is read past only while nobody needs the room."""
    never = asyncio.Event()

    async def endless(visitor: Visitor) -> None:
        if b" /stream " in (await visitor.read_request() or b""):
            await visitor.send(CHUNKED + b"\r\n5\r\nhello\r\n")
            await never.wait()
        await visitor.send(OK)

    limits = io.Limits(linger_timeout_s=1000.0)
    async with (
        RawServer(endless) as server,
        RawServer(OK) as other,
        io.Session(pool=ONE, limits=limits) as session,
    ):

        async def ask() -> bytes:
            async with session.get((server if is_same_origin else other).url) as resp:
                return await resp.aread()

        async with session.get(f"{server.url}/stream") as resp:
            assert await anext(resp.pull()) == b"hello"
            if is_asked_before:
                waiting = asyncio.create_task(ask())
                await wait_until(lambda: "1 waiting" in repr(session))
        if not is_asked_before:
            assert "1 busy" in repr(session)  # it lingers
            waiting = asyncio.create_task(ask())
        assert await within(waiting) == b"ok"


async def test_a_request_has_its_own_bound_to_connect() -> None:
    """The bound of each counts for the attempt that is made for it."""
    async with FullBacklog() as url, io.Session() as session:
        patient = asyncio.create_task(session.get(url).__aenter__())
        await wait_until(lambda: "1 opening" in repr(session))
        with pytest.raises(ConnectTimeout, match=r"no connection within 0\.05 s"):
            async with session.get(url, timeouts=io.Timeouts(connect_s=0.05)):
                pass
        assert not patient.done()
        assert repr(session).endswith(": 1 opening, 1 waiting>>")
        patient.cancel()
        await asyncio.wait([patient])


class FullBacklog:
    """A port whose queue of connections is full: it answers no SYN."""

    async def __aenter__(self) -> str:
        self._sockets = [socket.create_server(("127.0.0.1", 0), backlog=0)]
        address = self._sockets[0].getsockname()
        for _ in range(3):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(address)
            self._sockets.append(sock)
        return f"http://127.0.0.1:{address[1]}/"

    async def __aexit__(self, *_: object) -> None:
        for each in self._sockets:
            each.close()
