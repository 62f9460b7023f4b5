"""A connection that the server has closed is given to no request."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import blazeio as io
from tests.client.scripts import OK, reply
from tests.support.clock import within
from tests.support.raw_server import RawServer, Visitor
from tests.support.tls_peer import NAME, Certificates

TOO_LATE = (
    b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n"
    b"Content-Length: 4\r\n\r\nlate"
)


async def many_at_once(url: str, session: "io.Session[io.Session[object]]") -> None:
    """One hundred POSTs, each of which is answered."""

    async def ask() -> None:
        async with session.post(url, body=b"x") as resp:
            assert await resp.aread() == b"ok"

    await within(asyncio.gather(*(ask() for _ in range(100))), 30)


@pytest.mark.slow
@pytest.mark.parametrize("is_tls", [False, pytest.param(True, marks=pytest.mark.long)])
@pytest.mark.parametrize("ending", ["close", "reset", "cut_off"])
async def test_not_one_post_goes_to_idle_ones_that_were_closed(
    tmp_path: Path, ending: str, is_tls: bool
) -> None:
    visitors: list[Visitor] = []
    all_are_here = asyncio.Event()
    gone = asyncio.Event()

    async def script(visitor: Visitor) -> None:
        visitors.append(visitor)
        await visitor.read_request()
        if len(visitors) == 100:
            all_are_here.set()
        await all_are_here.wait()
        await visitor.send(OK)
        if visitor.number < 100:
            await gone.wait()
        while await visitor.read_request() is not None:
            await visitor.send(OK)

    certificates = Certificates(tmp_path)
    tls = io.ClientTls(ca_file=certificates.ca_file)
    context = certificates.server_context(NAME) if is_tls else None
    name = NAME if is_tls else "127.0.0.1"
    async with (
        RawServer(script, context, name) as server,
        io.Session(tls=tls) as session,
    ):
        await many_at_once(server.url, session)
        assert repr(session).endswith(": 100 idle>>")
        for visitor in visitors[:]:
            getattr(visitor, ending)()  # the loop has no chance to see it
        await many_at_once(server.url, session)
        gone.set()
    assert 100 < server.connections <= 200


@pytest.mark.parametrize("method", ["GET", "PUT", "POST"])
@pytest.mark.parametrize("is_late", [False, True])
async def test_a_408_that_nobody_asked_for_answers_nothing(
    method: str, is_late: bool
) -> None:
    """RFC 9110 section 15.5.9. Where it comes later, a POST may have been seen."""

    async def script(visitor: Visitor) -> None:
        visitors.append(visitor)
        await visitor.read_request()
        await visitor.send(OK)
        if await visitor.read_request() is not None:
            await visitor.send(TOO_LATE if is_late and visitor.number == 0 else OK)

    visitors: list[Visitor] = []
    async with RawServer(script) as server, io.Session() as session:
        async with session.get(server.url) as resp:
            await resp.aread()
        if not is_late:
            await visitors[0].send(TOO_LATE)
            visitors[0].close()
        async with session.request(method, server.url, body=b"x") as resp:
            expected = 408 if method == "POST" and is_late else 200
            assert resp.status_code == expected
            await resp.aread()
    assert server.connections == (1 if expected == 408 else 2)


@pytest.mark.parametrize("octets", [TOO_LATE, TOO_LATE.replace(b"close", b"x")])
async def test_a_408_to_a_first_request_is_its_answer(octets: bytes) -> None:
    async with (
        RawServer(octets) as server,
        io.Session() as session,
        session.get(server.url) as resp,
    ):
        assert (resp.status_code, await resp.text()) == (408, "late")
    assert len(server.requests) == 1


async def test_the_one_retry_is_sent_on_a_new_connection() -> None:
    """Two are idle, and both are closed as soon as they are asked."""
    both = asyncio.Barrier(2)

    async def script(visitor: Visitor) -> None:
        await visitor.read_request()
        if visitor.number < 2:
            await both.wait()
            await visitor.send(OK)
            await visitor.read_request()
            return
        await visitor.send(OK)

    async with RawServer(script) as server, io.Session() as session:

        async def ask() -> None:
            async with session.get(server.url) as resp:
                assert await resp.aread() == b"ok"

        await asyncio.gather(ask(), ask())
        assert repr(session).endswith(": 2 idle>>")
        await ask()
    assert server.connections == 3


async def test_a_retry_that_fails_is_not_tried_again() -> None:
    async def script(visitor: Visitor) -> None:
        if visitor.number == 0:
            await visitor.read_request()
            await visitor.send(OK)
        await visitor.read_request()

    async with RawServer(script) as server, io.Session() as session:
        async with session.get(server.url) as resp:
            await resp.aread()
        with pytest.raises(io.ServerDisconnected):
            async with session.get(server.url):
                pass
    assert (server.connections, len(server.requests)) == (2, 3)


async def test_a_retry_asks_for_leave_again() -> None:
    """Without a 100 the content is not sent, the second time as the first."""
    seen: list[bytes] = []

    async def script(visitor: Visitor) -> None:
        if visitor.number == 0:
            await visitor.read_request()
            await visitor.send(OK)
            await visitor.read_head()
            return
        assert b"\r\nExpect: 100-continue\r\n" in await visitor.read_head()
        await asyncio.sleep(0.05)
        seen.append(visitor.octets)
        await visitor.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        while len(visitor.octets) < 3:
            visitor.octets += await visitor.read_some()
        await visitor.send(reply(visitor.octets))

    async with RawServer(script) as server, io.Session() as session:
        async with session.get(server.url) as resp:
            await resp.aread()
        async with session.put(
            server.url,
            body=b"abc",
            expect_continue=True,
            timeouts=io.Timeouts(continue_s=30.0),
        ) as resp:
            assert await resp.aread() == b"abc"
    assert seen == [b""]


class Dying:
    """A server whose kept connection closes at its second request, after a while."""

    async def serve(self, visitor: Visitor) -> None:
        if visitor.number == 0:
            await visitor.read_request()
            await visitor.send(OK)
            await visitor.read_head()
            visitor.reset()
            return
        request = await visitor.read_request()
        assert request is not None
        await visitor.send(reply(request.partition(b"\r\n\r\n")[2]))


@pytest.mark.parametrize("kind", ["path", "open"])
async def test_files_are_sent_again_from_their_beginning_by_one_sender(
    tmp_path: Path, kind: str
) -> None:
    content = b"".join(b"%015d\n" % number for number in range(40_000))
    path = tmp_path / "file"
    path.write_bytes(b"before" + content)
    async with RawServer(Dying().serve) as server, io.Session() as session:
        async with session.get(server.url) as resp:
            await resp.aread()
        with path.open("rb") as file:
            if kind == "open":
                file.seek(6)
            files = {"f": file if kind == "open" else path}
            async with session.put(server.url, files=files) as resp:
                form = await resp.aread()
            assert kind == "path" or file.tell() == 6
    assert form.count(content) == 1
    assert form.count(b"%015d\n" % 39_999) == 1
    assert server.connections == 2


async def test_a_generator_is_never_sent_again_and_is_closed() -> None:
    is_closed = False

    async def pieces() -> AsyncIterator[bytes]:
        nonlocal is_closed
        try:
            while True:
                yield bytes(1000)
                await asyncio.sleep(0)
        finally:
            is_closed = True

    async with RawServer(Dying().serve) as server, io.Session() as session:
        async with session.get(server.url) as resp:
            await resp.aread()
        with pytest.raises(io.ServerDisconnected):
            async with session.put(server.url, body=pieces()):
                pass
        assert is_closed
    assert server.connections == 1


async def test_one_that_still_holds_content_is_not_used_again() -> None:
    """The server has answered and goes on reading nothing: it will close."""
    go_on = asyncio.Event()

    async def script(visitor: Visitor) -> None:
        await visitor.read_head()
        await visitor.send(OK)
        await go_on.wait()

    limits = io.Limits(high_water_bytes=64 * 1024 * 1024)
    async with RawServer(script) as server, io.Session(limits=limits) as session:
        for _ in range(2):
            async with session.put(server.url, body=bytes(20_000_000)) as resp:
                assert resp.status_code == 200
        assert server.connections == 2
        go_on.set()
