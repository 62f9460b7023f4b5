"""Who waits for a connection, and how that ends."""

import asyncio

import pytest

import blazeio as io
from blazeio.errors import PoolTimeout, TotalTimeout
from tests.client.scripts import OK
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
            lender = session._context.lender  # type: ignore[union-attr]
            waiting = asyncio.create_task(session.get(server.url).__aenter__())
            await wait_until(lambda: "idle" in repr(session) or waiting.done())
            await resp.aread()
        await within(waiting)
        connection = lender.take(next(iter(lender.pool._lanes)), 0.0)
        assert connection is not None
        blocked = asyncio.create_task(session.get(server.url).__aenter__())
        await wait_until(lambda: "1 waiting" in repr(session))
        lender.give_back(connection, connection.idle_until)
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
