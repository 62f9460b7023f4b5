"""A response that was awaited, and then dropped: its place in the pool is free."""

import asyncio
import gc
import warnings
from collections.abc import Mapping

import pytest
import uvloop

import blazeio as io
from blazeio.errors import LocalProtocolError
from tests.support.raw_server import RawServer, Visitor

HALF = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1000
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
ONE = io.PoolLimits(connections=1)


def pytest_asyncio_loop_factories(
    config: pytest.Config, item: pytest.Item
) -> Mapping[str, object]:
    return {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


async def answer_the_first_half_way(visitor: Visitor) -> None:
    await visitor.read_request()
    await visitor.send(OK if visitor.number else HALF)
    await visitor.read_until_end()


async def test_it_makes_room_and_is_warned_of() -> None:
    async with (
        RawServer(answer_the_first_half_way) as server,
        io.Session(pool=ONE) as session,
    ):
        resp = await session.get(server.url)
        assert resp.status_code == 200
        with pytest.warns(ResourceWarning, match=r"GET .*: 200> was dropped before"):
            del resp
        async with session.get(server.url) as resp:
            assert await resp.text() == "ok"


async def test_a_stream_of_events_that_is_left_is_closed_at_once() -> None:
    async def script(visitor: Visitor) -> None:
        await visitor.read_request()
        lines = b"Content-Type: Text/Event-Stream;x\r\nTransfer-Encoding: chunked\r\n"
        await visitor.send(b"HTTP/1.1 200 OK\r\n%b\r\n8\r\ndata:x\n\n\r\n" % lines)
        await visitor.read_until_end()

    limits = io.Limits(linger_timeout_s=1000.0)
    async with RawServer(script) as server, io.Session(limits=limits) as session:
        async with session.get(server.url) as resp:
            async for event in resp.events():
                assert event.data == "x"
                break
        assert "busy" not in repr(session)


async def test_another_thread_may_collect_it() -> None:
    async with (
        RawServer(answer_the_first_half_way) as server,
        io.Session(pool=ONE) as session,
    ):
        held = [await session.get(server.url)]
        with pytest.warns(ResourceWarning, match="was dropped"):
            await asyncio.to_thread(held.clear)
        async with session.get(server.url) as resp:
            assert await resp.text() == "ok"


@pytest.mark.parametrize("ending", ["read", "closed", "session", "block", "lost"])
async def test_one_that_was_dealt_with_is_not_warned_of(ending: str) -> None:
    async def script(visitor: Visitor) -> None:
        await visitor.read_request()
        await visitor.send(OK if ending == "read" else HALF)
        if ending != "lost":
            await visitor.read_until_end()

    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always", ResourceWarning)
        async with RawServer(script) as server:
            session = io.Session()
            resp = await session.get(server.url)
            if ending == "read":
                assert await resp.text() == "ok"
            elif ending == "closed":
                await resp.close()
            elif ending == "block":
                async with resp:
                    pass
            elif ending == "lost":
                with pytest.raises(io.ServerDisconnected):
                    await resp.aread()
            await session.aclose()
            del resp
            gc.collect()
    assert not [each for each in warned if "dropped" in str(each.message)]


async def test_one_that_is_being_read_is_kept() -> None:
    may_go_on = asyncio.Event()

    async def script(visitor: Visitor) -> None:
        await visitor.read_request()
        await visitor.send(OK[:-1])
        await may_go_on.wait()
        await visitor.send(OK[-1:])

    async with RawServer(script) as server, io.Session() as session:
        reading = asyncio.ensure_future((await session.get(server.url)).aread())
        await asyncio.sleep(0)
        gc.collect()
        may_go_on.set()
        assert await reading == b"ok"


# A session, and a loop that is not its own


async def test_only_its_own_loop_closes_a_session() -> None:
    async def close() -> None:
        await session.aclose()

    async with RawServer(OK) as server:
        session = io.Session()
        async with session.get(server.url) as resp:
            await resp.text()
        with pytest.raises(LocalProtocolError, match="another event loop"):
            await asyncio.to_thread(asyncio.run, close())
        async with session.get(server.url) as resp:
            assert await resp.text() == "ok"
        await session.aclose()
