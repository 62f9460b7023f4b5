"""What ends a request while it is asked once more, and who does not ask it again."""

import asyncio

import pytest

import blazeio as io
from blazeio.errors import SessionClosed, TotalTimeout
from tests.client.scripts import OK, ask, breaking_off
from tests.support.clock import wait_until, within
from tests.support.raw_server import RawServer, Visitor


class Silent:
    """Breaks its first response off; what comes then is not answered."""

    def __init__(self, octets: bytes) -> None:
        self._octets = octets
        self.is_asked_again = asyncio.Event()
        self.is_left = asyncio.Event()

    async def serve(self, visitor: Visitor) -> None:
        await visitor.read_request()
        if visitor.number == 0:
            await visitor.send(self._octets)
            return
        self.is_asked_again.set()
        await visitor.read_until_end()
        self.is_left.set()


@pytest.mark.parametrize("octets", [OK[:20], OK[:-1]])
async def test_all_of_it_has_one_deadline(octets: bytes) -> None:
    silent = Silent(octets)
    timeouts = io.Timeouts(total_s=0.2)
    async with RawServer(silent.serve) as server, io.Session() as session:
        with pytest.raises(TotalTimeout):
            await within(ask(session, server.url, timeouts=timeouts), 10)
        await within(silent.is_left.wait(), 10)


@pytest.mark.parametrize("octets", [OK[:20], OK[:-1]])
async def test_a_session_that_is_closed_ends_it_at_once(octets: bytes) -> None:
    silent = Silent(octets)
    async with RawServer(silent.serve) as server:
        session = io.Session()
        asking = asyncio.create_task(ask(session, server.url))
        await within(silent.is_asked_again.wait(), 10)
        await session.aclose()
        with pytest.raises(SessionClosed):
            await within(asking, 10)
        await within(silent.is_left.wait(), 10)
    assert len(server.requests) == 2


@pytest.mark.parametrize("octets", [OK[:20], OK[:-1]])
async def test_a_cancelled_one_is_cancelled(octets: bytes) -> None:
    silent = Silent(octets)
    async with RawServer(silent.serve) as server, io.Session() as session:
        asking = asyncio.create_task(ask(session, server.url))
        await within(silent.is_asked_again.wait(), 10)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        await within(silent.is_left.wait(), 10)
        assert repr(session) == "<Session <Pool empty>>"


async def test_a_response_that_is_closed_meanwhile_ends_it() -> None:
    silent = Silent(OK[:-1])
    async with RawServer(silent.serve) as server, io.Session() as session:
        resp = await session.get(server.url)
        reading = asyncio.create_task(resp.aread())
        await within(silent.is_asked_again.wait(), 10)
        await resp.close()
        with pytest.raises(io.ServerDisconnected):
            await within(reading, 10)
        await within(silent.is_left.wait(), 10)


async def test_one_that_is_closed_while_it_waits_for_a_connection_sends_nothing() -> (
    None
):
    """The only connection is another's, until after the close."""
    go_on = asyncio.Event()

    async def script(visitor: Visitor) -> None:
        request = await visitor.read_request()
        assert request is not None
        await visitor.send(OK[:-1])
        if b" /slow " in request:
            await go_on.wait()
            await visitor.send(OK[-1:])
            await visitor.read_until_end()

    pool = io.PoolLimits(connections=1)
    async with RawServer(script) as server, io.Session(pool=pool) as session:
        resp = await session.get(server.url)
        await wait_until(lambda: resp.content.error is not None)
        slow = await session.get(server.url + "/slow")
        reading = asyncio.create_task(resp.aread())
        await wait_until(lambda: "1 waiting" in repr(session))
        await resp.close()
        go_on.set()
        assert await slow.text() == "ok"
        with pytest.raises(io.ServerDisconnected):
            await within(reading, 10)
    assert len(server.requests) == 2


@pytest.mark.parametrize("has_left", ["block", "close"])
async def test_nothing_is_asked_for_who_has_left(has_left: str) -> None:
    async with RawServer(breaking_off(OK[:-1])) as server, io.Session() as session:
        resp = session.get(server.url)
        async with resp:
            await wait_until(lambda: resp.content.error is not None)
            if has_left == "close":
                await resp.close()
                with pytest.raises(io.ServerDisconnected):
                    await resp.aread()
        with pytest.raises(io.ServerDisconnected):
            await resp.aread()
    assert len(server.requests) == 1
