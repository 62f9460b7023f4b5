"""Whoever is cancelled, at whichever step, takes no room of the pool along."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import blazeio as io
from tests.client.scripts import CHUNKED, OK
from tests.support.clock import wait_until, within
from tests.support.raw_server import RawServer, Visitor
from tests.support.tls_peer import NAME, Certificates

ONE = io.PoolLimits(connections=1)
STEPS = 40
Pool = io.Session[io.Session[object]]


async def serve(visitor: Visitor) -> None:
    """Answer in pieces, so that there are many moments."""
    while (request := await visitor.read_request()) is not None:
        if b" /kept " in request:
            await visitor.send(OK)
            continue
        await visitor.send(CHUNKED + b"\r\n")
        for _ in range(3):
            await asyncio.sleep(0)
            await visitor.send(b"1\r\nx\r\n")
        await visitor.send(b"0\r\n\r\n")


async def ask(session: Pool, url: str) -> bytes:
    async with session.put(url, body=b"x" * 100_000) as resp:
        return await resp.aread()


async def cancel_at(session: Pool, url: str, step: int) -> None:
    """Ask, and cancel it after so many turns of the loop."""
    task = asyncio.create_task(ask(session, url))
    for _ in range(step):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError) if not task.done() else _nothing():
        await within(task)


class _nothing:  # noqa: N801 - as pytest.raises
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


async def assert_room_is_left(session: Pool, url: str) -> None:
    async with session.get(f"{url}/kept") as resp:
        assert await within(resp.aread()) == b"ok"
    busy = re.compile("busy|opening|waiting")
    await wait_until(lambda: busy.search(repr(session)) is None)


@pytest.mark.slow
@pytest.mark.parametrize("is_kept", [False, True])
@pytest.mark.parametrize("is_tls", [False, True])
async def test_at_each_turn(tmp_path: Path, is_tls: bool, is_kept: bool) -> None:
    """Of a connection that is made for it, and of one that was kept."""
    certificates = Certificates(tmp_path)
    tls = io.ClientTls(ca_file=certificates.ca_file)
    context = certificates.server_context(NAME) if is_tls else None
    name = NAME if is_tls else "127.0.0.1"
    async with RawServer(serve, context, name) as server:
        for step in range(STEPS):
            async with io.Session(pool=ONE, tls=tls) as session:
                if is_kept:
                    await assert_room_is_left(session, server.url)
                await cancel_at(session, server.url, step)
                await assert_room_is_left(session, server.url)


@pytest.mark.slow
async def test_while_others_wait(tmp_path: Path) -> None:
    """Of three in the queue the second is cancelled; the others are answered."""
    async with RawServer(serve) as server:
        for step in range(STEPS):
            async with io.Session(pool=ONE) as session:
                first = asyncio.create_task(ask(session, server.url))
                second = asyncio.create_task(ask(session, server.url))
                third = asyncio.create_task(ask(session, server.url))
                for _ in range(step):
                    await asyncio.sleep(0)
                second.cancel()
                assert await within(first) == b"xxx"
                assert await within(third) == b"xxx"
                await asyncio.wait([second])
                await assert_room_is_left(session, server.url)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
async def test_a_connection_of_http_1_0_is_kept_where_the_server_says_so(
    version: str,
) -> None:
    head = (
        f"HTTP/{version} 200 OK\r\nConnection: keep-alive\r\nContent-Length: 2\r\n\r\n"
    )
    async with RawServer(head.encode() + b"ok") as server, io.Session() as session:
        for _ in range(2):
            async with session.get(server.url) as resp:
                assert await resp.aread() == b"ok"
    assert server.connections == 1


async def test_a_unix_socket_that_was_closed_is_not_used(tmp_path: Path) -> None:
    visitors: list[Visitor] = []

    async def script(visitor: Visitor) -> None:
        visitors.append(visitor)
        while await visitor.read_request() is not None:
            await visitor.send(OK)

    path = str(tmp_path / "socket")
    async with RawServer(script, path=path) as server, io.Session(unix=path) as session:
        for _ in range(2):
            async with session.post("http://a/", body=b"x") as resp:
                assert await resp.aread() == b"ok"
            visitors[-1].cut_off()
    assert server.connections == 2


async def test_an_upgrade_gives_its_room_back_when_it_is_over() -> None:
    async def script(visitor: Visitor) -> None:
        if b"Upgrade" in (await visitor.read_request() or b""):
            await visitor.send(
                b"HTTP/1.1 101 S\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nhello"
            )
            await visitor.read_until_end()
        await visitor.send(OK)

    async with RawServer(script) as server, io.Session(pool=ONE) as session:
        async with session.get(server.url, upgrade="x") as resp:
            assert await anext(resp.pull()) == b"hello"
            waiting = asyncio.create_task(ask(session, server.url))
            await wait_until(lambda: "1 waiting" in repr(session))
        assert await within(waiting) == b"ok"
    assert server.connections == 2


@pytest.mark.parametrize(
    "octets",
    [
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n",
    ],
)
async def test_what_is_answered_before_all_of_it_was_sent_is_not_used_again(
    octets: bytes,
) -> None:
    async def script(visitor: Visitor) -> None:
        await visitor.read_head()
        await visitor.send(octets)
        await visitor.read_until_end()

    async with RawServer(script) as server, io.Session() as session:
        for _ in range(2):
            async with session.put(server.url, body=bytes(5_000_000)) as resp:
                await resp.aread()
    assert server.connections == 2


@pytest.mark.parametrize("how", ["left", "failed", "by hand", "waits for 100"])
async def test_the_next_request_never_follows_half_of_another(how: str) -> None:
    """It would be taken for the rest of its content."""
    never = asyncio.Event()
    is_left = asyncio.Event()
    received: list[bytes] = []

    async def script(visitor: Visitor) -> None:
        if visitor.number == 0:
            await visitor.read_head()
            await visitor.send(CHUNKED + b"\r\n2\r\nhi\r\n")
            await is_left.wait()
            await visitor.send(b"0\r\n\r\n")
            received.append(await visitor.read_until_end())
        elif await visitor.read_request() is not None:
            await visitor.send(OK)

    async def pieces() -> AsyncIterator[bytes]:
        yield b"half"
        if how == "failed":
            raise ValueError("mine")
        await never.wait()

    options: dict[str, object] = {"body": pieces()}
    if how == "by hand":
        options = {"headers": {"Transfer-Encoding": "chunked"}}
    elif how == "waits for 100":
        options["expect_continue"] = True
        options["timeouts"] = io.Timeouts(continue_s=1000.0)
    async with RawServer(script) as server, io.Session() as session:
        try:
            async with session.post(server.url, **options) as resp:  # type: ignore[arg-type]
                if how == "by hand":
                    await resp.write("half")
                    await resp.prepare()
                assert await anext(resp.pull()) == b"hi"
        except ValueError:
            assert how == "failed"
        assert repr(session) == "<Session <Pool empty>>"
        is_left.set()
        async with session.get(f"{server.url}/next") as resp:
            assert await resp.aread() == b"ok"
    assert b"GET /next" not in b"".join(received)
    assert server.connections == 2
